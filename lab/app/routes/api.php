<?php

use App\Http\Controllers\HealthController;
use App\Http\Controllers\RecordsController;
use App\Http\Controllers\UploadController;
use Illuminate\Support\Facades\Route;

Route::get('health', HealthController::class);
Route::middleware('auth.once')->group(function () {
    Route::get('members', [RecordsController::class, 'members']);
    Route::get('attendance', [RecordsController::class, 'attendance']);
    Route::post('uploads', [UploadController::class, 'store']);
});
