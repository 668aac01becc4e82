/// Sees to it that packages of Debian's kind are installed: looks, mends what an interrupted run left half done, installs what is missing,
/// and looks again. Nothing else runs where all is as wanted.
///
/// In by the environment: `PACKAGES` (`name` or `name=version`, with blanks between), `UPDATE` (`auto`, `always`, `never`), `HOLD` (`yes`,
/// `no`, or empty: as it is), `RECOMMENDS` and `START_SERVICES` (`true` or `false`), `WAIT` (seconds for locks that others hold).
/// For each package it ends with `evidence: NAME VERSION`. Exit status 75: a lock was held all the time.
let packagesScript =
    WantedState.words + #"""
    only_root packages are installed
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || refuse 'this host has no apt: only hosts of Debian and its kin are served'
    export PACKAGES LC_ALL=C DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical APT_LISTCHANGES_FRONTEND=none UCF_FORCE_CONFFOLD=1 NEEDRESTART_SUSPEND=1
    WORK=$(mktemp -d)
    UPDATED= POLICY=/usr/sbin/policy-rc.d MARK='made by reprise'
    SAID=$WORK/said
    : >"$SAID"
    finish() {
        cat "$SAID" >&2
        drop_policy
        rm -rf -- "$WORK"
    }
    trap finish EXIT
    trap 'exit 143' TERM INT HUP

    # One line for each package that dpkg knows: name, version, what is wanted of it, error flag, status.
    read_table() {
        dpkg-query -W -f '${Package} ${Version} ${db:Status-Want} ${db:Status-Eflag} ${db:Status-Status}\n' >"$WORK/table"
    }
    # Wanted packages that are not there, or not in the wanted version.
    missing() {
        awk '$5 == "installed" && $4 == "ok" { have[$1] = $2 }
            END {
                count = split(ENVIRON["PACKAGES"], wanted, " ")
                for (i = 1; i <= count; i++) {
                    split(wanted[i], part, "=")
                    if (!(part[1] in have) || (part[2] != "" && have[part[1]] != part[2])) print wanted[i]
                }
            }' "$WORK/table"
    }
    # What an interrupted run left half done.
    half_done() { awk '$4 != "ok" || $5 !~ /^(installed|not-installed|config-files)$/ { print $1 }' "$WORK/table"; }
    unfinished() { half_done; find /var/lib/dpkg/updates -type f -name '[0-9]*' 2>/dev/null | head -n 1; }
    names() { for wanted in $PACKAGES; do printf '%s\n' "${wanted%%=*}"; done; }

    # Waits until nobody holds a lock that is needed, and names who does. It only asks, so that it disturbs nobody.
    await_locks() {
        command -v perl >/dev/null || return 0
        perl -e '
            use strict; use Fcntl;
            my ($end, @files) = @ARGV;
            my $said = "";
            while (1) {
                my $holder = "";
                for my $file (@files) {
                    open(my $f, "+<", $file) or next;
                    my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
                    fcntl($f, F_GETLK, $lock) or next;
                    my ($type, undef, undef, undef, $pid) = unpack("s s x4 q q i", $lock);
                    next if $type == F_UNLCK;
                    my $name = "";
                    if ($pid > 0 && open(my $c, "<", "/proc/$pid/comm")) { chomp($name = <$c> // "") }
                    $holder = "$file is held by " . ($pid > 0 ? "process $pid" . ($name eq "" ? "" : " ($name)") : "another process");
                    last;
                }
                exit 0 if $holder eq "";
                if (time >= $end) { print STDERR "waited in vain: $holder; end it, or let it come to its end\n"; exit 75 }
                print STDERR "waiting: $holder\n" if $holder ne $said;
                $said = $holder;
                select undef, undef, undef, 0.5;
            }' "$END" /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock || exit $?
    }
    # A command of apt or dpkg; again for as long as another one holds a lock. What it says goes by a file: what it may start in the
    # background would hold a pipe open.
    run() {
        while :; do
            await_locks
            status=0
            "$@" </dev/null >"$SAID" 2>&1 || status=$?
            cp "$SAID" "$WORK/last"
            cat "$SAID" >&2
            : >"$SAID"
            [ $status != 0 ] && [ "$(date +%s)" -lt "$END" ] \
                && grep -q -E 'Could not get lock|frontend lock|Unable to acquire|is locked by another|Unable to lock' "$WORK/last" || return $status
            sleep 1
        done
    }
    apt() {
        run apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout="$WAIT" \
            -o Acquire::Retries=2 -o APT::Install-Recommends="$RECOMMENDS" -o APT::Install-Suggests=false "$@"
    }
    # What the last command of apt or dpkg complained of. The reason stands far above the end of what it says.
    complaints() {
        awk '/^(E|W|dpkg|dpkg-deb): / || /^Err:/ { print; more = 1; next } more && /^ / { print; next } { more = 0 }' "$WORK/last" >"$WORK/complaints"
        [ -s "$WORK/complaints" ] || cp "$WORK/last" "$WORK/complaints"
        gist "$WORK/complaints"
    }
    update_lists() {
        apt -o APT::Update::Error-Mode=any update || { say "the package sources cannot all be read; nothing was installed: $(complaints)"; exit 1; }
        UPDATED=1
    }

    # Packages start no services while this process lives, and only so long: what a killed one leaves has no effect. Steps that install
    # beside each other share the policy, each with a line in it.
    RUNS='runs() { read -r line 2>/dev/null <"/proc/$1/stat" || return 1; set -- "$2" ${line##*) }; [ "${21}" = "$1" ]; }'
    eval "$RUNS"
    is_ours() { grep -q "$MARK" $POLICY 2>/dev/null; }
    make_policy() {
        [ "$START_SERVICES" = false ] || return 0
        if [ -e $POLICY ] && ! is_ours; then say "$POLICY is there already and decides which services packages start"; return 0; fi
        write_policy "$$ $(started $$)"
    }
    drop_policy() { ! is_ours || write_policy || say "$POLICY is left from an installation, and has no effect"; }
    started() { read -r line <"/proc/$1/stat"; set -- ${line##*) }; printf %s "${20}"; }
    write_policy() ( # PROCESS…, besides others that are still at work; one writes at a time
        flock 9
        {
            printf '%s\n' "$@"
            sed -n 's/^runs \([0-9]* [0-9]*\) && exit 101$/\1/p' $POLICY 2>/dev/null | while read -r process since; do
                if [ "$process" != $$ ] && runs "$process" "$since"; then echo "$process $since"; fi
            done
        } | sed -n 's/..*/runs & \&\& exit 101/p' >"$WORK/lines"
        if [ ! -s "$WORK/lines" ]; then rm -f $POLICY; exit 0; fi
        { printf '#!/bin/sh\n# %s: packages start no services while one of these processes runs\n%s\n' "$MARK" "$RUNS"; cat "$WORK/lines"; echo 'exit 0'; } >"$WORK/policy"
        chmod 755 "$WORK/policy"
        mv "$WORK/policy" $POLICY
    ) 9<"${POLICY%/*}"

    mend() {
        [ -n "$(unfinished)" ] || return 0
        found=$(echo $(half_done))
        say "an interrupted run left half done: ${found:-a record of dpkg}"
        make_policy
        run dpkg --configure -a --force-confdef --force-confold || true
        read_table
        if [ -n "$(unfinished)" ]; then
            [ "$UPDATE" = never ] || update_lists
            apt -f install || true
            read_table
        fi
        # Half unpacked, and not to be had again: what is wanted of it is installed below.
        again=$(awk '$4 == "reinstreq" { print $1 }' "$WORK/table")
        if [ -n "$again" ]; then
            run dpkg --remove --force-remove-reinstreq $again || true
            read_table
        fi
        [ -z "$(unfinished)" ] || { say "still half done, and not to be mended by dpkg --configure -a and apt-get -f install: $(echo $(half_done))"; exit 1; }
        changed "mended what an interrupted run left half done: ${found:-a record of dpkg}"
    }

    # Wanted packages that no source offers in the wanted version, each with what there is instead.
    not_offered() {
        apt-cache policy $(for wanted in $1; do printf '%s ' "${wanted%%=*}"; done) >"$WORK/policy-of"
        WANTED=$1 awk '
            /^[^ ]/ { name = substr($0, 1, length($0) - 1) }
            /^  Candidate:/ { candidate[name] = $2 }
            /^ (\*\*\*|   ) [^ ]/ { version = $1 == "***" ? $2 : $1; offered[name, version] = 1; list[name] = list[name] " " version }
            END {
                count = split(ENVIRON["WANTED"], wanted, " ")
                for (i = 1; i <= count; i++) {
                    split(wanted[i], part, "=")
                    if (!(part[1] in candidate)) print part[1]
                    else if (candidate[part[1]] == "(none)" && list[part[1]] == "") print part[1] " (only other packages provide it: name one of them)"
                    else if (part[2] != "" && !((part[1], part[2]) in offered)) print wanted[i] " (there is" list[part[1]] ")"
                }
            }' "$WORK/policy-of"
    }

    install() {
        if [ "$UPDATE" = auto ] && [ -z "$UPDATED" ] && [ -n "$(not_offered "$1")" ]; then update_lists; fi
        lacking=$(not_offered "$1")
        [ -z "$lacking" ] || refuse "no package source offers: $(printf %s "$lacking" | tr '\n' ';' | sed 's/;/; /g')"
        make_policy
        case $1 in *=*) pinned='--allow-downgrades --allow-change-held-packages' ;; *) pinned= ;; esac
        if apt install --no-remove $pinned $1; then return 0; fi
        # Lists that are older than the source name files that are gone.
        if [ "$UPDATE" != never ] && [ -z "$UPDATED" ] && grep -q -E '404|Failed to fetch|Hash Sum' "$WORK/last"; then
            update_lists
            if apt install --no-remove $pinned $1; then return 0; fi
        fi
        if grep -q 'Packages need to be removed but remove is disabled' "$WORK/last"; then
            refuse "installing $1 would take other packages away, which this step never does: $(sed -n '/will be REMOVED/,/^[^ ]/p' "$WORK/last" | grep '^ ' | tr -s ' \n' ' ')"
        fi
        say "apt could not install $1: $(complaints)"
        exit 1
    }

    # What apt counts as brought in by others it may take away again with them.
    keep() {
        [ -e /var/lib/apt/extended_states ] || return 0
        automatic=$(names | awk 'FNR == NR { wanted[$1] = 1; next } /^Package:/ { name = $2 } /^Auto-Installed: 1/ && name in wanted { print name }' - /var/lib/apt/extended_states)
        [ -n "$automatic" ] || return 0
        run apt-mark manual $automatic || exit 1
        changed "kept for their own sake: $(echo $automatic)"
    }
    # As the plan says, else as before: apt lets go of a hold that it was told to go past.
    hold() {
        names | awk -v hold="$HOLD" '
            part == "names" { wanted[$1] = 1 }
            part == "before" && $3 == "hold" { before[$1] = 1 }
            part == "now" && $1 in wanted {
                should = hold == "" ? ($1 in before) : (hold == "yes")
                verb = should ? "hold" : "unhold"
                if (should != ($3 == "hold")) print "do", verb, $1
                if (should != ($1 in before)) print "say", verb, $1
            }' part=names - part=before "$WORK/before" part=now "$WORK/table" >"$WORK/holds"
        for verb in hold unhold; do
            other=$(holds do $verb)
            [ -z "$other" ] || run apt-mark $verb $other || exit 1
            other=$(holds say $verb)
            [ -z "$other" ] || changed "$verb: $(echo $other)"
        done
    }
    holds() { awk -v what=$1 -v verb=$2 '$1 == what && $2 == verb { print $3 }' "$WORK/holds"; }
    report_changes() {
        awk 'FNR == NR { if ($5 == "installed") before[$1] = $2; next }
            BEGIN { count = split(ENVIRON["PACKAGES"], list, " "); for (i = 1; i <= count; i++) { split(list[i], part, "="); wanted[part[1]] = 1 } }
            $5 == "installed" && !(($1 in before) && before[$1] == $2) {
                if (!($1 in wanted)) others++
                else if ($1 in before) print "changed: " $1 " went from " before[$1] " to " $2
                else print "changed: installed " $1 " " $2
            }
            END { if (others) print "changed: and " others " that they need" }' "$WORK/before" "$WORK/table"
    }

    END=$(($(date +%s) + WAIT))
    drop_policy
    read_table
    cp "$WORK/table" "$WORK/before"
    mend
    [ "$UPDATE" != always ] || update_lists
    lacks=$(missing | tr '\n' ' ')
    if [ -n "$lacks" ]; then
        install "${lacks% }"
        read_table
        lacks=$(missing | tr '\n' ' ')
        [ -z "$lacks" ] || { say "apt says that all went well, and still not installed as wanted: $lacks"; exit 1; }
    fi
    report_changes
    keep
    hold
    names | awk 'FNR == NR { wanted[$1] = 1; next } $1 in wanted && $5 == "installed" { print "evidence: " $1 " " $2 }' - "$WORK/table"

    """#
