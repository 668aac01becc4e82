<?php

namespace App\Http\Controllers;

use App\Models\AttendanceRecord;
use App\Models\Member;
use Illuminate\Http\Request;

/** Members and attendance, as pages and as JSON. */
class RecordsController
{
    private const PAGE_SIZE = 25;

    public function members(Request $request)
    {
        $members = Member::orderBy('id')->simplePaginate(self::PAGE_SIZE);

        return $request->is('api/*') ? response()->json($members) : view('members', compact('members'));
    }

    public function attendance(Request $request)
    {
        $records = AttendanceRecord::with('member:id,full_name')->orderByDesc('id')->simplePaginate(self::PAGE_SIZE);

        return $request->is('api/*') ? response()->json($records) : view('attendance', compact('records'));
    }
}
