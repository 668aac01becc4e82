import Testing

extension EndToEnd {
    /// What must stop a recovery, by name and before anything is changed.
    @Suite
    struct RefusalTests {
        @Test(.timeLimit(.minutes(10)))
        func aChangedHostKeyStopsWithBothFingerprints() async throws {
            try await Scenario.play(
                """
                fresh
                known=$(ssh-keygen -lf <(grep '^10.77.0.13 ssh-ed25519' "$LAB/ssh/known_hosts" | cut -d' ' -f2-) | awk '{print $2}')
                offered=$(ssh-keygen -lf <(grep '^10.77.0.12 ssh-ed25519' "$LAB/ssh/known_hosts" | cut -d' ' -f2-) | awk '{print $2}')
                # db1 is known by the key of another host.
                { grep -v '^10.77.0.12 ' "$LAB/ssh/known_hosts"; sed -n 's/^10.77.0.13 ssh-ed25519/10.77.0.12 ssh-ed25519/p' "$LAB/ssh/known_hosts"; } >"$WORK/known_hosts"
                sed "s|/var/lib/reprise-lab/ssh/known_hosts|$WORK/known_hosts|" "$INVENTORY" >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                try start --param approve=no
                [[ $CODE != 0 ]] || { echo "EXPECTED a failure"; exit 1; }
                expect_said "$known"
                expect_said "$offered"
                untouched
                expect "the scratch database" "" "$(oid chms_restore)"
                """)
        }

        /// `refused STATUS WORDS [ARGUMENTS…]`: a start ends with that status, says the words, and begins nothing: no run, no
        /// maintenance mode.
        private static let nothingStarted = #"""
            refused() {
                local status=$1 said=$2
                shift 2
                try start --param approve=no "$@"
                expect "the exit status" "$status" "$CODE"
                expect_said "nothing was started, because step fetch has no backup to fetch"
                expect_said "$said"
                expect "the runs" 0 "$(reprise list --json | perl -MJSON::PP -0777 -ne 'print scalar @{decode_json($_)}')"
                if scripts/lab enter app1 test -e /var/www/chms-production/backend/storage/framework/down; then echo "maintenance mode is on"; exit 1; fi
                untouched
            }

            """#

        /// Each is named, and nothing is started.
        @Test(.timeLimit(.minutes(10)))
        func aBackupThatIsNotThereStartsNothing() async throws {
            try await Scenario.play(
                Self.nothingStarted + #"""
                fresh
                with() { sed "$1" "$LAB_INVENTORY" >"$WORK/inventory.yaml"; INVENTORY=$WORK/inventory.yaml; }
                LAB_INVENTORY=$INVENTORY
                with 's/bucket: chms-backups$/bucket: no-such-bucket/'
                refused 1 no-such-bucket
                # A folder of the bucket in which there is nothing.
                with 's|bucket: chms-backups$|&\n      database-pattern: nothing-here/db_YYYYMMDD_HHMISS.dump*|'
                refused 1 nothing-here
                # The reader has no right to look into this bucket.
                with 's/bucket: chms-backups$/bucket: lab-e2e-closed/'
                UNDO+=("scripts/lab aws writer s3api delete-bucket --bucket lab-e2e-closed")
                lab aws writer s3api create-bucket --bucket lab-e2e-closed
                refused 1 lab-e2e-closed
                INVENTORY=$LAB_INVENTORY
                refused 1 database/db_20010101_000000.dump.gz --param backup=name:database/db_20010101_000000.dump.gz
                refused 1 2001-01-01 --param backup=before:2001-01-01T00:00:00Z
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func wrongCredentialsAreNamedAndNotShown() async throws {
            try await Scenario.play(
                Self.nothingStarted + """
                fresh
                (umask 077; sed 's/^aws_secret_access_key = .*/aws_secret_access_key = canary0wrong0secret0000000000000000000000/' "$LAB/aws/credentials" >"$WORK/credentials")
                sed "s|/var/lib/reprise-lab/aws/credentials|$WORK/credentials|" "$INVENTORY" >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                refused 1 "the store computed another signature for access key"
                ! grep -rq canary0wrong0secret "$WORK/state" - <<<"$OUT" || { echo "the secret is in the journal, or was shown"; exit 1; }
                """)
        }

