@extends('layout')
@section('title', 'Attendance')
@section('content')
<table>
    <thead><tr><th>No.</th><th>Member</th><th>Service</th><th>At (UTC)</th><th>How</th></tr></thead>
    <tbody>
    @foreach ($records as $record)
        <tr><td>{{ $record->id }}</td><td>{{ optional($record->member)->full_name }}</td><td>{{ $record->service_id }}</td><td>{{ $record->checked_in_at }}</td><td>{{ $record->method }}</td></tr>
    @endforeach
    </tbody>
</table>
<p>@if ($records->previousPageUrl())<a href="{{ $records->previousPageUrl() }}">Back</a>@endif
   @if ($records->hasMorePages())<a href="{{ $records->nextPageUrl() }}">Next</a>@endif</p>
@endsection
