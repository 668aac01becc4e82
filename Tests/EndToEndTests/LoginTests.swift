import Testing

extension EndToEnd {
    /// Logins that are not root.
    @Suite
    struct LoginTests {
        /// `login NAME` writes an inventory for it; `least HOST…` leaves `deploy` exactly what the README gives it, for a database's host or another.
        static let logins = #"""
            login() {
                sed "s/ansible_user: root/ansible_user: $1/${2:+; s/^  vars:/&\n    ansible_become: true/}" inventory/lab.yaml >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
            }
            least() {
                local host lines granted document
                lines=$(grep '^deploy ALL=' README.md)
                expect "the lines of the README" 2 "$(wc -l <<<"$lines")"
                for document in docs/security.md docs/recovery-server.md; do expect "the lines of $document" "$lines" "$(grep '^deploy ALL=' $document)"; done
                for host; do
                    case $host in db1 | new2) granted=$lines ;; *) granted=$(head -n 1 <<<"$lines") ;; esac
                    UNDO+=("scripts/lab enter $host bash -c 'cat /root/sudoers.lab >/etc/sudoers.d/lab; rm /root/sudoers.lab'")
                    scripts/lab enter "$host" cp /etc/sudoers.d/lab /root/sudoers.lab
                    scripts/lab enter "$host" bash -c "printf '%s\n' \"\$1\" >/etc/sudoers.d/lab; visudo -cqf /etc/sudoers.d/lab" - "$granted"
                    if scripts/lab enter "$host" runuser -u deploy -- sudo -n id >/dev/null 2>&1; then echo "deploy may do more than the README says"; exit 1; fi
                done
            }

            """#

        @Test(.timeLimit(.minutes(10)))
        func theLeastRightsOfTheReadmeAreEnoughForAWholeRecovery() async throws {
            try await Scenario.play(
                Self.logins + """
                    fresh
                    login deploy become
                    least app1 db1
                    try reprise check "$PLAN" --inventory "$INVENTORY"
                    expect "the exit status of check" 0 "$CODE"
                    try start --param approve=no
                    expect "the exit status" 0 "$CODE"
                    recovered
                    [[ $(scripts/lab enter db1 stat -c %U:%a /var/lib/reprise) == root:700 ]] || { echo "the ledger is not root's"; exit 1; }
                    """)
        }

        @Test(.timeLimit(.minutes(10)))
        func theLeastRightsAreEnoughToCarryABackupOver() async throws {
            try await Scenario.play(
                Self.logins + """
                    fresh
                    login deploy become
                    least app1 db1
                    sed 's/via: host/via: orchestrator/' "$PLAN" >"$WORK/plan.yaml"
                    PLAN=$WORK/plan.yaml
                    try start --param approve=no
                    expect "the exit status" 0 "$CODE"
                    expect "the jobs of carrying" 1 "$(scripts/lab enter db1 ls /var/lib/reprise/jobs | grep -c carry)"
                    recovered
                    """)
        }

        @Test(.timeLimit(.minutes(10)))
        func aSudoThatAsksIsFoundBeforeAnythingRan() async throws {
            try await Scenario.play(
                Self.logins + """
                    fresh
                    login nosudo become
                    try reprise check "$PLAN" --inventory "$INVENTORY"
                    [[ $CODE != 0 ]] || { echo "EXPECTED check to refuse"; exit 1; }
                    expect_said "sudo on db1 does not work without a person"
                    expect_said "ALL=(root) NOPASSWD: /usr/bin/env"
                    untouched
                    for host in app1 db1; do
                        expect "a ledger on $host" "" "$(scripts/lab enter $host bash -c 'ls -d /var/lib/reprise /home/nosudo/.local/state/reprise 2>/dev/null')"
                    done
                    """)
        }

        @Test(.timeLimit(.minutes(10)))
        func aLoginWithoutRootRunsCommandsAndIsToldWhatItCannot() async throws {
            try await Scenario.play(
                Self.logins + """
                    lab reset
                    login deploy
                    cat >"$WORK/plan.yaml" <<'PLAN'
                    reprise: 1
                    name: plain
                    steps:
                      - id: say
                        kind: command
                        on: db1
                        with:
                          run: |
                            id -un
                            pwd
                    PLAN
                    try reprise check "$WORK/plan.yaml" --inventory "$INVENTORY"
                    expect "the exit status of check" 0 "$CODE"
                    try reprise start "$WORK/plan.yaml" --inventory "$INVENTORY" --yes
                    expect "the exit status" 0 "$CODE"
                    OUT=$(reprise logs)
                    expect_said deploy
                    expect_said /home/deploy
                    expect "the ledger" deploy:700 "$(scripts/lab enter db1 stat -c %U:%a /home/deploy/.local/state/reprise)"
                    expect "its jobs" 1 "$(scripts/lab enter db1 ls /home/deploy/.local/state/reprise/jobs | wc -l)"
                    expect "root's ledger" "" "$(scripts/lab enter db1 bash -c 'ls -d /var/lib/reprise 2>/dev/null')"
                    # What needs another user is named before anything runs.
                    try reprise check "$PLAN" --inventory "$INVENTORY"
                    [[ $CODE != 0 ]] || { echo "EXPECTED check to refuse"; exit 1; }
                    expect_said "app1: step maintenance-on"
                    expect_said "it works as www-data, which the login deploy cannot become"
                    expect_said "db1: step fetch"
                    expect_said "set ansible_become for db1"
                    """)
        }

        @Test(.timeLimit(.minutes(10)))
        func anApplicationHostWithoutPerlIsServedByItsShell() async throws {
            try await Scenario.play(
                Self.logins + """
                    hide_perl() {
                        UNDO+=("scripts/lab enter $1 mv /usr/bin/perl.away /usr/bin/perl")
                        scripts/lab enter "$1" mv /usr/bin/perl /usr/bin/perl.away
                    }
                    fresh
                    login deploy become
                    least app1 db1
                    hide_perl app1
                    try reprise check "$PLAN" --inventory "$INVENTORY"
                    expect "the exit status of check" 0 "$CODE"
                    expect_said "no perl: jobs are kept by its shell"
                    try start --param approve=no
                    expect "the exit status" 0 "$CODE"
                    expect "the jobs on app1" 3 "$(scripts/lab enter app1 ls /var/lib/reprise/jobs | wc -l)"
                    recovered
                    try reprise undo --yes --reason "and back"
                    expect "the run" UNDONE "$(state)"
                    untouched
                    # A database's host cannot do without.
                    hide_perl db1
                    try reprise check "$PLAN" --inventory "$INVENTORY"
                    [[ $CODE != 0 ]] || { echo "EXPECTED check to refuse"; exit 1; }
                    expect_said "it has no perl, which the way to its databases needs"
                    """)
        }

        /// Fault 27, once: a person's word about a deleted ledger is not asked for again.
        @Test(.timeLimit(.minutes(10)))
        func aDeletedLedgerIsAskedAboutOnce() async throws {
            try await Scenario.play(
                """
                lab reset
                cat >"$WORK/plan.yaml" <<'PLAN'
                reprise: 1
                name: lost
                steps:
                  - id: first
                    kind: command
                    on: db1
                    with:
                      run: echo first >>/var/log/lab-effects/lost
                  - id: second
                    kind: command
                    on: db1
                    with:
                      run: |
                        echo second >>/var/log/lab-effects/lost
                        sleep 300
                      in-doubt: ask
                PLAN
                PLAN=$WORK/plan.yaml
                behind
                effects() { scripts/lab enter db1 cat /var/log/lab-effects/lost 2>/dev/null | tr '\\n' ' '; }
                second() { [[ $(effects) == "first second " ]]; }
                await "the second step" second
                killed
                # The host loses its ledger, and the job with it.
                lab enter db1 bash -c 'for l in /var/lib/reprise/jobs/*/L2; do for f in /proc/[0-9]*/fd/*; do [[ $f -ef $l ]] && p=${f#/proc/} && kill -KILL ${p%%/*}; done; done; rm -rf /var/lib/reprise; true'
                try reprise resume
                expect "the exit status" 5 "$CODE"
                expect_said "its ledger was deleted"
                # This time it is short.
                sed 's/sleep 300/true/' "$WORK/plan.yaml" >"$WORK/short.yaml"
                run=$(reprise status --json | perl -MJSON::PP -0777 -ne 'print decode_json($_)->{run}')
                ("$REPRISE" resolve "$run" second --as not-done --reason "looked" --journal "$J" >"$WORK/background.log" 2>&1) &
                BACKGROUND=$!
                again() { [[ $(effects) == "first second second " ]]; }
                await "the second step's new attempt" again
                expect "the run" RUNNING "$(state)"
                try reprise cancel "$run" --reason "seen enough"
                """)
        }
    }
}
