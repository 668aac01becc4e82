import Testing

extension EndToEnd {
    /// What happens to a merge of single tables when servers, connections, disks and other sessions do what they do in incidents.
    @Suite
    struct TableFaultTests {
        /// The server crashes under the load, the comparison and the merge of one run: each goes on by itself, and nothing is merged twice.
        @Test(.timeLimit(.minutes(10)))
        func theServerCrashesUnderLoadComparisonAndMerge() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + #"""
                export REPRISE_FAILPOINT=table-restore.after-make:1:stop
                background --param "$TABLES"
                unset REPRISE_FAILPOINT
                await "the empty tables" stopped
                rescue=$(sql chms_production "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'reprise\_rescue\_%'")
                hold "LOCK TABLE \"$rescue\".members"
                kill -CONT "$BACKGROUND"
                await "a load that waits" blocked
                crash_server
                hold "LOCK TABLE public.members"
                await "a comparison that waits" blocked
                crash_server
                hold "$SERVICES"
                await "a merge that waits" blocked
                crash_server
                join
                expect "the exit status" 0 "$CODE"
                back
                """#)
        }

        /// The same under what comes after the merge: its proof, the end of the loaded tables, and the undo.
        @Test(.timeLimit(.minutes(10)))
        func theServerCrashesUnderProofCleanupAndUndo() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + #"""
                before=$(some members true) attended=$(some attendance_records true)
                export REPRISE_FAILPOINT=table-merge.after:1:stop
                background --param "$TABLES"
                unset REPRISE_FAILPOINT
                await "the merge" stopped
                rescue=$(sql chms_production "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'reprise\_rescue\_%'")
                hold "LOCK TABLE public.members"
                kill -CONT "$BACKGROUND"
                await "a proof that waits" blocked
                kill -STOP "$BACKGROUND"
                crash_server
                hold "LOCK TABLE \"$rescue\".members IN ACCESS SHARE MODE"
                kill -CONT "$BACKGROUND"
                await "a cleanup that waits" blocked
                back
                crash_server
                join
                expect "the exit status" 0 "$CODE"
                back
                expect "the loaded tables" "" "$(sql chms_production "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'reprise\_rescue\_%'")"
                OUT=$(reprise report --format markdown)
                expect_said "public.members: 20 written"

