# shellcheck shell=bash
# What building Reprise needs: a Swift toolchain and the system's C libraries. To be sourced after lib.sh.

# as_root COMMAND…: runs a command as root, through sudo where the caller is not.
as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo -- "$@"; fi
}

# ensure_packages PACKAGE…: installs the Debian packages that are missing.
ensure_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [[ ${#missing[@]} -eq 0 ]] && return 0
    command -v apt-get >/dev/null \
        || die "missing on this machine: ${missing[*]}" "install what your system calls these packages"
    [[ $EUID -eq 0 ]] || command -v sudo >/dev/null \
        || die "missing on this machine: ${missing[*]}" "as root: apt-get install ${missing[*]}"
    step "installing ${missing[*]}"
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
}

# ensure_swift: a Swift 6.1 or later on the PATH, from the distribution where it has one.
ensure_swift() {
    if ! command -v swift >/dev/null; then
        if apt-cache policy swiftlang 2>/dev/null | grep -q 'Candidate: [6-9]'; then
            ensure_packages swiftlang
        else
            die "there is no Swift toolchain on this machine" \
                "Debian 13 and later have one: apt-get install swiftlang" \
                "elsewhere follow https://www.swift.org/install/linux/ (6.1 or later), then open a new shell"
        fi
    fi
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1\2/p' | head -n 1)
    [[ ${version:-0} -ge 61 ]] || die "this Swift is too old: $(swift --version 2>/dev/null | head -n 1)" \
        "install 6.1 or later: https://www.swift.org/install/linux/"
}

ensure_build_tools() {
    ensure_packages libssh2-1-dev libcurl4-openssl-dev libpq-dev libsqlite3-dev pkg-config git
    ensure_swift
}
