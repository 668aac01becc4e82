<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\Schema;

/** The table comes with the database (lab/db/schema.sql); this asserts it. */
class CreateQrCodesTable extends Migration
{
    public function up()
    {
        if (! Schema::hasTable('qr_codes')) {
            throw new RuntimeException('there is no table qr_codes: restore or seed the database first');
        }
    }
}
