/// Shell programs that make a PostgreSQL cluster, and that end the unsafe settings it is restored with. They run as root.
///
/// Settings that no crash may meet stand in no file: they are words on one server's command line and end with it, and the kernel ends that
/// server when the job's shell ends, in whatever way (`restore`). From before it starts until all that it wrote is on disk, a start.conf
/// forbids every other start, and a mark holds the boot id of that moment and the cluster's identity. Where the boot id is another one while
/// the mark says so, the cluster's files are worth nothing and are begun again, unless somebody has put them to use meanwhile.
enum ClusterProgram {
    /// The unsafe settings could not be ended.
    static let notSafeStatus = 91

    /// What all of them use. In the environment: CLUSTER_VERSION (empty: the newest that is installed), CLUSTER_NAME, CLUSTER_PORT.
    static let functions = WantedState.words + #"""
        only_root a cluster is made
        export LC_ALL=C
        # Where everybody may be, so that those who go on as another user can.
        cd /
        version=${CLUSTER_VERSION:-}
        if [ -z "$version" ]; then version=$(ls /usr/lib/postgresql 2>/dev/null | grep -E '^[0-9]+(\.[0-9]+)?$' | sort -V | tail -n 1); fi
        [ -n "$version" ] && [ -x "/usr/lib/postgresql/$version/bin/postgres" ] && command -v pg_createcluster >/dev/null \
            || refuse "PostgreSQL${version:+ $version} is not installed: a step of kind packages installs it, such as postgresql-15"
        name=$CLUSTER_NAME port=$CLUSTER_PORT
        bin=/usr/lib/postgresql/$version/bin
        conf=/etc/postgresql/$version/$name
        data=/var/lib/postgresql/$version/$name
        # Root's alone. The folders of clusters and of their settings are the server's account's, as which code in a restored dump acts: root
        # reads and writes there as that account, and takes nothing there for a word of its own.
        marks=/var/lib/reprise-postgresql
        if [ ! -e "$marks" ] && [ ! -L "$marks" ]; then install -d -m 700 -o root -g root -- "$marks"; fi
        [ "$(stat -c %F:%u:%a -- "$marks")" = directory:0:700 ] || refuse "$marks is no folder of root's with mode 0700: look who made it, and move it away"
        making=$marks/$version-$name.making
        made=$marks/$version-$name.made
        fast=$marks/$version-$name.fast
        log=/var/log/postgresql/postgresql-$version-$name.log
        boot=$(cat /proc/sys/kernel/random/boot_id)

