import Testing

extension EndToEnd {
    /// The kinds that bring content to a bare host: archives, checkouts, certificates; and the visit from outside.
    @Suite
    struct ContentKindTests {
        private static let bare = #"""
            sed 's/^    app:/    bare:\n      hosts:\n        new2:\n          ansible_host: 10.77.0.15\n&/' inventory/lab.yaml >"$WORK/inventory.yaml"
            INVENTORY=$WORK/inventory.yaml PLAN=$WORK/plan.yaml
            REVISION=$(cat "$LAB/code/revision") GIT_KEY=$(grep -m1 '^10.77.0.10 ssh-ed25519 ' "$LAB/ssh/known_hosts")
            export LAB_TLS_KEY LAB_TLS_CERTIFICATE
            LAB_TLS_KEY=$(cat "$LAB/tls/key.pem") LAB_TLS_CERTIFICATE=$(cat "$LAB/tls/fullchain.pem")
            there() { scripts/lab enter new2 "$@"; }
            plan() { { printf 'reprise: 1\nname: content\nsteps:\n'; cat; } >"$PLAN"; }
            install() { there sh -euc 'export DEBIAN_FRONTEND=noninteractive; apt-get -qq update; apt-get -qq install -y --no-install-recommends "$@" >/dev/null 2>&1' - "$@"; }
            unchanged() { expect "the unchanged steps" "$1" "$(grep -c '✓ unchanged' <<<"$OUT" || true)"; }
            lab factory new2

            """#

        @Test(.timeLimit(.minutes(5)))
        func aBareHostGetsCodeFilesAndCertificateOnce() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    # Of its own: what other scenarios have left in the store is not to be counted on.
                    lab backup
                    plan <<PLAN
                      - id: packages
                        kind: packages
                        on: new2
                        with: {names: [curl, git]}
                      - id: code
                        kind: git-checkout
                        on: new2
                        with:
                          repository: git@10.77.0.10:chms.git
                          revision: $REVISION
                          into: /srv/site
                          as: www-data
                          deploy-key: file:$LAB/code/deploy_key
                          known-hosts: ["$GIT_KEY"]
                      - id: fetch
                        kind: fetch-backup
                        on: new2
                        with: {store: backups, kind: files, to: /var/backups/files.tar}
                      - id: files
                        kind: archive
                        on: new2
                        with: {from: fetch, into: /srv/site, only: [storage/app/public], owner: www-data}
                      - id: certificate
                        kind: certificate
                        on: new2
                        with:
                          names: [chms.example.org]
                          certificate: /etc/ssl/site/fullchain.pem
                          key: /etc/ssl/site/privkey.pem
                          restore-certificate: env:LAB_TLS_CERTIFICATE
                          restore-key: env:LAB_TLS_KEY
                    PLAN
                    # Another host key than the repository's host shows.
                    sed "s|$GIT_KEY|10.77.0.10 $(cut -d' ' -f1,2 "$LAB/ssh/id_ed25519.pub")|" "$PLAN" >"$WORK/wrong.yaml"
                    try reprise start "$WORK/wrong.yaml" --inventory "$INVENTORY" --yes
                    expect "the exit status with a strange host key" 1 "$CODE"
                    expect_said "a host key that is not known here"
                    try reprise cancel

                    try start
                    expect "the exit status" 8 "$CODE"
                    expect_said "nobody whom this host trusts has signed the certificate"
                    expect "the revision" "$REVISION" "$(there runuser -u www-data -- git -C /srv/site rev-parse HEAD)"
                    sums() { scripts/lab enter "$1" sh -euc 'cd "$1"; find . -type f ! -name "*.tmp" ! -name "*.cache" -exec sha256sum {} + | sort' - "$2"; }
                    diff <(sums app1 /var/www/chms-production/backend/storage/app/public) <(sums new2 /srv/site/storage/app/public) || { echo "uploaded files are not as they were"; exit 1; }
                    expect "the owner of an upload" www-data:www-data "$(there stat -c %U:%G /srv/site/storage/app/public/uploads/welcome.txt)"
                    expect "the key's mode" root:root:600 "$(there stat -c %U:%G:%a /etc/ssl/site/privkey.pem)"
                    for secret in "$(sed -n 2p "$LAB/code/deploy_key")" "$(sed -n 2p "$LAB/tls/key.pem")"; do
                        if grep -rqF -e "$secret" "$WORK/state"; then echo "a secret is in the journal or the logs"; exit 1; fi
                        if there grep -rqF -e "$secret" /var/lib/reprise /tmp; then echo "a secret was left on the host"; exit 1; fi
                    done

                    there sh -c 'sleep 1; touch /root/before'
                    try start
                    unchanged 4
                    expect "what the second run wrote" "" "$(there find / -xdev -cnewer /root/before ! -type d ! -path '/var/lib/reprise/*' ! -path '/var/backups/*' ! -path '/proc/*' ! -path '/run/*')"

                    # What people changed in the code stops the plan; what users changed in their files does, too.
                    there sh -c 'echo "// mine" >>/srv/site/artisan'
                    try start
                    expect "the exit status with a changed file" 1 "$CODE"
                    expect_said "artisan; save them, or say discard: true"
                    try reprise cancel
                    there runuser -u www-data -- git -C /srv/site checkout -q -- artisan
                    there sh -c 'echo new >/srv/site/storage/app/public/uploads/welcome.txt'
                    try start
                    expect "the exit status with another upload" 1 "$CODE"
                    expect_said "storage/app/public/uploads/welcome.txt"
                    expect "the upload" new "$(there cat /srv/site/storage/app/public/uploads/welcome.txt)"
                    """#)
        }

