<?php

namespace App\Models;

use Illuminate\Foundation\Auth\User as Authenticatable;

class User extends Authenticatable
{
    protected $hidden = ['password', 'remember_token', 'two_factor_secret'];

    protected $casts = ['two_factor_secret' => 'encrypted'];
}
