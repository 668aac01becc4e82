import Testing

extension EndToEnd {
    /// What happens to a recovery when the database server, its programs, the clock or a rival do what they do in incidents.
    @Suite
    struct ServerFaultTests {
        /// Stops a start at a named place, and waits until it stands still there.
        private static let stopping = #"""
            stop_at() {
                export REPRISE_FAILPOINT=$1:1:stop
                background
                unset REPRISE_FAILPOINT
                await "a stop at $1" stopped
            }
            stopped() { [[ $(sed 's/.*) //' "/proc/$BACKGROUND/stat" | cut -d' ' -f1) == T ]]; }
            restart_server() { lab enter db1 service postgresql restart; }

            """#

        /// A backup of a table whose rows are not copied, and whose index is not built, as long as a file is there.
        private static let gated = #"""
            lab reset
            sql chms_production "CREATE FUNCTION public.lab_gate(what text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN WHILE (pg_catalog.pg_stat_file('/tmp/lab-gate-' || what, true)).size IS NOT NULL LOOP PERFORM pg_catalog.pg_sleep(0.05); END LOOP; RETURN true; END \$\$;
                CREATE TABLE public.lab_gated (id int PRIMARY KEY, CHECK (public.lab_gate('copy')));
                INSERT INTO public.lab_gated VALUES (1);
                CREATE INDEX lab_gated_index ON public.lab_gated ((public.lab_gate('index')));
                ALTER TABLE public.lab_gated OWNER TO chms_user;"
            lab backup
            lab corrupt
            DAMAGED=$(oid chms_production)
            gates() { scripts/lab enter db1 bash -c "cd /tmp; $1 lab-gate-$2 </dev/null"; }
            UNDO+=("gates 'rm -f' copy" "gates 'rm -f' index")
            inside() { sql postgres "SELECT pid FROM pg_stat_activity WHERE datname = 'chms_restore' AND state = 'active' AND query ILIKE '$1%lab_gated%' LIMIT 1"; }
            in_copy() { [[ -n $(inside COPY) ]]; }
            in_index() { [[ -n $(inside 'CREATE INDEX') ]]; }

            """#

        /// `newest` names the newest backup of the database; `put` stores a dump, which it reads, as a newer one, whose key is then `$KEY`.
        private static let backups = #"""
            newest() { scripts/lab aws writer s3api list-objects-v2 --bucket chms-backups --prefix database/db_ --query 'sort_by(Contents[?ends_with(Key, `".gz"`)],&Key)[-1].Key' --output text; }
            unpacked() { scripts/lab aws writer s3 cp "s3://chms-backups/$1" - | gzip -dc; }
            put() {
                sleep 1
                KEY=database/db_$(date -u +%Y%m%d_%H%M%S).dump.gz
                UNDO+=("scripts/lab aws writer s3 rm s3://chms-backups/$KEY")
                gzip -1 | scripts/lab aws writer s3 cp - "s3://chms-backups/$KEY"
            }

