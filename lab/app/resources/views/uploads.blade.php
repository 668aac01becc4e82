@extends('layout')
@section('title', 'Files')
@section('content')
<ul>@foreach ($files as $file)<li><a href="/storage/{{ $file }}">{{ basename($file) }}</a></li>@endforeach</ul>
<form method="post" action="/uploads" enctype="multipart/form-data">
    @csrf
    <label>A file <input type="file" name="file" required></label>
    <button>Send</button>
</form>
@endsection
