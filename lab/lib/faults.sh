# shellcheck shell=bash
# shellcheck disable=SC2016 # quoted programs that run elsewhere expand there
# What happens to the lab: backups, corruption, resets of hosts, pulled cables.

install_backup_tools() {
    local host script
    for host in db1 app1; do
        for script in backup-chms-db.sh backup-chms-files.sh upload-chms-backup.sh; do
            put_file "$host" "/usr/local/bin/$script" 755 <"$LAB_SOURCE/host/$script"
        done
        sed 's/^\[lab-writer\]/[default]/; /^$/,$d' "$LAB_DIR/aws/credentials" \
            | put_file "$host" /root/.aws/credentials 600
        printf '[default]\nregion = us-east-1\n' | put_file "$host" /root/.aws/config 644
        echo "S3_ENDPOINT=$S3_ENDPOINT" | put_file "$host" /etc/chms-backup.conf 644
    done
    # shellcheck disable=SC2154 # read from the secrets file
    echo "localhost:5432:*:$DB_OWNER:$db_password" | put_file db1 /root/.pgpass 600
}

cmd_backup() {
    (($# == 0)) || usage_error "backup takes no arguments"
    lock_lab
    load_secrets
    local date
    date=$(in_host db1 date +%Y%m%d_%H%M%S)
    step "backing up the database on db1 and the uploaded files on app1"
    in_host db1 env "DATE=$date" bash -euc \
        'backup-chms-db.sh 2>/var/log/chms-backup-db.err || { tail -n 5 /var/log/chms-backup-db.err >&2; exit 1; }'
    in_host app1 env "DATE=$date" backup-chms-files.sh
    in_host db1 env "DATE=$date" upload-chms-backup.sh database >&2
    in_host app1 env "DATE=$date" upload-chms-backup.sh files >&2
    echo "database/db_$date.dump.gz"
    echo "files/files_$date.tar.gz"
}

# Overwrites pages of the heap of members and of its e-mail index, in the
# files, while the server is down so that no clean copy in its memory covers
# it; then proves that the queries fail.
cmd_corrupt() {
    (($# == 0)) || usage_error "corrupt takes no arguments"
    lock_lab
    load_secrets
    local heap index error query
    { read -r heap; read -r index; } < <(db_sql db1 "$DB_NAME" -At <<'SQL'
SELECT pg_relation_filepath('members');
SELECT pg_relation_filepath('members_email_unique');
SQL
    )
    [[ $heap == base/*/* && $index == base/*/* ]] || die "the files of members were not found in $DB_NAME"
    # What is in memory and not yet in the file would be written over it.
    echo CHECKPOINT | db_sql db1 postgres
    in_host db1 bash -euc '
        service postgresql stop >/dev/null
        cd /var/lib/postgresql/15/main
        for file in "$@"; do
            pages=$(($(stat -c %s "$file") / 8192))
            # A third of the pages, from the second on, 4 KiB into each page.
            for ((page = 1; page < pages && page < 120; page += 3)); do
                head -c 2048 /dev/urandom \
                    | dd of="$file" bs=1 seek=$((page * 8192 + 4096)) conv=notrunc status=none
            done
            sync "$file"
        done
        service postgresql start >/dev/null
    ' corrupt "$heap" "$index"
    wait_until 60 "PostgreSQL on db1" db_answers db1
    for query in \
        'SELECT count(full_name) FROM members' \
        'SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(email) FROM members WHERE email IS NOT NULL'; do
        if error=$(echo "$query" | db_sql db1 "$DB_NAME" 2>&1 >/dev/null); then
            die "the corruption had no effect: $query"
        fi
        grep -q 'invalid page' <<<"$error" || die "the query failed for another reason: $error"
        say "$query"
        say "  → $(grep -m 1 ERROR <<<"$error")"
    done
    step "members is corrupt: $heap and $index"
}

# Removes what recoveries leave on a host: running jobs, the ledger, effect
# logs, firewall rules.
host_reset() {
    host_link_up "$1"
    in_host "$1" bash -uc '
        # Whoever holds a file of the ledger open is a job or its supervisor.
        for link in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd; do
            case $(readlink "$link") in
                /var/lib/reprise/* | */.local/state/reprise/*)
                    pid=${link#/proc/}
                    kill -KILL "${pid%%/*}" 2>/dev/null
                    ;;
            esac
        done
        rm -rf /var/lib/reprise {/root,/home/deploy,/home/nosudo}/.local/state/reprise
        find /var/log/lab-effects -mindepth 1 -delete
        nft flush ruleset
        true'
}

# A pulled cable: the host runs on and reaches nobody. A slow one: no faster than RATE, either way.
cmd_cable() {
    local ns
    [[ $# -eq 2 || ($# -eq 3 && $2 == up) ]] || usage_error "cable needs a host and up [RATE] or down"
    host_ip "$1" >/dev/null
    ns=$(netns_of "$1")
    case $2 in
        down) ip link set "rlab-$1" down ;;
        up)
            if [[ $# -eq 3 ]]; then
                link_rate "$1" "$3"
            else
                tc qdisc del dev "rlab-$1" root 2>/dev/null || true
                tc -n "$ns" qdisc del dev eth0 root 2>/dev/null || true
            fi
            ip link set "rlab-$1" up
            ;;
        *) usage_error "a cable is up or down, not $2" ;;
    esac
}

# link_rate HOST RATE: what waits longer than 50 ms is dropped, as by a switch.
link_rate() {
    local limit=(root tbf rate "$2" burst 256kb latency 50ms)
    [[ $2 =~ ^[1-9][0-9]*[mg]bit$ ]] || usage_error "a rate is like 100mbit or 1gbit, not $2"
    tc qdisc replace dev "rlab-$1" "${limit[@]}"
    tc -n "$(netns_of "$1")" qdisc replace dev eth0 "${limit[@]}"
}