                hold "LOCK TABLE public.members IN EXCLUSIVE MODE"
                reprise undo --yes --reason "to see it through a crash" >"$WORK/background.log" 2>&1 & BACKGROUND=$!
                await "an undo that waits" blocked
                # Longer than anybody would try again by the clock.
                recovery_is_held_up
                told() { grep -qF "waiting for the server of database production, which is starting up or recovering" "$WORK/background.log"; }
                await "who waits for the server" told
                sleep 12
                recovery_goes_on
                join
                OUT=$(cat "$WORK/background.log")
                expect "the run" UNDONE "$(state)"
                expect "merges that count" 0 "$(merges)"
                expect "the members" "$before" "$(some members true)"
                expect "the attendance" "$attended" "$(some attendance_records true)"
                """#)
        }

        /// The transaction is durable, and the connection is cut before its answer has come; then, in the next scene, the orchestrator
        /// and the server die at that place.
        @Test(.timeLimit(.minutes(10)))
        func theAnswerToTheCommitIsLost() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + #"""
                merge_is_held_up
                answers_are_held_back
                release
                await "a COMMIT without an answer" committing
                # The sessions' own processes on db1, by id; the listener stays.
                scripts/lab enter db1 bash -c 'for p in /proc/[0-9]*; do [[ $(tr "\\0" " " <"$p/cmdline") == "sshd: root@notty"* ]] && kill -KILL "${p#/proc/}"; done; true'
                # The mark is not to be seen yet, so it is tried again: that waits for the first, and then finds its mark.
                await "the second try" blocked
                answers_come
                join
                expect "the exit status" 0 "$CODE"
                back
                again
                merge_is_held_up
                answers_are_held_back
                release
                await "a COMMIT without an answer" committing
                killed
                answers_come
                crash_server
                back
                resume_to_end
                back
                """#)
        }

        /// The host is gone in the middle of a merge and comes back.
        @Test(.timeLimit(.minutes(10)))
        func theDatabaseHostLosesItsPowerInTheMiddleOfAMerge() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + #"""
                UNDO+=("scripts/lab boot db1")
                merge_is_held_up
                lab power-cut db1
                lab boot db1
                join
                [[ $CODE == 0 ]] || resume_to_end
                back
                """#)
        }

        /// A deadlock, whose victim is the merge: it is tried again, and the other session loses nothing. Then a lock that is not granted:
        /// it is named, and a retry goes on.
        @Test(.timeLimit(.minutes(10)))
        func deadlocksAndLocksOfOthersLoseNothing() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + #"""
                log=/var/log/postgresql/postgresql-15-main.log
                deadlocks() { scripts/lab enter db1 grep -c 'app=reprise.* ERROR:  deadlock detected' "$log" || true; }
                before=$(deadlocks)
                # The merge looks for a deadlock once, and no sooner than the other one waits, however slow the machine is.
                sql postgres "ALTER DATABASE chms_production SET deadlock_timeout = '5s'"
                # Waits until the merge waits for it, and then wants what the merge has.
                scripts/lab enter db1 runuser -u postgres -- psql -X -q -v ON_ERROR_STOP=1 -d chms_production >"$WORK/other.log" 2>&1 <<'SQL' &
                BEGIN;
                SET LOCAL application_name = 'lab-rival';
                SET LOCAL deadlock_timeout = '1min';
                SELECT count(*) FROM (SELECT FROM services FOR UPDATE) AS all_of_them;
                DO $$ BEGIN
                    WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))) LOOP
                        PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
                    END LOOP;
                    INSERT INTO members (id, organization_id, first_name, last_name) VALUES (100, 1, 'In', 'Between');
                    DELETE FROM members WHERE id = 100;
                END $$;
                UPDATE services SET title = 'Kept through a deadlock' WHERE id = 1;
                COMMIT;
                SQL
                other=$!
                await "the rival" waits lab-rival "state = 'active'"
                try merge --param approve=no
                expect "the exit status" 0 "$CODE"
                wait "$other" || { echo "the rival failed:"; cat "$WORK/other.log"; exit 1; }
                back
                expect "deadlocks of the merge" 1 $(($(deadlocks) - before))
                expect "what the rival wrote" "Kept through a deadlock" "$(sql chms_production 'SELECT title FROM services WHERE id = 1')"
                again
                perl -pe 's/^      diff: diff$/$&\n      lock-timeout: 300ms/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                hold "$SERVICES"
                try merge --param approve=no
                expect "the exit status" 1 "$CODE"
                expect "merges that count" 0 "$(merges)"
                refusal=$OUT
                release
                try reprise retry merge --reason "the table is free"
                expect "the exit status" 0 "$CODE"
                back
                # Who stood in the way was named.
                OUT=$refusal
                expect_said lab-holder
                """#)
        }

        /// Of two merges of one table the second is refused, by the first one's name. Ctrl-C in the middle of a merge leaves nothing half-done.
        @Test(.timeLimit(.minutes(10)))
        func theSecondMergeIsRefusedAndControlCLeavesNothingHalfDone() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + #"""
                hold "$SERVICES"
                # Where bash starts something in the background it ignores this signal; perl gives it back.
                perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --param "$TABLES" --param approve=no --journal "$J" >"$WORK/background.log" 2>&1 &
                BACKGROUND=$!
                await "a merge that waits" blocked
                first=$J
                next_journal
                try merge --param approve=no
                expect "the exit status" 7 "$CODE"
                expect_said "is claimed by run"
                expect_said "process $BACKGROUND"
                J=$first
                kill -INT "$BACKGROUND"
                join
                expect "the exit status" 130 "$CODE"
                expect "the deleted members" 0 "$(sql chms_production 'SELECT count(*) FROM members WHERE id % 100 = 0')"
                release
                resume_to_end
                back
                """#)
        }

        /// The disk is full when the tables are loaded: it is named, nothing was touched, and a retry goes on once there is room.
        @Test(.timeLimit(.minutes(10)))
        func aFullDiskUnderTheLoadIsNamed() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                room=/var/lib/lab-small
                UNDO+=("scripts/lab enter db1 umount $room" "sql postgres 'DROP TABLESPACE IF EXISTS lab_small'" "lab reset")
                scripts/lab enter db1 bash -c "mkdir -p $room && mount -t tmpfs -o size=400k,mode=700,uid=\$(id -u postgres),gid=\$(id -g postgres) tmpfs $room"
                sql postgres "CREATE TABLESPACE lab_small LOCATION '$room'"
                sql postgres "ALTER DATABASE chms_production SET default_tablespace = lab_small"
                try merge --param approve=no
                expect "the exit status" 1 "$CODE"
                expect_said "No space left on device"
                expect_said "make room on the database's disk"
                expect_said "no live table was touched"
                expect "the deleted members" 0 "$(sql chms_production 'SELECT count(*) FROM members WHERE id % 100 = 0')"
                scripts/lab enter db1 mount -o remount,size=64m "$room"
                try reprise retry rescue --reason "there is room"
                expect "the exit status" 0 "$CODE"
                back
                """#)
        }
    }
}
