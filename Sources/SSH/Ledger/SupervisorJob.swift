/// The second part: how a job is put in place, started, watched and ended.
///
/// The order, which `strace` checks in a test: spec and preallocated result are flushed, the directory is renamed into place and
/// its parent flushed; the start is recorded under L1 and flushed; then exec. The result is written in place and flushed,
/// renamed, and the directory flushed.
let supervisorJobSource = #"""
    # Directories whose files exist and are flushed already, so that a job costs two flushes and not eight to put in place.
    sub make_slot {
        my $slot = "$STATE/slots/" . fresh_name();
        my $temporary = "$STATE/tmp/" . fresh_name();
        mkdir($temporary, 0700) or refuse_errno("create $temporary");
        my $ok = eval {
            for my $file (['spec', 4096], ['started', 512], ['result.pre', $RESULT_BYTES], ['L1', 0], ['L2', 0], ['stdout', 0], ['stderr', 0]) {
                my ($name, $bytes) = @$file;
                sysopen(my $f, "$temporary/$name", O_WRONLY | O_CREAT | O_EXCL, 0600) or refuse_errno("create $name");
                if ($bytes) {
                    write_all($f, "\0" x $bytes) or refuse_errno("preallocate $name");
                    $f->sync or refuse_errno("preallocate $name");
                }
            }
            POSIX::mkfifo("$temporary/control", 0600) or refuse_errno('create control');
            sync_dir($temporary);
            1;
        };
        if (!$ok) { my $error = $@; remove_tree($temporary); die $error; }
        rename($temporary, $slot) or refuse_errno("rename to $slot");
        return $slot;
    }

    sub remove_tree {
        my ($dir) = @_;
        opendir(my $d, $dir) or return;
        for my $name (readdir $d) { unlink "$dir/$name" unless $name eq '.' || $name eq '..'; }
        closedir $d;
        rmdir $dir;
    }

    # A slot is taken by renaming it: two that want the same one cannot both succeed.
    sub take_slot {
        opendir(my $d, "$STATE/slots") or refuse_errno("read $STATE/slots");
        for my $name (sort grep { /^\d/ } readdir $d) {
            my $mine = "$STATE/tmp/" . fresh_name();
            return $mine if rename("$STATE/slots/$name", $mine);
        }
        closedir $d;
        my $slot = make_slot();
        my $mine = "$STATE/tmp/" . fresh_name();
        rename($slot, $mine) or refuse_errno("rename $slot");
        return $mine;
    }

    sub check_job { $_[0] =~ /^[a-z0-9][a-z0-9-]{0,39}\.[a-z0-9][a-z0-9_-]{0,59}\.[1-9]\d{0,8}(\.[a-z0-9][a-z0-9_-]{0,59})?\z/ or refuse('bad-name', message => 'job') }

    # The ticket is the newest one of the job's run, and stays it as long as the host lock is held, which is returned.
    sub take_fence {
        my ($id, $t) = @_;
        index($id, "$t->{run}.") == 0 or refuse('bad-name', message => 'the ticket is for another run');
        my $seen = fence_of($t->{run});
        if (!$seen || $seen->{fence} != $t->{fence}) { my $lock = host_lock(LOCK_EX); announce($t); close $lock; }
        my $lock = host_lock(LOCK_SH);
        check_fence($t);
        return $lock;
    }

    our @OWNED;

    # Puts a job's directory in place under the host lock, which it returns: held on until the start is recorded, so that no
    # newer fence can come between. Environment values and standard input never reach the disk.
    sub place_job {
        my ($job) = @_;
        my $id = $job->{job};
        check_job($id);
        my $t = $job->{ticket};
        my $lock = take_fence($id, $t);
        my $dir = "$STATE/jobs/$id";
        my $new = 0;
        if (!-d $dir) {
            refuse_superseded($id);
            my $slot = take_slot();
            write_spec(
                $slot, job => $id, spec => $job->{spec}, ticket_fields($t),
                kind => $job->{kind}, script => $job->{kind} eq 'shell' ? $job->{script} : join("\0", @{$job->{argv}}),
                user => $job->{user}, directory => $job->{directory}, timeout => $job->{timeout}, limit => $job->{limit},
                environment => join(' ', sort map { $$_[0] } @{$job->{env}}), at => wall_ms(), boot => boot_id());
            $new = put_in_place($slot, $dir);
        }
        if (!$new) {
            # Cancelled, perhaps before it came: that is the answer, whatever it is.
            my $result = read_record("$dir/result");
            return ($lock, 0) if $result && $result->{cancelled};
            my $spec = read_record("$dir/spec") or refuse('spec-damaged', message => $dir);
            refuse('spec-differs', stored => $spec->{spec}) if $spec->{spec} ne $job->{spec};
            refuse_superseded($id) unless $result || has_started($dir);
        }
        return ($lock, $new);
    }

    # A later attempt of the same step is not joined by an earlier one whose request was long under way. What is undone has
    # attempts of its own.
    sub refuse_superseded {
        my ($run, $step, $attempt, $part) = split /\./, $_[0];
        for my $other (job_names($run)) {
            my (undef, $name, $number, $its) = split /\./, $other;
            refuse('superseded', message => $other) if $name eq $step && $number > $attempt && is_undo($its) == is_undo($part);
        }
    }
    sub is_undo { return defined $_[0] && $_[0] =~ /^undo/ ? 1 : 0 }

    sub ticket_fields { my ($t) = @_; return map { ($_ => $t->{$_}) } qw(run fence holder operator sequence head) }

    sub write_spec {
        my ($slot, @pairs) = @_;
        sysopen(my $f, "$slot/spec", O_WRONLY | O_NOFOLLOW) or refuse_errno("open $slot/spec");
        my $ok = write_all($f, record_text(@pairs)) && $f->sync;
        if (!$ok) { my $saved = $!; remove_tree($slot); $! = $saved; refuse_errno("write $slot/spec"); }
        close $f;
    }

    # - Returns 0 where another was quicker.
    sub put_in_place {
        my ($slot, $dir) = @_;
        if (rename($slot, $dir)) { sync_dir("$STATE/jobs"); return 1 }
        my $saved = $!;
        remove_tree($slot);
        return 0 if -d $dir;
        $! = $saved;
        refuse_errno("rename to $dir");
    }

    # Puts down as cancelled what never came here, under the host lock: a request to start it that comes yet finds this. Whole or
    # not at all: its spec, of nothing, and its result are flushed before it is renamed into place.
    sub place_cancelled {
        my ($id, $t) = @_;
        my $slot = take_slot();
        write_spec(
            $slot, job => $id, spec => '', ticket_fields($t), (map { ($_ => '') } qw(kind script user directory timeout limit environment)),
            at => wall_ms(), boot => boot_id());
        eval { write_cancelled($slot); 1 } or do { my $error = $@; remove_tree($slot); die $error };
        put_in_place($slot, "$STATE/jobs/$id");
    }

    # The same for what came and has not been started, unless somebody is about to start it.
    sub cancel_unstarted {
        my ($dir) = @_;
        local @OWNED;
        own("$dir/L1", $dir) && !has_started($dir) && !-e "$dir/result" or return;
        write_cancelled($dir);
    }

    sub write_cancelled {
        my ($dir) = @_;
        my $now = wall_ms();
        write_result($dir, record_text('timed-out' => 0, cancelled => 1, started => $now, ended => $now, duration => 0, boot => boot_id()));
    }

    sub failpoint { kill 'KILL', $$ if $FAILPOINT eq $_[0] }

    # The supervisor of one job: a process of its own session, with nothing of the server but the host lock and a pipe to it.
    # One fork is enough to detach: the server ignores its children, and lives shorter.
    sub start_supervisor {
        my ($job, $lock) = @_;
        pipe(my $from, my $wake) or refuse_errno('pipe');
        my $pid = fork;
        defined $pid or refuse_errno('fork');
        if ($pid) { close $wake; close $lock; return $from; }
        $SIG{$_} = 'DEFAULT' for qw(CHLD TERM INT HUP);
        $SIG{PIPE} = 'IGNORE';
        POSIX::setsid();
        close $from;
        leave_server();
        chdir '/';
        eval { supervise($job, $lock, $wake); 1 } or do {
            my $error = $@;
            my $text = ref $error ? "$error->{code} @{$error->{fields}}" : $error;
            # Whoever reads this may look at once: nothing must seem to run any more.
            close $_ for @OWNED, $lock;
            syswrite $wake, 'x' . substr($text, 0, 1000);
        };
        POSIX::_exit(0);
    }

    # In a child of the server: lets go of all that is the server's. Perl counts the users of each descriptor: one that was
    # closed behind its back would be kept open by a later close of whatever got its number.
    sub leave_server {
        close $_->{file} for values %main::WAKES;
        %main::WAKES = ();
        open(STDIN, '<', '/dev/null') or POSIX::_exit(1);
        open(STDOUT, '>', '/dev/null') or POSIX::_exit(1);
        open(STDERR, '>', '/dev/null') or POSIX::_exit(1);
    }

    sub supervise {
        my ($job, $lock, $wake) = @_;
        my $dir = "$STATE/jobs/$job->{job}";
        # An 'l' says that another one was quicker.
        my $l1 = own("$dir/L1", $dir) or return syswrite $wake, 'l';
        return syswrite $wake, 'l' if has_started($dir) || -e "$dir/result";
        my $l2 = own("$dir/L2", $dir) or return;
        my ($uid, $gid, $groups, $home, $user) = account($job->{user});
        my $script = $job->{kind} eq 'shell' ? put_script($dir, $job->{script}) : undef;
        sysopen(my $control, "$dir/control", O_RDWR | O_NONBLOCK | O_NOFOLLOW) or refuse_errno('open control');
        sysopen(my $started, "$dir/started", O_WRONLY | O_NOFOLLOW) or refuse_errno('open started');
        my ($wall, $mono, $boot) = (wall_ms(), mono_ms(), boot_id());
        failpoint('before-started');
        write_all($started, record_text(boot => $boot, at => $wall, fence => $job->{ticket}{fence}, holder => $job->{ticket}{holder}))
            or refuse_errno('write started');
        $started->sync or refuse_errno('flush started');
        close $started;
        close $lock;
        failpoint('after-started');
        syswrite $wake, 's';

        my %child = (l2 => $l2, uid => $uid, gid => $gid, groups => $groups, home => $home, user => $user, script => $script);
        my $run = spawn($job, \%child);
        close $l2; undef $child{l2};
        @OWNED = ($l1);
        my $end = watch($job, $run, $dir, $control, $wake, $mono);
        sync_output($dir, $end);
        failpoint('before-result');
        my $text = record_text(
            (defined $end->{exit} ? (exit => $end->{exit}) : ()), (defined $end->{signal} ? (signal => $end->{signal}) : ()),
            'timed-out' => $end->{timed_out} ? 1 : 0, cancelled => $end->{cancelled} ? 1 : 0,
            started => $wall, ended => wall_ms(), duration => mono_ms() - $mono, boot => $boot,
            (map { ("$_-bytes" => $end->{$_}{total}, "$_-kept" => $end->{$_}{kept}, "$_-lost" => $end->{$_}{lost},
                    "$_-sha256" => $end->{$_}{sha} ? $end->{$_}{sha}->hexdigest : '') } qw(stdout stderr)),
            'exec-error' => $end->{exec_error}, 'left-behind' => join("\0", @{$end->{left_behind}}));
        write_result($dir, $text);
        syswrite $wake, 'e';
    }

    sub write_result {
        my ($dir, $text) = @_;
        sysopen(my $f, "$dir/result.pre", O_WRONLY | O_NOFOLLOW) or refuse_errno('open result');
        write_all($f, substr($text, 0, $RESULT_BYTES)) or refuse_errno('write result');
        $f->sync or refuse_errno('flush result');
        close $f;
        rename("$dir/result.pre", "$dir/result") or refuse_errno('rename result');
        sync_dir($dir);
    }

    # A lock for as long as the process lives, or until the caller closes it. A probe may hold it for an instant.
    sub own {
        my ($path, $dir) = @_;
        sysopen(my $f, $path, O_RDWR | O_NOFOLLOW) or refuse_errno("open $path");
        for (1 .. 200) {
            if (flock($f, LOCK_EX | LOCK_NB)) { push @OWNED, $f; return $f }
            return undef if has_started($dir);
            pause(0.005);
        }
        return undef;
    }

    # The user that a job runs as: ids, all groups, home.
    sub account {
        my ($name) = @_;
        my @entry = defined $name && $name ne '' ? getpwnam($name) : getpwuid($>);
        refuse('no-user', message => $name) unless @entry;
        my ($user, $uid, $gid, $home) = @entry[0, 2, 3, 7];
        refuse('not-root', message => $name) if $uid != $> && $> != 0;
        my @groups = ($gid);
        if ($> == 0 && $uid != 0) {
            setgrent();
            while (my @group = getgrent()) { push @groups, $group[2] if grep { $_ eq $user } split ' ', $group[3]; }
            endgrent();
        }
        return ($uid, $gid, \@groups, $home, $user);
    }

    # Inside a folder that nobody else can enter; another user's shell gets it as an open file.
    sub put_script {
        my ($dir, $text) = @_;
        unlink "$dir/script";
        sysopen(my $f, "$dir/script", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0444) or refuse_errno('create script');
        write_all($f, $text) or refuse_errno('write script');
        chmod(0444, $f) or refuse_errno('open script to its user');
        close $f;
        sysopen(my $r, "$dir/script", O_RDONLY | O_NOFOLLOW) or refuse_errno('open script');
        return $r;
    }

    sub spawn {
        my ($job, $child) = @_;
        my %run;
        pipe($run{stdout}, my $out) or refuse_errno('pipe');
        pipe($run{stderr}, my $err) or refuse_errno('pipe');
        my ($in, $feed);
        if (defined $job->{stdin}) { pipe($in, $feed) or refuse_errno('pipe') }
        else { open($in, '<', '/dev/null') or refuse_errno('open /dev/null') }
        pipe(my $said, my $say) or refuse_errno('pipe');
        my $pid = fork;
        defined $pid or refuse_errno('fork');
        if (!$pid) {
            eval { become_job($job, $child, $in, $out, $err, $run{stdout}, $run{stderr}) };
            syswrite $say, ref $@ ? "$@->{code}: $@->{fields}[1]" : $@ || "$!";
            POSIX::_exit(127);
        }
        close $_ for $in, $out, $err, $say;
        my $trouble = '';
        1 while sysread($said, $trouble, 4096, length $trouble);
        $run{pid} = $pid;
        $run{exec_error} = $trouble;
        $run{feed} = $feed;
        $run{input} = $job->{stdin};
        # An end of the process that can be waited for together with its output; without it (Linux before 5.3) it is looked for.
        my $handle = syscall(434, $pid, 0);
        if ($handle >= 0) { open($run{exit}, '<&=', $handle) or undef $run{exit} }
        fcntl($run{$_}, F_SETFL, O_NONBLOCK) for qw(stdout stderr);
        fcntl($feed, F_SETFL, O_WRONLY | O_NONBLOCK) if $feed;
        return \%run;
    }

    # In the child: everything up to exec.
    sub become_job {
        my ($job, $child, $in, $out, $err, @readers) = @_;
        POSIX::setsid();
        # Ignored and blocked signals would stay so across exec.
        POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);
        $SIG{$_} = 'DEFAULT' for qw(PIPE CHLD HUP INT QUIT TERM);
        POSIX::dup2(fileno $in, 0); POSIX::dup2(fileno $out, 1); POSIX::dup2(fileno $err, 2);
        # L2 goes to the whole process tree. So do the reading ends of its output: if the supervisor is killed, the tree is not
        # killed by SIGPIPE in the middle of its work.
        for my $f ($child->{l2}, @readers) { fcntl($f, F_SETFD, 0) }
        my @argv = @{$job->{argv} || []};
        if ($job->{kind} eq 'shell') {
            fcntl($child->{script}, F_SETFD, 0);
            @argv = ('/bin/sh', '-eu', $> == $child->{uid} ? "$STATE/jobs/$job->{job}/script" : '/dev/fd/' . fileno $child->{script});
            close $child->{script} if $> == $child->{uid};
        }
        umask 022;
        if ($> != $child->{uid}) {
            $) = join ' ', $child->{gid}, @{$child->{groups}};
            POSIX::setgid($child->{gid}) or refuse_errno('setgid');
            POSIX::setuid($child->{uid}) or refuse_errno('setuid');
            $< == $child->{uid} && $> == $child->{uid} or refuse('system', message => 'the user did not change');
        }
        my $directory = $job->{directory};
        if (defined $directory && $directory ne '') { chdir $directory or refuse_errno("enter $directory") }
        else { chdir $child->{home} or chdir '/' }
        %ENV = (
            PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME => $child->{home}, USER => $child->{user},
            LOGNAME => $child->{user}, SHELL => '/bin/sh', LANG => 'C.UTF-8');
        $ENV{$$_[0]} = $$_[1] for @{$job->{env}};
        no warnings 'exec';
        exec { $argv[0] } @argv or refuse_errno("execute $argv[0]");
    }

    # Until the process has ended and its output is read: keeps the output, feeds the input, minds time and orders.
    sub watch {
        my ($job, $run, $dir, $control, $wake, $begun) = @_;
        my %end = (exec_error => $run->{exec_error}, left_behind => []);
        for my $name (qw(stdout stderr)) {
            sysopen(my $f, "$dir/$name", O_WRONLY | O_APPEND | O_NOFOLLOW) or refuse_errno("open $name");
            $end{$name} = {file => $f, total => 0, kept => 0, lost => 0, limit => $job->{limit}, sha => $main::SHA ? Digest::SHA->new(256) : undef};
        }
        my $deadline = $job->{timeout} ne '' ? $begun + $job->{timeout} : undef;
        my ($grace, $kill_at, $exited, $linger_until, $next_look) = ($job->{grace}, undef, 0, undef, 0);
        my $fed = 0;
        while (1) {
            my $now = mono_ms();
            if (!$exited && defined $deadline && $now >= $deadline && !$end{timed_out} && !$end{cancelled}) {
                $end{timed_out} = 1; kill 'TERM', -$run->{pid}; $kill_at = $now + $grace;
            }
            if (!$exited && defined $kill_at && $now >= $kill_at) { kill 'KILL', -$run->{pid}; $kill_at = $now + 1000; }
            if (!$exited && !$run->{exit} || $exited == 0 && $next_look) {
                my $done = waitpid($run->{pid}, POSIX::WNOHANG());
                if ($done == $run->{pid}) { $exited = 1; note_exit(\%end, $?) }
                $next_look = 0;
            }
            if ($exited && !defined $linger_until) { $linger_until = $now + $job->{linger} }
            if ($exited) {
                last if !$run->{stdout} && !$run->{stderr} && !is_held("$dir/L2");
                if ($now >= $linger_until) { $end{left_behind} = [holders_of("$dir/L2")]; drain($run, \%end, $wake); last; }
            }
            my ($r, $w) = ('', '');
            for my $name (qw(stdout stderr exit)) { vec($r, fileno $run->{$name}, 1) = 1 if $run->{$name} && !($name eq 'exit' && $exited) }
            vec($r, fileno $control, 1) = 1;
            vec($w, fileno $run->{feed}, 1) = 1 if $run->{feed};
            my $wait = $exited ? 0.02 : $run->{exit} ? 3600 : 0.02;
            for my $at ($exited ? () : ($end{timed_out} || $end{cancelled} ? () : $deadline, $kill_at)) {
                next unless defined $at;
                my $left = ($at - $now) / 1000;
                $wait = $left if $left < $wait;
            }
            $wait = 0.001 if $wait < 0.001;
            my $n = select($r, $w, undef, $wait);
            next if $n <= 0;
            if ($run->{exit} && !$exited && vec($r, fileno $run->{exit}, 1)) {
                # Members of the group are ended before the leader is reaped: until then its number cannot be another's.
                kill 'KILL', -$run->{pid} if $end{timed_out} || $end{cancelled};
                $next_look = 1;
            }
            for my $name (qw(stdout stderr)) {
                take($run, \%end, $name, $wake) if $run->{$name} && vec($r, fileno $run->{$name}, 1);
            }
            if ($run->{feed} && vec($w, fileno $run->{feed}, 1)) { $fed = feed($run, $fed) }
            if (vec($r, fileno $control, 1)) {
                sysread($control, my $order, 4096);
                if (!$exited && defined $order && $order =~ /cancel (\d+)\n/ && !$end{cancelled}) {
                    $end{cancelled} = 1; kill 'TERM', -$run->{pid}; $kill_at = mono_ms() + $1;
                }
            }
        }
        return \%end;
    }

    sub note_exit {
        my ($end, $status) = @_;
        if ($end->{exec_error} ne '') { $end->{exit} = 127 }
        elsif ($status & 127) { $end->{signal} = $status & 127 }
        else { $end->{exit} = $status >> 8 }
    }

    sub feed {
        my ($run, $fed) = @_;
        my $n = 0;
        $n = syswrite($run->{feed}, $run->{input}, 65536, $fed) if $fed < length $run->{input};
        $fed += $n if defined $n;
        my $failed = $fed < length $run->{input} && !defined $n && !$!{EAGAIN} && !$!{EINTR};
        if ($failed || $fed >= length $run->{input}) { close $run->{feed}; undef $run->{feed}; undef $run->{input}; }
        return $fed;
    }

    # Keeps the beginning of a stream, and counts the rest. What a full disk does not take is counted as lost.
    sub take {
        my ($run, $end, $name, $wake) = @_;
        my $stream = $end->{$name};
        my $n = sysread($run->{$name}, my $data, 262144);
        if (!defined $n) { return if $!{EAGAIN} || $!{EINTR}; $n = 0 }
        if ($n == 0) { close $run->{$name}; undef $run->{$name}; return; }
        $stream->{total} += $n;
        $stream->{sha}->add($data) if $stream->{sha};
        my $room = $stream->{limit} - $stream->{kept} - $stream->{lost};
        return if $room <= 0;
        my $part = $n > $room ? substr($data, 0, $room) : $data;
        my $written = $stream->{lost} ? 0 : syswrite($stream->{file}, $part);
        $written = 0 unless defined $written;
        $stream->{kept} += $written;
        $stream->{lost} += length($part) - $written;
        if ($written && $wake) { fcntl($wake, F_SETFL, O_WRONLY | O_NONBLOCK); syswrite $wake, 'o'; }
    }

    # What is in the pipes now; their writers live on elsewhere.
    sub drain {
        my ($run, $end, $wake) = @_;
        for my $name (qw(stdout stderr)) {
            for (1 .. 16) {
                last unless $run->{$name};
                my $before = $end->{$name}{total};
                take($run, $end, $name, $wake);
                last if $end->{$name}{total} == $before;
            }
        }
    }

    sub sync_output {
        my ($dir, $end) = @_;
        for my $name (qw(stdout stderr)) { $end->{$name}{file}->sync if $end->{$name}{kept}; }
    }

    """#
