/// The third part: requests from the orchestrator, answered over standard input and output for as long as it is connected.
///
/// A frame is its length in 4 bytes and then pairs: a key (2 bytes of length) and a value (4 bytes of length).
let supervisorServerSource = #"""
    our ($IN, $OUT) = ('', '');
    our (%WAKES, %SUBS, @WAITS);
    our $WINDOW = 256 * 1024;

    sub pack_pairs { my $text = ''; while (@_) { my ($k, $v) = splice @_, 0, 2; $text .= pack('n/a* N/a*', $k, defined $v ? $v : '') } return $text }
    sub unpack_pairs { my @pairs = unpack('(n/a* N/a*)*', $_[0]); return @pairs }
    sub emit { my $body = pack_pairs(@_); $OUT .= pack('N', length $body) . $body; }
    sub reply { my ($id, @pairs) = @_; emit(id => $id, ok => 1, @pairs) }
    sub reply_error {
        my ($id, $error) = @_;
        if (ref $error) { emit(id => $id, error => $error->{code}, @{$error->{fields}}) }
        else { chomp $error; emit(id => $id, error => 'program', message => $error) }
    }

    sub ticket_of { my ($q) = @_; return { map { ($_ => $q->{$_}) } qw(run fence holder operator sequence head) } }

    our %HANDLERS = (
        announce => sub {
            my ($q) = @_;
            my $lock = host_lock(LOCK_EX);
            my $seen = announce(ticket_of($q));
            reply($q->{id}, $seen ? fence_fields($seen) : ());
        },
        submit => \&submit, probe => sub { my ($q) = @_; check_job($q->{job}); reply($q->{id}, verdict($q->{job})) },
        follow => sub {
            my ($q) = @_;
            check_job($q->{job});
            my %v = verdict($q->{job});
            return reply($q->{id}, verdict => 'absent') if $v{verdict} eq 'absent';
            reply($q->{id}, verdict => 'running');
            subscribe($q->{id}, $q->{job}, $q->{out}, $q->{err}, 1, 0);
        },
        more => sub { my ($q) = @_; my $s = $SUBS{$q->{sid}} or return; $s->{open} = 1; push_output($s) },
        unfollow => sub { my ($q) = @_; delete $SUBS{$q->{sid}} },
        cancel => \&cancel,
        output => sub {
            my ($q) = @_;
            check_job($q->{job});
            $q->{stream} =~ /^(stdout|stderr)\z/ or refuse('bad-name', message => 'stream');
            reply($q->{id}, data => read_at("$STATE/jobs/$q->{job}/$q->{stream}", $q->{offset}, $q->{limit}));
        },
        claim => sub {
            my ($q) = @_;
            my $t = ticket_of($q);
            check_run($t->{run});
            my $lock = host_lock(LOCK_EX);
            announce($t);
            my $path = "$STATE/claims/" . claim_name($q->{resource});
            my $held = read_record($path);
            refuse('claimed', map { ("seen.$_" => $held->{$_}) } keys %$held) if $held && $held->{run} ne $t->{run};
            replace_record("$STATE/claims", claim_name($q->{resource}), resource => $q->{resource}, at => wall_ms(), map { ($_ => $t->{$_}) } qw(run holder operator));
            reply($q->{id});
        },
        release => sub {
            my ($q) = @_;
            check_run($q->{run});
            my $lock = host_lock(LOCK_EX);
            # Without a ticket it is a person's word.
            announce(ticket_of($q)) if defined $q->{fence};
            my $path = "$STATE/claims/" . claim_name($q->{resource});
            my $held = read_record($path) or return reply($q->{id}, released => 0);
            refuse('claimed', map { ("seen.$_" => $held->{$_}) } keys %$held) if $held->{run} ne $q->{run};
            unlink $path or refuse_errno("remove $path");
            sync_dir("$STATE/claims");
            reply($q->{id}, released => 1);
        },
        claims => sub {
            my ($q) = @_;
            opendir(my $d, "$STATE/claims") or refuse_errno("read $STATE/claims");
            my @items = grep { $_ } map { read_record("$STATE/claims/$_") } sort grep { !/^\./ } readdir $d;
            reply($q->{id}, map { (item => pack_pairs(%$_)) } @items);
        },
        runs => sub {
            my ($q) = @_;
            opendir(my $d, "$STATE/runs") or refuse_errno("read $STATE/runs");
            my @items;
            for my $run (sort grep { !/^\./ } readdir $d) {
                my $fence = fence_of($run) or next;
                my @jobs = job_names($run);
                push @items, pack_pairs(%$fence, jobs => scalar @jobs);
            }
            reply($q->{id}, map { (item => $_) } @items);
        },
        jobs => sub {
            my ($q) = @_;
            check_run($q->{run});
            my @items = map { pack_pairs(%{read_record("$STATE/jobs/$_/spec") || {}}, job => $_, verdict($_)) } job_names($q->{run});
            reply($q->{id}, map { (item => $_) } @items);
        },
        facts => sub { my ($q) = @_; reply($q->{id}, host_facts()) },
    );

    # File names have 255 bytes at most.
    sub claim_name { my ($r) = @_; length $r <= 120 or refuse('bad-name', message => 'resource'); return file_name($r) }

    sub host_facts {
        my ($system, undef, $kernel, undef, $machine) = POSIX::uname();
        my %os = map { /^(\w+)="?(.*?)"?$/ ? ($1 => $2) : () } split /\n/, slurp('/etc/os-release') || slurp('/usr/lib/os-release') || '';
        my $id = slurp('/etc/machine-id');
        $id = '' unless defined $id;
        $id =~ s/\s+//g;
        my $free = '';
        if (open(my $df, '-|', 'df', '-Pk', '--', $STATE)) { my @lines = readline $df; $free = (split ' ', $lines[1])[3] * 1024 if @lines > 1 }
        my @tools;
        for my $tool (qw(sh bash sudo gzip zstd xz curl tar psql pg_restore pg_dump nft systemctl apt-get setpriv sha256sum fuser)) {
            push @tools, $tool if grep { -x "$_/$tool" } qw(/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin);
        }
        my $user = getpwuid($>);
        return ('machine-id' => $id, 'boot-id' => boot_id(), os => $os{PRETTY_NAME}, 'os-id' => $os{ID}, 'os-version' => $os{VERSION_ID},
            kernel => $kernel, machine => $machine, perl => sprintf('%vd', $^V), user => defined $user ? $user : $>, uid => $>, free => $free,
            state => $STATE, tools => join(' ', @tools), 'clock-ms' => wall_ms(), digest => $main::SHA ? 1 : 0);
    }

    sub read_at {
        my ($path, $offset, $limit) = @_;
        my $data = '';
        sysopen(my $f, $path, O_RDONLY | O_NOFOLLOW) or return $data;
        sysseek($f, $offset, 0);
        while (length $data < $limit) {
            my $n = sysread($f, $data, $limit - length $data, length $data);
            last unless $n;
        }
        return $data;
    }

    sub submit {
        my ($q, @pairs) = @_;
        my %job = map { ($_ => $q->{$_}) } qw(job kind script stdin user directory timeout limit spec grace linger);
        $job{ticket} = ticket_of($q);
        while (@pairs) {
            my ($key, $value) = splice @pairs, 0, 2;
            push @{$job{argv}}, $value if $key eq 'arg';
            push @{$job{env}}, [split /=/, $value, 2] if $key eq 'env';
        }
        my ($lock, $new) = place_job(\%job);
        if (!$new) {
            my @verdict = verdict($job{job});
            if ($verdict[1] ne 'never') {
                close $lock;
                reply($q->{id}, @verdict);
                subscribe($q->{id}, $job{job}, 0, 0, 0, 0) if $verdict[1] =~ /^(running|orphan)\z/;
                return;
            }
        }
        my $from = start_supervisor(\%job, $lock);
        $WAKES{fileno $from} = {file => $from, request => $q->{id}, job => $job{job}, text => ''};
    }

    # A job's output as it comes, and its end. One that the server did not start itself is looked at every 20 ms.
    sub subscribe {
        my ($sid, $job, $out, $err, $open, $woken) = @_;
        $SUBS{$sid} = {sid => $sid, job => $job, stdout => $out, stderr => $err, open => $open, sent => 0, woken => $woken};
        push_output($SUBS{$sid}) unless $woken;
    }

    # - Returns 1 when all there is was sent.
    sub push_files {
        my ($s) = @_;
        for my $name (qw(stdout stderr)) {
            my $path = "$STATE/jobs/$s->{job}/$name";
            while (1) {
                return 0 if length $OUT > 1 << 20 || (!$s->{open} && $s->{sent} >= $WINDOW);
                last if (-s $path || 0) <= $s->{$name};
                my $data = read_at($path, $s->{$name}, 131072);
                last if $data eq '';
                emit(sid => $s->{sid}, stream => $name, offset => $s->{$name}, data => $data);
                $s->{$name} += length $data;
                $s->{sent} += length $data;
            }
        }
        return 1;
    }

    sub push_output {
        my ($s) = @_;
        # The verdict is taken before the last look at the output, so that nothing is written after it.
        my @verdict = $s->{woken} ? (verdict => 'running') : verdict($s->{job});
        return unless push_files($s);
        return if $verdict[1] =~ /^(running|orphan)\z/;
        emit(sid => $s->{sid}, end => 1, @verdict);
        delete $SUBS{$s->{sid}};
    }

    sub woken {
        my ($w) = @_;
        my $n = sysread($w->{file}, my $text, 4096);
        return if !defined $n && ($!{EINTR} || $!{EAGAIN});
        $w->{text} .= $text if $n;
        my $gone = !$n;
        if ($w->{request} && ($w->{text} ne '' || $gone)) {
            if ($w->{text} =~ /^x(.*)/s) {
                return if !$gone;
                my ($code, @rest) = split / /, $1;
                reply_error($w->{request}, $code =~ /^[a-z-]+$/ ? {code => $code, fields => [@rest > 1 ? ($rest[0] => join ' ', @rest[1 .. $#rest]) : ()]} : "$code @rest");
            } elsif ($w->{text} eq 'l') {
                my @verdict = verdict($w->{job});
                reply($w->{request}, @verdict);
                subscribe($w->{request}, $w->{job}, 0, 0, 0, 0) if $verdict[1] =~ /^(running|orphan)\z/;
            } elsif ($w->{text} ne '') {
                reply($w->{request}, verdict => 'running');
                subscribe($w->{request}, $w->{job}, 0, 0, 0, 1);
            } else {
                # It was killed: its locks go in an instant.
                push @WAITS, {id => $w->{request}, job => $w->{job}};
            }
            $w->{sid} = delete $w->{request};
        }
        my $s = defined $w->{sid} ? $SUBS{$w->{sid}} : undef;
        if ($s) {
            $s->{woken} = 0 if $gone || $w->{text} =~ /e/;
            push_output($s);
        }
        $w->{text} = '' unless $w->{request};
        delete $WAKES{fileno $w->{file}} if $gone;
    }

    # Counts only once the ledger says so: the answer waits for the end of the job.
    sub cancel {
        my ($q) = @_;
        check_job($q->{job});
        my $ticket = ticket_of($q);
        my $lock = take_fence($q->{job}, $ticket);
        my $dir = "$STATE/jobs/$q->{job}";
        place_cancelled($q->{job}, $ticket) unless -d $dir;
        # Nobody reads orders before the start is recorded: whoever has L1 first decides.
        cancel_unstarted($dir) unless has_started($dir);
        my @verdict = verdict($q->{job});
        if ($verdict[1] eq 'running') {
            # A pipe into the supervisor, which is there as long as it lives; no process number is trusted.
            if (sysopen(my $control, "$dir/control", O_WRONLY | O_NONBLOCK | O_NOFOLLOW)) { syswrite $control, "cancel $q->{grace}\n" }
        } elsif ($verdict[1] eq 'orphan') {
            kill 'TERM', map { $$_[0] } open_by("$dir/L2");
        } else {
            return reply($q->{id}, @verdict);
        }
        push @WAITS, {id => $q->{id}, job => $q->{job}, kill_at => $verdict[1] eq 'orphan' ? mono_ms() + $q->{grace} : undef};
    }

    sub check_waits {
        my @still;
        for my $w (@WAITS) {
            my @verdict = verdict($w->{job});
            if ($verdict[1] !~ /^(running|orphan)\z/) { reply($w->{id}, @verdict); next }
            if (defined $w->{kill_at} && mono_ms() >= $w->{kill_at}) { kill 'KILL', map { $$_[0] } open_by("$STATE/jobs/$w->{job}/L2"); $w->{kill_at} += 500 }
            push @still, $w;
        }
        @WAITS = @still;
    }

    sub handle {
        my ($body) = @_;
        my @pairs = unpack_pairs($body);
        my %q = @pairs;
        my $handler = $HANDLERS{$q{verb}};
        eval { $handler or refuse('bad-verb', message => $q{verb}); $handler->(\%q, @pairs); 1 } or reply_error($q{id}, $@);
    }

    # Spare slots are made by a child, while nobody waits.
    sub fill_slots {
        opendir(my $d, "$STATE/slots") or return;
        my $spare = grep { /^\d/ } readdir $d;
        closedir $d;
        return if $spare >= 8;
        my $pid = fork;
        return if !defined $pid || $pid;
        leave_server();
        eval { make_slot() for $spare + 1 .. 16; sync_dir("$STATE/slots") };
        POSIX::_exit(0);
    }

    sub serve {
        my ($nonce, $state) = @_;
        $SIG{PIPE} = 'IGNORE';
        # Children are reaped by the kernel; a supervisor resets this for its own.
        $SIG{CHLD} = 'IGNORE';
        umask 077;
        $BOOT_FILE = defined $ENV{REPRISE_BOOT_ID_FILE} ? $ENV{REPRISE_BOOT_ID_FILE} : '/proc/sys/kernel/random/boot_id';
        $FAILPOINT = defined $ENV{REPRISE_FAILPOINT} ? $ENV{REPRISE_FAILPOINT} : '';
        $main::SHA = eval { require Digest::SHA; 1 };
        my $home = defined $ENV{HOME} ? $ENV{HOME} : (getpwuid $>)[7];
        $state = $> == 0 ? '/var/lib/reprise' : (defined $ENV{XDG_STATE_HOME} && $ENV{XDG_STATE_HOME} =~ m{^/} ? $ENV{XDG_STATE_HOME} : "$home/.local/state") . '/reprise' if $state eq '';
        syswrite STDOUT, "\x01reprise-ledger-$nonce\n";
        if (eval { open_state($state); 1 }) { reply(0, state => $STATE) } else { reply_error(0, $@) }
        fill_slots() if defined $STATE && -d "$STATE/slots";
        fcntl(STDOUT, F_SETFL, O_WRONLY | O_NONBLOCK);
        my ($open, $handled) = (1, 0);
        while ($open) {
            my ($r, $w) = ('', '');
            vec($r, 0, 1) = 1 if length $OUT < 4 << 20;
            vec($r, $_, 1) = 1 for keys %WAKES;
            vec($w, 1, 1) = 1 if $OUT ne '';
            my $polls = @WAITS || grep { !$_->{woken} } values %SUBS;
            if ($OUT ne '') {
                my $n = syswrite STDOUT, $OUT, 262144;
                if (defined $n) { substr($OUT, 0, $n) = ''; next if $OUT ne '' && 0; }
                elsif (!$!{EAGAIN} && !$!{EINTR}) { last }
                vec($w, 1, 1) = $OUT ne '' ? 1 : 0;
            }
            my $n = select($r, $w, undef, $polls ? 0.02 : $handled >= 4 ? 0.05 : undef);
            if ($n == 0 && $handled) { fill_slots(); $handled = 0 }
            if ($n > 0) {
                for my $fd (keys %WAKES) { woken($WAKES{$fd}) if vec($r, $fd, 1) }
                if (vec($r, 0, 1)) {
                    my $n = sysread(STDIN, $IN, 262144, length $IN);
                    $open = 0 if defined $n && $n == 0 || !defined $n && !$!{EINTR} && !$!{EAGAIN};
                    while (length $IN >= 4) {
                        my $size = unpack 'N', $IN;
                        if ($size > 64 << 20) { $open = 0; last }
                        last if length $IN < 4 + $size;
                        my $body = substr($IN, 4, $size);
                        substr($IN, 0, 4 + $size) = '';
                        handle($body);
                        $handled++;
                    }
                }
            }
            for my $s (values %SUBS) { push_output($s) if !$s->{woken} || ($s->{open} && $n > 0 && vec($w, 1, 1)) }
            check_waits() if @WAITS;
        }
    }
    1;
    """#