        @Test(.timeLimit(.minutes(3)))
        func hostileArchivesAndABombAreRefusedOnABareHost() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    there sh -euc 'mkdir /root/t && cd /root/t && echo x >f && ln -s /etc l && mkfifo p && chmod 4755 f
                        tar -Pcf ../absolute.tar /root/t/f 2>/dev/null
                        tar -Pcf ../up.tar --transform "s,^,../../,;" f
                        tar -cf ../link.tar l
                        tar -cf ../through.tar l; rm l; mkdir l; echo evil >l/evil; tar -rf ../through.tar l/evil
                        tar -cf ../pipe.tar p
                        tar -cf ../setuid.tar f; chmod 755 f
                        tar -cf ../good.tar f; head -c 700 ../good.tar >../cut.tar
                        head -c 2000000000 /dev/zero | gzip -1 >../bomb.tar.gz'
                    refused() { # ARCHIVE WHY
                        plan <<<"  - {id: unpack, kind: archive, on: new2, with: {path: /root/$1, into: /srv/$1, most-bytes: 100MB}}"
                        try start
                        expect "the exit status for $1" 1 "$CODE"
                        expect_said "$2"
                        expect "what was unpacked of $1" "" "$(there sh -c 'ls -A /srv /etc/evil 2>/dev/null | grep -v :' || true)"
                    }
                    refused absolute.tar 'has an absolute path'
                    refused up.tar 'leads out of its folder'
                    refused link.tar 'leads to an absolute path'
                    refused through.tar 'leads to an absolute path'
                    refused pipe.tar 'is a named pipe'
                    refused setuid.tar 'is setuid'
                    refused cut.tar 'the archive is cut off'
                    refused bomb.tar.gz 'unwraps to more than'
                    plan <<<"  - {id: unpack, kind: archive, on: new2, with: {path: /root/good.tar, into: /srv/good}}"
                    try start
                    expect "the exit status for a good archive" 0 "$CODE"
                    expect "its mode" 755 "$(there stat -c %a /srv/good/f)"
                    """#)
        }

        /// Fault 24: the host loses its power in the middle of unpacking.
        @Test(.timeLimit(.minutes(4)))
        func anArchiveIsUnpackedToItsEndAfterAPowerCut() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    there sh -euc 'mkdir -p /root/big && cd /root/big && perl -e "for (1..6000) { open F, q(>), qq(f\$_) or die; print F qq(\$_ ) x 12000 }" && tar -cf /root/big.tar . && rm -r /root/big'
                    plan <<<"  - {id: unpack, kind: archive, on: new2, with: {path: /root/big.tar, into: /srv/big, owner: www-data}}"
                    "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --journal "$J" >"$WORK/background.log" 2>&1 & BACKGROUND=$!
                    unpacked() { there sh -c 'ls /srv/big 2>/dev/null | wc -l'; }
                    begun() { [[ $(unpacked) -gt 200 ]]; }
                    await "the first files" begun
                    lab power-cut new2
                    lab boot new2
                    COUNT=$(unpacked)
                    [[ $COUNT -lt 6000 ]] || { echo "the power was cut too late: $COUNT files"; exit 1; }
                    join
                    expect "the exit status" 0 "$CODE"
                    there tar -df /root/big.tar -C /srv/big 2>&1 | grep -vE 'Uid differs|Gid differs|Mod time differs|Mode differs' && { echo "files are not as the archive has them"; exit 1; }
                    expect "files" 6000 "$(there sh -c 'find /srv/big -type f -user www-data | wc -l')"
                    expect "what was under way" "" "$(there find /srv/big -name '.reprise*')"
                    try start
                    unchanged 1
                    """#)
        }

        /// Starts Let's Encrypt's own test server on the host that `there` reaches and that has it installed.
        static let issuer = #"""
            issuer() {
                there sh -euc 'mkdir /root/acme && cd /root/acme
                    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out ca.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 5 2>/dev/null
                    echo "{\"pebble\": {\"listenAddress\": \"127.0.0.1:14000\", \"managementListenAddress\": \"127.0.0.1:15000\", \"certificate\": \"/root/acme/ca.pem\", \"privateKey\": \"/root/acme/key.pem\", \"httpPort\": 80, \"tlsPort\": 443}}" >config.json'
                there sh -c 'cd /root/acme && PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 setsid pebble -config config.json >log 2>&1 </dev/null &'
            }

            """#

        /// With the real certbot.
        @Test(.timeLimit(.minutes(5)))
        func aCertificateIsIssuedOnlyWhereNoneWasKeptAndTheNameLeadsHere() async throws {
            try await Scenario.play(
                Self.bare + Self.issuer + #"""
                    install certbot pebble nginx-light
                    there service nginx start
                    on_port_80() { there sh -c 'ss -Hltnp "sport = :80"' | grep -o nginx | head -n 1 || true; }
                    expect "what holds port 80" nginx "$(on_port_80)"
                    issuer
                    plan <<'PLAN'
                      - id: certificate
                        kind: certificate
                        on: new2
                        with:
                          names: [shop.example.org, www.shop.example.org]
                          certificate: /etc/ssl/site/fullchain.pem
                          key: /etc/ssl/site/privkey.pem
                          acme: {server: https://localhost:14000/dir, ca-file: /root/acme/ca.pem, email: hostmaster@example.org, stop-service: nginx}
                    PLAN
                    try start
                    expect "the exit status before the name leads anywhere" 1 "$CODE"
                    expect_said "shop.example.org has no address in the DNS"
                    try reprise cancel
                    there sh -c 'cp /etc/hosts /root/hosts; echo "10.77.0.11 shop.example.org www.shop.example.org" >>/etc/hosts'
                    try start
                    expect "the exit status while the name leads to the old server" 1 "$CODE"
                    expect_said "shop.example.org leads to 10.77.0.11, not to this host"
                    expect "what the issuer was asked" 0 "$(there grep -c newOrder /root/acme/log || true)"
                    there sh -c '{ cat /root/hosts; echo "10.77.0.15 shop.example.org www.shop.example.org"; } >/etc/hosts'
                    try reprise retry certificate
                    expect "the exit status" 8 "$CODE"
                    expect "where the certificate comes from" /etc/letsencrypt/live/shop.example.org/fullchain.pem "$(there readlink /etc/ssl/site/fullchain.pem)"
                    there openssl x509 -in /etc/ssl/site/fullchain.pem -noout -ext subjectAltName | grep -q 'DNS:www.shop.example.org' || { echo "it is not for both names"; exit 1; }
                    expect "what holds port 80 afterwards" nginx "$(on_port_80)"
                    serial() { there openssl x509 -in /etc/ssl/site/fullchain.pem -noout -serial; }
                    first=$(serial)
                    there env REQUESTS_CA_BUNDLE=/root/acme/ca.pem certbot renew --quiet --force-renewal --no-random-sleep-on-renew
                    [[ $(serial) != "$first" ]] || { echo "it was not renewed"; exit 1; }
                    expect "what holds port 80 after a renewal" nginx "$(on_port_80)"
                    try start
                    unchanged 1

                    # Served while it is renewed: the server answers the issuer, and then serves the new one.
                    there sh -c 'rm -rf /etc/letsencrypt /etc/ssl/site
                        echo "server { listen 80; root /srv/site; }" >/etc/nginx/sites-enabled/default
                        mkdir -p /srv/site; service nginx reload' >/dev/null
                    sed 's|stop-service: nginx|webroot: /srv/site, reload-service: "nginx; id"|' "$PLAN" >"$WORK/wrong.yaml"
                    try reprise start "$WORK/wrong.yaml" --inventory "$INVENTORY" --yes
                    expect_said '`nginx; id` is no name of a service'
                    try reprise cancel
                    sed -i 's|stop-service: nginx|webroot: /srv/site, reload-service: nginx|' "$PLAN"
                    try start
                    expect "the exit status" 8 "$CODE"
                    there sh -c 'echo "server { listen 443 ssl; ssl_certificate /etc/ssl/site/fullchain.pem; ssl_certificate_key /etc/ssl/site/privkey.pem; }" >/etc/nginx/sites-enabled/tls
                        service nginx reload' >/dev/null
                    serves() { there sh -c 'openssl s_client -connect 127.0.0.1:443 -servername shop.example.org </dev/null 2>/dev/null | openssl x509 -noout -serial'; }
                    serves_it() { [[ $(serves) == "$(serial)" ]]; }
                    await "the certificate being served" serves_it
                    first=$(serial)
                    there env REQUESTS_CA_BUNDLE=/root/acme/ca.pem certbot renew --quiet --force-renewal --no-random-sleep-on-renew
                    [[ $(serial) != "$first" ]] || { echo "it was not renewed"; exit 1; }
                    await "the renewed certificate being served" serves_it
                    """#)
        }

        @Test(.timeLimit(.minutes(2)))
        func aSiteIsVisitedFromLogInToUploadedFile() async throws {
            try await Scenario.play(
                #"""
                PLAN=$WORK/plan.yaml
                SUM=$(scripts/lab enter app1 sh -c 'sha256sum </var/www/chms-production/backend/storage/app/public/uploads/welcome.txt' | cut -d' ' -f1)
                visit() { # SHA256
                    cat >"$PLAN" <<PLAN
                reprise: 1
                name: visit
                steps:
                  - id: visit
                    kind: site-check
                    with:
                      site: http://chms.example.org
                      connect-to: 10.77.0.11
                      within: 3s
                      requests:
                        - {path: /api/health, json: {status: ok}}
                        - {path: /members, status: 302, location: /login}
                        - {path: /login, pick: {token: 'name="_token" value="([^"]+)"'}}
                        - {path: /login, form: {_token: "@{token}", email: admin@example.org, password: {secret: "env:LAB_CHECK"}}, status: 302, location: /members}
                        - {path: /members, contains: [Members], lacks: [Log in]}
                        - {path: /storage/uploads/welcome.txt, sha256: "$1"}
                PLAN
                }
                visit "$SUM"
                export LAB_CHECK=lab-password
                try start
                expect "the exit status" 0 "$CODE"
                LAB_CHECK='no-such & password'
                try start
                expect "the exit status with a wrong password" 3 "$CODE"
                expect_said "/login leads to"
                if grep -rqF 'no-such & password' "$WORK/state"; then echo "a password is in the journal"; exit 1; fi
                LAB_CHECK=lab-password
                visit 0000000000000000000000000000000000000000000000000000000000000000
                try start
                expect "the exit status with another file" 3 "$CODE"
                expect_said "has SHA-256 $SUM"
                """#)
        }
    }
}
