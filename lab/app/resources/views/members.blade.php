@extends('layout')
@section('title', 'Members')
@section('content')
<table>
    <thead><tr><th>No.</th><th>Name</th><th>E-mail</th><th>Status</th><th>Joined</th></tr></thead>
    <tbody>
    @foreach ($members as $member)
        <tr><td>{{ $member->id }}</td><td>{{ $member->full_name }}</td><td>{{ $member->email }}</td><td>{{ $member->status }}</td><td>{{ optional($member->joined_on)->format('Y-m-d') }}</td></tr>
    @endforeach
    </tbody>
</table>
<p>@if ($members->previousPageUrl())<a href="{{ $members->previousPageUrl() }}">Back</a>@endif
   @if ($members->hasMorePages())<a href="{{ $members->nextPageUrl() }}">Next</a>@endif</p>
@endsection
