<?php

use App\Http\Controllers\LoginController;
use App\Http\Controllers\RecordsController;
use App\Http\Controllers\UploadController;
use Illuminate\Support\Facades\Route;

Route::redirect('/', '/members');
Route::get('login', [LoginController::class, 'show'])->name('login');
Route::post('login', [LoginController::class, 'login']);
Route::middleware('auth')->group(function () {
    Route::post('logout', [LoginController::class, 'logout']);
    Route::get('members', [RecordsController::class, 'members']);
    Route::get('attendance', [RecordsController::class, 'attendance']);
    Route::get('uploads', [UploadController::class, 'index']);
    Route::post('uploads', [UploadController::class, 'store']);
});
