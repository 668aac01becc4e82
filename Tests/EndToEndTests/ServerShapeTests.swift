import Testing

extension EndToEnd {
    /// The recovery of a whole server over hosts of another shape, and with secrets that are not the right ones.
    @Suite struct ServerShapeTests {
        /// The database has a name of its own here, which every SQL has to quote.
        @Test func anotherKeyThanTheDatabaseWasEncryptedWithStopsThePlanBeforeItServes() async throws {
            try await Scenario.play(FullServerTests.prelude + #"""
                installed
                DATABASE=ParishBooks
                start() { reprise start "$PLAN" --inventory "$INVENTORY" --yes --param "database=$DATABASE" "$@"; }
                sed -e "s|^    app-key: .*|    app-key: file:$WORK/app-key|" -e "s|database: chms_production|database: $DATABASE|" inventory/new-server/lab.yaml >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                key_on_host() { there sed -n "s/^APP_KEY='\(.*\)'$/\1/p" "$BACKEND/.env" 2>/dev/null || true; }
                key=$(sed -n s/^app_key=//p "$LAB/secrets") other=base64:$(head -c 32 /dev/urandom | base64) before=$(key_on_host)
                (umask 077; printf '%s\n' "$other" >"$WORK/app-key")
                # Nothing beside this backup says which code belongs to it.
                bare=s3://chms-backups/database/$(newest_backup)
                UNDO+=("scripts/lab aws writer s3 rm $bare")
                lab aws writer s3 rm "$bare.json"
                try reprise check "$PLAN" --inventory "$INVENTORY" --param "database=$DATABASE"
                expect "the exit status of check" 1 "$CODE"
                expect_said "give the revision that production ran: --param revision=COMMIT"
                try start
                expect "the exit status with no revision" 2 "$CODE"
                expect_said "fetch failed: no file ${bare#s3://chms-backups/}.json says which revision of the application belongs to"
                expect "the databases" postgres "$(asked "SELECT string_agg(datname, ' ') FROM pg_database WHERE NOT datistemplate")"
                try reprise cancel --reason "begun anew"
                try start --param "revision=$(cat "$LAB/code/revision")"
                expect "the exit status" 1 "$CODE"
                expect_said "users.two_factor_secret: 12 of 12 values do not open with this APP_KEY"
                expect_said "let the secret app-key be the APP_KEY of the time of the backup"
                expect "the key that the application finds" "$before" "$(key_on_host)"
                if grep -rqF "$other" "$WORK/state"; then echo "the key stands in the journal or a log"; exit 1; fi

                printf '%s\n' "$key" >"$WORK/app-key"
                try reprise retry app-key
                expect "the exit status with the right key" 0 "$CODE"
                expect "the run" SUCCEEDED "$(state)"
                expect "the key that the application finds" "$key" "$(key_on_host)"
                serves
                OUT=$(reprise logs)
                expect_said "users.two_factor_secret: 12 of 12 values open with this APP_KEY"
                expect "the databases" "$DATABASE postgres" "$(asked "SELECT string_agg(datname, ' ' ORDER BY datname COLLATE \"C\") FROM pg_database WHERE NOT datistemplate")"

                # Over the serving host, whose database is known by its name: a value that nobody encrypted, and a column that is not there.
                asked "UPDATE users SET two_factor_secret = 'in the clear' WHERE id = 5" "$DATABASE"
                try start
                expect "the exit status with a plain value" 1 "$CODE"
                expect "steps of the database that were done again" "" "$(reprise status | awk '$2 == "done" { print $3 }' | grep -xE 'fetch|restore|verify|settle|name' || true)"
                expect_said "users.two_factor_secret: 1 of 12 values are not encrypted at all"
                try reprise cancel --reason "begun anew"
                try start --param encrypted-columns=users.tow_factor_secret
                expect "the exit status with a misspelt column" 1 "$CODE"
                expect_said 'column "tow_factor_secret" does not exist'
                expect_said "are the columns right that encrypted-columns names"
                """#)
        }

        /// As the plan's own comment says it, with the real certbot against Let's Encrypt's test server.
        @Test func whereNoCertificateWasKeptOneIsIssued() async throws {
            try await Scenario.play(FullServerTests.prelude + ContentKindTests.issuer + #"""
                lab factory new1
                lab backup
                there sh -euc 'export DEBIAN_FRONTEND=noninteractive; apt-get -qq update; apt-get -qq install -y --no-install-recommends pebble curl >/dev/null 2>&1'
                issuer
                there sh -c 'echo "10.77.0.14 chms.example.org" >>/etc/hosts'
                # A file of secrets is nobody else's.
                install -m 600 /dev/null "$WORK/issuers.pem"
                issuer_answers() { there curl -sSf --cacert /root/acme/ca.pem https://localhost:15000/roots/0 >"$WORK/issuers.pem" 2>/dev/null; }
                await "the issuer" issuer_answers
                sed '/^      restore-certificate: certificate$/d
                    s|^      restore-key: certificate-key$|      acme: {server: "https://localhost:14000/dir", ca-file: /root/acme/ca.pem, email: you@example.org, stop-service: nginx}|
                    s/names: \[nginx-light, /&certbot, /' "$PLAN" >"$WORK/full-server.yaml"
                sed -e "s|^    certificate-issuers: .*|    certificate-issuers: file:$WORK/issuers.pem|" -e '/^    certificate: /d' -e '/^    certificate-key: /d' "$INVENTORY" >"$WORK/inventory.yaml"
                PLAN=$WORK/full-server.yaml INVENTORY=$WORK/inventory.yaml
                try reprise start "$PLAN" --inventory "$INVENTORY" --yes --param "issuers=$WORK/issuers.pem"
                expect "the exit status" 0 "$CODE"
                visit() { curl -sS -m 10 --cacert "$WORK/issuers.pem" --resolve "chms.example.org:443:$ADDRESS" "https://chms.example.org$1"; }
                serves
                try reprise start "$PLAN" --inventory "$INVENTORY" --yes --param "issuers=$WORK/issuers.pem"
                expect "the exit status of the second run" 0 "$CODE"
                only_looked
                """#)
        }

        /// Application and database on two hosts, which only a third one reaches, by a login with no more rights than the documents give it.
        @Test func twoHostsBehindAnotherOneServeTheApplicationAndASecondRunChangesNothing() async throws {
            try await Scenario.play(FullServerTests.prelude + LoginTests.logins + #"""
                DATABASE_HOST=new2
                lab factory new1
                lab factory new2
                lab backup
                jump='ansible_ssh_common_args: -o ProxyJump=deploy@10.77.0.11'
                sed "s/ansible_user: root/ansible_user: deploy\n    ansible_become: true\n    $jump/" inventory/new-server/two-hosts.yaml >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                least new1 new2
                for host in new1 new2; do
                    UNDO+=("scripts/lab enter $host sh -c 'cd /root/.ssh && mv away authorized_keys; sed -i s/^from=[^\ ]*\ // /home/deploy/.ssh/authorized_keys'")
                    scripts/lab enter "$host" sh -euc 'mv /root/.ssh/authorized_keys /root/.ssh/away; sed -i "s/^/from=\"10.77.0.11\" /" /home/deploy/.ssh/authorized_keys'
                    if LAB_LOGIN=deploy scripts/lab ssh "$host" true 2>/dev/null; then echo "$host is reached without the host before it"; exit 1; fi
                done
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status of check" 0 "$CODE"
                try start
                expect "the exit status" 0 "$CODE"
                serves
                safe
                expect "the ledger" root:700 "$(at_database stat -c %U:%a /var/lib/reprise)"
                # Each host lets in what is its own: the database's nobody but the application.
                shut_to_others() {
                    local seen="" port
                    for port in 22 80 443 5432; do seen+="$port $(port $port) $(port $port 10.77.0.15), "; done
                    expect "ports from another host" "22 open open, 80 open shut, 443 open shut, 5432 shut shut, " "$seen"
                }
                shut_to_others
                there bash -c 'exec 3<>/dev/tcp/10.77.0.15/5432' || { echo "the application does not reach its database"; exit 1; }

                both() { files_of new1; files_of new2; rows; }
                both >"$WORK/before"
                try start
                expect "the exit status of the second run" 0 "$CODE"
                only_looked
                both >"$WORK/after"
                cmp -s "$WORK/before" "$WORK/after" || { echo "the second run changed:"; diff "$WORK/before" "$WORK/after" | head -n 20; exit 1; }

                # The database's host comes back by itself, and as closed as it was.
                lab power-cut new2
                lab boot new2
                await "the application after a reboot of its database" answers
                shut_to_others
                """#)
        }
    }
}
