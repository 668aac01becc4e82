extension ClusterProgram {
    /// Runs RESTORE_PROGRAM as the user RESTORE_AS, on a server with settings under which a restore need not wait for the disk, and ends that
    /// server whatever became of the restore. Exit status 91: the usual settings could not be brought back; what is not flushed is not started.
    ///
    /// RESTORE_FAST=1 where the cluster may be made fast; it is only where Reprise made it and it holds nothing but scratch databases.
    static let restore =
        functions + #"""
            # What a server is started by that must not outlive this shell: the kernel interrupts it when this shell ends, be it by SIGKILL,
            # and PostgreSQL then shuts down at once. A shell's background processes ignore that signal unless they are told otherwise.
            leash="setpriv --reuid=postgres --regid=postgres --init-groups --pdeathsig INT -- env -i --default-signal=INT"
            # The settings are on the command line, so that no file keeps them for another start.
            start_fast() {
                wal=1GB more=
                if [ "$(df -Pk "$data" | awk 'NR == 2 { print $4 }')" -gt 41943040 ]; then wal=4GB; fi
                # It needs more of the write-ahead log than `minimal`, and the server does not start with both.
                if [ "${version%%.*}" -ge 17 ]; then more="-c summarize_wal=off"; fi
                {
                    # As for every other server of Debian's: what is short of memory ends a session and not the server.
                    echo -900 >/proc/self/oom_score_adj || true
                    # Had this shell ended before the kernel was told, it would interrupt nobody: then the parent is another one.
                    exec $leash "PATH=$PATH" LC_ALL=C PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj \
                        setsid sh -c '[ "$PPID" = "$1" ] || exit 1; log=$2; shift 2; exec "$@" >>"$log" 2>&1' sh $$ "$log" \
                        "$bin/postgres" -D "$data" -c "config_file=$conf/postgresql.conf" -c fsync=off -c full_page_writes=off -c synchronous_commit=off \
                        -c wal_level=minimal -c max_wal_senders=0 -c archive_mode=off -c autovacuum=off -c max_wal_size=$wal -c checkpoint_timeout=1h -c listen_addresses= $more
                } </dev/null >"$marks/said" 2>&1 &
                server=$! tries=0
                until [ "$(ask 'SHOW fsync' 2>/dev/null)" = off ]; do
                    tries=$((tries + 1))
                    if [ "$tries" -gt 600 ] || [ ! -e "/proc/$server/exe" ]; then
                        cat "$marks/said" >&2; log_end; echo "cluster $version/$name does not start for the restore" >&2
                        return 1
                    fi
                    sleep 0.1
                done
                # PostgreSQL's own way to restart a server with the words it was started with. Also how a later start is seen.
                drop_options
            }
            entered=0
            make_fast() {
                if [ ! -e "$made" ]; then echo "evidence: safe, the cluster was not made by Reprise"; return 0; fi
                if ! $leash true 2>/dev/null; then echo "evidence: safe, setpriv or env of this host cannot tie a server to its job"; return 0; fi
                others=$(ask "SELECT count(*) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')
                    AND coalesce(shobj_description(oid, 'pg_database'), '') NOT LIKE 'reprise scratch database of run %'") || return 1
                if [ "$others" != 0 ]; then echo "evidence: safe, the cluster holds other databases"; return 0; fi
                which=$(identity)
                [ -n "$which" ] || { echo "cluster $version/$name does not say which it is: pg_controldata cannot read it" >&2; return 1; }
                entered=1
                stop || return 1
                drop_options || return 1
                # Before the mark: a boot that finds the mark must not start what will be removed.
                forbid || return 1
                printf '%s %s\n' "$boot" "$which" | put "$fast" 644 || return 1
                start_fast || return 1
                echo "evidence: fast"
            }
            ended() {
                [ "$entered" = 1 ] || return 0
                make_safe || { echo "cluster $version/$name could not be brought back to its usual settings ($fast): mend the cause, and the next attempt or run does it" >&2; exit 91; }
            }
            trap 'ended; exit 143' TERM INT HUP
            if [ "$RESTORE_FAST" = 1 ]; then make_fast || { ended; exit 1; }; fi
            status=0
            runuser -u "$RESTORE_AS" -- sh -c "$RESTORE_PROGRAM" </dev/null || status=$?
            ended
            exit "$status"
            """#
}
