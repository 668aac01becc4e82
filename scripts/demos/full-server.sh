# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of scripts/demo, which reads this file
# A lost server: everything is recovered on a factory-new one, which loses its power in the middle.

plan=plans/full-server.yaml
inventory=inventory/new-server/lab.yaml
broken_again='scripts/demo full-server'
site=chms.example.org
lab_dir=${REPRISE_LAB_DIR:-/var/lib/reprise-lab}

on_new1() { scripts/lab ssh new1 "$@"; }
ask_new1() { on_new1 "cd / && su postgres -c 'psql -X -q -At -v ON_ERROR_STOP=1 -d $1'" <<<"$2"; }
visit() { curl -fsS -m 10 --cacert "$lab_dir/tls/ca.pem" --resolve "$site:443:10.77.0.14" "https://$site$1"; }
serves() { visit /api/health 2>/dev/null | grep -q '"status" *: *"ok"'; }
# The mark of a restore that does not wait for the disk.
is_fast() { on_new1 'test -e /var/lib/reprise-postgresql/15-main.fast' 2>/dev/null; }

# One line for each table: rows, and the sum of a hash of every row. Of what the plan settles on purpose, nothing is compared.
rows_of() { # ASK DATABASE
    local tables
    tables=$("$1" "$2" "SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM %I.%I AS t;', n.nspname || '.' || c.relname, n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'reprise_settled')
          AND c.relname NOT IN ('jobs', 'sessions', 'personal_access_tokens', 'password_reset_tokens') ORDER BY 1")
    "$1" "$2" "SET statement_timeout = 0; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 3; $tables"
}

back_up() {
    heading "The application works, and is backed up" "Database and uploaded files, by its own cron job's commands; a small file beside the backup names the code's revision."
    shown scripts/lab backup
    scripts/lab backup 2>&1 | indented
    rows_of ask "$database" >"$work/before" || die "the live database cannot be read"
    local file
    file=$(scripts/lab enter app1 sh -c 'cd /var/www/chms-production/backend/storage/app/public && find . -type f ! -name "*.tmp" -exec sha256sum {} + | sort -k 2')
    printf '%s\n' "$file" >"$work/files"
}

lose() {
    heading "Disaster" "The application's and the database's hosts are gone. A new server has Debian and sshd on it, nothing else."
    scripts/lab power-cut app1 2>&1 | indented
    scripts/lab power-cut db1 2>&1 | indented
    shown scripts/lab factory new1
    scripts/lab factory new1 >/dev/null
    banner "BOTH SERVERS ARE GONE" "$(curl -sS -m 3 "$health" 2>&1 | tail -n 1)"
    on_new1 'printf "new1 has %s packages, and starts:\n" "$(dpkg-query -W | wc -l)"; command -v psql nginx php git || true; ls /etc/rc2.d | tr "\n" " "; echo' | indented
}

start_and_cut() {
    heading "The recovery; the orchestrator is killed, and the new server loses its power" \
        "At the worst moment: the database is being restored by a server that does not wait for its disk."
    shown "reprise start $plan --yes"
    "$binary" start "$plan" --inventory "$inventory" --journal "$journal" --yes </dev/null &
    pid=$!
    local deadline=$((SECONDS + 900))
    until is_fast; do
        kill -0 "$pid" 2>/dev/null || die "the recovery ended before it could be killed" "more data makes it last longer: --scale 1000000"
        ((SECONDS < deadline)) || die "the restore did not begin within 15 minutes"
        sleep 0.1
    done
    kill -KILL "$pid"
    { wait "$pid"; } 2>/dev/null || true
    local killed=$pid
    pid=''
    [[ ! -t 1 ]] || printf '%s\e[?25h' "$plain"
    scripts/lab power-cut new1 2>/dev/null
    banner "kill -9 $killed" "THE ORCHESTRATOR IS DEAD, AND THE NEW SERVER HAS NO POWER."
    shown scripts/lab boot new1
    scripts/lab boot new1 2>&1 | indented
    is_fast || die "the power was cut too late: the restore was over" "more data makes it last longer: --scale 1000000"
    [[ $(on_new1 pg_lsclusters -h) == *" down "* ]] || die "the boot has started a database server that may have lost anything"
    good "the boot started no database server: what it holds may be lost, and nobody serves from it"
    [[ $(run_status "d['state']") == INTERRUPTED ]] || die "the run is not INTERRUPTED but $(run_status "d['state']")"
}

carry_on() {
    heading "Carrying on" "The host tells that it was rebooted. The spoilt cluster is thrown away and begun again; what is done stays done."
    shown "reprise resume"
    local status=0
    reprise resume --journal "$journal" </dev/null || status=$?
    ((status == 0)) || die "resume ended with $status" "reprise status --journal $journal"
}

prove() {
    heading "Proof, by others than Reprise" "curl, psql over plain ssh, another host that tries ports."
    [[ $(run_status "d['state']") == SUCCEEDED ]] || die "the run ended as $(run_status "d['state']")"
    good "the run SUCCEEDED"
    good "https://$site/api/health, with the certificate checked: $(visit /api/health)"
    rows_of ask_new1 "$database" >"$work/after" || die "the recovered database cannot be read"
    cmp -s "$work/before" "$work/after" || die "tables differ: $(diff "$work/before" "$work/after" | head -n 5)"
    awk -F'|' '{ rows += $2 } END { print NR " tables with " rows " rows" }' "$work/after" | { read -r line; good "$line are what they were before, by count and content"; }
    on_new1 'cd /var/www/chms-production/backend/storage/app/public && find . -type f ! -name "*.tmp" -exec sha256sum {} + | sort -k 2' >"$work/files-after"
    cmp -s "$work/files" "$work/files-after" || die "uploaded files differ: $(diff "$work/files" "$work/files-after" | head -n 5)"
    good "$(wc -l <"$work/files-after") uploaded files are there byte for byte"
    local unsafe port open=''
    unsafe=$(ask_new1 postgres "SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting <> 'on'")
    [[ -z $unsafe ]] && ! is_fast || die "the database server still runs with $unsafe"
    good "the database server survives a crash: fsync and full_page_writes are on"
    for port in 22 25 80 443 3306 5432 8080; do
        if scripts/lab enter s3 timeout 2 bash -c "exec 3<>/dev/tcp/10.77.0.14/$port" 2>/dev/null; then open="$open $port"; fi
    done
    [[ $open == " 22 80 443" ]] || die "these ports are open to another host:$open"
    good "open to another host:$open"
}

again() {
    heading "A second time" "The same plan over the recovered server looks at everything and changes nothing."
    shown "reprise start $plan --yes"
    local second=$journal.second begun=$EPOCHREALTIME
    "$binary" start "$plan" --inventory "$inventory" --journal "$second" --yes </dev/null >"$work/second" || die "the second run failed" "reprise status --journal $second"
    local took=$(((${EPOCHREALTIME/./} - ${begun/./}) / 100000)) done
    reprise status --journal "$second" | grep -E '^✓' | indented
    done=$(reprise status --journal "$second" | awk '$2 == "done" { print $3 }' | tr '\n' ' ')
    [[ $done == "app-key log-ends database-is-safe visit ports logs " ]] || die "the second run changed something: $done"
    good "nothing was changed, in $((took / 10)).$((took % 10)) s; what only looks has looked again"
}

play() {
    back_up
    lose
    start_and_cut
    carry_on
    prove
    again
    account
    # The lost hosts come back for whoever plays on.
    scripts/lab boot db1 >/dev/null 2>&1 && scripts/lab boot app1 >/dev/null 2>&1
}
