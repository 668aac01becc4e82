<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\Schema;

/** The table comes with the database (lab/db/schema.sql); this asserts it. */
class CreateUsersTable extends Migration
{
    public function up()
    {
        if (! Schema::hasTable('users')) {
            throw new RuntimeException('there is no table users: restore or seed the database first');
        }
    }
}
