# shellcheck shell=bash
# One bridge, one network namespace for each host. All names begin with
# "rlab", so that what is ours can be told apart.

LAB_BRIDGE=rlab0
LAB_GATEWAY=10.77.0.1
LAB_HOSTS=(s3 app1 db1 db2)
# Factory-new servers: Debian's base and sshd, nothing else. The last one's init is systemd, and it is made where `factory` asks for it.
LAB_BARE_HOSTS=(new1 new2 new3)

host_ip() {
    case $1 in
        s3) echo 10.77.0.10 ;;
        app1) echo 10.77.0.11 ;;
        db1) echo 10.77.0.12 ;;
        db2) echo 10.77.0.13 ;;
        new1) echo 10.77.0.14 ;;
        new2) echo 10.77.0.15 ;;
        new3) echo 10.77.0.16 ;;
        *) usage_error "no such host in the lab: $1 (there are: ${LAB_HOSTS[*]} ${LAB_BARE_HOSTS[*]})" ;;
    esac
}

netns_of() { echo "rlab-$1"; }

netns_exists() { [[ -e /run/netns/$(netns_of "$1") ]] && ip netns exec "$(netns_of "$1")" true 2>/dev/null; }

# Idempotent: makes what is missing, and replaces a half-made link.
network_up() {
    local host
    if ! ip link show "$LAB_BRIDGE" >/dev/null 2>&1; then
        if ip -o -4 route show table all | grep -q '^10\.77\.0\.'; then
            die "the address range 10.77.0.0/24 is in use on this machine" \
                "see: ip route; the lab needs that range for itself"
        fi
        ip link add "$LAB_BRIDGE" type bridge
    fi
    ip addr replace "$LAB_GATEWAY/24" dev "$LAB_BRIDGE"
    ip link set "$LAB_BRIDGE" up
    for host in "${LAB_HOSTS[@]}" "${LAB_BARE_HOSTS[@]}"; do host_link_up "$host"; done
}

host_link_up() {
    local ns outside ip
    ns=$(netns_of "$1") outside=rlab-$1 ip=$(host_ip "$1")
    if ! netns_exists "$1"; then
        ip netns del "$ns" 2>/dev/null || true
        ip netns add "$ns"
    fi
    if ! ip link show "$outside" >/dev/null 2>&1 || ! ip -n "$ns" link show eth0 >/dev/null 2>&1; then
        ip link del "$outside" 2>/dev/null || true
        ip link add "$outside" type veth peer name eth0 netns "$ns"
    fi
    ip link set "$outside" master "$LAB_BRIDGE" up
    # The same for ever: others go on sending to the address that they have learned.
    ip -n "$ns" link set eth0 address "02:00:0a:4d:00:$(printf %02x "${ip##*.}")"
    ip -n "$ns" addr replace "$ip/24" dev eth0
    ip -n "$ns" link set eth0 up
    ip -n "$ns" link set lo up
}

# A host's rules and addresses end with its power, as those of a machine do.
host_link_down() {
    ip link del "rlab-$1" 2>/dev/null || true
    ip netns del "$(netns_of "$1")" 2>/dev/null || true
}

is_bare() { [[ " ${LAB_BARE_HOSTS[*]} " == *" $1 "* ]]; }

has_systemd() { [[ $1 == new3 ]]; }

network_down() {
    local host
    for host in "${LAB_HOSTS[@]}" "${LAB_BARE_HOSTS[@]}"; do host_link_down "$host"; done
    ip link del "$LAB_BRIDGE" 2>/dev/null || true
}
