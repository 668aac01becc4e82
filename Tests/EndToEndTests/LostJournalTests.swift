import Testing

extension EndToEnd {
    /// The journal is gone, with the laptop that it was on.
    @Suite
    struct LostJournalTests {
        @Test(.timeLimit(.minutes(10)))
        func aLostRecoveryIsClosedOnItsHostsAndBegunAnew() async throws {
            try await Scenario.play(
                #"""
                fresh
                export REPRISE_FAILPOINT=swap.before-settings:1:kill
                background
                join
                unset REPRISE_FAILPOINT
                run=$(reprise list --json | perl -MJSON::PP -0777 -ne 'print decode_json($_)->[0]{run}')
                mv "$WORK/state" "$WORK/lost"
                mkdir -m 700 "$WORK/state"
                adopt() { reprise adopt "$@" --inventory "$INVENTORY"; }

                # Another run cannot have the database, and the host says who has it.
                try start --param approve=no
                [[ $CODE != 0 ]] || { echo "EXPECTED the new run to be refused"; exit 1; }
                expect_said "$run"
                rm -rf "$WORK/state"; mkdir -m 700 "$WORK/state"

                try adopt db1
                expect_said "$run"
                try adopt db1 "$run"
                expect_said "$run.fetch.1"
                for host in app1 db1; do
                    try adopt "$host" "$run" --close --reason "the laptop is in the lake" --yes
                    expect "the exit status" 0 "$CODE"
                    expect_said "is closed on $host"
                done
                expect_said "free again: database:5432:chms_production"
                untouched

                # The laptop is found: it can do nothing more.
                try "$REPRISE" resume "$run" --journal "$WORK/lost/journal.sqlite"
                [[ $CODE != 0 ]] || { echo "EXPECTED the lost run to be refused"; exit 1; }
                expect_said "the laptop is in the lake"
                untouched

                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                recovered
                """#)
        }
    }
}
