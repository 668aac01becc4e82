/// The second part of the shell's ledger: how a job is put in place, started, watched and ended, in the same order of flushes.
///
/// A job's process tree: the supervisor (a subshell, which alone holds L1) starts the *leader* of the job's process group. The
/// leader waits for the job's main process, as only a parent can learn how it ended, tells it to the supervisor through the
/// pipe `control`, and lives on until the supervisor does not: so the group's number cannot become another's. Words on the
/// pipe: `up` (the group exists), `noexec`, `exit`, `keeper` and `sum` (of a stream), `cancel`, `tick`, `gone` (the leader).
let shellJobSource = #"""
    # Puts a job's folder in place, under the host lock, which stays held until the start is recorded, so that no newer fence can
    # come between. Environment values and standard input never reach the disk.
    place() {
        local out t
        check_ticket
        take_fence
        if [ ! -d "$dir" ]; then
            refuse_superseded
            self; wall; boot
            t=$STATE/tmp/$NONCE.$SELF
            out=$( { make_slot "$t" && mv -T "$t" "$dir" && sync "$STATE/jobs"; } 2>&1) || { rm -rf "$t"; refuse_output "$out"; }
            return 0
        fi
        # Cancelled, perhaps before it came: that is the answer, whatever it is.
        if record "$dir/result" ''; then get cancelled; [ "$VAL" != 1 ] || return 0; fi
        record "$dir/spec" '' || refuse spec-damaged "message=$(enc "$dir")$NL"
        get spec
        [ "$VAL" = "$q_spec" ] || refuse spec-differs "stored=$VAL$NL"
        [ -e "$dir/result" ] || has_started "$dir" || refuse_superseded
    }
    # A later attempt of the same step is not joined by an earlier one whose request was long under way. What is undone has
    # attempts of its own.
    refuse_superseded() {
        local path step undo rest=${q_job#"$q_run".} attempt
        step=$q_run.${rest%%.*} rest=${rest#*.}
        attempt=${rest%%.*}
        case $rest in *.undo*) undo=1 ;; *) undo= ;; esac
        for path in "$STATE/jobs/$step".*; do
            [ -d "$path" ] || continue
            rest=${path#"$STATE/jobs/$step".}
            case $rest in *.undo*) [ -n "$undo" ] || continue ;; *) [ -z "$undo" ] || continue ;; esac
            [ "${rest%%.*}" -le "$attempt" ] || refuse superseded "message=${path##*/}$NL"
        done
    }
    # Puts down as cancelled what never came here, under the host lock: a request to start it that comes yet finds this. Whole or not
    # at all: its spec, of nothing, and its result are flushed before it is renamed into place.
    place_cancelled() {
        local out t at=$dir
        self; wall; boot
        t=$STATE/tmp/$NONCE.$SELF
        out=$( { make_slot "$t" && { dir=$t; write_cancelled; } && mv -T "$t" "$at" && sync "$STATE/jobs"; } 2>&1) \
            || { rm -rf "$t"; refuse_output "$out"; }
    }
    make_slot() { # FOLDER
        local text="job=$q_job${NL}spec=$q_spec${NL}run=$q_run${NL}fence=$q_fence${NL}holder=$q_holder${NL}operator=$q_operator${NL}sequence=$q_sequence${NL}head=$q_head${NL}kind=$q_kind${NL}script=$q_script${NL}user=$q_user${NL}directory=$q_directory${NL}timeout=$q_timeout${NL}limit=$q_limit${NL}environment=${NAMES# }${NL}at=$WALL${NL}boot=$BOOT${NL}end$NL"
        mkdir "$1" && head -c 512 /dev/zero >"$1/started" && head -c 8192 /dev/zero >"$1/result.pre" && sync "$1/started" "$1/result.pre" \
            && : >"$1/L1" && : >"$1/L2" && : >"$1/stdout" && : >"$1/stderr" && pipes "$1" \
            && printf '%s' "$text" | dd of="$1/spec" bs=64k iflag=fullblock conv=fsync status=none && sync "$1"
    }
    pipes() { local name; for name in control hold stdout.in stderr.in; do [ -p "$1/$name" ] || mkfifo "$1/$name" || return 1; done; }

    submit() {
        local said
        check_job
        # Others a shell cannot hand on.
        case "$NAMES " in *[!A-Za-z0-9_\ ]* | *' '[0-9]*) refuse bad-name "message=environment$NL" ;; esac
        place
        verdict "$q_job"
        if [ $VERDICT != never ]; then flock -u 8; reply "$V"; return; fi
        said=$(supervise &)
        exec 8<&-
        case $said in
            started) reply "verdict=running$NL" ;;
            error=*) send "id=$q_id$NL$said${NL}end$NL" ;;
            lost) verdict "$q_job"; reply "$V" ;;
            # It was killed: its locks go in an instant.
            *) until_ended; reply "$V" ;;
        esac
    }
    alive() { verdict "$q_job"; [ $VERDICT = running ] || [ $VERDICT = orphan ]; }
    until_ended() { while alive; do sleep 0.05; done; }

    # A lock for as long as this process lives. A probe may hold it for an instant.
    own() { # DESCRIPTOR
        local n=0
        until flock -n -x "$1"; do
            n=$((n + 1))
            [ $n -lt 100 ] && ! has_started "$dir" || return 1
            sleep 0.01
        done
    }

    # What it writes to standard output until the start is recorded is how the start went.
    supervise() {
        local out started begun
        exec 2>/dev/null 9<&-
        let_go() { exec 5<&- 6<&-; flock -u 8; exec 8<&-; }
        # Whoever reads this may look at once: nothing must seem to run any more.
        say_error() { let_go; printf 'error=%s\n%s' "$1" "$2"; }
        exec 5<>"$dir/L1"
        if ! own 5 || has_started "$dir" || [ -e "$dir/result" ]; then let_go; printf lost; exit; fi
        exec 6<>"$dir/L2"
        own 6 || exit
        account
        out=$( { pipes "$dir" && rm -f "$dir/script" && put_script; } 2>&1) || refuse_output "$out"
        exec 7<>"$dir/control" 4<>"$dir/hold"
        wall; mono; boot
        started=$WALL begun=$MONO
        failpoint before-started
        out=$(printf 'boot=%s\nat=%s\nfence=%s\nholder=%s\nend\n' "$BOOT" "$started" "$q_fence" "$q_holder" \
            | dd of="$dir/started" conv=notrunc,fsync status=none 2>&1) || refuse_output "$out"
        flock -u 8
        failpoint after-started
        printf started
        exec >/dev/null
        # The readers open their pipes before the job does, and these hold them open until then.
        exec 8<>"$dir/stdout.in" 9<>"$dir/stderr.in"
        keep stdout &
        keep stderr &
        if [ "$STDIN" = 1 ]; then feed | lead & else lead </dev/null & fi
        LEADER=$!
        born
        BORN=$VAL
        exec 6<&-
        clock &
        watch
    }

    # Inside a folder that nobody else can enter; another user's shell gets it as an open file.
    put_script() { [ "$q_kind" != shell ] || { printf %b "$q_scriptb" | dd of="$dir/script" status=none && chmod 444 "$dir/script"; }; }

    # The user that a job runs as, and the program that changes to it.
    account() {
        local entry name=$q_user
        [ -n "$name" ] || name=$(id -un)
        entry=$(getent passwd "$name" || grep "^$name:" /etc/passwd) || refuse no-user "message=$q_user$NL"
        IFS=: read -r USER_NAME _ USER_ID GROUP_ID _ HOME_DIR _ <<EOF
    $entry
    EOF
        SWITCH=
        [ "$USER_ID" != "$(id -u)" ] || return 0
        [ "$(id -u)" = 0 ] || refuse not-root "message=$q_user$NL"
        SWITCH=$(command -v setpriv) || refuse no-tools "message=setpriv$NL"
    }

    feed() { exec 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-; printf %b "$q_stdin"; }

    # Becomes the leader of the job's process group. The job's variables come last: from there on only arguments are used.
    lead() {
        exec 5<&- 8<&- 9<&- 1<>"$dir/stdout.in" 2<>"$dir/stderr.in"
        umask 022
        set --
        if [ "$q_kind" != shell ]; then
            _reprise_n=0
            while [ $_reprise_n -lt "$ARGC" ]; do
                _reprise_n=$((_reprise_n + 1))
                eval "VAL=\$(printf %b. \"\$ARG$_reprise_n\")"
                set -- "$@" "${VAL%.}"
            done
        elif [ -n "$SWITCH" ]; then exec 8<"$dir/script"; set -- /bin/sh -eu /dev/fd/8
        else set -- /bin/sh -eu "$dir/script"
        fi
        VAL=$(printf %b. "$q_directoryb")
        set -- /bin/sh -c "$MAIN" sh "$q_directory" "${VAL%.}" "$(enc "$1")" "$@"
        [ -z "$SWITCH" ] || set -- "$SWITCH" "--reuid=$USER_ID" "--regid=$GROUP_ID" --init-groups -- "$@"
        set -- $DEFAULT_SIGNALS "$(command -v setsid)" /bin/sh -c "$LEAD" sh "$dir" "$@"
        unset LC_ALL XDG_STATE_HOME REPRISE_FAILPOINT REPRISE_BOOT_ID_FILE
        export HOME="$HOME_DIR" USER="$USER_NAME" LOGNAME="$USER_NAME" SHELL=/bin/sh LANG=C.UTF-8
        export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        _reprise_n=0 _reprise_c=$ENVC
        while [ $_reprise_n -lt "$_reprise_c" ]; do
            _reprise_n=$((_reprise_n + 1))
            eval "_reprise_e=\$_reprise_env_$_reprise_n"
            _reprise_v=$(printf %b. "${_reprise_e#*=}")
            export "${_reprise_e%%=*}=${_reprise_v%.}"
        done
        exec "$@" 4<&-
    }

    # Waits for the main process. A status over 128 may be a signal's: then the shell has said so as well. A signal to the group that
    # comes while the leader forks must not end the one who is to say how the job ended: until that one has its own trap, it ignores them.
    LEAD='
        trap "" HUP INT QUIT PIPE ALRM TERM USR1 USR2
        _reprise_hold=$1/hold; shift
        exec 3>&1 4>&2 >/dev/null 2>/dev/null
        printf "up\n" >&7
        set -- "$(trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2; exec 2>&1; ( exec >&3 2>&4 3>&- 4>&-; exec "$@" ); printf %s "$?")"
        exec 0</dev/null 3>&- 4>&- 6<&- 8<&-
        case $1 in
            *[!0-9]*) printf "exit signal %s\n" "$((${1##*[!0-9]} - 128))" >&7 ;;
            *) printf "exit status %s\n" "$1" >&7 ;;
        esac
        exec 7<&- 3<>"$_reprise_hold" 0<"$_reprise_hold" 3<&-
        until read -r _reprise_hold || [ $? -le 128 ]; do :; done
    '
    # The main process, as the user that the job is for: the folder, then the program.
    MAIN='
        if [ -n "$2" ]; then cd -- "$2" 2>/dev/null || { printf "noexec enter%%20%s\n" "$1" >&7; exit 127; }
        else cd -- "$HOME" 2>/dev/null || cd /
        fi
        command -v -- "$4" >/dev/null 2>&1 || { printf "noexec execute%%20%s\n" "$3" >&7; exit 127; }
        shift 3
        exec "$@" 7<&-
    '

    # In a helper of the supervisor: lets go of its locks, and writes to its pipe in a way that ends with it.
    help() { exec 4<&- 5<&- 6<&- 8<&- 9<&- 3<>"$dir/control" 7>"$dir/control" 3<&-; }

    # Keeps the beginning of a stream; counts and hashes all of it. What a full disk does not take is drained all the same.
    keep() { # NAME
        help
        exec 3<>"$dir/$1.in" 0<"$dir/$1.in" 3<&-
        {
            { self; printf 'keeper %s %s\n' "$1" "$SELF" >&7; exec tee -p /dev/fd/3; } | {
                # A short read counts as a whole block, so one call may stop too early.
                VAL=0
                while [ "$VAL" -lt "$q_limit" ]; do
                    dd of="$dir/$1" bs=4k count=$((q_limit - VAL)) iflag=count_bytes oflag=append conv=notrunc status=none || break
                    n=$(stat -c %s "$dir/$1")
                    [ "$n" -gt "$VAL" ] || break
                    VAL=$n
                done
                cat
                printf 'sum %s_kept %s\n' "$1" "$(stat -c %s "$dir/$1")" >&7
            } >/dev/null 3>&-
        } 3>&1 | {
            { tee -p /dev/fd/3 | { VAL=$(wc -c); printf 'sum %s_bytes %s\n' "$1" "$VAL" >&7; } 3>&-; } 3>&1 \
                | { VAL=$(sha256sum); printf 'sum %s_sha256 %s\n' "$1" "${VAL%% *}" >&7; }
        }
    }

    # When the leader was started, by the kernel's count, which its number alone does not tell. Empty where it has ended.
    born() {
        VAL=
        { read -r VAL <"/proc/$LEADER/stat"; } 2>/dev/null
        VAL=${VAL##*) }
        case $VAL in Z* | X*) VAL= ;; *) VAL=$(set -- $VAL; printf %s "${20:-}") ;; esac
    }
    clock() {
        local n=0
        help
        while printf 'tick\n' >&7; do
            [ -z "$BORN" ] || { born; [ "$VAL" = "$BORN" ] || { BORN=; }; }
            [ -n "$BORN" ] || printf 'gone\n' >&7
            n=$((n + 1))
            if [ $n -lt 100 ]; then sleep 0.01; else sleep 0.05; fi
        done
    }
    group() { born; [ -z "$VAL" ] || [ "$VAL" != "$BORN" ] || kill "-$1" "-$LEADER"; }

    # Until the job has ended and its output is kept: minds time and orders.
    watch() {
        local word what value up='' over='' timed_out=0 cancelled=0 grace=$q_grace kill_at='' killed='' until='' sums=0 end='' noexec='' left='' text name
        while read -r word what value <&7; do
            mono
            case $word in
                up) up=1; exec 8<&- 9<&-; [ -z "$over" ] || { group TERM; kill_at=$((MONO + grace)); } ;;
                noexec) noexec=$what ;;
                keeper | sum) eval "${word}_$what=\$value"; [ $word = keeper ] || sums=$((sums + 1)) ;;
                cancel) [ -n "$end" ] || [ $cancelled = 1 ] || { cancelled=1; grace=$what; end_group; } ;;
                exit)
                    # Without a number nobody knows how it ended.
                    [ -n "$value" ] || exit
                    [ -n "$end" ] || end="$what $value"
                    # Members of the group are ended while its leader lives: until then its number cannot be another's.
                    [ -z "$over" ] || group KILL
                    ;;
                gone)
                    exec 8<&- 9<&-
                    [ -n "$end" ] || { [ -n "$killed" ] && end='signal 9'; } || exit
                    ;;
            esac
            if [ -z "$end" ]; then
                [ -z "$q_timeout" ] || [ -n "$over" ] || [ "$MONO" -lt $((begun + q_timeout)) ] || { timed_out=1; end_group; }
                [ -z "$kill_at" ] || [ "$MONO" -lt "$kill_at" ] || { group KILL; killed=1 kill_at=$((MONO + 1000)); }
                continue
            fi
            [ -n "$until" ] || until=$((MONO + q_linger))
            [ $sums -lt 6 ] || held "$dir/L2" || break
            [ "$MONO" -ge "$until" ] || continue
            [ $sums -lt 6 ] && [ "$MONO" -lt $((until + 5000)) ] || { left=$(holders "$dir/L2"); break; }
            # Their writers live on elsewhere: what came so far is what is kept.
            for name in stdout stderr; do
                eval "VAL=\${keeper_$name:-}"
                [ -z "$VAL" ] || [ ! "/proc/$VAL/fd/0" -ef "$dir/$name.in" ] || kill -TERM "$VAL"
            done
        done
        finish
    }
    end_group() { over=1; [ -z "$up" ] || { group TERM; kill_at=$((MONO + grace)); }; }

    finish() {
        local name bytes kept room
        sync "$dir/stdout" "$dir/stderr"
        failpoint before-result
        wall; mono
        [ -z "$noexec" ] || end='status 127'
        case $end in status*) text="exit=${end#* }$NL" ;; *) text="signal=${end#* }$NL" ;; esac
        text="${text}timed-out=$timed_out${NL}cancelled=$cancelled${NL}started=$started${NL}ended=$WALL${NL}duration=$((MONO - begun))${NL}boot=$BOOT$NL"
        for name in stdout stderr; do
            eval "bytes=\${sum_${name}_bytes:-0} kept=\${sum_${name}_kept:-0} VAL=\${sum_${name}_sha256:-}"
            room=$q_limit
            [ "$bytes" -ge "$room" ] || room=$bytes
            text="$text$name-bytes=$bytes${NL}$name-kept=$kept${NL}$name-lost=$((room - kept))${NL}$name-sha256=$VAL$NL"
        done
        write_result "${text}exec-error=$noexec${NL}left-behind=$(printf %s "$left" | head -n 40 | tr '\n' '|' | sed 's/|/%00/g')${NL}end$NL"
    }
    # Of what was never started, at the time in WALL.
    write_cancelled() { write_result "timed-out=0${NL}cancelled=1${NL}started=$WALL${NL}ended=$WALL${NL}duration=0${NL}boot=$BOOT${NL}end$NL"; }
    write_result() { # TEXT
        printf '%s' "$1" | dd of="$dir/result.pre" bs=8192 iflag=fullblock count=1 conv=notrunc,fsync status=none && mv -T "$dir/result.pre" "$dir/result" && sync "$dir"
    }

    """#