        as_postgres() { runuser -u postgres -- "$@"; }
        # put FILE MODE: standard input becomes the file, whole or not at all; a power cut does not take it back. Nothing is no content: it is
        # what a full disk leaves, and PostgreSQL's packages take an empty start.conf for one that says auto.
        writing='umask 077
            new=$1.reprise
            rm -f -- "$new" && (set -C; cat >"$new") && [ -s "$new" ] && chmod "$2" "$new" && sync "$new" && mv -T -- "$new" "$1" && sync "${1%/*}" && exit
            rm -f -- "$new"
            echo "$1 could not be written" >&2
            exit 1'
        put() { sh -c "$writing" sh "$@"; }
        # In a folder of the server's account.
        put_theirs() { as_postgres sh -c "$writing" sh "$@"; }
        dropping='rm -f -- "$1" && sync "${1%/*}"'
        drop() { sh -c "$dropping" sh "$1"; }
        drop_options() { as_postgres sh -c "$dropping" sh "$data/postmaster.opts"; }
        # Not where the number is another process's by now, or a dead one's; also where the program's file was replaced meanwhile.
        running() {
            case $(readlink "/proc/$(as_postgres head -n 1 "$data/postmaster.pid" 2>/dev/null)/exe") in "$bin/postgres" | "$bin/postgres (deleted)") return 0 ;; esac
            return 1
        }
        # Not Debian's wrapper, which reads the cluster's settings and ends on those that it does not understand.
        ask() { as_postgres "$bin/psql" -XAtq -w -h /var/run/postgresql -p "$port" -d postgres -v ON_ERROR_STOP=1 -c "$1"; }
        # Without standard output and error: the server lives on and must not hold those of this job.
        control() { pg_ctlcluster "$version" "$name" "$@" </dev/null >"$marks/said" 2>&1; }
        start() {
            running && return 0
            control start || { cat "$marks/said" >&2; log_end; echo "cluster $version/$name does not start" >&2; return 1; }
        }
        stop() {
            running || return 0
            control stop -m fast || { cat "$marks/said" >&2; echo "cluster $version/$name does not stop" >&2; return 1; }
        }
        log_end() { as_postgres tail -n 5 -- "$log" >&2 || true; }
        # The first complaint of a start that failed.
        why() { { cat "$marks/said"; as_postgres cat -- "$log"; } | grep -aE '^Error|FATAL|LOG:  (unrecognized|invalid|syntax)' | sed 's/.*LOG:  //; s/.*FATAL:  //' | head -n 1; }
        # systemd starts those clusters with `postgresql` that were to boot when it was last told to look.
        boots() {
            printf '%s\n' "$1" | put_theirs "$conf/start.conf" 644 || return 1
            if [ "$1" = auto ] && [ -d /run/systemd/system ]; then
                timeout 60 systemctl daemon-reload </dev/null >/dev/null 2>&1 \
                    || echo "warning: systemd did not take it (systemctl daemon-reload) that cluster $version/$name starts with the host; it does at the next boot"
            fi
        }
        # No start at all, neither by a boot nor by hand; PostgreSQL's packages tell no more than that the cluster is disabled.
        forbid() {
            put_theirs "$conf/start.conf" 644 <<CONF
        # Reprise restores here without waiting for the disk, or was cut off while it did: $fast.
        # Not to be started as it is. The next run or attempt ends it: reprise resume, or reprise retry.
        disabled
        CONF
        }
        identity() { as_postgres "$bin/pg_controldata" -D "$data" 2>/dev/null | sed -n 's/^Database system identifier: *//p'; }
        # Every start leaves this file; a restore removes it. A power cut may leave it empty, or bring back the restore's own.
        started_since() { [ -s "$data/postmaster.opts" ] && ! as_postgres grep -q '"fsync=off"' "$data/postmaster.opts"; }

        # Ends a restore with unsafe settings, whether its server still runs or not. Repeatable: after a crash in the same boot, and in any
        # boot once the mark says that all is on disk.
        make_safe() {
            stop || return 1
            # Silent and worthless against a running server, so it comes after the stop.
            as_postgres "$bin/initdb" --sync-only -D "$data" >"$marks/said" 2>&1 || { cat "$marks/said" >&2; return 1; }
            echo flushed | put "$fast" 644 || return 1
            boots manual || return 1
            start || return 1
            unsafe=$(ask "SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting <> 'on'") || return 1
            if [ -n "$unsafe" ]; then
                stop || true
                forbid || true
                echo "cluster $version/$name came up with $unsafe, which stands in a file of its settings, and was stopped: remove it there" >&2
                return 1
            fi
            boots auto || return 1
            drop "$fast"
        }

        """#

    /// Brings the cluster into the wanted state. More of the environment: CLUSTER_LOCALE, CLUSTER_ENCODING, CLUSTER_CHECKSUMS (1 or 0),
    /// CLUSTER_SETTINGS (the lines of a file of settings), CLUSTER_ACCESS (the lines of pg_hba.conf; empty: left as it is).
    static let make =
        functions + #"""
            plain() { printf %s "$1" | tr 'A-Z' 'a-z' | sed 's/utf-8/utf8/'; }
            known_locale() {
                case $CLUSTER_LOCALE in C | POSIX) return 0 ;; esac
                locale -a | while read -r known; do [ "$(plain "$known")" != "$(plain "$CLUSTER_LOCALE")" ] || echo yes; done | grep -q yes
            }
            # A cluster that is made before its locale would come up as SQL_ASCII.
            if ! known_locale; then
                command -v locale-gen >/dev/null || refuse "the host does not know the locale $CLUSTER_LOCALE, and has no locale-gen to make it: install the package locales"
                line=$(awk -v wanted="$CLUSTER_LOCALE" '$1 == wanted { print; exit }' /usr/share/i18n/SUPPORTED)
                [ -n "$line" ] || refuse "there is no locale $CLUSTER_LOCALE; see /usr/share/i18n/SUPPORTED on the host"
                grep -qxF "$line" /etc/locale.gen || printf '%s\n' "$line" >>/etc/locale.gen
                locale-gen >/dev/null
                known_locale || refuse "the locale $CLUSTER_LOCALE could not be made"
                changed "locale $CLUSTER_LOCALE made"
            fi

            # Away with what is in BASE/VERSION/NAME itself, not with what a link of the server's account leads to.
            take_away() (
                cd -P -- "$1"
                base=$(pwd -P)
                [ -e "$version" ] || [ -L "$version" ] || exit 0
                cd -P -- "$version" && [ "$(pwd -P)" = "$base/$version" ] \
                    || refuse "$1/$version leads elsewhere, and $1/$version/$name is not removed: look who made it so, and put a folder in its place"
                rm -rf --one-file-system -- "$name"
            )
            # Only what holds nothing of anybody's: it was never finished, and never started since.
            destroy() {
                echo "$boot" | put "$making" 644
                take_away /var/lib/postgresql
                take_away /etc/postgresql
                sync /var/lib/postgresql /etc/postgresql
                rm -f -- "$made" "$fast"
                drop "$making"
            }
            # kept WHAT MARK: refuses to remove what somebody may need.
            kept() {
                refuse "cluster $version/$name $1: it is left as it is." \
                    "If nobody needs what is in it, pg_dropcluster --stop $version $name; if somebody does, see that pg_dumpall reads all of it; in both cases then rm $2"
            }
            # The server's account could write into this folder: what stands there is no evidence, but of a run that has not ended.
            for older in "/var/lib/postgresql/reprise/$version-$name.fast" "/var/lib/postgresql/reprise/$version-$name.making"; do
                if [ -e "$older" ] || [ -L "$older" ]; then kept "was being made or restored by an earlier version of Reprise" "$older"; fi
            done
            if [ -e "$making" ]; then
                if started_since; then kept "was left half-made, and was started or replaced since" "$making"; fi
                destroy
                changed "a cluster that was left half-made was removed"
            fi
            if [ -e "$fast" ]; then
                when= which=
                read -r when which <"$fast" || true
                if [ "$when" = "$boot" ] || [ "$when" = flushed ]; then
                    make_safe
                    changed "settings of a restore that was cut off are ended"
                else
                    if [ -e "$data" ]; then
                        if [ -z "$which" ]; then kept "was being restored with settings that no crash may meet, and nobody knows whether one has: $fast is empty or damaged" "$fast"; fi
                        if started_since || [ "$(identity)" != "$which" ]; then
                            kept "was being restored when the host went down, with settings that do not survive that, and was started or replaced since" "$fast"
                        fi
                    fi
                    destroy
                    changed "the cluster was being restored when the host went down, with settings that do not survive that; it is begun again"
                fi
            fi

            if [ ! -e "$conf/postgresql.conf" ]; then
                [ ! -e "$data" ] || refuse "there is a data folder $data and no cluster that it belongs to: look whose it is, and move it away"
                echo "$boot" | put "$making" 644
                checksums=--data-checksums
                [ "$CLUSTER_CHECKSUMS" = 1 ] || checksums=
                # No boot may start it while it is half made: what was started is somebody's.
                pg_createcluster "$version" "$name" --port "$port" --start-conf manual --locale "$CLUSTER_LOCALE" --encoding "$CLUSTER_ENCODING" -- $checksums >"$marks/said" 2>&1 \
                    || { cat "$marks/said" >&2; exit 1; }
                echo "$boot" | put "$made" 644
                drop "$making"
                changed "cluster $version/$name made"
            fi
            pg_lsclusters -h | awk -v v="$version" -v n="$name" '$1 == v && $2 == n { print $3 }' | grep -qx "$port" \
                || refuse "cluster $version/$name is there and does not listen on port $port: name its port, or give the new one another name"

            # Settings in one file of their own, which is left out of the way of people's.
            as_postgres mkdir -p -- "$conf/conf.d"
            as_postgres grep -Eq "^ *include_dir *= *'conf.d'" "$conf/postgresql.conf" \
                || { echo "include_dir = 'conf.d'" | as_postgres tee -a -- "$conf/postgresql.conf" >/dev/null; changed "conf.d included"; }
            wanted=$conf/conf.d/reprise.conf
            reload=0
            # What was written and not looked at yet, because the host went down.
            if [ -e "$marks/settings-before" ] || [ -e "$marks/access-before" ]; then reload=1; fi
            settings=$(as_postgres cat -- "$wanted" 2>/dev/null || true)
            if [ "$settings" != "$CLUSTER_SETTINGS" ]; then
                [ -e "$marks/settings-before" ] || printf '%s\n' "$settings" | put "$marks/settings-before" 600
                printf '%s\n' "$CLUSTER_SETTINGS" | put_theirs "$wanted" 644
                reload=1
                changed "settings"
            fi
            access=$(as_postgres cat -- "$conf/pg_hba.conf")
            if [ -n "$CLUSTER_ACCESS" ] && [ "$access" != "$CLUSTER_ACCESS" ]; then
                [ -e "$marks/access-before" ] || printf '%s\n' "$access" | put "$marks/access-before" 600
                printf '%s\n' "$CLUSTER_ACCESS" | put_theirs "$conf/pg_hba.conf" 640
                reload=1
                changed "access"
            fi
            as_postgres grep -qx auto "$conf/start.conf" || { boots auto; changed "it starts with the host"; }

            # What PostgreSQL does not take is taken back, so that a later boot does not fail on it.
            take_back() {
                if [ -e "$marks/settings-before" ]; then put_theirs "$wanted" 644 <"$marks/settings-before"; fi
                if [ -e "$marks/access-before" ]; then put_theirs "$conf/pg_hba.conf" 640 <"$marks/access-before"; fi
                rm -f -- "$marks/settings-before" "$marks/access-before"
                if running; then ask 'SELECT pg_reload_conf()' >/dev/null || true; fi
            }
            if ! running; then
                if ! start; then
                    if [ "$reload" = 1 ]; then take_back; refuse "cluster $version/$name does not start with these settings, and they were taken back: $(why)"; fi
                    exit 1
                fi
                changed "cluster $version/$name started"
            fi
            if [ "$reload" = 1 ]; then
                # These two read the files as they are now, before any of it is in force. A setting that needs a restart cannot be judged so.
                wrong=$(ask "SELECT string_agg(coalesce(name, '') || ' in ' || sourcefile || ', line ' || sourceline || ': ' || error, '; ') FROM pg_file_settings
                    WHERE error IS NOT NULL AND coalesce(name, '') NOT IN (SELECT name FROM pg_settings WHERE context = 'postmaster')")
                wrong=$wrong$(ask "SELECT string_agg('pg_hba.conf, line ' || line_number || ': ' || error, '; ') FROM pg_hba_file_rules WHERE error IS NOT NULL")
                if [ -n "$wrong" ]; then take_back; refuse "PostgreSQL does not take what the plan says, and it was taken back: $wrong"; fi
                if [ "$(ask "SELECT count(*) FROM pg_file_settings f JOIN pg_settings s USING (name) WHERE f.error IS NOT NULL AND s.context = 'postmaster'")" != 0 ]; then
                    stop
                    if ! start; then reason=$(why); take_back; start; refuse "cluster $version/$name does not start with these settings, and they were taken back: $reason"; fi
                    changed "cluster $version/$name restarted"
                else
                    ask 'SELECT pg_reload_conf()' >/dev/null
                fi
                rm -f -- "$marks/settings-before" "$marks/access-before"
            fi

            found=$(ask "SELECT current_setting('server_version') || '|' || pg_encoding_to_char(encoding) || '|' || datcollate || '|' || current_setting('data_checksums') || '|' || current_setting('fsync') || '|' || current_setting('full_page_writes') FROM pg_database WHERE datname = 'template0'")
            echo "evidence: server|encoding|locale|checksums|fsync|full_page_writes $found"
            encoding=$(echo "$found" | cut -d'|' -f2) collate=$(echo "$found" | cut -d'|' -f3) sums=$(echo "$found" | cut -d'|' -f4)
            other="cluster $version/$name was there before and has"
            remedy="move it away, or keep the package from making it with create_main_cluster = false in /etc/postgresql-common/createcluster.conf"
            [ "$(plain "$encoding")" = "$(plain "$CLUSTER_ENCODING")" ] || refuse "$other the encoding $encoding, not $CLUSTER_ENCODING: $remedy"
            [ "$(plain "$collate")" = "$(plain "$CLUSTER_LOCALE")" ] || refuse "$other the locale $collate, not $CLUSTER_LOCALE: $remedy"
            [ "$CLUSTER_CHECKSUMS" = 0 ] || [ "$sums" = on ] || refuse "$other no data checksums: $remedy"
            case $found in *'|on|on') ;; *) refuse "cluster $version/$name runs with fsync or full_page_writes off: a crash would destroy what is in it; find out who set that" ;; esac
            """#
}
