import Testing

extension EndToEnd {
    /// Rows of single tables that were lost come back, and nothing that was written since is lost.
    @Suite
    struct TableMergeTests {
        /// A backup, then somebody's mistake: one in a hundred members deleted, with all that hangs on them, and one in two hundred
        /// renamed. People go on working.
        private static let mistake = #"""
            PLAN=plans/table-restore.yaml
            lab reset
            lab backup
            some() { sql chms_production "SELECT md5(string_agg(t::text, E'\n' ORDER BY id)) FROM $1 AS t WHERE $2"; }
            GONE=$(some members 'id % 100 = 0') ATTENDED=$(some attendance_records 'member_id % 100 = 0') NAMED=$(some members 'id % 200 = 1 AND id <= 2000')
            sql chms_production "
                DELETE FROM members WHERE id % 100 = 0;
                UPDATE members SET last_name = 'Mistake' WHERE id % 200 = 1;
                INSERT INTO members (organization_id, first_name, last_name) VALUES (1, 'New', 'Person');
                UPDATE members SET remarks = 'moved house' WHERE id = 7;"
            UNDO+=("lab reset")
            back() {
                expect "the deleted members" "$GONE" "$(some members 'id % 100 = 0')"
                expect "their attendance" "$ATTENDED" "$(some attendance_records 'member_id % 100 = 0')"
                expect "all, new ones, what was written since" "2001|1|moved house" "$(sql chms_production "SELECT count(*), count(*) FILTER (WHERE first_name = 'New' AND last_name = 'Person'), max(remarks) FILTER (WHERE id = 7) FROM members")"
                expect "merges" 1 "$(sql chms_production 'SELECT count(*) FROM reprise_audit.merges')"
                expect "loaded tables that stay" 0 "$(rescued)"
            }
            rescued() { sql chms_production "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reprise_rescue%'"; }
            merge() { start --param tables=members,attendance_records "$@"; }

            """#

        @Test(.timeLimit(.minutes(10)))
        func whatWasDeletedComesBackAfterAPersonsWordAndUndoTakesItAway() async throws {
            try await Scenario.play(
                Self.mistake + #"""
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
                Self.mistake + #"""
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

        @Test(.timeLimit(.minutes(10)), arguments: ["table-restore.before-make", "table-restore.after-make", "table-merge.before", "table-merge.after"])
        func killedAnywhereItMergesOnce(place: String) async throws {
            try await Scenario.play(
                Self.mistake + #"""
                export REPRISE_FAILPOINT=PLACE:1:kill
                try merge --param approve=no
                unset REPRISE_FAILPOINT
                expect "the exit status" 137 "$CODE"
                resume_to_end
                back
                """#.replacing("PLACE", with: place))
        }
    }
}
