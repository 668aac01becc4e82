import Testing

extension EndToEnd {
    /// From a bare host to the serving application, on the lab's `new1`, and on `new3`, whose services are systemd's.
    @Suite struct FullServerTests {
        @Test func aBareHostServesTheApplicationAndASecondRunChangesNothing() async throws {
            try await Scenario.play(Self.prelude + #"""
                on new3 10.77.0.16
                lab factory new3
                lab backup
                try start
                expect "the exit status" 0 "$CODE"
                serves
                expect "systemd" "running" "$(there systemctl is-system-running || true)"
                expect "the revision of the code" "$(cat "$LAB/code/revision")" "$(head_of_code)"
                for port in 22 80 443; do expect "port $port from another host" open "$(port $port)"; done
                expect "port 5432 from another host" shut "$(port 5432)"
                # The application keeps what is encrypted with production's key.
                expect "the APP_KEY" "$(sed -n s/^app_key=//p "$LAB/secrets")" "$(there sed -n "s/^APP_KEY='\(.*\)'$/\1/p" "$BACKEND/.env")"
                expect "the owner of .env" "root:www-data 640" "$(there stat -c '%U:%G %a' "$BACKEND/.env")"

                # What goes wrong inside while it looks well from outside is told from each log, and not again by the next run.
                UNDO+=("asked 'ALTER TABLE IF EXISTS away RENAME TO attendance_records' chms_production")
                asked 'ALTER TABLE attendance_records RENAME TO away' chms_production
                perl -0pe 's/(needs: \[firewall), (database-is-safe\])/$1, trouble, $2/; s/(path: \/api\/health\n +)json:\n.*?(?=        - path)/$1status: 503\n/s' "$PLAN" >"$WORK/trouble.yaml"
                cat >>"$WORK/trouble.yaml" <<'YAML'
                  - id: trouble
                    kind: command
                    on: app
                    needs: [web]
                    timeout: 1m
                    with:
                      run: |
                        ask() { curl -sk -m 10 -o /dev/null --resolve chms.example.org:443:127.0.0.1 "https://chms.example.org$1"; }
                        ask /storage/
                        kill -SEGV "$(cut -d ' ' -f 1 "/proc/$(cat /run/php/php8.2-fpm.pid)"/task/*/children)"
                        sleep 1
                        systemctl stop php8.2-fpm
                        ask /login
                        systemctl start php8.2-fpm
                YAML
                try reprise start "$WORK/trouble.yaml" --inventory "$INVENTORY" --yes
                expect "the exit status with errors inside" 1 "$CODE"
                expect_said "logs failed"
                OUT=$(reprise logs)
                for said in laravel.log:*ERROR nginx/error.log:*connect*php8.2-fpm.sock php8.2-fpm.log:*SIGSEGV postgresql-15-main.log:*ERROR; do
                    grep -q "${said//\*/.*}" <<<"$OUT" || { echo "EXPECTED a line like $said"; echo "$OUT" | tail -n 40; exit 1; }
                done
                there grep -q "directory index of .* is forbidden" /var/log/nginx/error.log || { echo "no client did what it must not"; exit 1; }
                ! grep -q "is forbidden" <<<"$OUT" || { echo "what a client did counts as an error"; exit 1; }
                try reprise cancel --reason "begun anew"
                asked 'ALTER TABLE away RENAME TO attendance_records' chms_production

                state_of_host >"$WORK/before"
                try start
                expect "the exit status of the second run" 0 "$CODE"
                only_looked
                state_of_host >"$WORK/after"
                cmp -s "$WORK/before" "$WORK/after" || { echo "the second run changed:"; diff "$WORK/before" "$WORK/after" | head -n 20; exit 1; }

                # A server that nobody thought of is not reached behind the firewall; where somebody opens its port, that is found.
                cat >"$WORK/ports.yaml" <<'PLAN'
                reprise: 1
                name: ports
                steps:
                  - id: ports
                    kind: port-check
                    on: app
                    with:
                      open: [{port: 22}, {port: 80}, {port: 443}]
                  - id: from-app1
                    kind: port-check
                    on: app
                    needs: []
                    with:
                      from: app1
                      open: [{port: 22}, {port: 80}, {port: 443}]
                PLAN
                sed 's/^  children:$/&\n    others:\n      hosts:\n        app1: {ansible_host: 10.77.0.11}/' "$INVENTORY" >"$WORK/ports-inventory.yaml"
                look() { try reprise start "$WORK/ports.yaml" --inventory "$WORK/ports-inventory.yaml" --yes; }
                there perl -MIO::Socket::INET -e 'alarm 120; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5) or die $!; sleep 120' &
                listens() { there grep -q ':1F90 00000000:0000 0A' /proc/net/tcp; }
                await "a server on port 8080" listens
                look
                expect "the exit status with a server behind the firewall" 0 "$CODE"
                there nft insert rule inet reprise input tcp dport 8080 accept
                look
                expect "the exit status with an open port" 3 "$CODE"
                expect_said 'open to this machine, and not one of `open`: 8080'
                expect_said 'open to app1, and not one of `open`: 8080'
                there nft -f /etc/nftables.conf

                # What somebody changes by hand is put right, and nothing else.
                there sh -c "echo broken >$BACKEND/.env; echo 'server {' >/etc/nginx/sites-available/chms"
                # Not by what nginx does not take, which never gets to its place.
                sed 's/^ *listen 443 ssl/&&/' "$PLAN" >"$WORK/misspelt.yaml"
                try reprise start "$WORK/misspelt.yaml" --inventory "$INVENTORY" --yes
                expect "the exit status with a site that nginx does not take" 1 "$CODE"
                expect_said 'refuses the new /etc/nginx/sites-available/chms'
                expect_said 'invalid parameter "listen"'
                expect "the site that is there" "server {" "$(there cat /etc/nginx/sites-available/chms)"
                try reprise cancel --reason "begun anew"
                try start
                expect "the exit status of the third run" 0 "$CODE"
                serves
                state_of_host | sed 's/ @[0-9.]*$//' >"$WORK/mended"
                sed -i 's/ @[0-9.]*$//' "$WORK/before"
                cmp -s "$WORK/before" "$WORK/mended" || { echo "the third run left:"; diff "$WORK/before" "$WORK/mended" | head -n 20; exit 1; }

                # It comes back by itself.
                lab power-cut new3
                lab boot new3
                await "the application after a reboot" answers
                expect "port 5432 from another host, after a reboot" shut "$(port 5432)"
                """#)
        }

        /// Data, code and what belongs to the database itself come from the backup that was really taken, and stay whatever comes into the
        /// store afterwards.
        @Test func aDamagedNewestBackupIsPassedOverAndTheCodeFollowsTheData() async throws {
            try await Scenario.play(Self.prelude + #"""
                lab reset
                UNDO+=("lab reset")
                scripts/lab sql db1 postgres >/dev/null <<<"
                    ALTER DATABASE chms_production SET work_mem TO '17MB';
                    ALTER DATABASE chms_production SET search_path TO '\$user', public;
                    ALTER ROLE chms_readonly IN DATABASE chms_production SET statement_timeout TO '30s';
                    REVOKE TEMPORARY ON DATABASE chms_production FROM PUBLIC;
                    GRANT CREATE ON DATABASE chms_production TO chms_readonly WITH GRANT OPTION;
                    ALTER DATABASE chms_production CONNECTION LIMIT 40;
                    COMMENT ON DATABASE chms_production IS 'the parish''s; \"own\"';"
                installed
                good=$(newest_backup)
                # A whole gzip around an archive that was cut off, with a revision that is nowhere.
                cut=db_$(date -u -d '+2 minutes' +%Y%m%d_%H%M%S).dump.gz
                UNDO+=("scripts/lab aws writer s3 rm s3://chms-backups/database/$cut" "scripts/lab aws writer s3 rm s3://chms-backups/database/$cut.json")
                scripts/lab enter db1 bash -euc "
                    cd /var/backups/chms
                    gunzip -c $good | head -c 30000 | gzip -c >$cut
                    echo '{\"application-revision\": \"0000000000000000000000000000000000000000\"}' >$cut.json"
                lab enter db1 env DATE="$(basename "${cut#db_}" .dump.gz)" upload-chms-backup.sh database
                lab enter db1 rm -f "/var/backups/chms/$cut" "/var/backups/chms/$cut.json"
                try start
                expect "the exit status" 8 "$CODE"
                expect_said "backup database/$cut is not usable and was passed over"
                serves
                revision=$(cat "$LAB/code/revision")
                expect "the revision of the code" "$revision" "$(head_of_code)"
                expect "the note on the database" "database/$good $revision" "$(asked 'SHOW reprise.backup' chms_production) $(asked 'SHOW reprise.revision' chms_production)"
                expect "what is the database's own" "$(sql postgres "$OWN")" "$(asked "$OWN")"
                [[ $(asked "$OWN") == *chms_user*work_mem=17MB* ]] || { echo "it has nothing of its own: $(asked "$OWN")"; exit 1; }
                OUT=$(reprise report)
                expect_said "backup database/$cut is not usable and was passed over"
                expect_said "backups: database/$good"

                # Another machine, another day: there is a newer backup of newer code.
                scripts/lab aws writer s3 rm "s3://chms-backups/database/$cut" >/dev/null
                UNDO+=("scripts/lab enter db1 sh -c 'echo $revision >/etc/chms-revision'")
                scripts/lab enter db1 sh -c 'echo 1111111111111111111111111111111111111111 >/etc/chms-revision'
                sleep 1
                lab backup
                [[ $(newest_backup) != "$good" ]] || { echo "there is no newer backup"; exit 1; }
                mkdir -m 700 "$WORK/other"
                J=$WORK/other/journal.sqlite
                try start
                expect "the exit status of the second run" 0 "$CODE"
                only_looked
                expect "the revision of the code" "$revision" "$(head_of_code)"
                OUT=$(reprise report --json)
                expect_said "chms_production is from database/$good"

                # Newer code, whose migration the database does not have.
                newer=$(scripts/lab enter s3 git -c safe.directory='*' -C /home/git/chms.git rev-parse main)
                nicknames() { asked "SELECT count(*) FROM information_schema.columns WHERE table_name = 'members' AND column_name = 'nickname'" chms_production; }
                try start --param "revision=$newer"
                expect "the exit status with a pending migration" 1 "$CODE"
                expect_said "migrations failed"
                expect_said "the database does not have these migrations: 2026_02_01_000004_add_nickname_to_members"
                expect_said "start again with --param migrate=yes"
                expect "columns of the migration" 0 "$(nicknames)"
                try reprise cancel --reason "begun anew"
                # The same code, but for what others could read meanwhile.
                there chmod o+r "$BACKEND/bootstrap/cache/config.php"
                try start --param "revision=$newer" --param migrate=yes
                expect "the exit status with leave to migrate" 0 "$CODE"
                expect "columns of the migration" 1 "$(nicknames)"
                expect "the revision of the code" "$newer" "$(head_of_code)"
                serves
                """#)
        }

        @Test func aFastRestoreEndsSafelyWithoutTheOrchestratorAndIsTakenUpAgain() async throws {
            try await Scenario.play(Self.prelude + #"""
                installed
                restoring_fast
                killed
                expect "the server's fsync in the middle" off "$(setting fsync)"
                expect "what a start does in the middle" disabled "$(there sed '/^#/d' /etc/postgresql/15/main/start.conf)"
                signal_restore CONT
                # Nobody is there to finish it but the host's own job.
                await "the end of the unsafe settings" gone "$MARK"
                safe
                resume_to_end
                expect "the run" SUCCEEDED "$(state)"
                expect "the tries of the restore" 1 "$(tries restore)"
                serves
                safe
                """#)
        }

        @Test func aPowerCutInTheMiddleOfAFastRestoreBeginsTheClusterAgain() async throws {
            try await Scenario.play(Self.prelude + #"""
                installed
                restoring_fast
                BEFORE=$(identifier)
                expect "the server's fsync before the cut" off "$(setting fsync)"
                killed
                lab power-cut new1
                [[ -e $DISK$MARK ]] || { echo "the cut came too late"; exit 1; }
                lab boot new1
                # No boot starts a server that may have lost anything.
                expect "the cluster after the boot" down "$(there pg_lsclusters -h | awk '{ print $4 }')"
                resume_to_end
                expect "the run" SUCCEEDED "$(state)"
                [[ $(identifier) != "$BEFORE" ]] || { echo "the spoilt cluster lives on"; exit 1; }
                serves
                safe
                """#)
        }

        /// The host's own job dies, and nobody resumes: what it started with the unsafe settings is gone with it.
        @Test func aFastRestoreWhoseJobIsKilledLeavesNoServerThatACrashWouldDestroy() async throws {
            try await Scenario.play(Self.prelude + #"""
                installed
                restoring_fast
                killed
                expect "the server's fsync in the middle" off "$(setting fsync)"
                unsafe_servers() { there sh -c 'for p in /proc/[0-9]*; do tr "\0" " " <"$p/cmdline" 2>/dev/null | grep -q "[p]ostgres -D .* -c fsync=off" && echo "${p#/proc/}"; done; true'; }
                [[ -n $(unsafe_servers) ]] || { echo "no server runs with fsync=off: the test shows nothing"; exit 1; }
                there sh -c 'for p in /proc/[0-9]*; do case $(tr "\0" " " <"$p/cmdline" 2>/dev/null) in "/bin/sh -eu /var/lib/reprise/jobs/"*.restore.*/script*) kill -KILL "${p#/proc/}" ;; esac; done'
                sleep 10
                expect "servers with fsync=off, ten seconds later" "" "$(unsafe_servers)"
                signal_restore CONT || true
                try there pg_ctlcluster 15 main start
                [[ $CODE != 0 ]] || { echo "what was not flushed could be started"; exit 1; }
                expect_said "Cluster is disabled"
                try reprise resume
                [[ $CODE == 0 ]] || { try reprise retry restore; expect "the exit status" 0 "$CODE"; }
                expect "the run" SUCCEEDED "$(state)"
                serves
                safe
                """#)
        }

        @Test func aFastRestoreThatIsCancelledLeavesASafeServer() async throws {
            try await Scenario.play(Self.prelude + #"""
                installed
                restoring_fast
                expect "the server's fsync in the middle" off "$(setting fsync)"
                try reprise cancel
                join
                expect "the run" CANCELLED "$(state)"
                safe
                """#)
        }

        /// What scenarios of a new server can use. `DATABASE_HOST` is where its database is.
        static let prelude = #"""
            PLAN=plans/full-server.yaml INVENTORY=inventory/new-server/lab.yaml
            BACKEND=/var/www/chms-production/backend DATABASE=chms_production MARK=/var/lib/reprise-postgresql/15-main.fast
            # Which of the lab's new servers it is.
            at() { SERVER=$1 DATABASE_HOST=$1 ADDRESS=$2 DISK=$LAB/hosts/$1/upper; }
            at new1 10.77.0.14
            on() {
                at "$@"
                sed "s/new1/$1/g; s/10\.77\.0\.14/$2/g" inventory/new-server/lab.yaml >"$WORK/inventory.yaml"
                sed "s/10\.77\.0\.14/$2/g" plans/full-server.yaml >"$WORK/full-server.yaml"
                INVENTORY=$WORK/inventory.yaml PLAN=$WORK/full-server.yaml
            }
            there() { scripts/lab enter "$SERVER" "$@"; }
            at_database() { scripts/lab enter "$DATABASE_HOST" "$@"; }
            asked() { at_database runuser -u postgres -- psql -XAtqc "$1" "${2:-postgres}"; }
            setting() { asked "SHOW $1"; }
            identifier() { asked 'SELECT system_identifier FROM pg_control_system()'; }
            port() { scripts/lab enter app1 nc -z -w 1 "${2:-$ADDRESS}" "$1" && echo open || echo shut; }
            visit() { curl -sS -m 10 --cacert "$LAB/tls/ca.pem" --resolve "chms.example.org:443:$ADDRESS" "https://chms.example.org$1"; }
            answers() { [[ $(visit /api/health 2>/dev/null) == *'"status":"ok"'* ]]; }
            gone() { [[ ! -e $DISK$1 ]]; }
            newest_backup() { scripts/lab aws reader s3 ls s3://chms-backups/database/ | awk '$4 ~ /gz$/ {print $4}' | sort | tail -n 1; }
            head_of_code() { there git -c safe.directory='*' -C "$BACKEND" rev-parse HEAD; }
            # Owner, limit, comment, grants and settings, but for what Reprise notes.
            OWN="SELECT pg_get_userbyid(d.datdba), d.datconnlimit, shobj_description(d.oid, 'pg_database'), (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(d.datacl) a),
                (SELECT string_agg(coalesce(s.setrole::regrole::text, '-') || ':' || c, ' ' ORDER BY s.setrole <> 0, c) FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setdatabase = d.oid AND c NOT LIKE 'reprise.%')
                FROM pg_database d WHERE d.datname = 'chms_production'"
            tries() { reprise status --json | perl -MJSON::PP -0777 -ne '($s) = grep { $_->{id} eq "'"$1"'" } @{decode_json($_)->{steps}}; print $s->{attempt} // $s->{attempts}'; }
            # What any account of a host can read of the plan's secrets, and of a file that all may read. They come by standard input: arguments
            # are seen by all.
            secrets() { sed -n 's/^\(app_key\|db_password\|db_readonly_password\)=//p' "$LAB/secrets"; sed -n 3p "$LAB/tls/key.pem"; sed -n 4p "$LAB/code/deploy_key"; }
            read_by_others() {
                expect "how many secrets are looked for" 5 "$(secrets | grep -c ..........)"
                { secrets; echo '# /etc/shells: valid login shells'; } | scripts/lab enter "$1" runuser -u nobody -- grep -rlsF -f - /etc /home /root /run /srv /tmp /usr/local /var || true
            }
            serves() {
                for host in $(printf '%s\n' "$SERVER" "$DATABASE_HOST" | sort -u); do expect "what others can read on $host" /etc/shells "$(read_by_others "$host")"; done
                answers || { echo "the application is not well: $(visit /api/health 2>&1)"; exit 1; }
                expect "the uploaded file" "Welcome to the parish." "$(visit /storage/uploads/welcome.txt)"
                expect "the members" 2000 "$(asked 'SELECT count(full_name) FROM members' "$DATABASE")"
                expect "the owner of the database" chms_user "$(asked "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '$DATABASE'")"
            }
            # What only looks is done each time; all else was found as it should be.
            only_looked() { expect "what the second run did" "app-key log-ends database-is-safe visit ports logs " "$(reprise status | awk '$2 == "done" { print $3 }' | tr '\n' ' ')"; }
            # No trace of the settings of a restore.
            safe() {
                expect "fsync, full_page_writes, autovacuum, wal_level" "on on on replica" "$(setting fsync) $(setting full_page_writes) $(setting autovacuum) $(setting wal_level)"
                expect "files of settings" reprise.conf "$(at_database ls /etc/postgresql/15/main/conf.d)"
                expect "the mark" "" "$(at_database sh -c "ls $MARK 2>/dev/null" || true)"
                expect "what the boot does" auto "$(at_database cat /etc/postgresql/15/main/start.conf)"
            }
            # A server with everything but its database: what was recovered on it before makes this quick.
            installed() {
                if ! there test -d "$BACKEND" 2>/dev/null; then lab factory new1; fi
                lab backup
                # Nothing of an earlier run is at work there, and nothing is claimed.
                lab power-cut new1
                lab boot new1
                there rm -rf /var/lib/reprise
                there sh -c 'pg_ctlcluster 15 main stop -m immediate 2>/dev/null; rm -rf /etc/postgresql/15 /var/lib/postgresql/15 /var/lib/reprise-postgresql'
            }
            # Signals the restoring programs, and not those who wait for them. Fails where there are none.
            signal_restore() {
                there sh -c 'found=1; for p in /proc/[0-9]*; do
                    case $(readlink "$p/exe") in */pg_restore) kill -"$1" "${p#/proc/}" 2>/dev/null && found=0 ;; esac
                done; exit $found' - "$1"
            }
            # Until a restore with the unsafe settings is under way; it is held there.
            restoring_fast() {
                behind
                local end=$((SECONDS + 400))
                until [[ -e $DISK$MARK ]] && restoring && signal_restore STOP && there true && [[ -e $DISK$MARK ]]; do
                    kill -0 "$BACKGROUND" 2>/dev/null || { echo "the run ended before it restored:"; tail -n 20 "$WORK/background.log"; exit 1; }
                    ((SECONDS < end)) || { echo "the restore never began"; exit 1; }
                    sleep 0.01
                done
            }
            # What a second run has to find as it was: files with owner, mode and content, packages, rows. Not what living does: logs, sessions, the server's own files, the ledger of jobs.
            state_of_host() { files_of "$SERVER"; rows; }
            files_of() {
                scripts/lab enter "$1" sh -euc '
                    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/log -o -path /var/tmp -o -path /root/.local \
                        -o -path /var/lib/reprise -o -path "/var/lib/postgresql/*/main" -o -path "*/storage/framework" -o -path "*/storage/logs" -o -path /var/lib/php/sessions \
                        -o -path /var/lib/nginx -o -path /var/lib/lab \) -prune -o \( -type f -printf "%p %u:%g %m %s @%T@\n" -o ! -type d -printf "%p %u:%g %m %l\n" -o -printf "%p %u:%g %m\n" \) | sort
                    dpkg-query -W'
            }
            rows() {
                asked "SELECT table_name, (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %I.%I', table_schema, table_name), false, true, '')))[1]
                    FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1" chms_production
            }

            """#
    }
}
