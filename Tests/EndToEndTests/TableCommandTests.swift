import Testing

extension EndToEnd {
    /// Rows of the newest backup in the store against the live database, through SSH, without a plan.
    @Suite
    struct TableCommandTests {
        @Test(.timeLimit(.minutes(10)))
        func whatWasDeletedIsSeenMergedAndTakenBackWithoutAPlan() async throws {
            try await Scenario.play(
                TableScene.mistake + #"""
                before=$(some members true)
                SIDES=(store:backups database:production --table members --table attendance_records --inventory "$INVENTORY")
                CODE=0; reprise diff "${SIDES[@]}" --json >"$WORK/differences" || CODE=$?
                expect "the exit status" 3 "$CODE"
                found() { grep -c "\"table\":\"public.$1\",\"kind\":\"$2\"" "$WORK/differences" || true; }
                expect "deleted members" 20 "$(found members missing)"
                # Ten were renamed by mistake, and one has moved house since.
                expect "changed members" 11 "$(found members changed)"
                expect "new members" 1 "$(found members extra)"
                [[ $(found attendance_records missing) -gt 0 ]] || { echo "no attendance is missing"; exit 1; }
                try reprise merge "${SIDES[@]}"
                expect "the exit status" 5 "$CODE"
                expect_said "public.members: missing id="
                expect "what was written" "$before" "$(some members true)"
                try reprise merge "${SIDES[@]}" --agree "$(grep -oP -- '--agree \K[0-9a-f]+' <<<"$OUT")"
                expect "the exit status" 0 "$CODE"
                back
                expect "what stays in the database" reprise_audit "$(sql chms_production "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'reprise%'")"
                try reprise merge database:production --inventory "$INVENTORY" --undo "$(grep -oP -- '--undo \K\S+' <<<"$OUT")"
                expect "the exit status" 0 "$CODE"
                expect "the members" "$before" "$(some members true)"
                """#)
        }
    }
}
