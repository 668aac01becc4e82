# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of scripts/demo, which reads this file
# A corrupted database: restored beside the damaged one, proven and swapped in.

plan=plans/db-corruption.yaml
seed=chms_seed scratch=chms_restore damaged=chms_damaged seed_copy=chms_demo_seed
broken_again='scripts/lab reset && scripts/lab backup && scripts/lab corrupt'

# What the server says to a query that every page of the application makes; empty where it answers.
complaint() { { ask "$database" 'SELECT count(full_name) FROM members' 2>&1 >/dev/null || true; } | grep -m 1 ERROR || true; }

# Sessions in which pg_restore is at work on the scratch database at this moment.
restoring() { ask postgres "SELECT count(*) FROM pg_stat_activity WHERE datname = '$scratch' AND state = 'active'"; }

# One line for each table: name, exact rows, and the sum of a hash of every row.
# Partitions are counted through their roots.
fingerprint() {
    local tables
    tables=$(ask "$1" "SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM %I.%I AS t;',
            n.nspname || '.' || c.relname, n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
          AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
        ORDER BY n.nspname, c.relname")
    sql "$1" <<<"SET statement_timeout = 0; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 3; $tables"
}

# What the plan's step "settle" makes of a fingerprint: jobs stand in a side table, sessions and tokens are gone.
settled() {
    awk -F'|' -v OFS='|' '
        $1 == "public.jobs" { print "reprise_settled.jobs", $2, $3 }
        $1 == "public.jobs" || $1 == "public.sessions" || $1 == "public.personal_access_tokens" { $2 = 0; $3 = 0 }
        { print }'
}

back_up() {
    heading "The application works, and is backed up" \
        "A church-management application. Its backups are made by its own cron job's commands:" \
        "pg_dump -F c, gzip, aws s3 cp."
    curl -fsS -m 10 "$health" | indented
    echo
    fingerprint "$database" >"$work/before" || die "the live database cannot be read before anything happened to it"
    awk -F'|' '{ rows += $2 } END { printf "   %d tables, %d rows\n\n", NR, rows }' "$work/before"
    shown scripts/lab backup
    scripts/lab backup 2>&1 | indented
}

corrupt() {
    heading "Disaster" "Random bytes are written over pages of a table and of an index, in the live database's files."
    shown scripts/lab corrupt
    scripts/lab corrupt 2>&1 | indented
    local error
    error=$(complaint)
    [[ -n $error ]] || die "the database still answers: nothing to recover"
    banner "PRODUCTION IS BROKEN" "$error"
}

check() {
    heading "Is everything in place?" "Readiness is checked before anything is touched: hosts, keys, disk, versions, backups."
    shown "reprise check $plan"
    reprise check "$plan" --inventory "$inventory" --journal "$journal"
}

start_and_kill() {
    heading "The recovery, and its sudden death" \
        "The orchestrator is killed with SIGKILL while pg_restore is at work on the database host." \
        "(approve=no: this demo asks nobody before the swap; a real recovery does.)"
    shown "reprise start $plan --param approve=no --yes"
    log_bytes=$(on_db1 'stat -c %s /var/log/postgresql/postgresql-15-main.log')
    local arguments=(start "$plan" --inventory "$inventory" --journal "$journal" --param approve=no --yes)
    "$binary" "${arguments[@]}" </dev/null &
    pid=$!
    local deadline=$((SECONDS + 600)) sessions=0
    while :; do
        kill -0 "$pid" 2>/dev/null || die "the recovery ended before it could be killed" "more data makes it last longer: --scale 1000000"
        ((SECONDS < deadline)) || die "the restore did not begin within 10 minutes"
        if [[ $(step_state restore) == RUNNING ]]; then
            sessions=$(restoring 2>/dev/null || echo 0)
            ((sessions == 0)) || break
        fi
        sleep 0.05
    done
    kill -KILL "$pid"
    local status=0
    { wait "$pid"; } 2>/dev/null || status=$?
    local killed=$pid
    pid=''
    [[ ! -t 1 ]] || printf '%s\e[?25h' "$plain"
    ((status == 137)) || die "the orchestrator ended with $status and not by SIGKILL"
    banner "kill -9 $killed" "THE ORCHESTRATOR IS DEAD, with $sessions sessions of the restore at work on db1."
    [[ $(run_status "d['state']") == INTERRUPTED ]] || die "the run is not INTERRUPTED but $(run_status "d['state']")"
    [[ $(step_state restore) == RUNNING ]] || die "the kill came too late: the restore was over" "more data makes it last longer: --scale 1000000"
}

aftermath() {
    heading "What is left" "The journal says what was under way. Whether it still is, only the host can say: its job goes on" \
        "without the orchestrator."
    shown "reprise status"
    reprise status --journal "$journal"
    echo
    shown "ssh db1: sessions at work on $scratch"
    local sessions
    sessions=$(ask postgres "SELECT '   pid ' || pid || '  ' || coalesce(application_name, '') || '  ' || left(regexp_replace(query, '\s+', ' ', 'g'), 60)
        FROM pg_stat_activity WHERE datname = '$scratch' AND state = 'active'")
    printf '%s\n' "${sessions:-   none: the host has finished the job in the meantime, and keeps its result}"
}

carry_on() {
    heading "Carrying on" "The new process asks db1 what became of the restore, and takes it up: nothing is done twice."
    shown "reprise resume"
    local status=0
    reprise resume --journal "$journal" </dev/null || status=$?
    ((status == 0)) || die "resume ended with $status" "reprise status --journal $journal"
}

prove() {
    heading "Proof, by others than Reprise" "curl, SQL over plain ssh, and PostgreSQL's own log."
    [[ $(run_status "d['state']") == SUCCEEDED ]] || die "the run ended as $(run_status "d['state']")"
    good "the run SUCCEEDED"
    local answer
    answer=$(curl -fsS -m 10 "$health") || die "the application does not serve: $health"
    grep -q '"status" *: *"ok"' <<<"$answer" || die "the application is not well: $answer"
    good "the application serves: $answer"

    fingerprint "$database" >"$work/after" || die "the recovered database cannot be read"
    # The seed is a template that nobody may connect to: a copy of it is read.
    ask postgres "DROP DATABASE IF EXISTS $seed_copy WITH (FORCE)" 2>/dev/null
    ask postgres "CREATE DATABASE $seed_copy TEMPLATE $seed STRATEGY file_copy"
    fingerprint "$seed_copy" >"$work/seed" || die "the seed cannot be read"
    ask postgres "DROP DATABASE $seed_copy WITH (FORCE)"
    local place
    sort -o "$work/after" "$work/after"
    for place in before seed; do
        settled <"$work/$place" | sort >"$work/expected"
        cmp -s "$work/expected" "$work/after" || die "tables differ from the $place: $(diff "$work/expected" "$work/after" | head -n 5)"
    done
    awk -F'|' '{ printf "      %-34s %10d rows  equal in count and content\n", $1, $2 }' "$work/after"
    good "$(wc -l <"$work/after") tables are what they were before the disaster, and what the seed is"
    good "queued jobs are held in reprise_settled.jobs, row by row; sessions and tokens are gone, on purpose"

    local names
    names=$(ask postgres "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname IN ('$database', '$damaged', '$scratch')")
    [[ $names == "$damaged $database" ]] || die "these databases should be there: $damaged $database; found: $names"
    good "the damaged database is kept as $damaged, and no scratch database is left"
    once "CREATE DATABASE \"?$scratch\"? " "scratch database made"
    once "ALTER DATABASE \"?$database\"? RENAME TO \"?$damaged" "damaged database renamed"
    once "ALTER DATABASE \"?$scratch\"? RENAME TO \"?$database" "restored database renamed"
}

# once PATTERN WHAT: PostgreSQL's log has it exactly once since the start.
once() {
    local count
    count=$(on_db1 "tail -c +$((log_bytes + 1)) /var/log/postgresql/postgresql-15-main.log" | grep -Ec "LOG:  (statement|execute [^:]*): $1" || true)
    [[ $count == 1 ]] || die "PostgreSQL's log says $count times: $2"
    good "PostgreSQL's log says exactly once: $2"
}

play() {
    back_up
    corrupt
    check
    start_and_kill
    aftermath
    carry_on
    prove
    account
}
