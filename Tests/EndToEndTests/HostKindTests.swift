import Testing

extension EndToEnd {
    /// The kinds that make a bare host ready: packages, files, services, cron, firewall.
    @Suite
    struct HostKindTests {
        private static let bare = #"""
            sed 's/^    app:/    bare:\n      hosts:\n        new2:\n          ansible_host: 10.77.0.15\n&/; s/^  secrets:/&\n    app-env: env:LAB_APP_ENV\n    missing: env:LAB_NOT_SET_ANYWHERE/' \
                inventory/lab.yaml >"$WORK/inventory.yaml"
            INVENTORY=$WORK/inventory.yaml PLAN=$WORK/plan.yaml
            export LAB_APP_ENV='unset'
            there() { scripts/lab enter new2 "$@"; }
            # A new server, and a plan for it of what comes by standard input.
            new_server() { lab factory new2; plan; }
            plan() { { printf 'reprise: 1\nname: ready\nsteps:\n'; cat; } >"$PLAN"; }
            unchanged() { expect "the unchanged steps" "$1" "$(grep -c '✓ unchanged' <<<"$OUT" || true)"; }
            hold_lock() { # FILE SECONDS
                there perl -e 'use Fcntl; open F, "+>>", $ARGV[0] or die; my $l = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) or die; print "held\n"; close STDOUT; sleep $ARGV[1]' "$1" "$2" >"$WORK/held" &
                sleep 0.1
                await "the lock" grep -q held "$WORK/held"
            }
            whole() { expect "what dpkg finds half done" "" "$(there dpkg --audit)"; expect "records of dpkg" "" "$(there ls /var/lib/dpkg/updates)"; }
            version() { there dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null || true; }
            port() { scripts/lab enter app1 nc -z -w 2 10.77.0.15 "$1" && echo open || echo shut; }

            """#

        private static let ready = #"""
            new_server <<'PLAN'
              - id: packages
                kind: packages
                on: new2
                retry: 3
                with: {names: [nginx-light, nftables, cron]}
              - id: folder
                kind: file
                on: new2
                with: {path: /srv/app/config, directory: true, mode: "0750", owner: www-data}
              - id: env
                kind: secret-file
                on: new2
                with: {path: /srv/app/config/env, secret: app-env, owner: www-data}
              - id: site
                kind: template
                on: new2
                with:
                  path: /etc/nginx/sites-enabled/default
                  template: |
                    server { listen 80; location / { return 200 "@{word} at {{ host.address }}\n"; } }
                  values: {word: first}
              - id: nginx
                kind: service
                on: new2
                with: {name: nginx, state: running, enabled: true, reload-when: [site], restart-when: [packages]}
              - id: cron
                kind: service
                on: new2
                with: {name: cron, state: running, enabled: true}
              - id: entry
                kind: schedule
                on: new2
                with: {name: app-backup, when: "0 2 * * *", user: www-data, run: echo "$(date +%F)" >/dev/null}
              - id: firewall
                kind: firewall
                on: new2
                with: {allow: [{port: 22}, {port: 80}, {port: 9997, from: 10.77.0.12}]}
            PLAN

            """#

        @Test(.timeLimit(.minutes(5)))
        func aBareHostIsMadeReadyOnceAndIsReadyAfterAReboot() async throws {
            try await Scenario.play(
                Self.bare + Self.ready + #"""
                    try start
                    expect "the exit status" 0 "$CODE"
                    listeners() { for p in 9997 9999; do there perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 5, ReuseAddr => 1) or die; alarm 120; while (1) { close $s->accept }' "$p" & done; }
                    serves() {
                        expect "the answer" "first at 10.77.0.15" "$(curl -s -m 5 http://10.77.0.15/)"
                        there service cron status >/dev/null || { echo "cron does not run"; exit 1; }
                        listeners
                        await "a listener" listening 9997
                        await "a listener" listening 9999
                        expect "port 80 from another host" open "$(port 80)"
                        expect "port 9999 from another host" shut "$(port 9999)"
                        expect "port 9997 from a host that may not" shut "$(port 9997)"
                        expect "port 9997 from one that may" open "$(scripts/lab enter db1 nc -z -w 2 10.77.0.15 9997 && echo open || echo shut)"
                    }
                    listening() { there perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0])' "$1"; }
                    serves
                    expect "the entry of cron" '0 2 * * * www-data echo "$(date +\%F)" >/dev/null' "$(there tail -n 1 /etc/cron.d/app-backup)"
                    expect "the secret's owner" www-data:600 "$(there stat -c %U:%a /srv/app/config/env)"
                    expect "policy-rc.d" "" "$(there sh -c 'ls /usr/sbin/policy-rc.d 2>/dev/null' || true)"

