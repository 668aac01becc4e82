<?php

namespace App\Http\Controllers;

use Illuminate\Support\Facades\DB;
use Throwable;

/** Says whether the application can do its work, which is reading its data. */
class HealthController
{
    public function __invoke()
    {
        try {
            // Rows, not a count of keys: a damaged heap must not look healthy.
            $members = DB::selectOne(
                'SELECT count(full_name) AS n FROM (SELECT full_name FROM members ORDER BY id LIMIT 1000) m'
            )->n;
            $latest = DB::selectOne('SELECT max(id) AS id FROM attendance_records')->id;
        } catch (Throwable $error) {
            report($error);

            return response()->json(['status' => 'error', 'reason' => 'the database does not answer'], 503);
        }
        if ($members === 0) {
            return response()->json(['status' => 'error', 'reason' => 'the database has no members'], 503);
        }

        return response()->json([
            'status' => 'ok',
            'database' => DB::connection()->getDatabaseName(),
            'latest_attendance_id' => $latest,
        ]);
    }
}