        /// `check` goes the way that a run will go: what the host's own psql may says nothing about a password.
        @Test(.timeLimit(.minutes(10)))
        func aWrongPasswordIsFoundByCheckAndNotShown() async throws {
            try await Scenario.play(
                #"""
                lab reset
                lab backup
                export LAB_RIGHT=right$RANDOM$RANDOM LAB_WRONG=canary0wrong0$RANDOM
                UNDO+=("sql postgres 'ALTER ROLE postgres PASSWORD NULL'")
                sql postgres "SET log_statement = 'none'; ALTER ROLE postgres PASSWORD '$LAB_RIGHT'"
                by() {
                    sed "s|database: chms_production$|&\n      via: tunnel\n      password: env:$1|" inventory/lab.yaml >"$WORK/inventory.yaml"
                }
                by LAB_RIGHT
                try reprise check "$PLAN" --inventory "$WORK/inventory.yaml"
                expect "the exit status" 0 "$CODE"
                expect_said "via tunnel"
                by LAB_WRONG
                try reprise check "$PLAN" --inventory "$WORK/inventory.yaml"
                expect "the exit status" 1 "$CODE"
                expect_said 'password authentication failed for user "postgres"'
                ! grep -q canary0wrong <<<"$OUT" || { echo "the password was shown"; exit 1; }
                by LAB_NOT_SET
                try reprise check "$PLAN" --inventory "$WORK/inventory.yaml"
                expect "the exit status" 1 "$CODE"
                expect_said LAB_NOT_SET
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aSecretParameterIsFoundNowhere() async throws {
            try await Scenario.play(
                #"""
                lab reset
                cat >"$WORK/secret.yaml" <<'PLAN'
                reprise: 1
                name: canary
                parameters:
                  word:
                    type: string
                    secret: true
                    required: true
                steps:
                  - id: say
                    kind: command
                    on: db1
                    with:
                      environment:
                        WORD: "{{ params.word }}"
                      run: |
                        printf '%s' "$WORD" | sha256sum
                        printf 'it is %s\n' "$WORD"
                        # As programs write such things down: encoded, and inside of something else.
                        printf '%s' "$WORD" | base64 -w 0; echo
                        printf 'user:%s' "$WORD" | base64 -w 0; echo
                        perl -pe 's/([^A-Za-z0-9])/sprintf "%%%02X", ord $1/ge' <<WORD
                        $WORD
                        WORD
                        sleep 2
                PLAN
                # New each time: this script's own text is in the process list too.
                export LAB_CANARY="cA$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')"'"$%7'"'"'x9q'
                sum=$(printf '%s' "$LAB_CANARY" | sha256sum | cut -d' ' -f1)
                "$REPRISE" start "$WORK/secret.yaml" --inventory "$INVENTORY" --yes --verbose --param word=env:LAB_CANARY --journal "$J" >"$WORK/background.log" 2>&1 &
                BACKGROUND=$!
                while kill -0 "$BACKGROUND" 2>/dev/null; do ps axww -o args >>"$WORK/ps"; sleep 0.1; done
                join
                expect "the exit status" 0 "$CODE"
                reprise logs >>"$WORK/background.log" 2>&1
                reprise report >>"$WORK/background.log" 2>&1
                reprise report --json >>"$WORK/background.log" 2>&1
                for format in html markdown; do reprise report --format "$format" >>"$WORK/background.log" 2>&1; done
                reprise report --runbook >>"$WORK/background.log" 2>&1
                reprise journal export >>"$WORK/background.log" 2>&1
                reprise journal show --json >>"$WORK/background.log" 2>&1
                grep -q "$sum" "$WORK/background.log" || { echo "the command did not get the secret as it is"; tail -n 30 "$WORK/background.log"; exit 1; }
                encoded=$(printf '%s' "$LAB_CANARY" | base64)
                inside=$(printf 'user:%s' "$LAB_CANARY" | base64 -w 0)
                for form in "$LAB_CANARY" "${encoded%%=*}" "${inside:8:24}" "$(perl -pe 's/([^A-Za-z0-9])/sprintf "%%%02X", ord $1/ge' <<<"$LAB_CANARY" | sed 's/%0A$//')"; do
                    for place in "$WORK/background.log" "$WORK/ps" "$WORK/state"; do
                        if grep -raqF -- "$form" "$place"; then echo "the secret is in $place"; exit 1; fi
                    done
                done
                """#)
        }

        /// As a secret parameter, through a whole recovery by a superuser of this test's own.
        @Test(.timeLimit(.minutes(10)))
        func theDatabasesPasswordIsFoundNowhere() async throws {
            try await Scenario.play(
                #"""
                fresh
                export LAB_CANARY="cA$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')"'"$%7'"'"'x9q'
                # What the recovery leaves may belong to the role, and goes first.
                UNDO+=("scripts/lab reset" "sql postgres 'DROP ROLE lab_keeper'" "scripts/lab enter db1 userdel lab_keeper")
                lab enter db1 useradd --system lab_keeper
                quoted=$(sed "s/'/''/g" <<<"$LAB_CANARY")
                sql postgres "SET log_statement = 'none'; CREATE ROLE lab_keeper SUPERUSER LOGIN PASSWORD '$quoted'"
                sed "s|database: chms_production$|&\n      superuser: lab_keeper\n      via: tunnel\n      password: env:LAB_CANARY|" \
                    inventory/lab.yaml >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                log=/var/log/postgresql/postgresql-15-main.log
                before=$(scripts/lab enter db1 grep -c 'identity="lab_keeper" method=scram-sha-256' "$log" || true)
                background --verbose
                while kill -0 "$BACKGROUND" 2>/dev/null; do ps axww -o args >>"$WORK/ps"; sleep 0.1; done
                join
                expect "the exit status" 0 "$CODE"
                recovered
                after=$(scripts/lab enter db1 grep -c 'identity="lab_keeper" method=scram-sha-256' "$log")
                ((after > before)) || { echo "the password was never used"; exit 1; }
                {
                    reprise check "$PLAN" --inventory "$INVENTORY" || true
                    reprise status
                    reprise logs
                    reprise report --json
                    for format in text html markdown; do reprise report --format "$format"; done
                    reprise report --runbook
                    reprise journal export
                    reprise journal show --json
                    scripts/lab enter db1 cat "$log"
                } >>"$WORK/background.log" 2>&1
                lab enter db1 tar -cf /tmp/lab-ledger.tar /var/lib/reprise
                scripts/lab enter db1 cat /tmp/lab-ledger.tar >"$WORK/ledger"
                lab enter db1 rm /tmp/lab-ledger.tar
                grep -q lab_keeper "$WORK/background.log" && [[ -s $WORK/ps && -s $WORK/ledger ]]
                encoded=$(printf '%s' "$LAB_CANARY" | base64)
                inside=$(printf 'user:%s' "$LAB_CANARY" | base64 -w 0)
                percent=$(perl -pe 's/([^A-Za-z0-9])/sprintf "%%%02X", ord $1/ge' <<<"$LAB_CANARY" | sed 's/%0A$//')
                for form in "$LAB_CANARY" "$quoted" "${encoded%%=*}" "${inside:8:24}" "$percent"; do
                    for place in "$WORK/background.log" "$WORK/ps" "$WORK/state" "$WORK/ledger"; do
                        if grep -raqF -- "$form" "$place"; then echo "the password is in $place"; exit 1; fi
                    done
                done
                """#)
        }

        /// By the verification, and by the last look of the plan of a whole server, each for itself.
        @Test(.timeLimit(.minutes(10)), arguments: ["fsync", "full_page_writes"])
        func aServerThatACrashWouldDestroyIsRefused(_ setting: String) async throws {
            try await Scenario.play(
                "SETTING=\(setting)\n" + #"""
                fresh
                UNDO+=("scripts/lab sql db1 postgres <<<'ALTER SYSTEM RESET $SETTING' && scripts/lab sql db1 postgres <<<'SELECT pg_reload_conf()'")
                sql postgres "ALTER SYSTEM SET $SETTING = off" >/dev/null
                sql postgres "SELECT pg_reload_conf()" >/dev/null
                expect "the setting" off "$(sql postgres "SHOW $SETTING")"
                try start --param approve=no
                expect "the exit status" 3 "$CODE"
                expect_said "the server runs with fsync or full_page_writes off: a crash would destroy what was restored"
                untouched
                # Its claim on the database ends with it.
                try reprise cancel

                { printf 'reprise: 1\nname: last-look\nsteps:\n'; sed -n '/^  - id: database-is-safe$/,/^$/p' plans/full-server.yaml | sed '/^    needs: /d; /^    phase: /d'; } >"$WORK/plan.yaml"
                grep -q database-is-safe "$WORK/plan.yaml" || { echo "the plan of a whole server has no such step any more"; exit 1; }
                mkdir -m 700 "$WORK/look"
                try "$REPRISE" start "$WORK/plan.yaml" --inventory "$INVENTORY" --yes --journal "$WORK/look/journal.sqlite"
                expect "the exit status of the last look" 3 "$CODE"
                expect_said "Settings of the restore are gone"
                """#)
        }

        /// Somebody's own database takes the name while the orchestrator lies dead just before it would have made its own.
        @Test(.timeLimit(.minutes(10)))
        func aDatabaseOfSomebodyElseIsNotDroppedByAResume() async throws {
            try await Scenario.play(
                """
                fresh
                limit=$(sql postgres "SELECT datconnlimit FROM pg_database WHERE datname = 'chms_production'")
                export REPRISE_FAILPOINT=restore.before-create:1:kill
                background
                unset REPRISE_FAILPOINT
                join
                expect "the exit status" 137 "$CODE"
                UNDO+=("scripts/lab sql db1 postgres <<<'DROP DATABASE IF EXISTS chms_restore'")
                sql postgres "CREATE DATABASE chms_restore" >/dev/null
                sql chms_restore "CREATE TABLE theirs AS SELECT 7 AS n" >/dev/null
                try reprise resume
                [[ $CODE != 0 ]] || { echo "EXPECTED a refusal"; exit 1; }
                expect_said 'a database named "chms_restore" exists already and is not a scratch database of Reprise'
                expect "their row" 7 "$(sql chms_restore 'SELECT n FROM theirs')"
                untouched

                # One that was made and bears no comment yet is known to be a restore's.
                sql postgres "DROP DATABASE chms_restore" >/dev/null
                export REPRISE_FAILPOINT=restore.before-mark:1:kill
                try reprise retry restore
                unset REPRISE_FAILPOINT
                expect "the exit status" 137 "$CODE"
                expect "its comment" "" "$(sql postgres "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'chms_restore'")"
                [[ -n $(oid chms_restore) ]] || { echo "there is no scratch database: the test shows nothing"; exit 1; }
                resume_to_end
                recovered
                expect "production's own connection limit" "$limit" "$(sql postgres "SELECT datconnlimit FROM pg_database WHERE datname = 'chms_production'")"
                """)
        }

        /// What an earlier recovery has kept bears the name that this one would give: the swap is refused, and there is nothing to take back.
        @Test(.timeLimit(.minutes(10)))
        func aSwapThatNeverHappenedIsNotTakenBack() async throws {
            try await Scenario.play(
                """
                fresh
                UNDO+=("scripts/lab sql db1 postgres <<<'DROP DATABASE IF EXISTS chms_damaged'")
                try start
                expect "the exit status" 5 "$CODE"
                sql postgres "CREATE DATABASE chms_damaged" >/dev/null
                kept=$(oid chms_damaged)
                try reprise approve approve-swap --comment "agreed"
                expect "the exit status" 2 "$CODE"
                expect_said 'a database named "chms_damaged" exists already'
                sql postgres "DROP DATABASE chms_restore" >/dev/null
                try reprise undo --yes --reason "another name for what is kept"
                expect "the run" UNDONE "$(state)"
                expect "production" "$DAMAGED" "$(oid chms_production)"
                expect "what was kept" "$kept" "$(oid chms_damaged)"
                if scripts/lab enter app1 test -e /var/www/chms-production/backend/storage/framework/down; then echo "maintenance mode is on"; exit 1; fi

                # Whoever starts now hears of it before anything is done.
                J=$(mktemp -d "$WORK/journal-XXXXXX")/journal.sqlite
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status of check" 1 "$CODE"
                expect_said "would keep the database that it replaces as chms_damaged, and there is one of that name on db1 already"
                try start
                expect "the exit status" 2 "$CODE"
                expect_said "nothing was started, because step swap would keep the database that it replaces as chms_damaged"
                try start --param keep-as=chms_production
                expect "the exit status" 2 "$CODE"
                expect_said "step swap: production and keep-as are both called chms_production"

                # A swap that did happen, after which somebody else's took its place, is nobody's to take back either.
                sql postgres "DROP DATABASE chms_damaged" >/dev/null
                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                restored=$(oid chms_production)
                sql postgres "ALTER DATABASE chms_production RENAME TO lab_aside" >/dev/null
                UNDO+=("scripts/lab sql db1 postgres <<<'DROP DATABASE IF EXISTS lab_aside'")
                sql postgres "CREATE DATABASE chms_production" >/dev/null
                newest=$(oid chms_production)
                try reprise undo --yes --reason "too late"
                expect_said "the databases have other names by now than this swap gave them"
                expect "production" "$newest" "$(oid chms_production)"
                expect "the restored database" "$restored" "$(oid lab_aside)"
                """)
        }

        @Test(.timeLimit(.minutes(10)))
        func twoRecoveriesOfOneDatabaseExcludeEachOther() async throws {
            try await Scenario.play(
                """
                fresh
                export REPRISE_FAILPOINT=restore.before-create:1:stop
                background
                unset REPRISE_FAILPOINT
                stopped() { [[ $(sed 's/.*) //' "/proc/$BACKGROUND/stat" | cut -d' ' -f1) == T ]]; }
                await "the first recovery at its restore" stopped
                mkdir -m 700 "$WORK/second"
                try "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --param approve=no --journal "$WORK/second/journal.sqlite"
                expect "the exit status" 7 "$CODE"
                expect_said "is claimed by run"
                expect_said "process $BACKGROUND"
                # Before it has done anything, such as shutting the application, which its undo would open under the first.
                expect_said "nothing was started"
                expect "the runs in its journal" "[]" "$("$REPRISE" list --json --journal "$WORK/second/journal.sqlite" | tr -d ' \\n')"
                untouched
                kill -CONT "$BACKGROUND"
                join
                expect "the exit status" 0 "$CODE"
                recovered
                """)
        }
    }
}
