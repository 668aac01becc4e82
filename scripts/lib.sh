# shellcheck shell=bash
# Small helpers that the scripts of this folder share. To be sourced.

# say TEXT…: one line of progress, on standard error.
say() { printf '%s\n' "$*" >&2; }

# step TEXT…: the same, with the time since the script began.
step() { printf '[%4ss] %s\n' "$SECONDS" "$*" >&2; }

# die MESSAGE [HINT…]: an error, its hints, exit 1.
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    local hint
    for hint in "$@"; do printf 'HINT: %s\n' "$hint" >&2; done
    exit 1
}

# usage_error MESSAGE: exit 2, as for every wrong use of a command.
usage_error() {
    printf 'error: %s\n' "$1" >&2
    printf 'HINT: %s help\n' "$0" >&2
    exit 2
}

# become_root WHY ARG…: goes on as root through sudo, after saying what for.
# Takes the script's own arguments so that they survive.
become_root() {
    local why=$1
    shift
    [[ $EUID -eq 0 ]] && return 0
    command -v sudo >/dev/null \
        || die "this needs root: $why" "run it as root, or install sudo"
    say "sudo is needed for: $why"
    exec sudo --preserve-env=REPRISE_LAB_DIR,REPRISE_LAB_CACHE -- "$BASH" "$0" "$@"
}

# install_missing COMMAND=PACKAGE…: installs the Debian packages whose command
# is not there yet.
install_missing() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [[ ${#missing[@]} -eq 0 ]] && return 0
    command -v apt-get >/dev/null \
        || die "missing on this machine: ${missing[*]}" "install these with your system's package manager"
    step "installing ${missing[*]}"
    [[ -n $(find /var/lib/apt/lists -name '*Packages*' -print -quit 2>/dev/null) ]] || apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
}

# wait_until SECONDS WHAT COMMAND…: repeats COMMAND until it succeeds; dies at
# the deadline, naming WHAT was waited for.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || die "timed out waiting for $what"
        sleep 0.1
    done
}
