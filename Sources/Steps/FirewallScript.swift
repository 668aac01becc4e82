/// Puts the rules that come by standard input in force with nftables, and into the file that is loaded at boot.
///
/// In by the environment: `ALLOWED` (what the rules let in: `PROTOCOL PORT SOURCE` by the line, the source `any` or a network) and `REPLACE`
/// (`true`: also where somebody else wrote /etc/nftables.conf). Only the table `inet reprise` is touched, in one transaction of the kernel. What
/// nft listed after the rules were loaded is kept under `/var/lib/reprise-firewall`: rules that differ from it were changed by hand or lost.
let firewallScript =
    WantedState.words + #"""
    only_root a firewall is managed
    command -v nft >/dev/null || refuse 'this host has no nft: install the package nftables with a step of kind packages'
    export LC_ALL=C
    FILE=/etc/nftables.conf KEPT=/var/lib/reprise-firewall MARK='# Kept by the plan that recovers this host'
    WORK=$(mktemp -d)
    trap 'rm -rf -- "$WORK"' EXIT
    trap 'exit 143' TERM INT HUP
    cat >"$WORK/wanted"

    # The connection that this step came by must be let in again: by what its processes know of it, else by the ports of sshd.
    check_way_in() {
        perl -e '
            use strict; use Socket qw(inet_pton AF_INET AF_INET6);
            my @allowed = map { [split / /] } grep { /\S/ } split /\n/, $ENV{ALLOWED};
            sub bits { my ($text) = @_; $text =~ s/\A::ffff:(?=\d+\.)//; my $packed = inet_pton($text =~ /:/ ? AF_INET6 : AF_INET, $text); return defined $packed ? unpack("B*", $packed) : "" }
            sub covers {
                my ($network, $address) = @_;
                return 1 if $network eq "any";
                my ($start, $length) = split m{/}, $network;
                my ($n, $a) = (bits($start), bits($address));
                $length = length $n unless defined $length;
                return length $n == length $a && substr($n, 0, $length) eq substr($a, 0, $length);
            }
            my ($pid, $from, $port) = ($$);
            for (1 .. 50) {
                last if $pid <= 1;
                if (open my $e, "<", "/proc/$pid/environ") {
                    local $/; my $all = "\0" . (<$e> // "");
                    if ($all =~ /\0SSH_CONNECTION=(\S+) \d+ \S+ (\d+)/) { ($from, $port) = ($1, $2); last }
                }
                open my $s, "<", "/proc/$pid/stat" or last;
                <$s> =~ /.*\) \S (\d+)/ or last;
                $pid = $1;
            }
            my @ways;
            if (defined $port) { @ways = ([$from, $port]) }
            else {
                my @ports = map { /^port (\d+)/ ? $1 : () } `sshd -T 2>/dev/null || /usr/sbin/sshd -T 2>/dev/null`;
                @ways = map { [undef, $_] } @ports ? @ports : (22);
            }
            for my $way (@ways) {
                my ($address, $number) = @$way;
                exit 0 if grep { $$_[0] eq "tcp" && $$_[1] == $number && (!defined $address || covers($$_[2], $address)) } @allowed;
            }
            my $what = join " or ", map { "port $$_[1]" . (defined $$_[0] ? " from $$_[0]" : "") } @ways;
            print STDERR "these rules would lock out the very way by which this host is reached: $what; allow it, or nobody gets in again\n";
            exit 65;' || exit $?
    }
    # Empty, or why the file is not to be written over.
    foreign() {
        [ -e $FILE ] && [ "$REPLACE" != true ] && ! grep -q "^$MARK" $FILE || return 0
        shipped=$(dpkg-query -W -f '${Conffiles}\n' nftables 2>/dev/null | awk -v file=$FILE '$1 == file { print $2 }')
        [ "$(md5sum <$FILE | cut -d ' ' -f 1)" = "$shipped" ] || echo yes
    }
    in_force() { nft -s list table inet reprise 2>/dev/null || true; }
    why() { sed -n 's/.*Error: //p' "$WORK/said" | head -n 1; }
    record() { sha256sum <"$WORK/wanted"; in_force; }
    put() { # SOURCE PLACE MODE
        cp -- "$1" "$2.reprise-new"
        chmod "$3" "$2.reprise-new"
        sync "$2.reprise-new"
        mv -T "$2.reprise-new" "$2"
        sync "${2%/*}"
    }
    WANTS=/etc/systemd/system/sysinit.target.wants UNIT=nftables.service
    is_enabled() { [ -e $WANTS/$UNIT ] || [ -e /etc/systemd/system/multi-user.target.wants/$UNIT ]; }
    # Where systemd does not run, what it would do.
    enable() {
        if [ -d /run/systemd/system ]; then systemctl --quiet enable $UNIT >&2; return; fi
        mkdir -p $WANTS
        ln -sfn /lib/systemd/system/$UNIT $WANTS/$UNIT
    }

    # Chains of others through which what comes in must pass too: those that drop by their policy, or whose last rule drops or rejects
    # whatever comes to it.
    others() {
        nft -s list ruleset 2>/dev/null | awk '
            /^table / { table = $2 " " $3 }
            /^\tchain / { chain = $2; input = policy = last = 0 }
            /^\t\t/ { last = /^\t\t(counter (packets [0-9]+ bytes [0-9]+ )?)?(drop|reject)( |$)/ }
            /^\t\ttype .* hook input / { input = 1; policy = /policy drop/ }
            /^\t}/ { if (input && (policy || last) && table != "inet reprise") print "the chain " chain " of the table " table; input = 0 }'
    }

    check_way_in
    [ -z "$(foreign)" ] || refuse "$FILE was written by somebody else; look at it, move its rules into \`allow\`, and say \`replace: true\`"
    if [ -z "$(in_force)" ] || [ "$(record)" != "$(cat $KEPT/loaded 2>/dev/null)" ]; then
        nft -c -f "$WORK/wanted" >"$WORK/said" 2>&1 || { cat "$WORK/said" >&2; refuse "nft refuses the rules ($(why)); what was in force stays"; }
        lost=$(in_force)
        nft -f "$WORK/wanted" >"$WORK/said" 2>&1 || { cat "$WORK/said" >&2; say "nft could not load the rules ($(why)); what was in force stays"; exit 1; }
        mkdir -p -m 700 $KEPT
        record >"$WORK/record"
        put "$WORK/record" $KEPT/loaded 600
        if [ -n "$lost" ]; then changed 'loaded the rules in place of others'; else changed 'loaded the rules'; fi
    fi
    if ! cmp -s "$WORK/wanted" $FILE; then
        put "$WORK/wanted" $FILE 755
        changed "wrote $FILE, which is loaded at boot"
    fi
    if ! is_enabled; then
        enable && is_enabled || { say 'the rules are in force, and could not be enabled for the next boot: nftables.service'; exit 1; }
        changed 'enabled them for the next boot'
    fi
    [ "$(record)" = "$(cat $KEPT/loaded)" ] || { say 'the rules in force are not those that were just loaded: something else changes them too'; exit 1; }
    others | while IFS= read -r chain; do
        echo "warning: $chain drops or rejects what comes in, too: what the plan allows is let in only where that chain lets it in; look at it with: nft list ruleset"
    done
    echo "evidence: $(printf '%s' "$ALLOWED" | grep -c .) rules in force; all else is dropped"

    """#
