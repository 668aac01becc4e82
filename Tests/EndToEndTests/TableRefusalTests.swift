import Testing

extension EndToEnd {
    /// What a merge of single tables must not do, and what stops it by name before a live table is touched.
    @Suite
    struct TableRefusalTests {
        /// Rows that change between the preview and the merge are left alone and listed; somebody who writes all through it loses nothing.
        @Test(.timeLimit(.minutes(10)))
        func whatChangesAfterThePreviewIsLeftAloneAndAWriterLosesNothing() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                named members touch_members
                try merge --param changed=take-backup
                expect "the exit status" 5 "$CODE"
                sql chms_production "
                    INSERT INTO members (id, organization_id, first_name, last_name) VALUES (100, 2, 'Somebody', 'Else');
                    UPDATE members SET phone = '+44 20 1000' WHERE id = 201;
                    DELETE FROM members WHERE id = 401;"
                # One transaction after the other, on a connection of its own; its number is written down once it is committed.
                UNDO+=("scripts/lab enter db1 touch /tmp/lab-writer-stops")
                scripts/lab enter db1 rm -f /tmp/lab-writer-stops /tmp/lab-written
                scripts/lab enter db1 runuser -u postgres -- bash -c '
                    until [ -e /tmp/lab-writer-stops ]; do
                        n=$((n + 1))
                        psql -X -q -v ON_ERROR_STOP=1 -d chms_production -c "BEGIN; UPDATE members SET remarks = \$\$by the writer, $n\$\$ WHERE id IN (601, 9);
                            INSERT INTO members (id, organization_id, first_name, last_name) VALUES (11000 + $n, 1, \$\$Writer\$\$, \$\$$n\$\$);
                            INSERT INTO attendance_records (id, member_id, service_id, method, checked_in_at) VALUES (16000 + $n, 9 + $n % 80, 151 - $n % 150 - 1, \$\$qr\$\$, now())
                                ON CONFLICT (member_id, service_id) DO UPDATE SET checked_in_at = now(); COMMIT" || exit 1
                        echo $n >>/tmp/lab-written
                    done' >"$WORK/writer.log" 2>&1 &
                writer=$!
                written() { scripts/lab enter db1 cat /tmp/lab-written 2>/dev/null | tail -n 1; }
                wrote() { [[ $(written) -ge $1 ]]; }
                await "the writer's first transactions" wrote 3
                try reprise approve approve-merge --comment "agreed"
                expect "the exit status" 8 "$CODE"
                expect_said "rows of public.members were left alone: changed since the preview"
                now=$(written)
                await "the writer's next transactions" wrote $((now + 2))
                scripts/lab enter db1 touch /tmp/lab-writer-stops
                wait "$writer" || { echo "the writer failed:"; tail -n 5 "$WORK/writer.log"; exit 1; }
                last=$(written)
                expect "the writer's last word" "by the writer, $last|by the writer, $last" "$(sql chms_production "SELECT string_agg(remarks, '|') FROM members WHERE id IN (601, 9)")"
                expect "the writer's people" "$last|$last" "$(sql chms_production "SELECT count(*), count(DISTINCT last_name) FROM members WHERE first_name = 'Writer'")"
                expect "what is listed" "100 201 401 601" "$(sql chms_production "SELECT string_agg((coalesce(live, backup))[array_position(columns, 'id')], ' ' ORDER BY (coalesce(live, backup))[array_position(columns, 'id')]) FROM reprise_audit.skips WHERE table_name = 'members' AND reason = 'changed since the preview'")"
                expect "who has number 100 now" "Somebody Else|0" "$(sql chms_production "SELECT full_name, (SELECT count(*) FROM attendance_records WHERE member_id = 100) FROM members WHERE id = 100")"
                expect "the row that was deleted meanwhile" 0 "$(sql chms_production 'SELECT count(*) FROM members WHERE id = 401')"
                expect "lost rows that are back" 19 "$(sql chms_production 'SELECT count(*) FROM members WHERE id % 100 = 0 AND id BETWEEN 200 AND 2000')"
                expect "mistaken names that are back" 7 "$(sql chms_production "SELECT count(*) FROM members WHERE id % 200 = 1 AND id <= 2000 AND last_name <> 'Mistake'")"
                """#)
        }

        /// Each is named, with what to do, and nothing is merged.
        @Test(.timeLimit(.minutes(10)))
        func tablesThatAreNotThereOrNotAsTheyWereAreNamed() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                refused() {
                    local tables=$1 said
                    shift
                    try start --param "tables=$tables" --param approve=no
                    [[ $CODE != 0 ]] || { echo "EXPECTED a failure"; exit 1; }
                    for said in "$@"; do expect_said "$said"; done
                    expect "merges" "" "$(sql chms_production "SELECT to_regclass('reprise_audit.merges')")"
                    try reprise cancel --reason "for the next one"
                    next_journal
                }
                sql chms_production "
                    CREATE TABLE since_then (id int PRIMARY KEY); DROP TABLE qr_codes;
                    ALTER TABLE families DROP COLUMN postcode; ALTER TABLE uploads ALTER title TYPE varchar(400);"
                refused membres 'the backup has no table public.membres' "reprise backup show"
                refused reporting.members 'the backup has no table reporting.members' "it has one in schema public"
                refused "members;drop" 'the backup has no table public."members;drop"'
                refused since_then 'the backup has no table public.since_then'
                refused qr_codes 'has no table public.qr_codes' postgres-restore-tables
                refused families 'column postcode of the backup is not there any more' "drift: common-columns"
                refused uploads 'column title was text and is character varying(400)'
                """#)
        }

