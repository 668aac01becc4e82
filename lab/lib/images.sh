# shellcheck shell=bash
# shellcheck disable=SC2016 # quoted programs that run elsewhere expand there
# The root file systems of the lab's hosts: a Debian base, and one layer for
# each role on top of it. Built once, into the cache; hosts only read them.

LAB_SUITE=bookworm

role_packages() {
    local common="locales procps iproute2 iputils-ping nftables curl perl-base perl gzip zstd xz-utils less netcat-openbsd"
    case $1 in
        db) echo "$common postgresql-15 postgresql-client-15 awscli" ;;
        app) echo "$common nginx-light php-fpm php-cli php-pgsql php-mbstring php-xml php-laravel-framework composer git awscli postgresql-client-15" ;;
        # What every Debian server has that is not a container's image.
        systemd) echo "systemd systemd-sysv libpam-systemd dbus" ;;
        s3) echo "$common git ceph-mon ceph-osd ceph-mgr radosgw ceph-common awscli" ;;
    esac
}

# The part of the machine's own apt configuration that says where Debian's
# packages come from, as sources.list lines for the lab's suite. Prints nothing
# where it names none: then debootstrap's own default serves.
apt_sources() {
    local site release
    while IFS='|' read -r site release; do
        case $release in
            *-updates) echo "deb $site $LAB_SUITE-updates main" ;;
            *-security) echo "deb $site $LAB_SUITE-security main" ;;
            *-*) ;;
            *) echo "deb $site $LAB_SUITE main" ;;
        esac
    done < <(apt-get indextargets --format '$(SITE)|$(RELEASE)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null | sort -u)
}

apt_options() {
    apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date) ' || true
    echo 'Acquire::Languages "none";'
    echo 'APT::Install-Recommends "false";'
    echo 'Dpkg::Options:: "--force-unsafe-io";'
}

# Mounts what package scripts need, inside a mount namespace of its own, so
# that nothing is left behind when the build is killed.
# in_image DIR [LOWER WORK]: runs standard input as a shell script in DIR; with
# LOWER, DIR becomes the upper layer above LOWER.
in_image() {
    local script
    script=$(cat)
    unshare --mount --pid --ipc --fork --kill-child bash -euc '
        dir=$1 lower=${2:-} work=${3:-} root=$1
        if [ -n "$lower" ]; then
            root=$work/root
            mkdir -p "$work/work" "$root"
            mount -t overlay overlay -o "lowerdir=$lower,upperdir=$dir,workdir=$work/work" "$root"
        fi
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/run"
        mkdir -p "$root/run/lock"
        touch "$root/etc/resolv.conf"
        mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
        exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive bash -euc "$0"
    ' "$script" "$@" </dev/null
}

# build NAME FUNCTION: makes $LAB_CACHE/NAME by FUNCTION in a temporary place,
# and renames it: what bears the name is whole.
build_once() {
    local name=$1 make=$2 tmp=$LAB_CACHE/$1.building
    [[ -d $LAB_CACHE/$name ]] && return 0
    ! is_apart || die "image $name is not there, and a second lab builds none" "scripts/lab images"
    rm -rf --one-file-system "$tmp" "$tmp.work"
    mkdir -p "$tmp"
    step "building image $name (once; log: $LAB_CACHE/$name.log)"
    if ! "$make" "$tmp" "$name" >"$LAB_CACHE/$name.log" 2>&1; then
        tail -n 20 "$LAB_CACHE/$name.log" >&2
        die "image $name could not be built" "see $LAB_CACHE/$name.log"
    fi
    rm -rf --one-file-system "$tmp.work"
    mv -T "$tmp" "$LAB_CACHE/$name"
    step "image $name is ready"
}

make_base() {
    local dir=$1 mirror
    mirror=$(apt_sources | awk -v suite="$LAB_SUITE" '$3 == suite {print $2; exit}')
    http_proxy=${http_proxy:-$(apt-config shell p Acquire::http::Proxy | sed "s/^p='\(.*\)'$/\1/")} \
        debootstrap --variant=minbase --include=openssh-server,ca-certificates,sudo \
        "$LAB_SUITE" "$dir" ${mirror:+"$mirror"}
    [[ -z $mirror ]] || apt_sources >"$dir/etc/apt/sources.list"
    apt_options >"$dir/etc/apt/apt.conf.d/90lab"
    # Hosts make their own; clones that share them would be one host to ssh.
    rm -f "$dir"/etc/ssh/ssh_host_* "$dir/etc/machine-id" "$dir/etc/resolv.conf"
    : >"$dir/etc/machine-id"
}

# install_layer DIR PACKAGES [BEFORE [AFTER]]: Debian's base with these packages on top of it, none of whose services is started while they
# are installed. BEFORE and AFTER are commands inside the image.
install_layer() {
    local dir=$1 packages=$2 before=${3:-} after=${4:-}
    in_image "$dir" "$LAB_CACHE/base" "$dir.work" <<SCRIPT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        $before
        apt-get -q update
        apt-get -q -y install $packages
        $after
        rm -f /usr/sbin/policy-rc.d
        apt-get clean
        rm -rf /var/lib/apt/lists/*
SCRIPT
}

make_role() {
    install_layer "$1" "$(role_packages "${2#role-}")" "
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf" "
        sed -i 's/^# *en_US.UTF-8/en_US.UTF-8/' /etc/locale.gen
        locale-gen"
}

# Debian's base as an installed server has it, with systemd as its init. What would reach beyond the host, or wants hardware, is masked.
make_systemd() {
    local dir=$1 unit units=$1/etc/systemd/system
    install_layer "$dir" "$(role_packages systemd)"
    mkdir -p "$units/multi-user.target.wants"
    for unit in systemd-sysctl systemd-modules-load console-getty; do ln -sfn /dev/null "$units/$unit.service"; done
    install -m 644 "$LAB_SOURCE"/host/lab-*.service "$units/"
    for unit in "$LAB_SOURCE"/host/lab-*.service; do ln -sfn "../${unit##*/}" "$units/multi-user.target.wants/${unit##*/}"; done
}

# Builds what is missing, the roles side by side.
ensure_images() {
    local role pids=() pid failed=0
    mkdir -p "$LAB_CACHE"
    build_once base make_base
    for role in db app s3; do
        [[ -d $LAB_CACHE/role-$role ]] && continue
        (build_once "role-$role" make_role) &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    ((failed == 0)) || die "not all images could be built"
}
