import Testing

extension EndToEnd {
    /// What becomes of merged rows between the merge and its proof, and of a merge and a restore that are killed while they are taken back.
    @Suite
    struct TableProofTests {
        /// Stops when the merge is committed and not yet proven; `go_on` proves.
        private static let betweenMergeAndProof = #"""
            export REPRISE_FAILPOINT=table-merge.after:1:stop
            background --param "$TABLES"
            unset REPRISE_FAILPOINT
            await "a merge that is committed" stopped
            go_on() { kill -CONT "$BACKGROUND"; join; }

            """#

        @Test(.timeLimit(.minutes(10)))
        func whatOthersWriteOverMergedRowsIsCountedAndNoFailure() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + Self.betweenMergeAndProof + #"""
                along=$(sql chms_production "SELECT count(*) FROM attendance_records WHERE member_id = 200")
                [[ $along -gt 0 ]]
                sql chms_production "UPDATE members SET last_name = 'Renamed since' WHERE id = 100; DELETE FROM members WHERE id = 200"
                go_on
                expect "the exit status" 0 "$CODE"
                OUT=$(reprise report)
                expect_said "2 changed since by others"
                expect_said "$along changed since by others"
                expect "who was renamed" "Renamed since" "$(sql chms_production 'SELECT last_name FROM members WHERE id = 100')"
                """#)
        }

        /// The audit is what the proof goes by: a row that it lost is named, and so is the way out.
        @Test(.timeLimit(.minutes(10)))
        func aRowThatTheAuditDoesNotHaveIsNamed() async throws {
            try await Scenario.play(
                TableScene.mistake + TableScene.holding + Self.betweenMergeAndProof + #"""
                sql chms_production "DELETE FROM reprise_audit.changes WHERE table_name = 'members' AND after[1] = '300'"
                go_on
                expect "the exit status" 3 "$CODE"
                OUT=$(reprise status)
                expect_said "1 that were agreed to and neither merged nor listed (id 300)"
                expect_said "reprise undo"
                """#)
        }

        /// Somebody's event trigger writes over a merged row, in the merge's own transaction and after its last look. Only the proof sees it.
        @Test(.timeLimit(.minutes(10)))
        func aRowThatCameOutOtherThanItWasMergedIsNamed() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                named members touch_members
                sql chms_production "
                    CREATE FUNCTION lab_spoils() RETURNS event_trigger LANGUAGE plpgsql AS \$\$ BEGIN
                        UPDATE public.members SET last_name = 'Spoilt' WHERE id = 100 AND last_name <> 'Spoilt';
                    END \$\$;
                    CREATE EVENT TRIGGER lab_spoils ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION lab_spoils();"
                try merge --param changed=take-backup --param approve=no
                expect "the exit status" 3 "$CODE"
                expect_said "public.members: "
                expect_said "WRONG: 1 that came out other than they were written (id 100)"
                expect "the row" Spoilt "$(sql chms_production 'SELECT last_name FROM members WHERE id = 100')"
                sql chms_production "DROP EVENT TRIGGER lab_spoils; DROP FUNCTION lab_spoils()"
                # As the message says: the merge is taken back. What came out other than it was merged is nobody's to delete.
                try reprise undo --yes --reason "as the message says"
                expect_said "changed since the merge"
                expect "the run" UNDONE "$(state)"
                expect "the members that stay" 100 "$(sql chms_production 'SELECT id FROM members WHERE id % 100 = 0')"
                """#)
        }

        @Test(.timeLimit(.minutes(10)), arguments: ["table-undo.before-undo undo#1", "table-undo.after-undo undo#1"])
        func aStepThatTakesAMergeBackIsKilledAndDoesItOnce(place: String) async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                before=$(some members true) attended=$(some attendance_records true)
                try merge --param approve=no
                expect "the exit status" 0 "$CODE"
                back
                next_journal
                cat >"$WORK/plan.yaml" <<PLAN
                reprise: 1
                name: take-back
                steps:
                  - id: undo
                    kind: table-undo
                    with:
                      database: production
                      merge: "$(sql chms_production 'SELECT id FROM reprise_audit.merges')"
                PLAN
                PLAN=$WORK/plan.yaml
                echo 'PLACE' >"$WORK/places"
                export REPRISE_FAILPOINT_KILL=$WORK/places
                try start
                unset REPRISE_FAILPOINT_KILL
                expect "the exit status" 137 "$CODE"
                # Somebody writes before it is taken up again: that is not part of what goes.
                sql chms_production "INSERT INTO members (id, organization_id, first_name, last_name) VALUES (12000, 1, 'Written', 'Meanwhile')"
                resume_to_end
                expect "merges that count" 0 "$(merges)"
                expect "the members" "$before" "$(some members 'id <> 12000')"
                expect "the attendance" "$attended" "$(some attendance_records true)"
                expect "who was written meanwhile" 1 "$(sql chms_production 'SELECT count(*) FROM members WHERE id = 12000')"
                """#.replacing("PLACE", with: place))
        }
    }
}
