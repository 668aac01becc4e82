<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\SoftDeletes;

class Member extends Model
{
    use SoftDeletes;

    protected $hidden = ['avatar'];

    protected $casts = ['preferences' => 'array', 'date_of_birth' => 'date:Y-m-d', 'joined_on' => 'date:Y-m-d'];
}
