/// The third part of the shell's ledger: requests and answers, as records; after a record with `bytes=N` come N raw bytes.
///
/// Each request is answered by a process of its own, so that one that waits holds up no other.
let shellServerSource = #"""
    serve() { # NONCE STATE
        NONCE=$1 STATE=$2 HERE='' q_id=0
        umask 077
        : "${REPRISE_FAILPOINT:=}" "${REPRISE_BOOT_ID_FILE:=}" "${HOME:=/}"
        BOOT_FILE=${REPRISE_BOOT_ID_FILE:-/proc/sys/kernel/random/boot_id}
        DEFAULT_SIGNALS="$(command -v env) --default-signal=INT,QUIT"
        $DEFAULT_SIGNALS true 2>/dev/null || DEFAULT_SIGNALS=
        printf '\001reprise-ledger-sh-%s\n' "$NONCE"
        # Nobody else speaks before there is a folder to lock in.
        send() { printf '%s' "$1"; }
        need
        open_state
        send() { ( exec 9<>"$HERE/lock" && flock 9 && printf '%s' "$1" ) 2>/dev/null; }
        reply "state=$(enc "$STATE")$NL"
        requests
        rm -rf "$HERE"
    }

    requests() {
        local line
        forget
        while IFS= read -r line; do
            case $line in
                end) take; forget ;;
                arg=*) ARGC=$((ARGC + 1)); eval "ARG$ARGC=\${line#*=}" ;;
                env=*) ENVC=$((ENVC + 1)); line=${line#*=}; NAMES="$NAMES ${line%%=*}"; eval "_reprise_env_$ENVC=\$line" ;;
                *=*) case ${line%%=*} in *[!a-z]*) ;; *) eval "q_${line%%=*}=\${line#*=}" ;; esac ;;
            esac
        done
    }
    forget() {
        ARGC=0 ENVC=0 NAMES=
        for key in id verb job spec run fence holder operator sequence head kind script scriptb stdin user directory directoryb timeout grace \
            linger limit out err stream offset resource resourceb sid; do eval "q_$key="; done
    }
    take() {
        STDIN=0
        [ -z "$q_stdin" ] || STDIN=1
        # A child of a child: whoever ends is nobody's to wait for.
        case $q_verb in
            submit) eval "JOB_$q_id=\$q_job"; (submit &) ;;
            # What a job that was just submitted says is sent once somebody wants it.
            more) eval "q_job=\${JOB_$q_sid:-}"; unset "JOB_$q_sid"; [ -z "$q_job" ] || (follow "$q_sid" "$q_job" 0 0 &) ;;
            unfollow) (: >"$HERE/stop.$q_sid") 2>/dev/null ;;
            *) (answer &) ;;
        esac
    }

    answer() {
        case $q_verb in
            announce) check_run; host_lock; announce; reply "$SEEN" ;;
            probe) check_job; verdict "$q_job"; reply "$V" ;;
            follow)
                check_job
                [ -d "$dir" ] || { reply "verdict=absent$NL"; return; }
                reply "verdict=running$NL"
                follow "$q_id" "$q_job" "$q_out" "$q_err"
                ;;
            cancel) cancel ;;
            output)
                check_job
                case $q_stream in stdout | stderr) ;; *) refuse bad-name "message=stream$NL" ;; esac
                piece "id=$q_id${NL}ok=1" "$dir/$q_stream" "$q_offset" "$q_limit" || reply
                ;;
            claim) claim ;;
            release) release ;;
            claims) claims ;;
            runs) runs ;;
            jobs) check_run; jobs_of_run ;;
            facts) facts ;;
            *) refuse bad-verb "message=$q_verb$NL" ;;
        esac
    }

    # - Returns 1 where there is nothing at that place; else GOT says how much was sent.
    piece() { # HEAD FILE OFFSET LIMIT
        GOT=$(stat -c %s "$2" 2>/dev/null) || return 1
        GOT=$((GOT - $3))
        [ "$GOT" -gt 0 ] || return 1
        [ "$GOT" -le "$4" ] || GOT=$4
        (
            # Opened before the length is promised.
            exec 3<"$2" 9<>"$HERE/lock" && flock 9 && printf '%s\nbytes=%s\nend\n' "$1" "$GOT" \
                && dd bs=64k iflag=skip_bytes,count_bytes,fullblock skip="$3" count="$GOT" status=none <&3
        ) 2>/dev/null
    }

    # A job's output as it comes, and its end.
    follow() { # SID JOB OUT ERR
        local out=$3 err=$4 at=$STATE/jobs/$2
        while [ -e "$HERE/lock" ] && [ ! -e "$HERE/stop.$1" ]; do
            # The verdict is taken before the last look at the output, so that nothing is written after it.
            verdict "$2"
            while piece "sid=$1${NL}stream=stdout${NL}offset=$out" "$at/stdout" "$out" 131072; do out=$((out + GOT)); done
            while piece "sid=$1${NL}stream=stderr${NL}offset=$err" "$at/stderr" "$err" 131072; do err=$((err + GOT)); done
            case $VERDICT in
                running | orphan) sleep 0.05 ;;
                *) send "sid=$1${NL}end=1$NL${V}end$NL"; return ;;
            esac
        done
    }

    # Counts only once the ledger says so: the answer waits for the end of the job.
    cancel() {
        local kill_at
        check_job
        check_run
        check_ticket
        take_fence
        verdict "$q_job"
        case $VERDICT in
            absent) place_cancelled; verdict "$q_job" ;;
            never)
                exec 5<>"$dir/L1"
                if flock -n 5 && ! has_started "$dir" && [ ! -e "$dir/result" ]; then wall; boot; write_cancelled; fi
                exec 5<&-
                verdict "$q_job"
                ;;
            # A pipe into the supervisor, which is there as long as it lives; no process number is trusted.
            running) printf 'cancel %s\n' "$q_grace" 1<>"$dir/control" ;;
            orphan) kill -TERM $(openers "$dir/L2") 2>/dev/null ;;
        esac
        flock -u 8
        mono
        kill_at=$((MONO + q_grace))
        while alive; do
            sleep 0.05
            mono
            [ $VERDICT = running ] || [ "$MONO" -lt $kill_at ] || { kill -KILL $(openers "$dir/L2") 2>/dev/null; kill_at=$((MONO + 500)); }
        done
        reply "$V"
    }

    # File names have 255 bytes at most.
    claim_path() {
        VAL=$(printf %b "$q_resourceb" | od -An -v -tx1 | tr -d ' \n')
        [ ${#VAL} -le 240 ] || refuse bad-name "message=resource$NL"
        path=$STATE/claims/$VAL
    }
    claim() {
        check_run
        host_lock
        announce
        claim_path
        if record "$path" seen.; then
            get seen.run
            [ "$VAL" = "$q_run" ] || refuse claimed "$REC"
        fi
        wall
        replace "$path" "resource=$q_resource${NL}at=$WALL${NL}run=$q_run${NL}holder=$q_holder${NL}operator=$q_operator${NL}end$NL"
        reply
    }
    release() {
        local out
        check_run
        host_lock
        # Without a ticket it is a person's word.
        [ -z "$q_fence" ] || announce
        claim_path
        record "$path" seen. || { reply "released=0$NL"; return; }
        get seen.run
        [ "$VAL" = "$q_run" ] || refuse claimed "$REC"
        out=$( { rm "$path" && sync "$STATE/claims"; } 2>&1) || refuse_output "$out"
        reply "released=1$NL"
    }

    # Lists: the fields of the nth item begin with "item.n.".
    claims() {
        local n=0 list='' path
        for path in "$STATE/claims"/*; do
            record "$path" "item.$n." || continue
            list=$list$REC n=$((n + 1))
        done
        reply "$list"
    }
    runs() {
        local n=0 list='' path
        for path in "$STATE/runs"/*; do
            record "$path" "item.$n." || continue
            set -- "$STATE/jobs/${path##*/}".*
            [ -d "$1" ] || shift
            list="$list${REC}item.$n.jobs=$#$NL" n=$((n + 1))
        done
        reply "$list"
    }
    jobs_of_run() {
        local n=0 list='' path
        for path in "$STATE/jobs/$q_run".*; do
            [ -d "$path" ] || continue
            record "$path/spec" "item.$n." || REC=
            list="$list${REC}item.$n.job=${path##*/}$NL"
            verdict "${path##*/}"
            list="$list$(printf '%s' "$V" | sed "s/^/item.$n./")$NL" n=$((n + 1))
        done
        reply "$list"
    }

    facts() {
        local file line tool free tools='' name='' number='' machine='' pretty=''
        for file in /etc/os-release /usr/lib/os-release; do
            [ -z "$name$pretty" ] && [ -r "$file" ] || continue
            while IFS= read -r line || [ -n "$line" ]; do
                VAL=${line#*=}; VAL=${VAL#[\"\']}; VAL=${VAL%[\"\']}
                case $line in PRETTY_NAME=*) pretty=$VAL ;; ID=*) name=$VAL ;; VERSION_ID=*) number=$VAL ;; esac
            done <"$file"
        done
        [ ! -r /etc/machine-id ] || read -r machine </etc/machine-id
        for tool in sh bash sudo gzip zstd xz curl tar psql pg_restore pg_dump nft systemctl apt-get setpriv sha256sum fuser; do
            for file in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
                [ ! -x "$file/$tool" ] || { tools="$tools $tool"; break; }
            done
        done
        free=$(df -Pk -- "$STATE" | { read -r _; read -r _ _ _ VAL _; printf %s "$VAL"; })
        boot; wall
        reply "machine-id=$(enc "$machine")${NL}boot-id=$BOOT${NL}os=$(enc "$pretty")${NL}os-id=$(enc "$name")${NL}os-version=$(enc "$number")${NL}kernel=$(uname -r)${NL}machine=$(uname -m)${NL}perl=${NL}user=$(id -un)${NL}uid=$(id -u)${NL}free=$((free * 1024))${NL}state=$(enc "$STATE")${NL}tools=${tools# }${NL}clock-ms=$WALL${NL}digest=1$NL"
    }
    """#
