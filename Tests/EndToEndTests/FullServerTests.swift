import Testing

extension EndToEnd {
    /// From a bare host to the serving application, on the lab's `new1`.
    @Suite struct FullServerTests {
        @Test func aBareHostServesTheApplicationAndASecondRunChangesNothing() async throws {
            try await Scenario.play(Self.prelude + #"""
                lab factory new1
                lab backup
                try start
                expect "the exit status" 0 "$CODE"
                serves
                expect "the revision of the code" "$(cat "$LAB/code/revision")" "$(there git -c safe.directory='*' -C "$BACKEND" rev-parse HEAD)"
                for port in 22 80 443; do expect "port $port from another host" open "$(port $port)"; done
                expect "port 5432 from another host" shut "$(port 5432)"
                # The application keeps what is encrypted with production's key.
                expect "the APP_KEY" "$(sed -n s/^app_key=//p "$LAB/secrets")" "$(there sed -n s/^APP_KEY=//p "$BACKEND/.env")"
                expect "the owner of .env" "root:www-data 640" "$(there stat -c '%U:%G %a' "$BACKEND/.env")"

                state_of_host >"$WORK/before"
                try start
                expect "the exit status of the second run" 0 "$CODE"
                reprise status >"$WORK/second"
                # What only looks is done each time.
                expect "what the second run did" "database-is-safe visit" "$(awk '$2 == "done" { print $3 }' "$WORK/second" | tr '\n' ' ' | sed 's/ $//')"
                state_of_host >"$WORK/after"
                cmp -s "$WORK/before" "$WORK/after" || { echo "the second run changed:"; diff "$WORK/before" "$WORK/after" | head -n 20; exit 1; }

                # What somebody changes by hand is put right, and nothing else.
                there sh -c "echo broken >$BACKEND/.env; echo 'server {' >/etc/nginx/sites-available/chms"
                try start
                expect "the exit status of the third run" 0 "$CODE"
                serves
                state_of_host | sed 's/ @[0-9.]*$//' >"$WORK/mended"
                sed -i 's/ @[0-9.]*$//' "$WORK/before"
                cmp -s "$WORK/before" "$WORK/mended" || { echo "the third run left:"; diff "$WORK/before" "$WORK/mended" | head -n 20; exit 1; }

                # It comes back by itself.
                lab power-cut new1
                lab boot new1
                await "the application after a reboot" answers
                expect "port 5432 from another host, after a reboot" shut "$(port 5432)"
                """#)
        }

        @Test func aFastRestoreEndsSafelyWithoutTheOrchestratorAndIsTakenUpAgain() async throws {
            try await Scenario.play(Self.prelude + #"""
                installed
                restoring_fast
                kill -KILL "$BACKGROUND"; wait "$BACKGROUND" || true; BACKGROUND=
                expect "the server's fsync in the middle" off "$(setting fsync)"
                expect "what the boot does in the middle" manual "$(there cat /etc/postgresql/15/main/start.conf)"
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
                kill -KILL "$BACKGROUND"; wait "$BACKGROUND" || true; BACKGROUND=
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

        @Test func aServerWithFsyncOffIsRefused() async throws {
            try await Scenario.play(Self.prelude + #"""
                sed 's/^      access:$/      settings: {fsync: "off"}\n&/' plans/full-server.yaml >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                installed
                try start
                [[ $CODE != 0 ]] || { echo "a cluster was made with fsync off"; exit 1; }
                expect_said 'a cluster is not made with `fsync`'
                expect "the cluster" "" "$(there pg_lsclusters -h)"
                """#)
        }

        static let prelude = #"""
            PLAN=plans/full-server.yaml INVENTORY=inventory/new-server/lab.yaml
            BACKEND=/var/www/chms-production/backend DISK=$LAB/hosts/new1/upper MARK=/var/lib/postgresql/reprise/15-main.fast
            there() { scripts/lab enter new1 "$@"; }
            asked() { there runuser -u postgres -- psql -XAtqc "$1" "${2:-postgres}"; }
            setting() { asked "SHOW $1"; }
            identifier() { asked 'SELECT system_identifier FROM pg_control_system()'; }
            port() { scripts/lab enter app1 nc -z -w 2 10.77.0.14 "$1" && echo open || echo shut; }
            visit() { curl -sS -m 10 --cacert "$LAB/tls/ca.pem" --resolve chms.example.org:443:10.77.0.14 "https://chms.example.org$1"; }
            answers() { [[ $(visit /api/health 2>/dev/null) == *'"status":"ok"'* ]]; }
            gone() { [[ ! -e $DISK$1 ]]; }
            tries() { reprise status --json | perl -MJSON::PP -0777 -ne '($s) = grep { $_->{id} eq "'"$1"'" } @{decode_json($_)->{steps}}; print $s->{attempt} // $s->{attempts}'; }
            serves() {
                answers || { echo "the application is not well: $(visit /api/health 2>&1)"; exit 1; }
                expect "the uploaded file" "Welcome to the parish." "$(visit /storage/uploads/welcome.txt)"
                expect "the members" 2000 "$(asked 'SELECT count(full_name) FROM members' chms_production)"
                expect "the owner of the database" chms_user "$(asked "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'chms_production'")"
            }
            # No trace of the settings of a restore.
            safe() {
                expect "fsync, full_page_writes, autovacuum, wal_level" "on on on replica" "$(setting fsync) $(setting full_page_writes) $(setting autovacuum) $(setting wal_level)"
                expect "files of settings" reprise.conf "$(there ls /etc/postgresql/15/main/conf.d)"
                expect "the mark" "" "$(there sh -c "ls $MARK 2>/dev/null" || true)"
                expect "what the boot does" auto "$(there cat /etc/postgresql/15/main/start.conf)"
            }
            # A server with everything but its database: what was recovered on it before makes this quick.
            installed() {
                if ! there test -d "$BACKEND" 2>/dev/null; then lab factory new1; fi
                lab backup
                # Nothing of an earlier run is at work there, and nothing is claimed.
                lab power-cut new1
                lab boot new1
                there rm -rf /var/lib/reprise
                there sh -c 'pg_ctlcluster 15 main stop -m immediate 2>/dev/null; rm -rf /etc/postgresql/15 /var/lib/postgresql/15 /var/lib/postgresql/reprise'
            }
            # Signals the restoring programs, and not those who wait for them. Fails where there are none.
            signal_restore() {
                there sh -c 'found=1; for p in /proc/[0-9]*; do
                    case $(readlink "$p/exe") in */pg_restore) kill -"$1" "${p#/proc/}" 2>/dev/null && found=0 ;; esac
                done; exit $found' - "$1"
            }
            # Until a restore with the unsafe settings is under way; it is held there.
            restoring_fast() {
                "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --journal "$J" >"$WORK/background.log" 2>&1 &
                BACKGROUND=$!
                local end=$((SECONDS + 400))
                until [[ -e $DISK/etc/postgresql/15/main/conf.d/zz-reprise-fast.conf ]] && restoring && signal_restore STOP && there true && [[ -e $DISK$MARK ]]; do
                    kill -0 "$BACKGROUND" 2>/dev/null || { echo "the run ended before it restored:"; tail -n 20 "$WORK/background.log"; exit 1; }
                    ((SECONDS < end)) || { echo "the restore never began"; exit 1; }
                    sleep 0.01
                done
            }
            # Files with owner, mode and content, packages, rows. Not what living does: logs, sessions, the server's own files, the ledger of jobs.
            state_of_host() {
                there sh -euc '
                    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/log -o -path /var/tmp -o -path /root/.local \
                        -o -path /var/lib/reprise -o -path "/var/lib/postgresql/*/main" -o -path "*/storage/framework" -o -path "*/storage/logs" -o -path /var/lib/php/sessions \
                        -o -path /var/lib/nginx -o -path /var/lib/lab \) -prune -o \( -type f -printf "%p %u:%g %m %s @%T@\n" -o ! -type d -printf "%p %u:%g %m %l\n" -o -printf "%p %u:%g %m\n" \) | sort
                    dpkg-query -W'
                asked "SELECT table_name, (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %I.%I', table_schema, table_name), false, true, '')))[1]
                    FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1" chms_production
            }

            """#
    }
}
