import Testing

extension EndToEnd {
    /// Backups that this machine carries from where they lie to where they are wanted.
    @Suite
    struct CarryOverTests {
        /// A store in a folder of app1, and a plan that carries its newest file to db1.
        private static let folderOnApp1 = #"""
            export TMPDIR=$WORK/tmp
            mkdir -m 700 "$TMPDIR"
            UNDO+=("scripts/lab ssh app1 rm -rf /var/backups/carry")
            scripts/lab ssh app1 'rm -rf /var/backups/carry; umask 077; mkdir -p /var/backups/carry/files'
            put() { scripts/lab ssh app1 "umask 077; head -c $1 /dev/urandom | gzip -1 > /var/backups/carry/files/files_20261120_020000.tar.gz"; }
            sed '/^  stores:/a\    on-app1: {kind: directory, host: app1, path: /var/backups/carry}' inventory/lab.yaml >"$WORK/inventory.yaml"
            INVENTORY=$WORK/inventory.yaml PLAN=$WORK/carry.yaml
            cat >"$PLAN" <<'PLAN'
            reprise: 1
            name: carry
            steps:
              - id: fetch
                kind: fetch-backup
                on: db1
                retry: {attempts: 2, initial: 1s, maximum: 1s}
                with: {store: on-app1, kind: files, to: /var/backups/carried/files.tar}
            PLAN
            UNDO+=("scripts/lab ssh db1 rm -rf /var/backups/carried")
            scripts/lab ssh db1 rm -rf /var/backups/carried
            upload='/var/backups/carried/files.tar.reprise-upload-*'
            stopped() { [[ $(sed 's/.*) //' "/proc/$BACKGROUND/stat" | cut -d' ' -f1) == T ]]; }
            carry() { "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes --journal "$J" >"$WORK/background.log" 2>&1 & BACKGROUND=$!; }
            left_nothing() { expect "what is left here" "" "$(ls -d "$TMPDIR"/reprise-*.fetch 2>/dev/null || true)"; }
            arrived() {
                expect "the run" "${1:-SUCCEEDED}" "$(state)"
                expect "what arrived" "$(scripts/lab ssh app1 'gzip -dc < /var/backups/carry/files/files_20261120_020000.tar.gz' | sha256sum)" \
                    "$(scripts/lab ssh db1 'cat /var/backups/carried/files.tar' | sha256sum)"
                expect "what is left of the way" "" "$(scripts/lab ssh db1 "ls /var/backups/carried | grep reprise || true")"
                left_nothing
            }

            """#

        /// After the above: the same plan, over a folder of its own in the lab's S3 service.
        private static let folderInS3 = #"""
            prefix=lab-${WORK##*/}
            UNDO+=("scripts/lab aws writer s3 rm --recursive s3://chms-backups/$prefix")
            sed "s|bucket: chms-backups\$|&\n      files-pattern: $prefix/files_YYYYMMDD_HHMISS.tar.gz|" inventory/lab.yaml >"$WORK/inventory.yaml"
            sed -i 's/store: on-app1/store: backups, via: orchestrator/' "$PLAN"
            put() {
                head -c $2 /dev/urandom >"$WORK/plain"
                gzip -1 <"$WORK/plain" | scripts/lab aws writer s3 cp - "s3://chms-backups/$prefix/files_$1.tar.gz"
            }

            """#

        @Test(.timeLimit(.minutes(10)))
        func aBackupOnAnotherHostIsCarriedInBoundedMemory() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + #"""
                    put 150000000
                    REPRISE_FAILPOINT=carry.chunk:560:stop carry
                    await "the carrying near its end" stopped
                    peak=$(awk '/^VmHWM/{print $2}' "/proc/$BACKGROUND/status")
                    echo "peak: $peak kB"
                    ((peak < 120000)) || { echo "EXPECTED less than 120 MB of memory, SEEN $peak kB"; exit 1; }
                    kill -CONT "$BACKGROUND"
                    join
                    expect "the exit status" 0 "$CODE"
                    arrived
                    """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func killedInTheMiddleItGoesOnWhereItWas() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + #"""
                    put 90000000
                    REPRISE_FAILPOINT=carry.chunk:240:kill carry
                    join
                    expect "the exit status" 137 "$CODE"
                    first=$(scripts/lab ssh db1 "stat -c %s $upload")
                    ((first > 30000000 && first < 90000000)) || { echo "EXPECTED a part of it on db1, SEEN $first bytes"; exit 1; }
                    # Of about 345 chunks some 220 are there, the last 24 MB of which are sent again: that ends before this place is reached.
                    export REPRISE_FAILPOINT=carry.chunk:270:kill
                    try reprise resume
                    unset REPRISE_FAILPOINT
                    expect "the exit status" 0 "$CODE"
                    arrived
                    """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aByteThatChangesOnTheWayIsNoticedAndCarriedAgain() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + #"""
                    put 8000000
                    REPRISE_FAILPOINT=carry.chunk:20:stop carry
                    await "the carrying" stopped
                    flip='open F, q(+<), $ARGV[0] or die; seek F, 1000000, 0; read F, my $b, 1; seek F, 1000000, 0; print F chr(ord($b) ^ 1)'
                    scripts/lab ssh db1 "perl -e '$flip' $upload"
                    kill -CONT "$BACKGROUND"
                    join
                    expect "the exit status" 0 "$CODE"
                    grep -q 'is not what was sent' <(reprise journal show) || { echo "EXPECTED the journal to tell of it"; exit 1; }
                    arrived
                    """#)
        }

        /// The choice is journaled; then the process is killed, and the backup replaced.
        @Test(.timeLimit(.minutes(10)))
        func aFileThatIsReplacedWhileItIsReadIsNotUsedAndTheNewOneIs() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + #"""
                    put 8000000
                    REPRISE_FAILPOINT=carry.chunk:1:kill carry
                    join
                    rm -rf "$TMPDIR"/reprise-*.fetch
                    put 8000001
                    try reprise resume
                    expect "the exit status" 8 "$CODE"
                    expect_said "the selection started again"
                    expect_said "no longer the version that was chosen"
                    arrived SUCCEEDED_WITH_WARNINGS
                    """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aNamedFileThatIsReplacedWhileItIsReadIsRefused() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + #"""
                    sed -i 's|kind: files|&, choose: "name:files/files_20261120_020000.tar.gz"|' "$PLAN"
                    put 8000000
                    REPRISE_FAILPOINT=carry.chunk:1:kill carry
                    join
                    rm -rf "$TMPDIR"/reprise-*.fetch
                    put 8000001
                    try reprise resume
                    expect "the exit status" 1 "$CODE"
                    expect_said "no longer the version that was chosen"
                    left_nothing
                    """#)
        }

        /// The same where the host fetches by itself.
        @Test(.timeLimit(.minutes(10)))
        func anObjectThatIsReplacedWhileAHostFetchesItIsNotUsedAndTheNewOneIs() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + Self.folderInS3 + #"""
                    sed -i 's/via: orchestrator/via: host/' "$PLAN"
                    put 20261120_020000 3000000
                    REPRISE_FAILPOINT=job.before-submit:1:kill carry
                    join
                    expect "the exit status" 137 "$CODE"
                    put 20261120_020000 3000001
                    try reprise resume
                    expect "the exit status" 8 "$CODE"
                    expect "the run" SUCCEEDED_WITH_WARNINGS "$(state)"
                    expect_said "the selection started again"
                    expect "what arrived" "$(sha256sum <"$WORK/plain")" "$(scripts/lab ssh db1 'sha256sum </var/backups/carried/files.tar')"
                    """#)
        }

        /// Python's file server answers a range with the whole file. The host asks it for the whole then, without anybody's doing.
        @Test(.timeLimit(.minutes(10)))
        func aServerThatKnowsNoRangesIsReadInOnePieceByTheHost() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + #"""
                    mkdir -p "$WORK/served/files/files"
                    # Larger than one range.
                    head -c 40000000 /dev/urandom >"$WORK/plain"
                    gzip -1 <"$WORK/plain" >"$WORK/served/files/files/files_20261120_020000.tar.gz"
                    cat >"$WORK/server.py" <<'SERVER'
                    import http.server, os
                    class Handler(http.server.SimpleHTTPRequestHandler):
                        protocol_version = "HTTP/1.1"
                        def end_headers(self):
                            self.send_header("ETag", '"the-only-one"')
                            super().end_headers()
                        def log_request(self, code="-", size="-"):
                            # A whole line at once: several threads log.
                            os.write(2, f"{self.command} {int(code)} {self.headers.get('Range', 'whole')}\n".encode())
                    server = http.server.ThreadingHTTPServer(("10.77.0.1", 0), Handler)
                    print(server.server_port, flush=True)
                    server.serve_forever()
                    SERVER
                    (cd "$WORK/served" && exec python3 "$WORK/server.py" >"$WORK/port" 2>"$WORK/requests") & UNDO+=("kill $!")
                    await "the server's port" test -s "$WORK/port"
                    sed -i "/^    on-app1:/a\\    server: {kind: s3, endpoint: http://10.77.0.1:$(cat "$WORK/port"), bucket: files, path-style: true, region: us-east-1,\
                        profile: lab-reader, credentials-file: $LAB/aws/credentials, config-file: $LAB/aws/config}" "$INVENTORY"
                    sed -i 's|store: on-app1|store: server, choose: "name:files/files_20261120_020000.tar.gz"|' "$PLAN"
                    try reprise start "$PLAN" --inventory "$INVENTORY" --yes
                    cat "$WORK/requests"
                    expect "the exit status" 0 "$CODE"
                    expect "what arrived" "$(sha256sum <"$WORK/plain")" "$(scripts/lab ssh db1 'sha256sum </var/backups/carried/files.tar')"
                    grep -q '^GET 200 bytes=' "$WORK/requests" || { echo "EXPECTED a range to be asked for first"; exit 1; }
                    expect "the requests for the whole" 1 "$(grep -c '^GET 200 whole' "$WORK/requests")"
                    """#)
        }

        /// Its name can be guessed: what somebody else put there is not used, and above all not removed.
        @Test(.timeLimit(.minutes(10)))
        func aFolderOfSomebodyElseIsNeitherUsedNorRemoved() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + #"""
                    put 8000000
                    REPRISE_FAILPOINT=carry.chunk:1:kill carry
                    join
                    folder=$(echo "$TMPDIR"/reprise-*.fetch)
                    theirs() { expect "what is theirs" theirs "$(cat "$folder/note")"; }
                    refused() { expect "the exit status" 1 "$CODE"; expect_said "$folder on this machine is somebody else's"; theirs; }
                    echo theirs >"$folder/note"
                    chown -R nobody "$folder"
                    try reprise resume
                    refused
                    expect "its owner" nobody "$(stat -c %U "$folder")"

                    # Ours, and only a link to it under the name.
                    rm -r "$folder"
                    mkdir -m 700 "$WORK/elsewhere"
                    echo theirs >"$WORK/elsewhere/note"
                    ln -s "$WORK/elsewhere" "$folder"
                    try reprise retry fetch
                    refused
                    [[ -L $folder ]] || { echo "EXPECTED the link to be there"; exit 1; }

                    # Where the backup has arrived already, the folder is not used any more: it is not removed unseen either.
                    rm "$folder"
                    REPRISE_FAILPOINT=job.after-result:1:kill "$REPRISE" retry fetch --journal "$J" >"$WORK/background.log" 2>&1 & BACKGROUND=$!
                    join
                    expect "the exit status" 137 "$CODE"
                    echo theirs >"$folder/note"
                    chown -R nobody "$folder"
                    try reprise resume
                    expect "the exit status" 0 "$CODE"
                    theirs
                    rm -r "$folder"
                    arrived
                    """#)
        }

        /// Nowhere is a full disk taken for a damaged backup, and what was read from the store stays until there is room.
        @Test(.timeLimit(.minutes(10)))
        func aFullDiskChoosesNoOlderBackupAndCostsNoSecondRead() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + Self.folderInS3 + #"""
                    get='"user":"lab-reader","operation":"get_obj","uri":"GET'
                    reads() { grep -cF "$get /chms-backups/$prefix/files_$1" "$LAB/s3/ops.log" || true; }
                    put 20261119_020000 100000
                    put 20261120_020000 8000000
                    room() { scripts/lab ssh db1 "mount -o remount,size=$1 /var/backups/carried"; }
                    UNDO+=("scripts/lab ssh db1 umount /var/backups/carried")
                    UNDO=("${UNDO[-1]}" "${UNDO[@]}")
                    scripts/lab ssh db1 'mkdir -p /var/backups/carried && mount -t tmpfs -o size=6m,mode=0711 tmpfs /var/backups/carried'
                    full() { expect "the exit status" 1 "$CODE"; expect_said "$1"; expect "the run" FAILED "$(state)"; }

                    try reprise start "$PLAN" --inventory "$INVENTORY" --yes
                    full "there is no room for $prefix/files_20261120_020000.tar.gz"
                    once=$(reads 20261120)
                    ((once > 0)) || { echo "EXPECTED the store to tell of a read"; exit 1; }

                    # It fills while the backup is on its way; more is left to send than the connection takes by itself.
                    room 12m
                    REPRISE_FAILPOINT=carry.chunk:4:stop "$REPRISE" retry fetch --journal "$J" >"$WORK/background.log" 2>&1 & BACKGROUND=$!
                    await "the carrying" stopped
                    scripts/lab ssh db1 'head -c 20000000 /dev/zero >/var/backups/carried/ballast || true'
                    kill -CONT "$BACKGROUND"
                    join
                    OUT=$(cat "$WORK/background.log")
                    full "did not write all of"

                    scripts/lab ssh db1 'rm /var/backups/carried/ballast'
                    try reprise retry fetch
                    full "the host has no room to unwrap $prefix/files_20261120_020000.tar.gz"

                    room 40m
                    try reprise retry fetch
                    expect "the exit status" 0 "$CODE"
                    expect "the run" SUCCEEDED "$(state)"
                    expect "what arrived" "$(sha256sum <"$WORK/plain")" "$(scripts/lab ssh db1 'sha256sum </var/backups/carried/files.tar')"
                    expect "what is left of the way" "" "$(scripts/lab ssh db1 "ls /var/backups/carried | grep reprise || true")"
                    left_nothing
                    expect "the reads of it" "$once" "$(reads 20261120)"
                    expect "the reads of the older one" 0 "$(reads 20261119)"
                    """#)
        }

        /// Fault 56, on either way. The older backup is as good as any, and a disk or a plan with too little room does not decide for it.
        @Test(.timeLimit(.minutes(10)))
        func aBombIsRefusedBeforeItFillsTheDiskAndChoosesNoOlderBackup() async throws {
            try await Scenario.play(
                Self.folderOnApp1 + Self.folderInS3 + #"""
                    put 20261119_020000 100000
                    head -c 300000000 /dev/zero | gzip -1 | scripts/lab aws writer s3 cp - "s3://chms-backups/$prefix/files_20261120_020000.tar.gz"
                    UNDO+=("scripts/lab ssh db1 umount /var/backups/carried")
                    UNDO=("${UNDO[-1]}" "${UNDO[@]}")
                    scripts/lab ssh db1 'mkdir -p /var/backups/carried && mount -t tmpfs -o size=64m,mode=0711 tmpfs /var/backups/carried'
                    refused() { # WHY
                        try reprise start "$PLAN" --inventory "$INVENTORY" --yes
                        expect "the exit status" 1 "$CODE"
                        expect_said "$1"
                        expect "what came out of it" "" "$(scripts/lab ssh db1 'ls /var/backups/carried | grep -vE "reprise-(ranges|upload)" || true')"
                        try reprise cancel
                    }
                    for via in host orchestrator; do
                        sed -i "s/via: [a-z]*/via: $via/" "$PLAN"
                        refused "the host has no room to unwrap $prefix/files_20261120_020000.tar.gz: more than 3"
                        sed -i 's/kind: files/kind: files, most-bytes: 10MB/' "$PLAN"
                        refused 'raise `most-bytes`'
                        sed -i 's/, most-bytes: 10MB//' "$PLAN"
                    done
                    put 20261121_020000 8000000
                    try reprise start "$PLAN" --inventory "$INVENTORY" --yes
                    expect "the exit status" 0 "$CODE"
                    expect "what arrived" "$(sha256sum <"$WORK/plain")" "$(scripts/lab ssh db1 'sha256sum </var/backups/carried/files.tar')"
                    """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func theWholeRecoveryRunsFromAFolderOnAnotherHost() async throws {
            try await Scenario.play(
                #"""
                fresh
                UNDO+=("scripts/lab ssh app1 rm -rf /var/backups/carry")
                scripts/lab ssh app1 'rm -rf /var/backups/carry; umask 077; mkdir -p /var/backups/carry'
                newest=$(scripts/lab ssh db1 'ls /var/backups/chms/db_*.dump.gz | tail -n 1')
                scripts/lab ssh db1 "cat $newest" | scripts/lab ssh app1 "umask 077; cat > /var/backups/carry/${newest##*/}"
                perl -0777 -pe 's/    backups:\n      kind: s3.*?(?=\n\S|\n {2,4}\S|\z)/    backups: {kind: directory, host: app1, path: \/var\/backups\/carry, database-pattern: db_YYYYMMDD_HHMISS.dump.gz}\n/s' \
                    inventory/lab.yaml >"$WORK/inventory.yaml"
                INVENTORY=$WORK/inventory.yaml
                try reprise backup list --inventory "$INVENTORY"
                expect_said "${newest##*/}"
                try reprise check "$PLAN" --inventory "$INVENTORY"
                expect "the exit status of check" 0 "$CODE"
                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                recovered
                """#)
        }

        @Test(.timeLimit(.minutes(10)))
        func aBackupInS3IsCarriedWhereThePlanSaysSo() async throws {
            try await Scenario.play(
                #"""
                fresh
                sed 's/via: host/via: orchestrator/' "$PLAN" >"$WORK/plan.yaml"
                PLAN=$WORK/plan.yaml
                grep -q 'via: orchestrator' "$PLAN"
                try start --param approve=no
                expect "the exit status" 0 "$CODE"
                recovered
                """#)
        }
    }
}
