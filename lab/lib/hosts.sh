# shellcheck shell=bash
# shellcheck disable=SC2016 # quoted programs that run elsewhere expand there
# Booting, entering and ending hosts. A host is a set of namespaces whose
# first process is recorded in hosts/NAME/init: "pid starttime machine-boot-id".

host_dir() { echo "$LAB_DIR/hosts/$1"; }

host_role() {
    case $1 in
        db*) echo db ;;
        app*) echo app ;;
        s3) echo s3 ;;
        new*) echo bare ;;
    esac
}

# Prints the process id of the host's init, or fails when it does not run.
# The start time and the machine's boot id rule out another process that got
# the same id.
host_pid() {
    local pid start boot now stat
    read -r pid start boot 2>/dev/null <"$(host_dir "$1")/init" || return 1
    read -r now </proc/sys/kernel/random/boot_id
    [[ $boot == "$now" ]] || return 1
    stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
    # After the name, which is in brackets and may hold spaces, field 3 follows.
    read -r -a stat <<<"${stat##*) }"
    [[ ${stat[19]} == "$start" && ${stat[0]} != Z ]] || return 1
    echo "$pid"
}

# in_host HOST COMMAND…: runs a command as root inside the host, without ssh.
in_host() {
    local pid
    pid=$(host_pid "$1") || die "host $1 is not running" "scripts/lab boot $1"
    shift
    nsenter -t "$pid" -m -u -i -n -p -r -w -- /usr/bin/env -i \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" 9>&-
}

# put_file HOST PATH MODE: standard input becomes a file of the host.
put_file() {
    in_host "$1" /bin/sh -euc 'mkdir -p "$(dirname "$1")"; umask 077; cat >"$1.lab"; chmod "$2" "$1.lab"; mv "$1.lab" "$1"' put "$2" "$3"
}

# What makes a host itself: written once into its own layer, before it first
# boots. A host whose disk is new (or was thrown away) gets new keys.
prepare_host() {
    local host=$1 dir upper type other
    dir=$(host_dir "$host") upper=$dir/upper
    mkdir -p "$upper/etc/ssh/sshd_config.d" "$upper/usr/local/sbin" "$dir/work" "$dir/root"
    [[ $host != s3 ]] || mkdir -p "$dir/log"
    install -m 755 "$LAB_SOURCE/host/init" "$upper/usr/local/sbin/lab-init"
    [[ -s $dir/prepared ]] && return 0
    echo "$host" >"$upper/etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$upper/etc/machine-id"
    {
        echo "127.0.0.1 localhost"
        for other in "${LAB_HOSTS[@]}" "${LAB_BARE_HOSTS[@]}"; do echo "$(host_ip "$other") $other"; done
    } >"$upper/etc/hosts"
    : >"$upper/etc/resolv.conf"
    for type in ed25519 ecdsa; do
        rm -f "$upper/etc/ssh/ssh_host_${type}_key"{,.pub}
        ssh-keygen -q -t "$type" -N '' -C "$host" -f "$upper/etc/ssh/ssh_host_${type}_key"
    done
    cat >"$upper/etc/ssh/sshd_config.d/lab.conf" <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
HostKey /etc/ssh/ssh_host_ecdsa_key
PasswordAuthentication no
# Tests open many sessions at once.
MaxStartups 200
CONF
    if is_bare "$host"; then
        mkdir -p "$upper/etc/apt/apt.conf.d"
        echo "Acquire::http::Proxy \"http://$LAB_GATEWAY:$PACKAGES_PORT\";" >"$upper/etc/apt/apt.conf.d/80proxy"
    fi
    date -u +%FT%TZ >"$dir/prepared"
}

# The layers under a host's own, the topmost first.
host_images() {
    if has_systemd "$1"; then echo "$LAB_CACHE/systemd:$LAB_CACHE/base"; elif is_bare "$1"; then echo "$LAB_CACHE/base"; else echo "$LAB_CACHE/role-$(host_role "$1"):$LAB_CACHE/base"; fi
}

# A bare host that runs, on a disk that is new where it has none.
bare_host_up() {
    boot_host "$1"
    wait_until 60 "the services of $1" host_booted "$1"
    provision_logins "$1"
}

