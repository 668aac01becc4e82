# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of scripts/demo, which reads this file
# Rows that somebody deleted and overwrote come back, while people go on working; and an undo takes them away again.

plan=plans/table-restore.yaml
broken_again='scripts/demo table-restore'
ending='Recovered, though it was killed, and taken back'
people=''

# Everybody's rows, as the proof sees them: by plain psql, each with a hash of all that it holds.
rows() { sql "$database" <<<"SET timezone = 'UTC'; SELECT id, md5(t::text) FROM $1 AS t ORDER BY id"; }

back_up() {
    heading "The application works, and is backed up" "Its backups are made by its own cron job's commands: pg_dump -F c, gzip, aws s3 cp."
    shown scripts/lab backup
    scripts/lab backup 2>&1 | indented
    local table
    for table in members attendance_records; do rows $table >"$work/$table.before"; done
}

# Goes on until it is ended: a new person, their attendance, and a changed row of somebody else's, in one transaction each.
# Each number is written down once its transaction is committed.
people_work() {
    on_db1 "cd / && rm -f /tmp/demo-stops /tmp/demo-written && exec su postgres -c 'bash -s'" <<WORK
until [ -e /tmp/demo-stops ]; do
    n=\$((n + 1))
    psql -X -q -v ON_ERROR_STOP=1 -d $database <<SQL || exit 1
BEGIN;
INSERT INTO members (id, organization_id, first_name, last_name) VALUES ($scale_rows * 4 + \$n, 1, 'Written', 'Meanwhile \$n');
INSERT INTO attendance_records (id, member_id, service_id, method, checked_in_at) VALUES ($scale_rows * 9 + \$n, $scale_rows * 4 + \$n, 1, 'qr', now());
UPDATE members SET remarks = 'written by a person, \$n' WHERE id = 7;
COMMIT;
SQL
    echo \$n >>/tmp/demo-written
    sleep 0.1
done
WORK
}
written() { on_db1 'tail -n 1 /tmp/demo-written 2>/dev/null || true'; }

lose() {
    heading "Somebody's mistake, and nobody stops working" \
        "One in a hundred members is deleted, with all that hangs on them; one in two hundred is renamed." \
        "From now on somebody writes about five transactions a second, until the end."
    shown "psql: DELETE FROM members WHERE id % 100 = 0; UPDATE members SET last_name = 'Oops' WHERE id % 200 = 1"
    scale_rows=$(ask "$database" "SELECT max(id) FROM members")
    # Where its names come from is not told: the database's own trigger notes the time of every change.
    sql "$database" <<<"DELETE FROM members WHERE id % 100 = 0; UPDATE members SET last_name = 'Oops' WHERE id % 200 = 1"
    people_work >"$work/people" 2>&1 &
    people=$!
    wait_until 30 "the first transaction of the one who works on" work_is_seen
    banner "$(($(wc -l <"$work/members.before") / 100)) PEOPLE ARE GONE, and half as many have another name"
    local table
    for table in members attendance_records; do rows $table >"$work/$table.mistaken"; done
}
work_is_seen() { [[ $(written) -ge 1 ]]; }

preview() {
    heading "Fetch, load beside, compare row by row" "No live table is touched. What it finds is what a person is asked about; a merge of anything else is refused." \
        "The trigger that stamps the time of a change would rewrite the rows: a copy of the plan names it, as the plan's comments say."
    # It stays, beside the journal that speaks of it.
    local own=${journal%.sqlite}.yaml
    shown "sed '/^      restored:/a\\      disable-triggers: {members: [touch_members]}' $plan >my-restore.yaml"
    sed '/^      restored:/a\      disable-triggers: {members: [touch_members]}' "$plan" >"$own"
    shown "reprise start my-restore.yaml --yes --param tables=members,attendance_records --param changed=take-backup"
    local status=0
    reprise start "$own" --inventory "$inventory" --journal "$journal" --yes \
        --param tables=members,attendance_records --param changed=take-backup </dev/null || status=$?
    ((status == 5)) || die "it was to wait for a person's word (5), and ended with $status"
}

