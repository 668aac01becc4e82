import Testing

extension EndToEnd {
    /// A recovery is interrupted in the middle of its restore, and goes on.
    @Suite
    struct InterruptionTests {
        @Test(.timeLimit(.minutes(10)))
        func aKillInTheMiddleOfTheRestoreIsResumed() async throws {
            try await Scenario.play(
                """
                fresh
                background
                await "pg_restore" restoring
                killed
                untouched
                expect "the run" INTERRUPTED "$(state)"
                try reprise resume
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func controlCLetsGoAndTheJobGoesOn() async throws {
            try await Scenario.play(
                """
                fresh
                # Where bash starts something in the background it ignores this signal; perl gives it back.
                perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --param approve=no --journal "$J" >"$WORK/background.log" 2>&1 &
                BACKGROUND=$!
                await "pg_restore" restoring
                kill -INT "$BACKGROUND"
                join
                expect "the exit status" 130 "$CODE"
                try reprise resume
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func aSecondResumeIsToldWhoHoldsTheRun() async throws {
            try await Scenario.play(
                """
                fresh
                export REPRISE_FAILPOINT=effect.before:2:stop
                background
                unset REPRISE_FAILPOINT
                stopped() { [[ $(sed 's/.*) //' "/proc/$BACKGROUND/stat" | cut -d' ' -f1) == T ]]; }
                await "the stopped holder" stopped
                try reprise resume
                expect "the exit status" 7 "$CODE"
                expect_said "$BACKGROUND"
                kill -CONT "$BACKGROUND"
                join
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func theSessionsServerIsKilledInTheMiddleOfAJob() async throws {
            try await Scenario.play(
                """
                fresh
                background
                await "pg_restore" restoring
                # The sessions' own processes on db1, by id; the listener stays.
                scripts/lab enter db1 bash -c 'for p in /proc/[0-9]*; do [[ $(tr "\\0" " " <"$p/cmdline") == "sshd: root@notty"* ]] && kill -KILL "${p#/proc/}"; done; true'
                join
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func aCableIsPulledForSomeSeconds() async throws {
            try await Scenario.play(
                """
                fresh
                UNDO+=("scripts/lab cable db1 up")
                background
                await "pg_restore" restoring
                lab cable db1 down
                sleep 5
                lab cable db1 up
                join
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func theDatabaseHostLosesItsPowerInTheMiddleOfTheRestore() async throws {
            try await Scenario.play(
                """
                fresh
                UNDO+=("scripts/lab boot db1")
                background
                await "pg_restore" restoring
                lab power-cut db1
                killed
                lab boot db1
                resume_to_end
                recovered
                """)
        }
    }
}