# Starts a host that does not run yet, and waits until ssh answers in it.
boot_host() {
    local host=$1 dir
    dir=$(host_dir "$host")
    mkdir -p "$dir"
    # A host that was started by a killed command holds this lock until it has
    # recorded itself; without waiting for it the same disk would be booted twice.
    exec 8>"$dir/boot.lock"
    flock -w 30 8 || die "host $host has been starting for 30 seconds" "see $dir/console.log"
    if host_pid "$host" >/dev/null; then
        exec 8>&-
        return 0
    fi
    prepare_host "$host"
    ! is_bare "$host" || host_link_down "$host"
    host_link_up "$host"
    cat /proc/sys/kernel/random/uuid >"$dir/boot_id"
    rm -f "$dir/init"
    (
        ! has_systemd "$host" || join_control_group "$host"
        exec setsid ip netns exec "$(netns_of "$host")" \
            unshare --mount --pid --ipc --uts --fork --kill-child \
            bash "$LAB_SOURCE/host/enter" "$dir" "$(host_images "$host")" "$(! has_systemd "$host" || echo systemd)"
    ) </dev/null >>"$dir/console.log" 2>&1 9>&- &
    disown
    exec 8>&-
    wait_until 15 "host $host to boot (see $dir/console.log)" host_pid "$host"
    wait_until 30 "ssh on $host (see $dir/console.log)" port_open "$(host_ip "$host")" 22
}

port_open() { timeout 1 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }

# host_booted HOST: its services have been started.
host_booted() { in_host "$1" test -e /run/lab-booted; }

# Ends everything in the host at once, as a power cut does.
cut_host() {
    local pid
    pid=$(host_pid "$1") || return 0
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 20 "host $1 to be gone" host_gone "$1"
    rm -f "$(host_dir "$1")/init"
    ! has_systemd "$1" || control_groups_down "$1"
}

host_gone() { ! host_pid "$1"; }

# Control groups are the whole machine's, and another lab on it has a host of the same name.
control_group_of() { echo "rlab-$1-$(stat -c %i "$LAB_DIR")"; }

# Below it the host's systemd sorts its processes. Before `ip netns exec`, which hides the trees of control groups.
join_control_group() {
    local tree group
    group=$(control_group_of "$1")
    for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        [[ -e $tree/cgroup.procs ]] || continue
        mkdir -p "$tree/$group"
        # This very process: in a subshell $$ is another one.
        echo "$BASHPID" >"$tree/$group/cgroup.procs"
    done
}

# What systemd sorted its processes into; each can go when nobody is in it any more.
control_groups_down() {
    local tree group
    group=$(control_group_of "$1")
    for tree in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        [[ ! -d $tree/$group ]] || wait_until 10 "control groups of $1 to be empty" no_control_groups "$tree/$group"
    done
}

no_control_groups() { find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && [[ ! -d $1 ]]; }

# Stops the host's services in order, then ends it.
shut_host() {
    local pid deadline=$((SECONDS + 20))
    pid=$(host_pid "$1") || return 0
    # systemd would start itself anew; this is its word for a halt.
    local word=TERM
    ! has_systemd "$1" || word=RTMIN+3
    [[ $1 == s3 ]] || kill "-$word" "$pid" 2>/dev/null || true
    while [[ $1 != s3 ]] && ((SECONDS < deadline)) && host_pid "$1" >/dev/null; do sleep 0.1; done
    cut_host "$1"
}

# Logins: root by key, deploy with sudo without a password, nosudo whose sudo
# wants one.
provision_logins() {
    local host=$1
    # shellcheck disable=SC2154 # read from the secrets file
    printf '%s\n%s\n' "$(cat "$LAB_DIR/ssh/id_ed25519.pub")" "$nosudo_password" | in_host "$host" bash -euc '
        read -r key; read -r password
        for user in deploy nosudo; do
            id "$user" >/dev/null 2>&1 || useradd -m -s /bin/bash "$user"
        done
        printf "nosudo:%s\n" "$password" | chpasswd
        for entry in root:/root deploy:/home/deploy nosudo:/home/nosudo; do
            user=${entry%%:*} home=${entry#*:}
            install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
            printf "%s\n" "$key" >"$home/.ssh/authorized_keys"
            chown "$user:$user" "$home/.ssh/authorized_keys"
            chmod 600 "$home/.ssh/authorized_keys"
        done
        printf "deploy ALL=(ALL) NOPASSWD: ALL\nnosudo ALL=(ALL) ALL\n" >/etc/sudoers.d/lab
        chmod 440 /etc/sudoers.d/lab
        install -d -m 1777 /var/log/lab-effects'
}

write_known_hosts() {
    local host type key
    for host in "${LAB_HOSTS[@]}" "${LAB_BARE_HOSTS[@]}"; do
        [[ -e $(host_dir "$host")/prepared ]] || continue
        for type in ed25519 ecdsa; do
            key=$(cut -d' ' -f1,2 "$(host_dir "$host")/upper/etc/ssh/ssh_host_${type}_key.pub")
            echo "$(host_ip "$host") $key"
        done
    done >"$LAB_DIR/ssh/known_hosts.tmp"
    chmod 644 "$LAB_DIR/ssh/known_hosts.tmp"
    mv "$LAB_DIR/ssh/known_hosts.tmp" "$LAB_DIR/ssh/known_hosts"
}
