import Testing

extension EndToEnd {
    /// Whole tables that somebody dropped come back with all that belongs to them.
    @Suite
    struct TablesIntoDatabaseTests {
        /// A backup, then two tables dropped, with the keys and views that stood on them: one of them with a foreign key to what lives on,
        /// one partitioned.
        private static let mistake = #"""
            PLAN=plans/tables-into-database.yaml
            lab reset
            all() { sql "$1" "SET timezone = 'UTC'; SELECT md5(string_agg(t::text, E'\n' ORDER BY t::text COLLATE \"C\")) FROM $2 AS t"; }
            shape() { scripts/lab enter db1 runuser -u postgres -- pg_dump -s -d "$1" -t "$2" -t "$2_*" | grep -v -e '^--' -e restrict; }
            lab backup
            NOTES=$(all chms_production member_notes) EVENTS=$(all chms_production audit_events)
            NOTES_SHAPE=$(shape chms_production member_notes) EVENTS_SHAPE=$(shape chms_production audit_events)
            [[ -n $NOTES && -n $EVENTS && $NOTES_SHAPE == *"FOREIGN KEY"* ]]
            sql chms_production "DROP TABLE member_notes, audit_events CASCADE"
            UNDO+=("scripts/lab sql db1 postgres <<<'DROP DATABASE IF EXISTS chms_look'" "lab reset")
            back() {
                expect "the notes" "$NOTES" "$(all "$1" member_notes)"
                expect "the events" "$EVENTS" "$(all "$1" audit_events)"
                expect "the restores" 1 "$(sql "$1" 'SELECT count(*) FROM reprise_audit.restores')"
            }
            shapes() { expect "the notes' shape" "$NOTES_SHAPE" "$(shape "$1" member_notes)"; expect "the events' shape" "$EVENTS_SHAPE" "$(shape "$1" audit_events)"; }
            gone() { expect "the tables" "|" "$(sql "$1" "SELECT to_regclass('member_notes'), to_regclass('audit_events')")"; }

            """#

        @Test(.timeLimit(.minutes(10)))
        func droppedTablesComeBackWholeAndUndoDropsThemUnlessTheyAreInUse() async throws {
            try await Scenario.play(
                Self.mistake + #"""
                try start --param 'tables=member_note' --param approve=no
                expect "the exit status" 2 "$CODE"
                expect_said "did you mean"
                try reprise cancel --reason "misspelt"
                try start --param 'tables=member_notes,audit_*,members' --param approve=no
                expect "the exit status" 2 "$CODE"
                expect_said "nothing is overwritten"
                gone chms_production
                try reprise cancel --reason "one of them is there"
                try start --param 'tables=member_notes,audit_*'
                expect "the exit status" 5 "$CODE"
                gone chms_production
                try reprise approve approve-restore --comment agreed
                expect "the exit status" 0 "$CODE"
                back chms_production
                shapes chms_production
                sql chms_production "INSERT INTO member_notes (member_id, body) SELECT min(id), 'since' FROM members"
                try reprise undo --yes --reason "to see that it is refused"
                expect_said "in use and are not dropped"
                sql chms_production "DELETE FROM member_notes WHERE body = 'since'"
                try reprise undo --yes --reason "to see it go"
                expect "the run" UNDONE "$(state)"
                gone chms_production
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func theyComeIntoANewDatabaseWithWhatTheyNeedAndTheDatabaseGoesAgain() async throws {
            try await Scenario.play(
                Self.mistake + #"""
                try start --param 'tables=member_notes,audit_*' --param into=chms_look --param approve=no
                expect "the exit status" 8 "$CODE"
                expect_said "left out: foreign key"
                back chms_look
                gone chms_production
                try reprise undo --yes --reason "seen"
                expect "the run" UNDONE "$(state)"
                expect "the database" "" "$(oid chms_look)"
                """#)
        }

        /// An undo that is killed goes on, in the live database and in one that the step made: that one goes too.
        @Test(
            .timeLimit(.minutes(10)),
            arguments: ["restore-tables.before-undo restore#1 undo", "restore-tables.after-undo restore#1 undo"], ["chms_production", "chms_look"])
        func killedWhileItIsTakenBackItDropsAllOnce(place: String, database: String) async throws {
            try await Scenario.play(
                Self.mistake + #"""
                try start --param 'tables=member_notes,audit_*' --param into=DATABASE --param approve=no
                back DATABASE
                echo 'PLACE' >"$WORK/places"
                export REPRISE_FAILPOINT_KILL=$WORK/places
                try reprise undo --yes --reason "to see it die"
                unset REPRISE_FAILPOINT_KILL
                expect "the exit status" 137 "$CODE"
                try reprise resume
                expect "the run" UNDONE "$(state)"
                gone chms_production
                expect "the new database" "" "$(oid chms_look)"
                """#.replacing("PLACE", with: place).replacing("DATABASE", with: database))
        }

        @Test(
            .timeLimit(.minutes(10)),
            arguments: ["restore-tables.before restore#1", "job.after-submit restore#1 restore", "restore-tables.after restore#1"])
        func killedAnywhereItRestoresOnce(place: String) async throws {
            try await Scenario.play(
                Self.mistake + #"""
                echo 'PLACE' >"$WORK/places"
                export REPRISE_FAILPOINT_KILL=$WORK/places
                try start --param 'tables=member_notes,audit_*' --param approve=no
                unset REPRISE_FAILPOINT_KILL
                expect "the exit status" 137 "$CODE"
                resume_to_end
                back chms_production
                shapes chms_production
                """#.replacing("PLACE", with: place))
        }
    }
}