                    there sh -c 'sleep 1; touch /root/before'
                    try start
                    expect "the exit status of the second run" 0 "$CODE"
                    unchanged 8
                    expect "what the second run wrote" "" "$(there find / -xdev -cnewer /root/before ! -type d ! -path '/var/lib/reprise/*' ! -path '/var/log/*' ! -path '/proc/*' ! -path '/run/*')"

                    lab power-cut new2
                    lab boot new2
                    serves
                    try start
                    expect "the exit status after the reboot" 0 "$CODE"
                    unchanged 8
                    """#)
        }

        /// What a service has taken up is told by the host, so that no interrupted run loses a reload.
        @Test(.timeLimit(.minutes(5)))
        func aReloadThatARunDidNotComeToIsMadeUpFor() async throws {
            try await Scenario.play(
                Self.bare + Self.ready + #"""
                    try start
                    expect "the exit status" 0 "$CODE"
                    sed -i 's/word: first/word: second/' "$PLAN"
                    # The run dies once the file is written.
                    CODE=0; REPRISE_FAILPOINT=effect.after:4:kill reprise start "$PLAN" --inventory "$INVENTORY" --yes >"$WORK/killed.log" 2>&1 || CODE=$?
                    expect "the exit status of what was killed" 137 "$CODE"
                    expect "the answer meanwhile" "first at 10.77.0.15" "$(curl -s -m 5 http://10.77.0.15/)"
                    try reprise cancel --reason "begun anew"
                    try start
                    expect "the exit status" 0 "$CODE"
                    expect_said "reloaded nginx"
                    expect "the answer" "second at 10.77.0.15" "$(curl -s -m 5 http://10.77.0.15/)"
                    try start
                    unchanged 8
                    """#)
        }

        @Test(.timeLimit(.minutes(5)))
        func aLockThatSomebodyHoldsIsWaitedForAndItsHolderNamed() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    new_server <<'PLAN'
                      - {id: packages, kind: packages, on: new2, with: {names: [less], wait: 1m}}
                    PLAN
                    hold_lock /var/lib/dpkg/lock-frontend 6
                    try start
                    expect "the exit status" 0 "$CODE"
                    OUT=$(reprise logs)
                    expect_said "waiting: /var/lib/dpkg/lock-frontend is held by process"
                    expect_said "(perl)"
                    expect "less" "ii " "$(version less)"
                    # Not let go in time: a failure that names who holds it.
                    sed -i 's/less/file/; s/1m/2s/' "$PLAN"
                    hold_lock /var/lib/apt/lists/lock 20
                    try start
                    expect "the exit status" 1 "$CODE"
                    expect_said "waited in vain: /var/lib/apt/lists/lock is held by process"
                    expect "file" "" "$(version file)"
                    """#)
        }

        /// Fault 32.
        @Test(.timeLimit(.minutes(5)))
        func aptThatIsKilledHalfWayIsMended() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    new_server <<'PLAN'
                      - {id: packages, kind: packages, on: new2, retry: {attempts: 3, initial: 1s}, with: {names: [git, vim-tiny]}}
                    PLAN
                    behind
                    await "a package that is half unpacked" half_unpacked
                    there sh -c 'for p in /proc/[0-9]*; do tr "\0" " " <"$p/cmdline" 2>/dev/null | grep -qE "^(/usr/bin/)?(apt-get|dpkg|dpkg-deb) " && kill -KILL "${p#/proc/}"; done; true'
                    join
                    expect "the exit status" 0 "$CODE"
                    OUT=$(cat "$WORK/background.log")
                    expect_said "mended what an interrupted run left half done"
                    whole
                    expect "git" "ii " "$(version git)"
                    try start
                    unchanged 1
                    """#)
        }

        /// Faults 24 and 32: also the orchestrator is gone.
        @Test(.timeLimit(.minutes(5)))
        func aHostThatLosesItsPowerInTheMiddleOfAptIsMended() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    new_server <<'PLAN'
                      - {id: packages, kind: packages, on: new2, with: {names: [git, vim-tiny]}}
                    PLAN
                    UNDO+=("scripts/lab boot new2")
                    behind
                    await "a package that is half unpacked" half_unpacked
                    lab power-cut new2
                    killed
                    lab boot new2
                    [[ -n $(there dpkg --audit) ]] || { echo "nothing was half done: the test shows nothing"; exit 1; }
                    resume_to_end
                    expect "the run" SUCCEEDED "$(state)"
                    whole
                    expect "git" "ii " "$(version git)"
                    expect "policy-rc.d" "" "$(there sh -c 'ls /usr/sbin/policy-rc.d 2>/dev/null' || true)"
                    """#)
        }

        @Test(.timeLimit(.minutes(5)))
        func aPackageSourceThatFailsForAWhileIsTriedAgainAndAnUnknownPackageIsNot() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    new_server <<'PLAN'
                      - {id: packages, kind: packages, on: new2, retry: {attempts: 6, initial: 1s, maximum: 3s}, with: {names: [less]}}
                    PLAN
                    # A proxy that is not there, from now on for some seconds.
                    there sh -c 'echo "Acquire::http::Proxy \"http://10.77.0.1:9\";" >/etc/apt/apt.conf.d/zz-away'
                    behind
                    failed() { grep -q 'packages failed' "$WORK/background.log"; }
                    await "the first failure" failed
                    there rm /etc/apt/apt.conf.d/zz-away
                    join
                    expect "the exit status" 0 "$CODE"
                    OUT=$(cat "$WORK/background.log")
                    expect_said "the package sources cannot all be read"
                    expect "less" "ii " "$(version less)"

                    sed -i 's/less/less, no-such-package/' "$PLAN"
                    try start
                    expect "the exit status" 1 "$CODE"
                    expect_said "no package source offers: no-such-package"
                    expect "the attempts" 1 "$(grep -c 'packages started' <<<"$OUT")"
                    sed -i 's/no-such-package/less=9.9/; s/less, //' "$PLAN"
                    try start
                    expect_said "no package source offers: less=9.9 (there is 590"
                    """#)
        }

        /// A package source of the test's own on the host: `offer NAME VERSION FIELDS` adds to it. What is called `-server` brings a service,
        /// which its installation starts.
        private static let packageSource = #"""
            offer() {
                there sh -euc "$(cat <<'MAKE'
                    name=$1 version=$2 fields=${3:-} source=/srv/debs new=/srv/deb-new
                    rm -rf "$new"
                    mkdir -p "$source" "$new/DEBIAN"
                    { printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.org>\n' "$name" "$version"
                        [ -z "$fields" ] || printf '%s\n' "$fields"
                        echo 'Description: made by a test'; } >"$new/DEBIAN/control"
                    case $name in *-server)
                        mkdir -p "$new/etc/init.d"
                        sed "s/NAME/$name/g" >"$new/etc/init.d/$name" <<'INIT'
            #!/bin/sh
            ### BEGIN INIT INFO
            # Provides: NAME
            # Required-Start: $remote_fs
            # Required-Stop: $remote_fs
            # Default-Start: 2 3 4 5
            # Default-Stop: 0 1 6
            # Short-Description: NAME
            ### END INIT INFO
            case $1 in
                start) start-stop-daemon --start --background --make-pidfile --pidfile /run/NAME.pid --exec /bin/sleep -- 100000 ;;
                stop) start-stop-daemon --stop --oknodo --pidfile /run/NAME.pid --remove-pidfile --retry 5 ;;
                status) start-stop-daemon --status --pidfile /run/NAME.pid ;;
            esac
            INIT
                        printf '#!/bin/sh\nset -e\nupdate-rc.d %s defaults\ninvoke-rc.d %s start\n' "$name" "$name" >"$new/DEBIAN/postinst"
                        chmod 755 "$new/etc/init.d/$name" "$new/DEBIAN/postinst" ;;
                    esac
                    dpkg-deb --root-owner-group -b "$new" "$source" >/dev/null
                    cd "$source"
                    for deb in *.deb; do
                        dpkg-deb -f "$deb"
                        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
                    done >Packages
                    echo "deb [trusted=yes] copy:$source ./" >/etc/apt/sources.list.d/own.list
            MAKE
                )" - "$@"
            }
            installed() { there dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null | grep '^installed' || true; }
            held() { there apt-mark showhold | xargs; }
            serving() { there service "$1" status >/dev/null && echo yes || echo no; }
            links() { there sh -c 'ls -d /etc/rc[2345].d/S*"$1" 2>/dev/null | wc -l' - "$1"; }
            well() { try start; expect "the exit status" 0 "$CODE"; }

            """#

        @Test(.timeLimit(.minutes(5)))
        func whatPackagesServicesAndEntriesAreAskedForIsWhatTheyThenAre() async throws {
            try await Scenario.play(
                Self.bare + Self.packageSource + #"""
                    new_server <<'PLAN'
                      - {id: tool, kind: packages, on: new2, with: {names: [lab-tool=1.0], hold: true}}
                      - {id: others, kind: packages, on: new2, with: {names: [first-server, cron]}}
                      - {id: cron, kind: service, on: new2, with: {name: cron}}
                      - {id: entry, kind: schedule, on: new2, with: {name: lab-entry, when: "@daily", run: "true"}}
                    PLAN
                    # As on a server that has an init, and is in runlevel 2: without one, Debian's packages never start a service.
                    there sh -c 'touch /sbin/init; printf "#!/bin/sh\necho N 2\n" >/sbin/runlevel; chmod 755 /sbin/runlevel'
                    offer lab-tool 1.0 'Recommends: lab-extra'
                    offer lab-tool 2.0 'Recommends: lab-extra'
                    offer lab-extra 1.0
                    offer lab-app 1.0 'Recommends: lab-extra'
                    offer first-server 1.0
                    offer second-server 1.0

                    # The version that is named, which is not the newest; nothing that it only recommends, and no service.
                    well
                    expect "the tool" "installed 1.0" "$(installed lab-tool)"
                    expect "what is held" lab-tool "$(held)"
                    expect "what is recommended" "" "$(installed lab-extra)"
                    expect "whether the service runs" no "$(serving first-server)"
                    expect "the service at boot" 4 "$(links first-server)"
                    expect "the entry" "@daily root true" "$(there tail -n 1 /etc/cron.d/lab-entry)"
                    well
                    unchanged 4

                    # A hold is against others: the plan itself goes past it, and it stays where nothing else is said.
                    sed -i 's/lab-tool=1.0/lab-tool=2.0/; s/, hold: true//' "$PLAN"
                    well
                    expect_said "lab-tool went from 1.0 to 2.0"
                    expect "what is held" lab-tool "$(held)"
                    unchanged 3
                    sed -i 's/\[lab-tool=2.0\]/[lab-tool=1.0], hold: false/' "$PLAN"
                    well
                    expect_said "lab-tool went from 2.0 to 1.0"
                    expect_said "unhold: lab-tool"
                    expect "what is held" "" "$(held)"

                    # A newer one that the host has not heard of.
                    offer lab-tool 3.0 'Recommends: lab-extra'
                    heard_of() { there apt-cache madison lab-tool | grep -cF ' 3.0 ' || true; }
                    sed -i 's/lab-tool=1.0/lab-tool=3.0/; s/hold: false/update: never/' "$PLAN"
                    try start
                    expect "the exit status" 1 "$CODE"
                    expect_said "no package source offers: lab-tool=3.0 (there is 2.0 1.0)"
                    try reprise cancel
                    expect "what the host has heard of it" 0 "$(heard_of)"
                    sed -i 's/lab-tool=3.0/lab-tool/; s/update: never/update: always/' "$PLAN"
                    well
                    unchanged 4
                    expect "what the host has heard of it" 1 "$(heard_of)"
                    expect "the tool" "installed 1.0" "$(installed lab-tool)"

                    # The other way round, all of it.
                    plan <<'PLAN'
                      - {id: app, kind: packages, on: new2, with: {names: [lab-app, second-server], recommends: true, start-services: true}}
                      - {id: second, kind: service, on: new2, with: {name: second-server, enabled: false}}
                      - {id: entry, kind: schedule, on: new2, with: {name: lab-entry, absent: true}}
                    PLAN
                    well
                    expect "what is recommended" "installed 1.0" "$(installed lab-extra)"
                    expect "whether the service that its package started runs" yes "$(serving second-server)"
                    expect_said "disabled second-server"
                    expect "the service at boot" 0 "$(links second-server)"
                    expect "the entry" "" "$(there sh -c 'ls /etc/cron.d | grep lab-entry' || true)"
                    well
                    unchanged 3
                    sed -i 's/enabled: false/state: stopped, enabled: true/' "$PLAN"
                    well
                    expect_said "stopped second-server"
                    expect "whether the service runs" no "$(serving second-server)"
                    expect "the service at boot" 4 "$(links second-server)"
                    well
                    unchanged 3
                    """#)
        }

        @Test(.timeLimit(.minutes(5)))
        func aSecretArrivesAsItIsAndIsSeenNowhereElse() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    export LAB_APP_ENV=$'KEY="canary-7f3a $HOME `id` %s \\n"\nSECOND=\'canary-7f3a\''
                    new_server <<'PLAN'
                      - id: env
                        kind: secret-file
                        on: new2
                        with:
                          path: /root/env
                          secret: app-env
                          # No process has it among its words.
                          validate: |
                            ! grep -al 'canary-[7]f3a' /proc/[0-9]*/cmdline
                      - id: filled
                        kind: template
                        on: new2
                        with:
                          path: /root/filled
                          template: "before @{key} after"
                          values: {key: {secret: app-env}}
                      - id: says-it
                        kind: secret-file
                        on: new2
                        on-error: continue
                        with: {path: /root/refused, secret: app-env, validate: 'cat "$FILE"; exit 1'}
                    PLAN
                    try start
                    expect_said "refuses the new /root/refused (exit status 1)"
                    expect "what was refused" "" "$(there sh -c 'ls -A /root | grep refused' || true)"
                    expect "the file" "$(printf '%s\n' "$LAB_APP_ENV" | sha256sum)" "$(there sh -c 'cat /root/env' | sha256sum)"
                    expect "the filled file" "$(printf 'before %s after' "$LAB_APP_ENV" | sha256sum)" "$(there sh -c 'cat /root/filled' | sha256sum)"
                    expect "their modes" "600 600" "$(there stat -c %a /root/env /root/filled | xargs)"
                    reprise logs >"$WORK/logs"
                    reprise report >"$WORK/report"
                    printf '%s' "$OUT" >"$WORK/out"
                    expect "where this machine has it" "" "$(grep -rla canary-7f3a "$WORK" || true)"
                    expect "where the host has it" "/root/env /root/filled" "$(there sh -c 'grep -rla canary-7f3a /root /var /etc /tmp /run | sort' | xargs)"
                    """#)
        }

        @Test(.timeLimit(.minutes(5)))
        func aWrongSecretIsNamedAndNothingIsWritten() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    new_server <<'PLAN'
                      - {id: env, kind: secret-file, on: new2, with: {path: /root/env, secret: app-emv}}
                    PLAN
                    try start
                    expect "the exit status" 2 "$CODE"
                    expect_said 'the inventory has no secret `app-emv`'
                    expect_said "app-env"
                    sed -i 's/app-emv/missing/' "$PLAN"
                    try start
                    [[ $CODE != 0 ]] || { echo "EXPECTED it to fail"; exit 1; }
                    expect_said LAB_NOT_SET_ANYWHERE
                    expect "the file" "" "$(there sh -c 'ls /root/env 2>/dev/null' || true)"
                    """#)
        }

        @Test(.timeLimit(.minutes(5)))
        func rulesThatLockTheirOwnWayOutAreRefusedAndLostOnesPutBack() async throws {
            try await Scenario.play(
                Self.bare + #"""
                    new_server <<'PLAN'
                      - {id: packages, kind: packages, on: new2, with: {names: [nftables]}}
                      - {id: firewall, kind: firewall, on: new2, with: {allow: [{port: 80}, {port: 22, from: 192.0.2.0/24}]}}
                    PLAN
                    try start
                    expect "the exit status" 1 "$CODE"
                    expect_said "these rules would lock out the very way by which this host is reached: port 22 from 10.77.0.1"
                    expect "the rules" "" "$(there nft list ruleset)"
                    # A connection that the host itself made and that is idle goes on: the other side speaks first once the rules are in force.
                    sed -i 's/192.0.2.0/10.77.0.0/' "$PLAN"
                    scripts/lab enter app1 perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 9998, Listen => 1, ReuseAddr => 1) or die; $c = $s->accept; print "connected\n"; close STDOUT; alarm 60; until (-e "/tmp/speak") { select undef, undef, undef, 0.1 } print $c "hello\n"; close $c' >"$WORK/other" &
                    UNDO+=("scripts/lab enter app1 rm -f /tmp/speak")
                    sleep 1
                    there perl -MIO::Socket::INET -e '$SIG{ALRM} = sub { print "nothing\n"; exit }; alarm 40; $c = IO::Socket::INET->new(PeerAddr => "10.77.0.11", PeerPort => 9998) or die; print scalar <$c>' >"$WORK/heard" &
                    await "the connection" grep -q connected "$WORK/other"
                    try start
                    expect "the exit status" 0 "$CODE"
                    scripts/lab enter app1 touch /tmp/speak
                    await "an answer" test -s "$WORK/heard"
                    expect "what the host hears" hello "$(cat "$WORK/heard")"
                    there nft add rule inet reprise input tcp dport 9999 accept
                    try start
                    expect_said "loaded the rules in place of others"
                    there nft list ruleset | grep 9999 && { echo "the added rule is still there"; exit 1; }
                    there nft flush ruleset
                    try start
                    expect_said "loaded the rules"
                    # Somebody else's rules are not written over.
                    there sh -c 'echo "# mine" >/etc/nftables.conf'
                    try start
                    expect "the exit status" 1 "$CODE"
                    expect_said "/etc/nftables.conf was written by somebody else"
                    """#)
        }

        @Test(.timeLimit(.minutes(5)))
        func aLoginThatBecomesRootIsEnoughAndOneThatCannotIsNamed() async throws {
            try await Scenario.play(
                Self.bare + Self.ready + #"""
                    sed -i 's/^          ansible_host: 10.77.0.15/&\n          ansible_user: deploy\n          ansible_become: true/' "$INVENTORY"
                    try start
                    expect "the exit status" 0 "$CODE"
                    try start
                    unchanged 8
                    sed -i '/ansible_become/d; s/ansible_user: deploy/ansible_user: nosudo/' "$INVENTORY"
                    try start
                    expect "the exit status" 1 "$CODE"
                    expect_said "packages are installed by root, and the login of this host is nosudo"
                    """#)
        }
    }
}