            """#

        /// Restarted under the restore and under the verification that follows: each is begun again by itself.
        @Test(.timeLimit(.minutes(10)))
        func theServerIsRestartedUnderRestoreAndVerification() async throws {
            try await Scenario.play(
                Self.stopping + Self.gated + #"""
                gates touch copy
                # A session that holds a table, so that the verification stands still where it is to be interrupted. Once only.
                perl -0pe 's/(  - id: verify-scratch\n    kind: postgres-verify\n(?:    .*\n)*?    needs: )\[restore\]/  - id: hold-table\n    kind: command\n    on: db1\n    needs: [restore]\n    with:\n      as: postgres\n      directory: \/tmp\n      run: |\n        psql -X -q -d chms_restore -c "BEGIN; LOCK TABLE members; SELECT pg_sleep(600)" >\/dev\/null 2>&1 &\n        until [ "\$(psql -XAtq -c "SELECT count(*) FROM pg_locks WHERE granted AND mode = \x27AccessExclusiveLock\x27 AND database = (SELECT oid FROM pg_database WHERE datname = \x27chms_restore\x27)")" -ge 1 ]; do sleep 0.05; done\n\n$1\[hold-table\]/' "$PLAN" >"$WORK/plan.yaml"
                grep -q 'needs: \[hold-table\]' "$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                background
                await "COPY" in_copy
                restart_server
                gates 'rm -f' copy
                blocked() { [[ $(scripts/lab sql db1 postgres -At <<<"SELECT count(*) FROM pg_stat_activity WHERE datname = 'chms_restore' AND wait_event_type = 'Lock'" 2>/dev/null) -ge 1 ]]; }
                await "a verification that waits for the table" blocked
                restart_server
                join
                expect "the exit status" 8 "$CODE"
                recovered SUCCEEDED_WITH_WARNINGS
                attempts() { reprise status --json | perl -MJSON::PP -0777 -ne 'print join " ", map { $_->{attempt} } grep { $_->{id} eq "'"$1"'" } @{decode_json($_)->{steps}}'; }
                expect "the attempts to restore" 2 "$(attempts restore)"
                expect "the attempts to verify" 2 "$(attempts verify-scratch)"
                """#)
        }

        /// Restarted before the settings are carried over and again before the names change: the swap ends, once.
        @Test(.timeLimit(.minutes(10)))
        func theServerIsRestartedUnderTheSwap() async throws {
            try await Scenario.play(
                Self.stopping + """
                fresh
                stop_at swap.before-settings
                restart_server
                untouched
                kill -CONT "$BACKGROUND"
                join
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        /// Both renames are one transaction: between them nobody sees either, and a process that dies there has done nothing.
        @Test(.timeLimit(.minutes(10)))
        func aKillBetweenTheRenamesLeavesProductionAsItWas() async throws {
            try await Scenario.play(
                Self.stopping + """
                fresh
                stop_at swap.renamed
                untouched
                expect "the scratch database" 1 "$(sql postgres "SELECT count(*) FROM pg_database WHERE datname = 'chms_restore'")"
                killed
                # The server rolls back as soon as it notices; a login waits for that and finds the old database.
                expect "the database behind the name" "$DAMAGED" "$(sql chms_production "SELECT oid FROM pg_database WHERE datname = current_database()")"
                untouched
                try reprise resume
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        /// The restoring job is killed, supervisor and all, in COPY and again in CREATE INDEX. The server's own process works on, and
        /// is ended before the next attempt begins from nothing.
        @Test(.timeLimit(.minutes(10)))
        func aRestoreKilledInCopyAndInCreateIndexIsBegunAgainWithoutItsOrphans() async throws {
            try await Scenario.play(
                Self.gated + #"""
                gates touch copy
                gates touch index
                # So that an orphan goes on for as long as it likes.
                sed 's/^      jobs: "{{ params.jobs }}"/&\n      settings: {client_connection_check_interval: "0"}/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                alive() { sql postgres "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"; }
                # Whoever has a file of the restoring job open: its supervisor and its processes, on db1 and by id.
                kill_job() {
                    scripts/lab enter db1 bash -c 'for l in /proc/[0-9]*/fd/*; do case $(readlink "$l") in /var/lib/reprise/jobs/*.restore.*) p=${l#/proc/}; kill -KILL "${p%%/*}" 2>/dev/null;; esac; done; true'
                }
                export REPRISE_FAILPOINT=restore.before-create:2:stop
                background
                unset REPRISE_FAILPOINT
                stopped() { [[ $(sed 's/.*) //' "/proc/$BACKGROUND/stat" | cut -d' ' -f1) == T ]]; }
                await "COPY" in_copy
                orphan=$(inside COPY)
                kill_job
                # The second attempt is about to make its scratch database: the orphan was ended, and its database with it.
                await "the second attempt" stopped
                expect "the orphan in COPY" 0 "$(alive "$orphan")"
                expect "the scratch database" "" "$(oid chms_restore)"
                gates 'rm -f' copy
                kill -CONT "$BACKGROUND"
                await "CREATE INDEX" in_index
                orphan=$(inside 'CREATE INDEX')
                old=$(oid chms_restore)
                kill_job
                again() { local now; now=$(oid chms_restore); [[ -n $now && $now != "$old" ]]; }
                await "the third scratch database" again
                expect "the orphan in CREATE INDEX" 0 "$(alive "$orphan")"
                gates 'rm -f' index
                join
                expect "the exit status" 0 "$CODE"
                recovered
                expect "the gated row" 1 "$(sql chms_production "SELECT count(*) FROM lab_gated")"
                """#)
        }

        /// A clock that is an hour off is called so, whichever way, and nothing is touched.
        @Test(.timeLimit(.minutes(10)))
        func aWrongClockIsNamed() async throws {
            try await Scenario.play(
                """
                library=$(ls /usr/lib/*/faketime/libfaketime.so.1 2>/dev/null || true)
                [[ -n $library ]] || { echo "SKIPPED: needs libfaketime (apt-get install faketime)"; exit 0; }
                lab reset
                DAMAGED=$(oid chms_production)
                for offset in +1h -1h; do
                    # The library moves the environment as it is first loaded, and with it what Swift takes the arguments from: so twice.
                    try env LD_PRELOAD="$library" FAKETIME="$offset" DONT_FAKE_MONOTONIC=1 env "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --param approve=no --journal "$J"
                    [[ $CODE != 0 ]] || { echo "EXPECTED a failure"; exit 1; }
                    expect_said clock
                    expect_said "nothing was started"
                    untouched
                    expect "the scratch database" "" "$(oid chms_restore)"
                done
                """)
        }

        /// A login whose sudo asks for a password is found by `check`; the one beside it, whose sudo does not, passes.
        @Test(.timeLimit(.minutes(10)))
        func sudoThatWantsAPasswordIsFoundByCheck() async throws {
            try await Scenario.play(
                """
                for user in nosudo deploy; do
                    sed "s/ansible_user: root/ansible_user: $user\\n    ansible_become: true/" inventory/lab.yaml >"$WORK/inventory.yaml"
                    try reprise check "$PLAN" --inventory "$WORK/inventory.yaml"
                    [[ $user == nosudo ]] || continue
                    expect "the exit status" 1 "$CODE"
                    expect_said "sudo on db1 does not work without a person: sudo: a password is required"
                    expect_said NOPASSWD
                done
                expect "the exit status" 0 "$CODE"
                expect "the journal" "" "$(find "$WORK/state" -name 'journal*')"
                """)
        }

        /// `start` has asked the store, and the backup is gone when it is fetched: it is named, and the database is not touched.
        @Test(.timeLimit(.minutes(10)))
        func aBackupThatIsGoneAfterTheStartIsNamed() async throws {
            try await Scenario.play(
                Self.stopping + Self.backups + """
                fresh
                own=database/lab-e2e-own.dump.gz
                UNDO+=("scripts/lab aws writer s3 rm s3://chms-backups/$own")
                lab aws writer s3 cp "s3://chms-backups/$(newest)" "s3://chms-backups/$own"
                export REPRISE_FAILPOINT=effect.before:1:stop
                background --param "backup=name:$own"
                unset REPRISE_FAILPOINT
                await "the first step" stopped
                lab aws writer s3 rm "s3://chms-backups/$own"
                kill -CONT "$BACKGROUND"
                join
                expect "the exit status" 1 "$CODE"
                OUT=$(cat "$WORK/background.log")
                expect_said "s3://chms-backups/$own failed: there is no such object"
                expect "the run" FAILED "$(state)"
                untouched
                expect "the scratch database" "" "$(oid chms_restore)"
                # A failed run keeps the database reserved, and the application shut, until somebody says what becomes of it.
                try reprise undo --yes --reason "no such backup"
                expect "the run" UNDONE "$(state)"
                """)
        }

        /// What the newest backup needs and the server lacks is found by `check`, by name, before anything is started.
        @Test(.timeLimit(.minutes(10)))
        func whatTheServerLacksIsFoundByCheck() async throws {
            try await Scenario.play(
                #"""
                lab reset
                extensions=/usr/share/postgresql/15/extension
                UNDO+=("scripts/lab enter db1 bash -c 'cd $extensions; for f in *.lab-hidden; do mv \"\$f\" \"\${f%.lab-hidden}\"; done'")
                UNDO+=("sql postgres 'ALTER ROLE chms_readonly_away RENAME TO chms_readonly'")
                lab backup
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 0 "$CODE"
                needed=$(sql chms_production "SELECT string_agg(extname, ' ') FROM pg_extension WHERE extname <> 'plpgsql'")
                extension=${needed%% *}
                scripts/lab enter db1 mv "$extensions/$extension.control" "$extensions/$extension.control.lab-hidden"
                sql postgres "ALTER ROLE chms_readonly RENAME TO chms_readonly_away"
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 1 "$CODE"
                expect_said "needs extensions that db1 does not have: $extension"
                expect_said "needs roles that db1 does not have: chms_readonly"
                # Nothing was begun.
                expect "the journal" "" "$(find "$WORK/state" -name 'journal*')"
                """#)
        }

        /// A backup of a newer server is found by `check`. The plan's own choice counts, and not whatever is newest.
        @Test(.timeLimit(.minutes(10)))
        func aBackupOfANewerServerIsFoundByCheck() async throws {
            try await Scenario.play(
                Self.backups + #"""
                lab reset
                lab backup
                old=$(newest)
                unpacked "$old" >"$WORK/old.dump"
                # The server's version stands first in the header and has it twice, pg_dump's own after it; all stay as long as they were.
                perl -0777 -pe 's/15\./99./' "$WORK/old.dump" >"$WORK/new.dump"
                ! cmp -s "$WORK/old.dump" "$WORK/new.dump"
                put <"$WORK/new.dump"
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 1 "$CODE"
                expect_said "$KEY comes from PostgreSQL 99, and the server is 15"
                expect_said "its backup is there: $KEY"
                try reprise check "$PLAN" --inventory "$INVENTORY" --param "backup=name:$old"
                expect "the exit status" 0 "$CODE"
                expect_said "its backup is there: $old"
                try reprise check "$PLAN" --inventory "$INVENTORY" --param backup=name:database/none.dump.gz
                expect "the exit status" 1 "$CODE"
                expect_said "store backups: step fetch"
                expect_said "there is no such object"
                # A newer pg_dump alone may have written what this pg_restore reads.
                perl -0777 -pe 's/15\./++$n == 3 ? "99." : $&/ge' "$WORK/old.dump" >"$WORK/new.dump"
                ! cmp -s "$WORK/old.dump" "$WORK/new.dump"
                put <"$WORK/new.dump"
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 0 "$CODE"
                expect_said "$KEY was written by pg_dump 99, and pg_restore on db1 is the older 15"
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aLocaleThatTheHostHasNotIsFoundByCheck() async throws {
            try await Scenario.play(
                """
                lab reset
                lab backup
                archive=/usr/lib/locale/locale-archive
                UNDO+=("scripts/lab enter db1 mv $archive.lab-hidden $archive")
                scripts/lab enter db1 mv "$archive" "$archive.lab-hidden"
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 1 "$CODE"
                expect_said "needs locales that db1 does not have: en_US.UTF-8"
                """)
        }

        /// A question that failed is no answer: the server is not said to lack every role.
        @Test(.timeLimit(.minutes(10)))
        func aServerThatCannotBeAskedIsNotSaidToLackAnything() async throws {
            try await Scenario.play(
                """
                lab reset
                lab backup
                UNDO+=("scripts/lab enter db1 mv /usr/bin/psql.lab-hidden /usr/bin/psql")
                scripts/lab enter db1 mv /usr/bin/psql /usr/bin/psql.lab-hidden
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 1 "$CODE"
                expect_said "psql is not installed on db1"
                expect_said "the server of database production on db1 did not say what it has"
                ! grep -q "needs roles" <<<"$OUT" || { echo "it says that roles are missing"; exit 1; }
                """)
        }

        /// The damaged database of the last recovery has failed pages, too: the refusal says what to write into the plan.
        @Test(.timeLimit(.minutes(10)))
        func theNextRecoveryIsToldWhatTheLastOneKept() async throws {
            try await Scenario.play(
                #"""
                fresh
                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                recovered
                sql chms_damaged "SELECT count(full_name) FROM members" >/dev/null 2>&1 || true
                [[ $(sql postgres "SELECT checksum_failures FROM pg_stat_database WHERE datname = 'chms_damaged'") -ge 1 ]]
                lab corrupt
                DAMAGED=$(oid chms_production)
                try start --param approve=no --param keep-as=chms_again
                expect "the exit status" 1 "$CODE"
                expect_said 'known-damage: [chms_damaged]'
                try reprise undo --yes --reason "the plan lacks a line"
                mend='s/(kind: postgres-check\n(?:.*\n)*?      database: production\n)/$1      known-damage: [chms_damaged]\n/'
                perl -0pe "$mend" "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try start --param approve=no --param keep-as=chms_again
                expect "the exit status" 0 "$CODE"
                expect "the newly damaged database" "$DAMAGED" "$(oid chms_again)"
                """#)
        }
    }
}
