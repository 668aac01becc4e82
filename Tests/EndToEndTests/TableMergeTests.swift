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
                perl -pe 's/^      restored: \w+$/$&\n      disable-triggers:\n        members: [touch_members]/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try merge --param changed=take-backup --param approve=no
                expect "the exit status" 0 "$CODE"
                expect "the renamed members" "$NAMED" "$(some members 'id % 200 = 1 AND id <= 2000')"
                expect "what was written since" "" "$(sql chms_production "SELECT remarks FROM members WHERE id = 7 AND remarks = 'moved house'")"
                expect "the trigger" O "$(sql chms_production "SELECT tgenabled FROM pg_trigger WHERE tgname = 'touch_members'")"
                """#)
        }

        /// Another database of the same server still has the rows: they are streamed, and nothing of a backup is needed.
        @Test(.timeLimit(.minutes(10)))
        func whatAnotherDatabaseStillHasComesBackWithoutABackup() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                before=$(some members true)
                copy_gone() { sql postgres 'DROP DATABASE IF EXISTS chms_copy WITH (FORCE)'; }
                UNDO+=(copy_gone)
                copy_gone
                sql postgres 'CREATE DATABASE chms_copy TEMPLATE chms_seed'
                perl -pe 's/^      from: .*/$&\n      from-name: chms_copy/' plans/table-from-database.yaml >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try merge --param from=production
                expect "the exit status" 5 "$CODE"
                expect_said "20 missing: insert"
                expect_said "both tables streamed in the order of their keys"
                try reprise approve approve-merge --comment "agreed"
                expect "the exit status" 0 "$CODE"
                back
                expect "what is left beside the tables" "" "$(sql chms_production "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'reprise\_rescue%'")"
                try reprise undo --yes --reason "to see it go"
                expect "the members" "$before" "$(some members true)"
                # The database itself is no other database.
                next_journal
                PLAN=plans/table-from-database.yaml
                try merge --param from=production
                expect "the exit status" 2 "$CODE"
                expect_said "into which the rows are to be merged"
                """#)
        }
    }
}
