@extends('layout')
@section('title', 'Log in')
@section('content')
<form method="post" action="/login">
    @csrf
    @error('email')<p class="error" role="alert">{{ $message }}</p>@enderror
    <label>E-mail <input type="email" name="email" value="{{ old('email') }}" required autofocus></label>
    <label>Password <input type="password" name="password" required></label>
    <button>Log in</button>
</form>
@endsection
