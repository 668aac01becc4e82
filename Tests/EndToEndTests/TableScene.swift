/// What scenarios about single tables begin with, and how they hold a recovery up in the middle of what it does.
enum TableScene {
    /// A backup, then somebody's mistake: one in a hundred members deleted, with all that hangs on them, and one in two hundred
    /// renamed. People go on working.
    static let mistake = #"""
        PLAN=plans/table-restore.yaml TABLES=tables=members,attendance_records
        lab reset
        lab backup
        some() { sql chms_production "SELECT md5(string_agg(t::text, E'\n' ORDER BY id)) FROM $1 AS t WHERE $2"; }
        GONE=$(some members 'id % 100 = 0') ATTENDED=$(some attendance_records 'member_id % 100 = 0') NAMED=$(some members 'id % 200 = 1 AND id <= 2000')
        sql chms_production "
            DELETE FROM members WHERE id % 100 = 0;
            UPDATE members SET last_name = 'Mistake' WHERE id % 200 = 1;
            INSERT INTO members (organization_id, first_name, last_name) VALUES (1, 'New', 'Person');
            UPDATE members SET remarks = 'moved house' WHERE id = 7;"
        UNDO+=("lab reset")
        back() {
            expect "the deleted members" "$GONE" "$(some members 'id % 100 = 0')"
            expect "their attendance" "$ATTENDED" "$(some attendance_records 'member_id % 100 = 0')"
            expect "all, new ones, what was written since" "2001|1|moved house" "$(sql chms_production "SELECT count(*), count(*) FILTER (WHERE first_name = 'New' AND last_name = 'Person'), max(remarks) FILTER (WHERE id = 7) FROM members")"
            expect "merges that count" 1 "$(merges)"
        }
        merges() { sql chms_production 'SELECT count(*) FROM reprise_audit.merges WHERE undone_at IS NULL'; }
        merge() { start --param "$TABLES" "$@"; }
        # The next scene of the same scenario: the rows are gone again, and the next run has a journal of its own.
        again() {
            try reprise undo --yes --reason "for the next scene"
            expect "the run" UNDONE "$(state)"
            expect "what is left of the merge" 0 "$(merges)"
            next_journal
        }
        next_journal() { J=$(mktemp -d "$WORK/journal-XXXXXX")/journal.sqlite; }
        # `named TABLE TRIGGER`: the plan, which names a trigger that its merge may turn off.
        named() { perl -pe 's/^      restored: \w+$/$&\n      disable-triggers:\n        '"$1: [$2]"'/' "$PLAN" >"$WORK/plan.yaml"; PLAN=$WORK/plan.yaml; }

        """#

    /// `hold SQL` keeps what the SQL locks, on a connection of its own, until `release` or the server's end.
    static let holding = #"""
        hold() {
            scripts/lab enter db1 runuser -u postgres -- env PGAPPNAME=lab-holder psql -X -q -d chms_production -c "BEGIN; $1; SELECT pg_sleep(300)" >/dev/null 2>&1 &
            await "who holds it" held
        }
        # Whether one of those sessions waits for that; false while the server is away.
        waits() { [[ $(scripts/lab sql db1 postgres -At <<<"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '$1' AND $2" 2>/dev/null) -ge 1 ]]; }
        held() { waits lab-holder "wait_event = 'PgSleep'"; }
        blocked() { waits 'reprise%' "wait_event_type = 'Lock'"; }
        release() { sql postgres "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'lab-holder'" >/dev/null; }
        UNDO+=(release)
        answers() { [[ $(scripts/lab sql db1 postgres -At <<<"SELECT 1" 2>/dev/null) == 1 ]]; }
        # Without a checkpoint: what is not in the write-ahead log is lost, and unlogged tables are empty.
        crash_server() { scripts/lab enter db1 pg_ctlcluster 15 main restart -m immediate </dev/null >>"$WORK/lab.log" 2>&1; await "the server" answers; }
        # The same, and the server recovers until it may go on: it asks for a log that never comes.
        recovery_is_held_up() {
            UNDO+=(recovery_goes_on)
            scripts/lab enter db1 runuser -u postgres -- bash -euc '
                cd /var/lib/postgresql/15/main; rm -f ../go-on
                pg_ctl() { /usr/lib/postgresql/15/bin/pg_ctl -D "$PWD" -o "-c config_file=/etc/postgresql/15/main/postgresql.conf" -l /var/log/postgresql/postgresql-15-main.log "$@"; }
                pg_ctl -m immediate -w stop
                touch recovery.signal
                echo "restore_command = '"'until [ -e ../go-on ]; do sleep 0.1; done; false'"'" >>postgresql.auto.conf
                pg_ctl -W start' </dev/null >>"$WORK/lab.log" 2>&1
        }
        recovery_goes_on() {
            scripts/lab enter db1 runuser -u postgres touch /var/lib/postgresql/15/go-on
            await "the server" answers
            sql postgres "ALTER SYSTEM RESET restore_command"
        }
        stopped() { [[ $(sed 's/.*) //' "/proc/$BACKGROUND/stat" | cut -d' ' -f1) == T ]]; }
        # A merge needs rows of this table for its foreign keys, and its preview only reads it.
        SERVICES='LOCK TABLE services IN EXCLUSIVE MODE'
        merge_is_held_up() { hold "$SERVICES"; background --param "$TABLES" "$@"; await "a merge that waits" blocked; }
        # A COMMIT that is durable, and of which nobody hears before a standby that does not exist has it.
        answers_are_held_back() {
            UNDO+=(answers_come)
            sql postgres "ALTER SYSTEM SET synchronous_standby_names = 'nobody'" && sql postgres "SELECT pg_reload_conf()" >/dev/null
        }
        answers_come() { sql postgres "ALTER SYSTEM RESET synchronous_standby_names" && sql postgres "SELECT pg_reload_conf()" >/dev/null; }
        committing() { waits 'reprise%' "wait_event = 'SyncRep'"; }

        """#
}
