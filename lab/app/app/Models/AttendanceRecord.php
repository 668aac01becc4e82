<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

class AttendanceRecord extends Model
{
    public $timestamps = false;

    protected $casts = ['device_info' => 'array', 'checked_in_at' => 'datetime'];

    public function member()
    {
        return $this->belongsTo(Member::class)->withTrashed();
    }
}
