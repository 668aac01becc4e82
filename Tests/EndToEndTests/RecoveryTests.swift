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
                """)
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
                newest=$(scripts/lab aws reader s3 ls s3://chms-backups/database/ | awk '{print $4}' | sort | tail -n 1)
                cut=db_$(date -u -d '+2 minutes' +%Y%m%d_%H%M%S).dump.gz
                UNDO+=("scripts/lab aws writer s3 rm s3://chms-backups/database/$cut")
                # A whole gzip around an archive that was cut off: only a full decode finds that out.
                scripts/lab enter db1 bash -euc "
                    gunzip -c /var/backups/chms/$newest >/tmp/cut
                    truncate -s \\$((\\$(stat -c %s /tmp/cut) * 6 / 10)) /tmp/cut
                    gzip -c /tmp/cut >/var/backups/chms/$cut"
                lab enter db1 env DATE="$(basename "${cut#db_}" .dump.gz)" upload-chms-backup.sh database
                lab enter db1 rm -f "/var/backups/chms/$cut" /tmp/cut
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
