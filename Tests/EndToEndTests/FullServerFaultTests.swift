import Testing

extension EndToEnd {
    /// What goes wrong on the way of a whole server's recovery.
    @Suite struct FullServerFaultTests {
        /// One recovery, of a machine that the plan makes first: packages that cannot be had for a while, a power cut in the middle of apt,
        /// two wrong secrets, and a name that leads nowhere yet. (A power cut in the middle of the restore: `FullServerTests`.)
        @Test(.timeLimit(.minutes(10)))
        func aRecoveryGoesOnAfterLostPackagesAndPowerAndNamesWrongSecrets() async throws {
            try await Scenario.play(FullServerTests.prelude + #"""
                lab backup
                # A key that nobody knows, and a password that opens nothing.
                ssh-keygen -q -t ed25519 -N '' -f "$WORK/deploy-key"
                echo wrong >"$WORK/password"
                # Of the machine nothing is known but its name.
                sed -e "s|^    deploy-key: .*|    deploy-key: file:$WORK/deploy-key|" -e "s|^    visitor-password: .*|    visitor-password: command:cat $WORK/password|" \
                    -e '/ansible_host:/d' -e 's|^    - /var/.*/known_hosts$|    - /dev/null|' "$INVENTORY" >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                # As the document says it.
                cat >"$WORK/machine" <<YAML
                  - id: machine
                    kind: provision
                    on: orchestrator
                    timeout: 10m
                    with:
                      host: new1
                      directory: $ROOT
                      in-doubt: rerun
                      run: |
                        [ -s "$WORK/machine.json" ] || { echo made >>"$WORK/made"; scripts/lab factory new1 >"$WORK/new.json"; mv "$WORK/new.json" "$WORK/machine.json"; }
                        cat "$WORK/machine.json"
                YAML
                sed -e "/^steps:$/r $WORK/machine" -e 's/^    needs: \[\]$/    needs: [machine]/' -e 's/^      connect-to: .*/      connect-to: "{{ steps.machine.address }}"\n      within: 2s/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status of check" 0 "$CODE"
                expect_said "step machine makes it"
                UNDO+=("scripts/lab packages up" "scripts/lab boot new1")
                # A busy machine installs for minutes.
                await() { local what=$1 end=$((SECONDS + 240)); shift; until "$@"; do ((SECONDS < end)) || { echo "never seen: $what"; tail -n 5 "$WORK/background.log"; exit 1; }; sleep 0.02; done; }
                failed() { grep -qE '(database|application)-packages failed.*(503|cannot all be read|Failed to fetch)' "$WORK/background.log"; }

                "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --journal "$J" >"$WORK/background.log" 2>&1 & BACKGROUND=$!
                await "a package that is half unpacked" half_unpacked
                # What is half done may all have been fetched; the application's packages come after it, and have to be fetched after the boot.
                lab power-cut new1
                lab packages down
                lab boot new1
                [[ -n $(there dpkg --audit) ]] || { echo "nothing was half done: the test shows nothing"; exit 1; }
                await "a package that cannot be had" failed
                lab packages up
                join
                OUT=$(cat "$WORK/background.log")
                expect_said "mended what an interrupted run left half done"
                # Nobody had to do anything until here, where the key is refused.
                expect "the exit status" 1 "$CODE"
                expect_said "code failed"
                expect_said "the repository lets us in no further"
                expect_said "the key is the secret deploy-key"
                expect "files of the code" "" "$(there sh -c "ls '$BACKEND'")"
                expect "the site's answer" "" "$(visit / 2>/dev/null || true)"

                install -m 600 "$LAB/code/deploy_key" "$WORK/deploy-key"
                try reprise retry code
                expect "the exit status with a wrong password" 3 "$CODE"
                expect_said "visit failed"
                expect_said "/login leads to"
                expect_said "look whether the secret visitor-password is right"
                echo lab-password >"$WORK/password"
                try reprise retry visit
                expect "the exit status with the right password" 0 "$CODE"
                expect "times that the machine was made" 1 "$(grep -c made "$WORK/made")"
                expect "the run" SUCCEEDED "$(state)"
                expect "what dpkg finds half done" "" "$(there dpkg --audit)"
                serves
                safe

                # The site serves, and nobody is led to it.
                OUT=$(reprise report --format markdown)
                expect_said "the name service knows no address of chms.example.org: people do not reach 10.77.0.14"
                sed -i 's/^      connect-to: .*/&\n      name-service: require/' "$PLAN"
                try start
                expect "the exit status where people must be led there" 3 "$CODE"
                expect_said "let the name's record in DNS lead to 10.77.0.14"
                { echo "10.77.0.14 chms.example.org"; cat /etc/hosts; } >"$WORK/hosts"
                try unshare -m sh -euc 'mount --bind "$1" /etc/hosts; shift; exec "$@"' - "$WORK/hosts" "$REPRISE" retry visit --journal "$J"
                expect "the exit status where they are" 0 "$CODE"
                expect_said "the name service leads chms.example.org to 10.77.0.14"
                """#)
        }
    }
}
