import Testing

extension EndToEnd {
    /// A run that makes its host first, and what is seen of new hosts before anything starts.
    @Suite
    struct NewHostTests {
        /// The inventory knows nothing of the host but its name; the command that makes it tells the rest.
        private static let machine = #"""
            INVENTORY=$WORK/inventory.yaml PLAN=$WORK/plan.yaml
            cat >"$INVENTORY" <<YAML
            all:
              vars:
                ansible_user: nobody
                ansible_ssh_private_key_file: $LAB/ssh/id_ed25519
              hosts:
                rescue:
            reprise:
              known-hosts: [/dev/null]
            YAML
            cat >"$PLAN" <<YAML
            reprise: 1
            name: new-machine
            steps:
              - id: machine
                kind: provision
                on: orchestrator
                timeout: 2m
                with:
                  host: rescue
                  directory: $ROOT
                  run: |
                    echo made >>"$WORK/made"
                    scripts/lab factory new2
              - id: hello
                kind: command
                on: rescue
                with:
                  run: hostname; echo ran >>/root/ran
            YAML
            made() { grep -c made "$WORK/made"; }
            ran() { scripts/lab enter new2 grep -c ran /root/ran; }

            """#

        @Test(.timeLimit(.minutes(10)))
        func aHostIsMadeOnceAndReachedByTheKeysThatItWasMadeWith() async throws {
            try await Scenario.play(
                Self.machine + #"""
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 0 "$CODE"
                expect_said "step machine makes it"
                # Killed while the host is being made: the command goes on, and nobody begins it a second time.
                behind
                await "the command" test -e "$WORK/made"
                killed
                try reprise resume
                expect "the exit status" 0 "$CODE"
                expect "times that a host was made" 1 "$(made)"
                expect "times that the step ran" 1 "$(ran)"
                try reprise logs "$(reprise status --json | perl -MJSON::PP -0777 -ne 'print decode_json($_)->{run}')" hello
                expect_said new2
                """#)
        }

        /// Somebody else answers at the address: the run stops there.
        @Test(.timeLimit(.minutes(10)))
        func anotherKeyThanTheHostWasMadeWithStopsTheRun() async throws {
            try await Scenario.play(
                Self.machine + #"""
                other=$(cut -d' ' -f1,2 "$LAB/hosts/new1/upper/etc/ssh/ssh_host_ed25519_key.pub")
                perl -pi -e 's{scripts/lab factory new2}{echo \x27{"address": "10.77.0.15", "user": "root", "host-keys": ["'"$other"'"]}\x27}' "$PLAN"
                try start
                expect "the exit status" 4 "$CODE"
                expect_said "the keys that rescue was made with"
                """#)
        }

        /// Seen before anything was started.
        @Test(.timeLimit(.minutes(10)))
        func aDiskThatIsTooSmallIsFoundByCheck() async throws {
            try await Scenario.play(
                #"""
                PLAN=plans/full-server.yaml INVENTORY=$WORK/inventory.yaml
                sed 's/10\.77\.0\.14/10.77.0.15/' inventory/new-server/lab.yaml >"$INVENTORY"
                lab backup
                lab factory new2
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 0 "$CODE"
                expect_said "no server answers yet; step cluster makes one"
                UNDO+=("scripts/lab enter new2 umount /var/lib/postgresql")
                scripts/lab enter new2 sh -c 'mkdir -p /var/lib/postgresql && mount -t tmpfs -o size=64k tmpfs /var/lib/postgresql'
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 1 "$CODE"
                expect_said "room for step restore"
                expect_said "larger disk before anything is started"
                # Where only the downloads find no room.
                scripts/lab enter new2 umount /var/lib/postgresql
                UNDO+=("scripts/lab enter new2 umount /var/backups")
                scripts/lab enter new2 mount -t tmpfs -o size=64k tmpfs /var/backups
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status" 1 "$CODE"
                expect_said "room for steps fetch, fetch-files"
                """#)
        }
    }
}
