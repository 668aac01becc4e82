<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\Schema;

/** The table comes with the database (lab/db/schema.sql); this asserts it. */
class CreateAttendanceTable extends Migration
{
    public function up()
    {
        if (! Schema::hasTable('attendance_records')) {
            throw new RuntimeException('there is no table attendance_records: restore or seed the database first');
        }
    }
}
