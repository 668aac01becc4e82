# shellcheck shell=bash
# Where bare hosts get Debian's packages: a process of this machine that answers on the bridge, and leads to the machine's own
# mirrors alone. What it fetched stays in the cache, so that a second new server installs without any mirror.

PACKAGES_PORT=3142
PACKAGES_FOLDER=$LAB_CACHE/packages
# While it exists every request fails.
PACKAGES_FAIL=$LAB_DIR/package-source.fails

packages_pid() {
    local pid start boot now stat
    read -r pid start boot 2>/dev/null <"$LAB_DIR/package-source" || return 1
    read -r now </proc/sys/kernel/random/boot_id
    [[ $boot == "$now" ]] || return 1
    stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
    read -r -a stat <<<"${stat##*) }"
    [[ ${stat[19]} == "$start" && ${stat[0]} != Z ]] || return 1
    echo "$pid"
}

# The addresses that bare hosts have in their sources.
package_sites() { awk '$1 == "deb" { print $2 }' "$LAB_CACHE/base/etc/apt/sources.list" | sort -u; }

packages_up() {
    local sites pid stat now way=()
    packages_pid >/dev/null && return 0
    mkdir -p "$PACKAGES_FOLDER"
    rm -f "$PACKAGES_FAIL"
    # It answers in this lab, and what it fetches with has the machine's own network.
    ! is_apart || way=(nsenter "--net=$OUTSIDE" --)
    mapfile -t sites < <(package_sites)
    setsid perl "$LAB_SOURCE/host/package-source" "$LAB_GATEWAY" "$PACKAGES_PORT" "$PACKAGES_FOLDER" "$PACKAGES_FAIL" "${way[*]}" "${sites[@]}" \
        </dev/null >"$LAB_DIR/package-source.log" 2>&1 9>&- &
    pid=$!
    disown
    stat=$(cat "/proc/$pid/stat")
    read -r -a stat <<<"${stat##*) }"
    read -r now </proc/sys/kernel/random/boot_id
    echo "$pid ${stat[19]} $now" >"$LAB_DIR/package-source"
    wait_until 10 "the package source (see $LAB_DIR/package-source.log)" port_open "$LAB_GATEWAY" "$PACKAGES_PORT"
}

packages_down() {
    local pid
    pid=$(packages_pid) || return 0
    kill -TERM "$pid" 2>/dev/null || true
    rm -f "$LAB_DIR/package-source"
}
