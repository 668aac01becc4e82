# shellcheck shell=bash
# shellcheck disable=SC2016 # quoted programs that run elsewhere expand there
# A second lab on the same machine. All labs have the same addresses, names and paths, so whoever works with another one gets a view of
# the machine in which it is the only one: a network, processes and a folder of the lab of its own.

# Where the machine's own network is kept: the way out, for what is fetched from mirrors.
OUTSIDE=$LAB_DIR/outside

is_apart() { [[ $(stat -f -c %T "$OUTSIDE" 2>/dev/null) == nsfs ]]; }

# cmd_apart FOLDER COMMAND…: when the command has ended, or is killed, so have all hosts of that lab, its network and its mounts.
cmd_apart() {
    (($# >= 2)) || usage_error "apart needs a folder and a command"
    ! is_apart || die "this is a second lab already" "run it where the machine's own lab is seen"
    mkdir -p "$1" "$LAB_DIR" /run/netns
    exec unshare --mount bash -euc '
        mount --bind "$1" "$2"
        : >"$3"
        mount --bind /proc/self/ns/net "$3"
        mount -t tmpfs -o mode=755 tmpfs /run/netns
        shift 3
        # The first process: it reaps what others leave behind.
        exec unshare --net --pid --ipc --mount-proc --fork --kill-child bash -euc "ip link set lo up; \"\$@\"; exit" apart "$@"
    ' apart "$(readlink -f "$1")" "$LAB_DIR" "$OUTSIDE" "${@:2}"
}