        /// `check` looks at the backup of this plan too: a newer server's, and an extension that the server lacks. A role that owned
        /// something is not needed.
        @Test(.timeLimit(.minutes(10)))
        func whatTheServerLacksIsFoundByCheck() async throws {
            try await Scenario.play(
                #"""
                lab reset
                lab backup
                PLAN=plans/table-restore.yaml
                extensions=/usr/share/postgresql/15/extension
                UNDO+=("scripts/lab enter db1 mv $extensions/citext.control.lab-hidden $extensions/citext.control")
                UNDO+=("sql postgres 'ALTER ROLE chms_readonly_away RENAME TO chms_readonly'")
                check() { try reprise check "$PLAN" --inventory "$INVENTORY" --param tables=members; }
                check
                expect "the exit status" 0 "$CODE"
                expect_said "the version, the format and 2 extensions that"
                sql postgres "ALTER ROLE chms_readonly RENAME TO chms_readonly_away"
                check
                expect "the exit status" 0 "$CODE"
                scripts/lab enter db1 mv "$extensions/citext.control" "$extensions/citext.control.lab-hidden"
                check
                expect "the exit status" 1 "$CODE"
                expect_said "needs extensions that db1 does not have: citext"
                key=$(scripts/lab aws writer s3api list-objects-v2 --bucket chms-backups --prefix database/db_ --query 'sort_by(Contents[?ends_with(Key, `".gz"`)],&Key)[-1].Key' --output text)
                sleep 1
                new=database/db_$(date -u +%Y%m%d_%H%M%S).dump.gz
                UNDO+=("scripts/lab aws writer s3 rm s3://chms-backups/$new")
                # The server's version stands first in the header and has it twice, pg_dump's own after it; all stay as long as they were.
                scripts/lab aws writer s3 cp "s3://chms-backups/$key" - | gzip -dc | perl -0777 -pe 's/15\./99./' | gzip -1 | scripts/lab aws writer s3 cp - "s3://chms-backups/$new"
                check
                expect "the exit status" 1 "$CODE"
                expect_said "$new comes from PostgreSQL 99, and the server is 15"
                expect "the journal" "" "$(find "$WORK/state" -name 'journal*')"
                """#)
        }

        /// A role that is no superuser: what it lacks is named, one right after the other, and with the least of them it merges and undoes.
        @Test(.timeLimit(.minutes(10)))
        func rightsThatARoleLacksAreNamedAndTheLeastAreEnough() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                UNDO+=("lab reset" "sql postgres 'DROP ROLE lab_merger'" "scripts/lab enter db1 userdel lab_merger")
                lab enter db1 useradd --system lab_merger
                sql postgres "CREATE ROLE lab_merger LOGIN; GRANT CONNECT ON DATABASE chms_production TO lab_merger"
                sed "s|database: chms_production$|&\n      superuser: lab_merger|" inventory/lab.yaml >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                stopped_by() {
                    [[ $CODE != 0 ]] || { echo "EXPECTED a failure"; exit 1; }
                    expect_said "$1"
                    expect_said "the least that it needs"
                    sql chms_production "$2"
                }
                try merge --param approve=no
                stopped_by "permission denied for database chms_production" "GRANT CREATE ON DATABASE chms_production TO lab_merger"
                try reprise retry rescue --reason granted
                stopped_by "permission denied for" "GRANT USAGE ON SCHEMA public TO lab_merger; GRANT SELECT ON ALL TABLES IN SCHEMA public TO lab_merger"
                try reprise retry diff --reason granted
                # Rows that hang on those of members have row security: whoever does not see them all must not judge.
                stopped_by 'row-level security policy for table "member_notes"' "ALTER ROLE lab_merger BYPASSRLS"
                try reprise retry diff --reason granted
                stopped_by "permission denied for table" "GRANT INSERT, UPDATE, DELETE ON members, attendance_records TO lab_merger; GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO lab_merger"
                try reprise retry merge --reason granted
                expect "the exit status" 0 "$CODE"
                back
                again
                """#)
        }
    }
}
