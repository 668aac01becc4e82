/// The first part of the ledger's program: records, durable files, locks, fences and verdicts.
///
/// Perl, and only what Debian's essential `perl-base` has. Everything is written with `syswrite`, so nothing waits in a
/// buffer when it is flushed to disk.
let supervisorFilesSource = #"""
    use strict; use warnings;
    use Fcntl qw(:DEFAULT :flock);
    use POSIX ();
    use IO::Handle ();

    our ($STATE, $BOOT_FILE, $FAILPOINT);
    our %CLOCK = (x86_64 => 228, aarch64 => 113, riscv64 => 113, i686 => 265, armv7l => 263, ppc64le => 246, s390x => 260);
    our $CLOCK = $CLOCK{(POSIX::uname())[4]};
    our $RESULT_BYTES = 8192;

    # A refusal with a code; the fields tell the orchestrator what to say.
    sub refuse { my ($code, @fields) = @_; die { code => $code, fields => \@fields }; }
    sub refuse_errno {
        my ($what) = @_;
        my $text = "$!";
        refuse($!{ENOSPC} || $!{EDQUOT} ? 'no-space' : $!{EROFS} ? 'read-only' : 'system', message => "$what: $text");
    }

    sub clock_ms {
        my ($id) = @_;
        if (defined $CLOCK) {
            my $spec = "\0" x 16;
            if (syscall($CLOCK, $id, $spec) == 0) { my ($s, $n) = unpack('l!l!', $spec); return int($s * 1000 + $n / 1e6); }
        }
        return time() * 1000 if $id == 0;
        open(my $f, '<', '/proc/uptime') or return time() * 1000;
        my ($up) = split ' ', scalar readline $f;
        return int($up * 1000);
    }
    sub wall_ms { clock_ms(0) }
    sub mono_ms { clock_ms(1) }
    sub pause { select undef, undef, undef, $_[0] }

    sub boot_id { my $id = slurp($BOOT_FILE); $id = '' unless defined $id; $id =~ s/\s+//g; return $id }

    sub slurp {
        my ($path, $limit) = @_;
        sysopen(my $f, $path, O_RDONLY | O_NOFOLLOW) or return undef;
        my $text = '';
        while (1) {
            my $n = sysread($f, $text, 65536, length $text);
            return undef unless defined $n;
            last if $n == 0 || (defined $limit && length $text >= $limit);
        }
        return $text;
    }

    sub write_all {
        my ($f, $data) = @_;
        my $done = 0;
        while ($done < length $data) {
            my $n = syswrite($f, $data, length($data) - $done, $done);
            if (!defined $n) { next if $!{EINTR}; return 0 }
            $done += $n;
        }
        return 1;
    }

    sub sync_dir {
        my ($path) = @_;
        sysopen(my $d, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) or refuse_errno("open $path");
        $d->sync or refuse_errno("fsync $path");
    }

    # A record is lines of key=value, percent-encoded, closed by a line "end": without it the record is torn, and does not count.
    sub record_text {
        my @pairs = @_;
        my $text = '';
        while (@pairs) {
            my ($key, $value) = splice @pairs, 0, 2;
            $value = '' unless defined $value;
            $value =~ s/([^\x20-\x24\x26-\x7e])/sprintf '%%%02X', ord $1/ge;
            $text .= "$key=$value\n";
        }
        return $text . "end\n";
    }
    sub record_parse {
        my ($text) = @_;
        return undef unless defined $text;
        my %record;
        for my $line (split /\n/, $text) {
            return \%record if $line eq 'end';
            $line =~ /^([\w.-]+)=(.*)$/s or return undef;
            my ($key, $value) = ($1, $2);
            $value =~ s/%([0-9A-F]{2})/chr hex $1/ge;
            $record{$key} = $value;
        }
        return undef;
    }
    sub read_record { return record_parse(slurp($_[0])) }

    # Replaces a small file: all of the old one or all of the new one, also after a power cut.
    sub replace_record {
        my ($folder, $name, @pairs) = @_;
        my $temporary = "$STATE/tmp/" . fresh_name();
        sysopen(my $f, $temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or refuse_errno("create $temporary");
        my $ok = write_all($f, record_text(@pairs)) && $f->sync;
        if (!$ok) { my $saved = $!; unlink $temporary; $! = $saved; refuse_errno("write $temporary"); }
        close $f;
        rename($temporary, "$folder/$name") or refuse_errno("rename to $folder/$name");
        sync_dir($folder);
    }

    our $COUNTER = 0;
    sub fresh_name { return join '.', $$, wall_ms(), ++$COUNTER }

    # The name of a file for any text.
    sub file_name { my ($text) = @_; return unpack('H*', $text) }

    sub open_state {
        my ($path) = @_;
        $STATE = $path;
        my $made = '';
        for my $part (split m{/}, $path) {
            next if $part eq '';
            $made .= "/$part";
            next if -d $made;
            mkdir($made, $made eq $path ? 0700 : 0755) or -d $made or refuse_errno("create $made");
        }
        my @status = lstat $path or refuse_errno("look at $path");
        refuse('state-unsafe', message => "$path is a symbolic link") if -l _;
        refuse('state-unsafe', message => "$path belongs to user $status[4], not to user $>") if $status[4] != $>;
        refuse('state-unsafe', message => sprintf('%s can be entered by others (mode %04o)', $path, $status[2] & 07777)) if $status[2] & 077;
        for my $name (qw(jobs runs claims slots tmp)) {
            next if -d "$path/$name";
            mkdir("$path/$name", 0700) or -d "$path/$name" or refuse_errno("create $path/$name");
            sync_dir($path);
        }
    }

    # The host lock: shared by those that start jobs, exclusive for those that change fences and claims.
    sub host_lock {
        my ($how) = @_;
        my $path = "$STATE/lock";
        sysopen(my $f, $path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600) or refuse_errno("open $path");
        my $until = mono_ms() + 5000;
        while (!flock($f, $how | LOCK_NB)) {
            refuse('lock-busy', message => join(', ', holders_of($path))) if mono_ms() > $until;
            pause(0.002);
        }
        return $f;
    }

    # Whether somebody else holds a lock. It is tried shared and let go at once.
    sub is_held {
        my ($path) = @_;
        sysopen(my $f, $path, O_RDONLY | O_NOFOLLOW) or return 0;
        return flock($f, LOCK_SH | LOCK_NB) ? 0 : 1;
    }

    # Processes that have a file open, as [pid, name].
    sub open_by {
        my ($path) = @_;
        my @wanted = stat $path or return ();
        my @found;
        opendir(my $proc, '/proc') or return ();
        for my $pid (grep { /^\d+$/ && $_ != $$ } readdir $proc) {
            opendir(my $fds, "/proc/$pid/fd") or next;
            for my $fd (readdir $fds) {
                next unless $fd =~ /^\d+$/;
                my @status = stat "/proc/$pid/fd/$fd" or next;
                next unless $status[0] == $wanted[0] && $status[1] == $wanted[1];
                my $name = slurp("/proc/$pid/comm");
                $name = '?' unless defined $name;
                $name =~ s/\s+$//;
                push @found, [$pid, $name];
                last;
            }
        }
        return @found;
    }
    sub holders_of { return map { "$$_[1] (process $$_[0])" } open_by($_[0]) }

    # The fence of a run: the highest one seen here, and by whom.
    sub fence_of { return read_record("$STATE/runs/$_[0]") }

    sub check_run { $_[0] =~ /^[a-z0-9][a-z0-9-]{0,39}\z/ or refuse('bad-name', message => 'run') }

    sub fence_fields {
        my ($seen) = @_;
        return map { ("seen.$_" => defined $seen->{$_} ? $seen->{$_} : '') } qw(run fence holder operator sequence head at);
    }

    # Refuses a ticket that is not the newest one. Returns what was seen before.
    sub check_fence {
        my ($t) = @_;
        my $seen = fence_of($t->{run}) or return undef;
        refuse('fence-stale', fence_fields($seen)) if $t->{fence} < $seen->{fence};
        refuse('fence-held', fence_fields($seen)) if $t->{fence} == $seen->{fence} && $t->{holder} ne $seen->{holder};
        # One process has several steps under way at once: its tickets may come in another order than it journaled.
        return $seen if $t->{fence} == $seen->{fence};
        refuse('journal-old', fence_fields($seen)) if $t->{sequence} < $seen->{sequence};
        refuse('journal-forked', fence_fields($seen))
            if $t->{sequence} == $seen->{sequence} && $t->{head} ne $seen->{head};
        return $seen;
    }

    # Compare-and-swap of a run's fence. The host lock is held exclusively.
    sub announce {
        my ($t) = @_;
        check_run($t->{run});
        my $seen = check_fence($t);
        # Jobs carry the journal's position too, and may be ahead of the fence's.
        if (!$seen || $t->{fence} != $seen->{fence}) {
            for my $id (job_names($t->{run})) {
                my $spec = read_record("$STATE/jobs/$id/spec") or next;
                next unless defined $spec->{sequence} && $spec->{sequence} =~ /^\d+$/;
                refuse('journal-old', fence_fields($spec)) if $t->{sequence} < $spec->{sequence};
                refuse('journal-forked', fence_fields($spec)) if $t->{sequence} == $spec->{sequence} && $t->{head} ne $spec->{head};
            }
        }
        return $seen if $seen && $seen->{fence} == $t->{fence} && $t->{sequence} <= $seen->{sequence};
        replace_record("$STATE/runs", $t->{run}, (map { ($_ => $t->{$_}) } qw(run fence holder operator sequence head)), at => wall_ms());
        return $seen;
    }

    sub job_names {
        my ($run) = @_;
        opendir(my $d, "$STATE/jobs") or return ();
        return sort grep { index($_, "$run.") == 0 } readdir $d;
    }

    # What the ledger knows about a job, in the order that leaves no gap to a supervisor that is just ending:
    # a result written between two looks is seen by the last one.
    sub verdict {
        my ($id) = @_;
        my $dir = "$STATE/jobs/$id";
        return (verdict => 'absent') unless -d $dir;
        my $result = read_record("$dir/result");
        if (!$result) {
            my $l1 = is_held("$dir/L1");
            my $l2 = is_held("$dir/L2");
            $result = read_record("$dir/result");
            if (!$result) {
                return (verdict => 'running') if $l1;
                return (verdict => 'orphan', map { (holder => $_) } holders_of("$dir/L2")) if $l2;
                return doubt($dir) if has_started($dir);
                return (verdict => 'never');
            }
        }
        return (verdict => 'finished', map { ("r.$_" => $result->{$_}) } sort keys %$result);
    }

    # The record of the start is preallocated as zeros. Anything else in it, torn or whole, is a start.
    sub has_started {
        my ($dir) = @_;
        my $text = slurp("$dir/started");
        return 1 unless defined $text;
        return $text =~ /[^\0]/ ? 1 : 0;
    }

    sub doubt {
        my ($dir) = @_;
        my $started = read_record("$dir/started") || {};
        my $boot = boot_id();
        my %evidence = (
            (map { ("started-$_" => $started->{$_}) } keys %$started),
            'boot-id-now' => $boot,
            'rebooted' => !defined $started->{boot} ? 'unknown' : $started->{boot} eq $boot ? 'no' : 'yes',
            'stdout-bytes' => -s "$dir/stdout" || 0, 'stderr-bytes' => -s "$dir/stderr" || 0, 'directory' => $dir,
        );
        return (verdict => 'doubt', map { ("e.$_" => $evidence{$_}) } sort keys %evidence);
    }

    """#
