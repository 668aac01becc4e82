import Testing

extension EndToEnd {
    /// Rows of single tables that were lost come back, and nothing that was written since is lost.
    @Suite
    struct TableMergeTests {
        @Test(.timeLimit(.minutes(10)))
        func whatWasDeletedComesBackAfterAPersonsWordAndUndoTakesItAway() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                before=$(some members true)
                try merge
                expect "the exit status" 5 "$CODE"
                expect_said "public.members: "
                expect_said "20 missing: insert"
                try reprise approve approve-merge --comment "agreed"
                expect "the exit status" 0 "$CODE"
                back
                expect "the mistaken names" 10 "$(sql chms_production "SELECT count(*) FROM members WHERE last_name = 'Mistake'")"
                try reprise undo --yes --reason "to see it go"
                expect "the run" UNDONE "$(state)"
                expect "the members" "$before" "$(some members true)"
                """#)
        }

        /// A trigger that sets updated_at stops the merge until the plan names it; then the former names are back too.
        @Test(.timeLimit(.minutes(10)))
        func overwrittenValuesComeBackWhereThePlanSaysSo() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                try merge --param changed=take-backup --param approve=no
                expect "the exit status" 3 "$CODE"
                expect_said "touch_members"
                expect "merges" "" "$(sql chms_production "SELECT to_regclass('reprise_audit.merges')")"
                # The run that failed holds the database until somebody gives it up.
                try reprise cancel --reason "the plan has to name the trigger"
                perl -pe 's/^      diff: diff$/$&\n      disable-triggers:\n        members: [touch_members]/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try merge --param changed=take-backup --param approve=no
                expect "the exit status" 0 "$CODE"
                expect "the renamed members" "$NAMED" "$(some members 'id % 200 = 1 AND id <= 2000')"
                expect "what was written since" "" "$(sql chms_production "SELECT remarks FROM members WHERE id = 7 AND remarks = 'moved house'")"
                expect "the trigger" O "$(sql chms_production "SELECT tgenabled FROM pg_trigger WHERE tgname = 'touch_members'")"
                """#)
        }
    }
}
