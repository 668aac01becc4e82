import Testing

extension EndToEnd {
    /// The whole recovery on real hosts. One scenario at a time: they share one lab.
    @Suite
    struct RecoveryTests {
        @Test(.timeLimit(.minutes(10)))
        func aCorruptedDatabaseIsRestoredProvenAndSwapped() async throws {
            try await Scenario.play(
                """
                fresh
                if sql chms_production 'SELECT count(full_name) FROM members'; then echo "the corruption had no effect"; exit 1; fi
                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                recovered
                expect "the members" 2000 "$(sql chms_production 'SELECT count(full_name) FROM members')"
                # Nothing that was queued runs twice, and nobody is logged in by a session that may have been revoked.
                expect "jobs, held jobs, sessions, tokens" "0|25|0|0" "$(sql chms_production "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM reprise_settled.jobs), (SELECT count(*) FROM sessions), (SELECT count(*) FROM personal_access_tokens)")"
                """)
        }

        /// After the backup one file was uploaded and one removed: both are told, and nothing else of the recovery changes.
        @Test(.timeLimit(.minutes(10)))
        func rowsWithoutTheirFilesAndFilesWithoutRowsAreReported() async throws {
            try await Scenario.play(
                #"""
                fresh
                public=/var/www/chms-production/backend/storage/app/public
                UNDO+=("lab reset")
                scripts/lab enter app1 bash -c "cd $public/uploads && rm photo-3.jpg && echo new >later.txt && chown www-data: later.txt"
                # The same name in another Unicode form is another file.
                scripts/lab enter app1 perl -e 'chdir shift; rename "letters/Gr\xc3\xbc\xc3\x9fe und \xe6\x89\x8b\xe7\xb4\x99.txt", "letters/Gru\xcc\x88\xc3\x9fe und \xe6\x89\x8b\xe7\xb4\x99.txt" or die $!' "$public/uploads"
                try start --param approve=no
                expect "the exit status" 8 "$CODE"
                recovered SUCCEEDED_WITH_WARNINGS
                try reprise report
                expect_said "2 of 7 files that chms_restore names are not in app1:$public: uploads/letters/Grüße und 手紙.txt, uploads/photo-3.jpg"
                expect_said "2 of 7 files in app1:$public have no row in chms_restore: uploads/later.txt, uploads/letters/Gr"
                perl -pe 's/^      ignore: \[.gitignore.*/$&\n      rows-without-file: fail/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                lab reset
                DAMAGED=$(oid chms_production)
                scripts/lab enter app1 rm "$public/uploads/photo-3.jpg"
                try start --param approve=no
                expect "the exit status" 3 "$CODE"
                expect_said "1 of 7 files that chms_restore names is not in app1:$public: uploads/photo-3.jpg"
                untouched
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func undoAfterSuccessPutsTheDamagedDatabaseBack() async throws {
            try await Scenario.play(
                """
                fresh
                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                try reprise undo --yes --reason "the wrong backup"
                expect "the run" UNDONE "$(state)"
                untouched
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func aHeldJobThatIsMissingStopsTheRun() async throws {
            try await Scenario.play(
                #"""
                fresh
                # Somebody deletes a held job between the settlement and the swap.
                perl -pe 's/^  - id: approve-swap/  - id: tamper\n    kind: command\n    on: db1\n    with:\n      as: postgres\n      run: psql -X -d chms_restore -c "DELETE FROM reprise_settled.jobs WHERE id = 7"\n\n$&/; s/needs: \[maintenance-on, settle\]/needs: [maintenance-on, tamper]/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try start --param approve=no
                expect "the exit status" 3 "$CODE"
                expect_said "reprise_settled.jobs: expected 25 rows, found 24"
                try reprise undo --yes --reason "a job is missing"
                untouched
                """#)
        }

        @Test(.timeLimit(.minutes(10)), arguments: ["settle.before-commit", "settle.after-commit"])
        func aKillAroundTheSettlementSettlesOnce(place: String) async throws {
            try await Scenario.play(
                #"""
                fresh
                export REPRISE_FAILPOINT=PLACE:1:kill
                try start --param approve=no
                unset REPRISE_FAILPOINT
                expect "the exit status" 137 "$CODE"
                held=$(sql chms_restore "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reprise%'")
                [[ PLACE == *before* ]] && expect "the mark" 0 "$held" || expect "the mark" 1 "$held"
                untouched
                resume_to_end
                recovered
                expect "jobs, held jobs, sessions" "0|25|0" "$(sql chms_production "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM reprise_settled.jobs), (SELECT count(*) FROM sessions)")"
                expect "the settlements" 1 "$(sql chms_production "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reprise%'")"
                """#.replacing("PLACE", with: place))
        }

        /// A second database whose pages fail their checksums is the disk's doing, not one database's.
        @Test(.timeLimit(.minutes(10)))
        func damageBeyondTheOneDatabaseIsNotRestoredOver() async throws {
            try await Scenario.play(
                #"""
                fresh
                UNDO+=("scripts/lab reset")
                scripts/lab sql db1 postgres >/dev/null <<<"ALTER DATABASE chms_production RENAME TO chms_other"
                scripts/lab sql db1 postgres >/dev/null <<<"CREATE DATABASE chms_production TEMPLATE chms_seed OWNER chms_user"
                DAMAGED=$(oid chms_production)
                try start --param approve=no
                expect "the exit status" 1 "$CODE"
                expect_said "pages of chms_other failed their checksum"
                untouched
                expect "the scratch database" "" "$(oid chms_restore)"
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aStepThatIsAlreadyDoneIsNotDoneAgain() async throws {
            try await Scenario.play(
                #"""
                lab reset
                UNDO+=("scripts/lab enter db1 rm -rf /var/lib/reprise-unless")
                scripts/lab enter db1 bash -euc 'rm -rf /var/lib/reprise-unless; mkdir -m 777 /var/lib/reprise-unless; touch /var/lib/reprise-unless/there'
                cat >"$WORK/unless.yaml" <<'PLAN'
                reprise: 1
                name: unless
                steps:
                  - {id: done, kind: command, on: db1, unless: 'test "$(id -un)" = postgres && test -e there', with: {as: postgres, directory: /var/lib/reprise-unless, run: echo done >> effects}}
                  - {id: asked, kind: command, on: db1, unless: {database: production, sql: "SELECT count(*) = 2000 FROM members"}, with: {run: echo asked >> /var/lib/reprise-unless/effects}}
                  - {id: todo, kind: command, on: db1, unless: test -e /var/lib/reprise-unless/missing, with: {run: echo todo >> /var/lib/reprise-unless/effects}}
                PLAN
                # Killed between the answer and the outcome: the answer stands, and the step is not done all the same.
                export REPRISE_FAILPOINT=unless.answered:1:kill
                try reprise start "$WORK/unless.yaml" --inventory "$INVENTORY" --yes
                unset REPRISE_FAILPOINT
                expect "the exit status" 137 "$CODE"
                resume_to_end
                expect "the run" SUCCEEDED "$(state)"
                expect "the effects" todo "$(scripts/lab enter db1 cat /var/lib/reprise-unless/effects)"
                OUT=$(reprise status)
                expect "the steps that were done already" 2 "$(grep -c unchanged <<<"$OUT")"
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aDrillIsRefusedOnProductionsClusterUnlessThePlanSaysSo() async throws {
            try await Scenario.play(
                #"""
                fresh
                id=$(sql postgres "SELECT system_identifier FROM pg_control_system()")
                sed "s/^reprise:$/reprise:\n  production-system-identifiers: ['$id']/" "$INVENTORY" >"$WORK/inventory.yaml"
                grep -q "$id" "$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                try start --mode drill
                expect "the exit status" 2 "$CODE"
                expect_said "$id"
                expect "the runs" '[]' "$(reprise list --json | tr -d ' \n')"
                untouched
                expect "the scratch database" "" "$(oid chms_restore)"
                sed "s/^name: db-corruption/&\nallow: [same-cluster]/" "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try start --mode drill
                expect "the exit status" 0 "$CODE"
                untouched
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aDumpMadeUnderAnotherTimeZoneVerifies() async throws {
            try await Scenario.play(
                """
                lab reset
                date=$(scripts/lab enter db1 date +%Y%m%d_%H%M%S)
                lab enter db1 env DATE="$date" PGTZ=Asia/Tokyo backup-chms-db.sh
                scripts/lab enter db1 bash -c "gunzip -c /var/backups/chms/db_$date.dump.gz | pg_restore --data-only -t members -f - | head -n 60" >"$WORK/dump"
                grep -q '+09' "$WORK/dump" || { echo "the dump is not in Tokyo's time"; exit 1; }
                lab enter db1 env DATE="$date" upload-chms-backup.sh database
                lab corrupt
                DAMAGED=$(oid chms_production)
                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func oneChangedByteStopsBeforeTheSwap() async throws {
            try await Scenario.play(
                #"""
                fresh
                perl -pe 's/^  - id: verify-scratch/  - id: tamper\n    kind: command\n    on: db1\n    needs: [restore]\n    with:\n      as: postgres\n      run: psql -X -d chms_restore -c "SET session_replication_role = replica" -c "UPDATE members SET first_name = overlay(first_name placing chr(35) from 1 for 1) WHERE id = (SELECT min(id) FROM members)"\n\n$&/; s/needs: \[restore\]$/needs: [tamper]/ if $seen; $seen = 1 if /id: verify-scratch/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try start --param approve=no
                expect "the exit status" 3 "$CODE"
                expect_said members
                untouched
                expect "the scratch database's row" '#' "$(sql chms_restore 'SELECT left(first_name, 1) FROM members ORDER BY id LIMIT 1')"
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aTruncatedLatestBackupIsPassedOverAndSaidLoudly() async throws {
            try await Scenario.play(
                """
                fresh
                newest=$(scripts/lab aws reader s3 ls s3://chms-backups/database/ | awk '$4 ~ /gz$/ {print $4}' | sort | tail -n 1)
                cut=db_$(date -u -d '+2 minutes' +%Y%m%d_%H%M%S).dump.gz
                UNDO+=("scripts/lab aws writer s3 rm s3://chms-backups/database/$cut")
                # A whole gzip around an archive that was cut off: only a full decode finds that out.
                scripts/lab enter db1 bash -euc "
                    gunzip -c /var/backups/chms/$newest >/tmp/cut
                    truncate -s \\$((\\$(stat -c %s /tmp/cut) * 6 / 10)) /tmp/cut
                    gzip -c /tmp/cut >/var/backups/chms/$cut"
                lab enter db1 env DATE="$(basename "${cut#db_}" .dump.gz)" upload-chms-backup.sh database
                lab enter db1 rm -f "/var/backups/chms/$cut" /tmp/cut
                # Who chooses sees it too, beside what every table has in the others.
                try reprise backup list --counts --limit 2 --inventory "$INVENTORY"
                expect "the exit status" 0 "$CODE"
                expect_said "NOT USABLE"
                [[ $OUT =~ public\\.members\\ +-\\ +2,?000 ]] || { echo "the members of both backups are not shown: $OUT"; exit 1; }
                try start --param approve=no
                expect "the exit status" 8 "$CODE"
                expect_said "$cut"
                recovered SUCCEEDED_WITH_WARNINGS
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func theSwapWaitsForAPersonsWord() async throws {
            try await Scenario.play(
                """
                fresh
                try start
                expect "the exit status" 5 "$CODE"
                untouched
                expect "the run" WAITING "$(state)"
                run=$(reprise status --json | perl -MJSON::PP -0777 -ne 'print decode_json($_)->{run}')
                try reprise approve "$run" approve-swap --comment "agreed on the phone"
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }
    }
}
