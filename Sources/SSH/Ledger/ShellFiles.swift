/// The ledger's program for hosts that have no perl, in the words of a POSIX shell (dash, ash, bash) with coreutils and
/// util-linux: the same folders, records, locks and verdicts. First part: records, locks, fences, verdicts.
///
/// Slower, never less safe: each request forks, a job is followed by looking at it, and no spare slots are kept.
let shellFilesSource = #"""
    export LC_ALL=C
    NL='
    '

    # A record is lines of key=value, percent-encoded, closed by a line "end": without it the record is torn, and does not count.
    # Values are kept encoded, so that what is compared, stored and sent never needs a program of its own.
    enc() { printf %s "$1" | od -An -v -tx1 | tr -d '\n' | tr ' a-f' '%A-F'; }
    record() { # FILE PREFIX: its lines, each behind the prefix, into REC
        REC=
        [ -f "$1" ] || return 1
        while IFS= read -r line; do
            case $line in end) return 0 ;; *=*) REC="$REC$2$line$NL" ;; *) break ;; esac
        done <"$1"
        REC=
        return 1
    }
    get() { # KEY: its value in REC into VAL
        case $NL$REC in *"$NL$1="*) VAL=${REC#"$1="}; [ "$VAL" != "$REC" ] || VAL=${REC#*"$NL$1="}; VAL=${VAL%%"$NL"*} ;; *) VAL= ;; esac
    }

    # What is said goes out whole, whoever else is speaking. In a supervisor, it goes to the one who started it.
    send() { ( exec 9<>"$HERE/lock" && flock 9 && printf '%s' "$1" ); }
    reply() { send "id=$q_id${NL}ok=1$NL$1end$NL"; }
    say_error() { send "id=$q_id${NL}error=$1$NL$2end$NL"; }
    refuse() { say_error "$1" "${2:-}"; exit 0; }
    refuse_output() {
        case $1 in
            *'No space left'* | *[Qq]uota*) refuse no-space "message=$(enc "$1")$NL" ;;
            *'ead-only file system'*) refuse read-only "message=$(enc "$1")$NL" ;;
            *) refuse system "message=$(enc "$1")$NL" ;;
        esac
    }

    mono() { read -r MONO _ </proc/uptime; MONO=$((${MONO%.*} * 1000 + (1${MONO#*.} - 100) * 10)); }
    wall() { WALL=$(date +%s%3N); }
    boot() { BOOT=; [ ! -r "$BOOT_FILE" ] || read -r BOOT <"$BOOT_FILE"; }
    self() { read -r SELF _ </proc/self/stat; }
    failpoint() { [ "$REPRISE_FAILPOINT" != "$1" ] || { self; kill -KILL "$SELF"; }; }

    need() {
        local missing='' tool
        for tool in flock setsid sync stat dd head tail od tr tee wc cat date sleep mkfifo mkdir mv rm chmod id df sed grep env sha256sum; do
            command -v "$tool" >/dev/null || missing="$missing $tool"
        done
        case $(flock --version 2>&1) in *util-linux*) ;; *) missing="$missing util-linux" ;; esac
        case $(dd --version 2>&1) in *coreutils*) ;; *) missing="$missing coreutils" ;; esac
        [ -z "$missing" ] || refuse no-tools "message=${missing# }$NL"
    }

    open_state() {
        local out
        if [ -z "$STATE" ]; then
            STATE=${XDG_STATE_HOME:-$HOME/.local/state}/reprise
            [ "$(id -u)" != 0 ] || STATE=/var/lib/reprise
        fi
        [ -d "$STATE" ] || out=$( { (umask 022 && mkdir -p "${STATE%/*}") && mkdir "$STATE"; } 2>&1) || [ -d "$STATE" ] || refuse_output "$out"
        [ ! -L "$STATE" ] || refuse state-unsafe "message=$(enc "$STATE is a symbolic link")$NL"
        out=$(stat -c '%u %a' "$STATE" 2>&1) || refuse_output "$out"
        [ "${out% *}" = "$(id -u)" ] || refuse state-unsafe "message=$(enc "$STATE belongs to user ${out% *}, not to user $(id -u)")$NL"
        case $out in *00) ;; *) refuse state-unsafe "message=$(enc "$STATE can be entered by others (mode ${out#* })")$NL" ;; esac
        for name in jobs runs claims slots tmp; do
            [ -d "$STATE/$name" ] || out=$( { mkdir "$STATE/$name" && sync "$STATE"; } 2>&1) || [ -d "$STATE/$name" ] || refuse_output "$out"
        done
        HERE=$STATE/tmp/$NONCE
        out=$( { mkdir "$HERE" && : >"$HERE/lock"; } 2>&1) || { HERE=; refuse_output "$out"; }
    }

    # The host lock, held as descriptor 8: exclusive even for the start of a job, so that starts wait for each other; some
    # tenths of a second each, on a busy host.
    host_lock() {
        exec 8<>"$STATE/lock"
        flock -w 30 -x 8 || refuse lock-busy "message=$(holders "$STATE/lock" | tr '\n' ' ')$NL"
    }
    # Whether somebody else holds a lock. It is tried shared and let go at once.
    held() { [ -f "$1" ] && ! ( exec 3<"$1" && flock -n -s 3 ); }
    # The processes that have a file open, encoded, one a line.
    openers() {
        local fd pid last=
        for fd in /proc/[0-9]*/fd/*; do
            [ "$fd" -ef "$1" ] || continue
            pid=${fd#/proc/}; pid=${pid%%/*}
            [ "$pid" = "$last" ] || printf '%s\n' "$pid"
            last=$pid
        done
    }
    holders() {
        local pid name
        for pid in $(openers "$1"); do
            name='?'
            { read -r name <"/proc/$pid/comm"; } 2>/dev/null
            printf '%s%%20(process%%20%s)\n' "$(enc "$name")" "$pid"
        done
    }
    # Replaces a small file: all of the old one or all of the new one, also after a power cut.
    replace() { # FILE TEXT
        local out t
        self
        t=$STATE/tmp/$NONCE.$SELF
        out=$( { printf '%s' "$2" | dd of="$t" bs=64k iflag=fullblock conv=excl,fsync status=none && mv -T "$t" "$1" && sync "${1%/*}"; } 2>&1) \
            || { rm -f "$t"; refuse_output "$out"; }
    }

    check_run() { printf '%s\n' "$q_run" | grep -Eqx '[a-z0-9][a-z0-9-]{0,39}' || refuse bad-name "message=run$NL"; }
    check_job() {
        printf '%s\n' "$q_job" | grep -Eqx '[a-z0-9][a-z0-9-]{0,39}\.[a-z0-9][a-z0-9_-]{0,59}\.[1-9][0-9]{0,8}(\.[a-z0-9][a-z0-9_-]{0,59})?' \
            || refuse bad-name "message=job$NL"
        dir=$STATE/jobs/$q_job
    }
    check_ticket() {
        case $q_job in "$q_run".*) ;; *) refuse bad-name "message=the%20ticket%20is%20for%20another%20run$NL" ;; esac
    }

    seen_fields() { # of REC, whose keys begin with "seen."
        SEEN=
        for key in run fence holder operator sequence head at; do get "seen.$key"; SEEN="${SEEN}seen.$key=$VAL$NL"; done
    }
    # Refuses a ticket that is not the newest one. What was seen before is left in SEEN, its fence in KNOWN.
    check_fence() {
        local holder sequence head
        SEEN='' KNOWN='' KNOWN_SEQUENCE=''
        record "$STATE/runs/$q_run" seen. || return 0
        get seen.holder; holder=$VAL
        get seen.sequence; sequence=$VAL
        get seen.head; head=$VAL
        get seen.fence; KNOWN=$VAL KNOWN_SEQUENCE=$sequence
        seen_fields
        [ "$q_fence" -ge "$KNOWN" ] || refuse fence-stale "$SEEN"
        if [ "$q_fence" -eq "$KNOWN" ]; then
            # One process has several steps under way at once: its tickets may come in another order than it journaled.
            [ "$q_holder" = "$holder" ] || refuse fence-held "$SEEN"
            return 0
        fi
        [ "$q_sequence" -ge "$sequence" ] || refuse journal-old "$SEEN"
        [ "$q_sequence" -gt "$sequence" ] || [ "$q_head" = "$head" ] || refuse journal-forked "$SEEN"
    }
    # Compare-and-swap of a run's fence, under the host lock.
    announce() {
        local spec before sequence head
        check_run
        check_fence
        before=$SEEN
        if [ "$q_fence" != "$KNOWN" ]; then
            # Jobs carry the journal's position too, and may be ahead of the fence's.
            for spec in "$STATE/jobs/$q_run".*/spec; do
                record "$spec" seen. || continue
                get seen.head; head=$VAL
                get seen.sequence; sequence=$VAL
                case $sequence in '' | *[!0-9]*) continue ;; esac
                seen_fields
                [ "$q_sequence" -ge "$sequence" ] || refuse journal-old "$SEEN"
                [ "$q_sequence" -gt "$sequence" ] || [ "$q_head" = "$head" ] || refuse journal-forked "$SEEN"
            done
            SEEN=$before
        elif [ "$q_sequence" -le "$KNOWN_SEQUENCE" ]; then
            return 0
        fi
        wall
        replace "$STATE/runs/$q_run" "run=$q_run${NL}fence=$q_fence${NL}holder=$q_holder${NL}operator=$q_operator${NL}sequence=$q_sequence${NL}head=$q_head${NL}at=$WALL${NL}end$NL"
    }
    # The ticket is the newest one, and stays it while the host lock is held.
    take_fence() {
        host_lock
        check_fence
        [ "$q_fence" = "$KNOWN" ] || announce
    }

    # The record of the start is preallocated as zeros. Anything else in it, torn or whole, is a start.
    has_started() { [ ! -f "$1/started" ] || [ -n "$(tr -d '\0' <"$1/started" | head -c 1)" ]; }

    # What the ledger knows about a job, in the order that leaves no gap to a supervisor that is just ending. Into VERDICT, and
    # as fields into V.
    verdict() { # JOB
        local at=$STATE/jobs/$1 l1=0 l2=0 holder
        if [ ! -d "$at" ]; then VERDICT=absent V="verdict=absent$NL"; return 0; fi
        if ! record "$at/result" r.; then
            held "$at/L1" && l1=1
            held "$at/L2" && l2=1
            if ! record "$at/result" r.; then
                if [ $l1 = 1 ]; then VERDICT=running
                elif [ $l2 = 1 ]; then VERDICT=orphan
                elif has_started "$at"; then VERDICT=doubt
                else VERDICT=never
                fi
                V="verdict=$VERDICT$NL"
                [ $VERDICT != orphan ] || for holder in $(holders "$at/L2"); do V="${V}holder=$holder$NL"; done
                [ $VERDICT != doubt ] || doubt "$at"
                return 0
            fi
        fi
        VERDICT=finished V="verdict=finished$NL$REC"
    }
    doubt() { # FOLDER
        local again=unknown
        record "$1/started" e.started- || REC=
        boot
        get e.started-boot
        [ -z "$VAL" ] || { again=yes; [ "$VAL" != "$BOOT" ] || again=no; }
        V="$V${REC}e.boot-id-now=$BOOT${NL}e.rebooted=$again${NL}e.stdout-bytes=$(stat -c %s "$1/stdout")${NL}e.stderr-bytes=$(stat -c %s "$1/stderr")${NL}e.directory=$(enc "$1")$NL"
    }

    """#
