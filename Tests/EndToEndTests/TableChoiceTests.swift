import Testing

extension EndToEnd {
    /// What a person can say about single rows, and what comes along with them.
    @Suite
    struct TableChoiceTests {
        /// A backup, and what the scenarios look at.
        private static let backup = #"""
            PLAN=plans/table-restore.yaml
            lab reset
            lab backup
            count() { sql chms_production "SELECT count(*) FROM $1"; }
            MEMBERS=$(count members) ORGANIZATIONS=$(count organizations)
            GONE=$(sql chms_production "SELECT max(organization_id) FROM members")
            UNDO+=("lab reset")
            next_journal() { J=$(mktemp -d "$WORK/journal-XXXXXX")/journal.sqlite; }
            rescued() { sql chms_production "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reprise_rescue%'"; }

            """#

        @Test(.timeLimit(.minutes(10)))
        func parentsComeAlongAndTheMergeIsTakenBackLongAfterItsRun() async throws {
            try await Scenario.play(
                Self.backup + #"""
                # One document is thrown away with its large object, another is overwritten; the file's hash stands beside it.
                documents() { sql chms_production "SELECT string_agg(DISTINCT pg_get_userbyid(lomowner), ' ') || ' ' || count(*) FILTER (WHERE sha256(lo_get(content)) = sha256) || '/' || count(*) FROM member_documents JOIN pg_largeobject_metadata m ON m.oid = content"; }
                DOCUMENTS=$(documents)
                sql chms_production "SELECT lo_unlink(content) FROM member_documents WHERE id = 3; DELETE FROM member_documents WHERE id = 3;
                    SELECT lo_put(content, 10, 'overwritten') FROM member_documents WHERE id = 4" >/dev/null
                DAMAGED=$(documents)
                try start --param tables=member_documents --param changed=take-backup --param approve=no
                expect "the exit status" 0 "$CODE"
                expect_said "pg_catalog.pg_largeobject: 1 changed: update; 1 missing: insert"
                expect "documents whose content is theirs" "$DOCUMENTS" "$(documents)"
                try reprise undo --yes --reason "to see it go"
                expect "after the undo" "$DAMAGED" "$(documents)"
                expect "objects of no row" 0 "$(sql chms_production "SELECT count(*) FROM pg_largeobject_metadata m WHERE NOT EXISTS (SELECT FROM member_documents WHERE content = m.oid)")"
                next_journal
                # An organisation is deleted with all its families and members.
                sql chms_production "DELETE FROM organizations WHERE id = $GONE"
                BEFORE=$(count members)
                try start --param tables=members --param parents=follow --param approve=no
                expect "the exit status" 0 "$CODE"
                expect_said "needed by public.members"
                expect "the organisations" "$ORGANIZATIONS" "$(count organizations)"
                expect "the members" "$MEMBERS" "$(count members)"
                expect "loaded tables that stay" 0 "$(rescued)"
                # Another run takes it back by its id alone, and a second one finds it done.
                cat >"$WORK/plan.yaml" <<PLAN
                reprise: 1
                name: take-back
                steps:
                  - id: undo
                    kind: table-undo
                    with:
                      database: production
                      merge: "$(sql chms_production 'SELECT id FROM reprise_audit.merges WHERE undone_at IS NULL')"
                PLAN
                PLAN=$WORK/plan.yaml
                try start
                expect "the exit status" 0 "$CODE"
                expect "the organisations" "$((ORGANIZATIONS - 1))" "$(count organizations)"
                expect "the members" "$BEFORE" "$(count members)"
                try start
                expect "the exit status" 0 "$CODE"
                expect "the members" "$BEFORE" "$(count members)"
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aPersonDecidesRowByRowAndWhatIsKeptStays() async throws {
            try await Scenario.play(
                Self.backup + #"""
                sql chms_production "UPDATE members SET last_name = 'Mistake' WHERE id IN (SELECT id FROM members ORDER BY id LIMIT 3)"
                perl -pe 's/^      missing: insert$/      missing: skip\n      undecided: stop/; s/^      restored: \w+$/$&\n      disable-triggers:\n        members: [touch_members]/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                ids() { sql chms_production "SELECT id FROM members WHERE last_name = 'Mistake' ORDER BY id"; }
                mapfile -t ids < <(ids)
                try start --param tables=members --param changed=decide --param decisions="$WORK/decisions" --param keep=yes --param approve=no
                expect "the exit status" 3 "$CODE"
                expect_said "3 rows wait for a decision"
                for id in "${ids[0]} backup" "${ids[1]} live" "${ids[2]} backup"; do
                    printf '{"table": "members", "key": {"id": %s}, "take": "%s"}\n' $id
                done >"$WORK/decisions"
                try reprise retry diff
                expect "the exit status" 0 "$CODE"
                expect "the names that stay" "${ids[1]}" "$(ids)"
                expect "loaded tables that stay" 1 "$(rescued)"
                sql chms_production "SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE nspname LIKE 'reprise_rescue%'" | while read -r drop; do sql chms_production "$drop"; done
                try reprise undo --yes --reason "to see it go"
                expect "the names" "${ids[*]}" "$(ids | paste -sd' ')"
                """#)
        }
    }
}
