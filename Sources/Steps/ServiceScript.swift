/// Brings a service of a host into its wanted state: running or stopped, enabled at boot or not, and running with the configuration that
/// lies there now. Works with systemd where that runs, else with the scripts of /etc/init.d.
///
/// In by the environment: `SERVICE`, `STATE` (`running`, `stopped`, or empty: as it is), `ENABLED` (`yes`, `no`, or empty), `RESTART_PATHS` and
/// `RELOAD_PATHS` (files, one a line), `RESTART_NOW` and `RELOAD_NOW` (1: something else changed). What the files held when the service
/// last took them up is kept on the host, under `/var/lib/reprise-services`: so a restart that a crash prevented is made up for.
let serviceScript =
    WantedState.words + #"""
    only_root services are managed
    export LC_ALL=C
    STAMPS=/var/lib/reprise-services
    WORK=$(mktemp -d)
    trap 'rm -rf -- "$WORK"' EXIT
    trap 'exit 143' TERM INT HUP
    : >"$WORK/begun"

    # A daemon keeps what it is started with: so a file in place of our pipes, and none of our other descriptors.
    run() {
        status=0
        if command -v perl >/dev/null; then
            perl -MPOSIX -e 'POSIX::close($_) for 3 .. 255; exec { $ARGV[0] } @ARGV or exit 127' -- "$@" </dev/null >"$WORK/said" 2>&1 || status=$?
        else
            "$@" </dev/null >"$WORK/said" 2>&1 || status=$?
        fi
        cat "$WORK/said" >&2
        return $status
    }

    if [ -d /run/systemd/system ]; then
        unit=$SERVICE
        case $unit in *.*) ;; *) unit=$unit.service ;; esac
        load=$(systemctl show -p LoadState --value -- "$unit")
        case $load in
            loaded) ;;
            masked) refuse "the service $SERVICE is masked: systemctl unmask $unit" ;;
            *) refuse "this host has no service $SERVICE: install the package that brings it" ;;
        esac
        is_running() { systemctl --quiet is-active -- "$unit"; }
        is_enabled() { case $(systemctl is-enabled -- "$unit" 2>/dev/null) in enabled | alias | static | indirect | generated) ;; *) return 1 ;; esac; }
        act() { run systemctl "$1" -- "$unit"; }
        enable() { run systemctl --quiet enable -- "$unit"; }
        disable() { run systemctl --quiet disable -- "$unit"; }
        explain() { systemctl status --no-pager --lines=10 -- "$unit" >&2 2>/dev/null || true; }
    else
        [ -x "/etc/init.d/$SERVICE" ] \
            || refuse "this host has no service $SERVICE (systemd does not run, and there is no /etc/init.d/$SERVICE): install the package that brings it"
        is_running() { service "$SERVICE" status >/dev/null 2>&1 </dev/null; }
        is_enabled() { set -- /etc/rc[2345].d/S[0-9][0-9]"$SERVICE"; [ -e "$1" ]; }
        act() { run service "$SERVICE" "$1"; }
        enable() { run update-rc.d "$SERVICE" defaults && run update-rc.d "$SERVICE" enable; }
        disable() { run update-rc.d "$SERVICE" disable; }
        # Such a script hides why: the service's own log may say it.
        explain() {
            find /var/log -type f -newer "$WORK/begun" -path "*${SERVICE%%[0-9@.]*}*" 2>/dev/null | head -n 2 | while IFS= read -r log; do
                say "$log:"
                tail -n 2 "$log" >&2
            done
        }
    fi

    # One word for what all these files hold.
    fingerprint() {
        printf '%s\n' "$1" | while IFS= read -r path; do
            [ -n "$path" ] || continue
            printf '%s %s %s\n' "$path" "$(readlink -- "$path" || true)" "$(sha256sum <"$path" 2>/dev/null || echo nothing)"
        done | sha256sum
    }
    taken_up() { [ -e "$STAMPS/$SERVICE.$1" ] && [ "$(cat "$STAMPS/$SERVICE.$1")" = "$2" ]; }
    # Only after the service has taken them up.
    note() { # KIND FINGERPRINT
        mkdir -p -m 700 $STAMPS
        printf '%s\n' "$2" >"$STAMPS/.$SERVICE.$1"
        sync "$STAMPS/.$SERVICE.$1"
        mv -T "$STAMPS/.$SERVICE.$1" "$STAMPS/$SERVICE.$1"
    }
    note_all() {
        [ -z "$RESTART_PATHS" ] || note restart "$restart_print"
        [ -z "$RELOAD_PATHS" ] || note reload "$reload_print"
    }
    # It runs, and still does a moment later: what dies of its configuration often does so just after it was started.
    await_running() {
        tries=0
        until is_running; do
            tries=$((tries + 1))
            [ $tries -lt 50 ] || return 1
            sleep 0.2
        done
        sleep 0.5
        is_running
    }
    do_and_see() { # VERB WHAT-IT-DID
        if ! act "$1"; then explain; say "the service $SERVICE cannot be ${2}"; exit 1; fi
        if ! await_running; then explain; say "the service $SERVICE was ${2} and does not run"; exit 1; fi
        changed "$2 $SERVICE"
    }
    needs_restart() { [ -n "$RESTART_NOW" ] || { [ -n "$RESTART_PATHS" ] && ! taken_up restart "$restart_print"; }; }
    needs_reload() { [ -n "$RELOAD_NOW" ] || { [ -n "$RELOAD_PATHS" ] && ! taken_up reload "$reload_print"; }; }

    restart_print=$(fingerprint "$RESTART_PATHS")
    reload_print=$(fingerprint "$RELOAD_PATHS")
    case $STATE in
        running)
            if ! is_running; then do_and_see start started; note_all
            elif needs_restart; then do_and_see restart restarted; note_all
            elif needs_reload; then do_and_see reload reloaded; [ -z "$RELOAD_PATHS" ] || note reload "$reload_print"
            fi
            ;;
        stopped)
            if is_running; then
                act stop || { explain; say "the service $SERVICE cannot be stopped"; exit 1; }
                tries=0
                while is_running; do
                    tries=$((tries + 1))
                    [ $tries -lt 50 ] || { say "the service $SERVICE was stopped and still runs"; exit 1; }
                    sleep 0.2
                done
                changed "stopped $SERVICE"
            fi
            ;;
    esac
    case $ENABLED in
        yes)
            if ! is_enabled; then
                enable && is_enabled || { say "the service $SERVICE cannot be enabled"; exit 1; }
                changed "enabled $SERVICE"
            fi
            ;;
        no)
            if is_enabled; then
                disable
                ! is_enabled || { say "the service $SERVICE cannot be disabled; others need it, or it is no unit of its own"; exit 1; }
                changed "disabled $SERVICE"
            fi
            ;;
    esac
    if is_running; then echo "evidence: $SERVICE runs"; else echo "evidence: $SERVICE does not run"; fi

    """#
