<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\Schema;

/** The table comes with the database (lab/db/schema.sql); this asserts it. */
class CreateMembersTable extends Migration
{
    public function up()
    {
        if (! Schema::hasTable('members')) {
            throw new RuntimeException('there is no table members: restore or seed the database first');
        }
    }
}