approve_and_kill() {
    heading "A person's word, and a sudden death" "The merge waits for a table that another session has locked; there it is killed with SIGKILL."
    on_db1 "cd / && exec su postgres -c 'PGAPPNAME=demo-holder psql -X -q -d $database'" >/dev/null 2>&1 \
        <<<"BEGIN; LOCK TABLE services IN EXCLUSIVE MODE; SELECT pg_sleep(60)" &
    wait_until 30 "the session that holds a table" holds
    shown "reprise approve approve-merge --comment 'agreed with the parish office'"
    "$binary" approve approve-merge --comment "agreed with the parish office" --journal "$journal" </dev/null &
    pid=$!
    wait_until 60 "a merge that waits" merge_waits
    kill -KILL "$pid"
    local status=0
    { wait "$pid"; } 2>/dev/null || status=$?
    [[ ! -t 1 ]] || printf '\e[?25h'
    ((status == 137)) || die "the orchestrator ended with $status and not by SIGKILL"
    banner "kill -9 $pid" "THE ORCHESTRATOR IS DEAD, in the middle of its transaction."
    pid=''
    ask postgres "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'demo-holder'" >/dev/null
    [[ $(run_status "d['state']") == INTERRUPTED ]] || die "the run is not INTERRUPTED but $(run_status "d['state']")"
    [[ $(ask "$database" "SELECT count(*) FROM members WHERE id % 100 = 0 AND id <= $scale_rows") == 0 ]] || die "half a merge is to be seen"
    good "none of it is to be seen: it is one transaction"
}
holds() { [[ $(ask postgres "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'demo-holder' AND wait_event = 'PgSleep'") == 1 ]]; }
merge_waits() { [[ $(ask postgres "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'reprise%' AND wait_event_type = 'Lock'") -ge 1 ]]; }

carry_on() {
    heading "Carrying on" "Whether it was merged, a mark says that the same transaction would have left. It was not; it is now."
    shown "reprise resume"
    local status=0
    reprise resume --journal "$journal" </dev/null || status=$?
    # 8: done, with rows that somebody wrote meanwhile and that were left alone. They are listed.
    ((status == 0 || status == 8)) || die "resume ended with $status" "reprise status --journal $journal"
}

people_stop() {
    on_db1 touch /tmp/demo-stops
    wait "$people" || die "the one who worked on met an error: $(tail -n 2 "$work/people")"
    people=''
    last=$(written)
}

# as_it_must_be FROM: of all rows that there were, those in table FROM's file; of all that were written meanwhile, each.
as_it_must_be() {
    local table
    for table in members attendance_records; do
        rows $table >"$work/$table.now"
        # Number 7 is the row that somebody goes on changing; it is looked at below.
        awk -F'|' -v t=$table -v most="$scale_rows" '!(t == "members" && ($1 == 7 || $1 > most)) && !(t != "members" && $1 > 9 * most)' "$work/$table.now" >"$work/$table.old"
        awk -F'|' -v t=$table '!(t == "members" && $1 == 7)' "$work/$table.$1" | awk -F'|' -v t=$table -v most="$scale_rows" \
            '!(t == "members" && $1 > most) && !(t != "members" && $1 > 9 * most)' >"$work/$table.wanted"
        cmp -s "$work/$table.wanted" "$work/$table.old" || die "$table is not as it was: $(diff "$work/$table.wanted" "$work/$table.old" | head -n 5)"
        good "$table: $(wc -l <"$work/$table.old") rows, each equal in content to what it was $2"
    done
}

prove() {
    heading "Proof, by psql alone" "The rows of both tables before the mistake, and now, each by a hash of all that it holds."
    people_stop
    as_it_must_be before "before the mistake"
    [[ $(ask "$database" "SELECT count(*) FROM members WHERE id > $scale_rows AND first_name = 'Written'") == "$last" ]] \
        || die "of the $last people that were written meanwhile, some are lost"
    [[ $(ask "$database" "SELECT count(*) FROM attendance_records WHERE id > 9 * $scale_rows") == "$last" ]] || die "attendance that was written meanwhile is lost"
    [[ $(ask "$database" "SELECT remarks FROM members WHERE id = 7") == "written by a person, $last" ]] || die "the last change of a row is lost"
    good "$last transactions were committed meanwhile, through the kill and the merge: none of them is lost"
    [[ $(ask "$database" "SELECT count(*) FROM reprise_audit.merges") == 1 ]] || die "it was merged more than once"
    good "one merge, $(ask "$database" 'SELECT count(*) FROM reprise_audit.changes') rows with their images before and after in reprise_audit.changes"
}

take_back() {
    heading "And back again" "An undo puts the rows as they were before the merge: lost. What people wrote stays."
    shown "reprise undo"
    # Its exit status is 1: the run did not reach what it was started for.
    reprise undo --yes --reason "to show it" --journal "$journal" </dev/null || true
    [[ $(run_status "d['state']") == UNDONE ]] || die "the run ended as $(run_status "d['state']")"
    as_it_must_be mistaken "after the mistake"
    [[ $(ask "$database" "SELECT count(*) FROM members WHERE id > $scale_rows AND first_name = 'Written'") == "$last" ]] || die "the undo took people along"
    good "what was written meanwhile is there"
}

play() {
    back_up
    lose
    preview
    approve_and_kill
    carry_on
    prove
    take_back
    account
}
