<?php

namespace App\Http\Controllers;

use Illuminate\Http\Request;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Storage;

class UploadController
{
    public function index()
    {
        return view('uploads', ['files' => Storage::disk('public')->allFiles('uploads')]);
    }

    public function store(Request $request)
    {
        $file = $request->file('file');
        abort_unless($file && $file->isValid(), 422, 'No file was sent, or it is too large.');
        // Content names the file, so that no name of the sender's reaches the disk.
        $name = sha1_file($file->getRealPath()).'.'.preg_replace('/[^a-z0-9]/', '', strtolower($file->getClientOriginalExtension()));
        $path = $file->storeAs('uploads', rtrim($name, '.'), 'public');
        DB::table('uploads')->insertOrIgnore(
            ['path' => $path, 'title' => $file->getClientOriginalName(), 'uploaded_by' => $request->user()->id]);

        return $request->is('api/*')
            ? response()->json(['path' => '/storage/'.$path], 201)
            : redirect('/uploads');
    }
}
