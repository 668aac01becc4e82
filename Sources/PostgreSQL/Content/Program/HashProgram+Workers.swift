extension HashProgram {
    /// Perl: several processes that share the tables.
    static let workers = ##"""
        # Several processes share the tables; each sends its sums to the parent, which adds them up.
        my $LAST_PROGRESS = 0;
        sub progress {
            return unless $REPORT;
            my $now = Time::HiRes::time();
            return if $now - $LAST_PROGRESS < 0.25;
            $LAST_PROGRESS = $now;
            syswrite_all($REPORT, "P\t$ROWS_SEEN\t$BYTES_SEEN\n");
        }

        sub send_results {
            my $text = '';
            for my $entry (values %RESULT) {
                $text .= join("\t", 'T', (map { escaped($_) } $entry->{schema}, $entry->{table}), @$entry{qw(rows hi lo bytes blocks stream)},
                    map { escaped($_) } @{$entry->{columns}}) . "\n";
            }
            for my $key (keys %SEQUENCE) { $text .= join("\t", 'S', (map { escaped($_) } split(/\0/, $key), @{$SEQUENCE{$key}})) . "\n" }
            $text .= join("\t", 'L', @OBJECTS{qw(count hi lo bytes)}) . "\n";
            $text .= "P\t$ROWS_SEEN\t$BYTES_SEEN\nC\t" . escaped($ENCODING) . "\nD\n";
            syswrite_all($REPORT, $text);
        }

        # Runs $work->($next) in up to $jobs processes; $next->() returns the next of $count item numbers, or undef.
        sub run_workers {
            my ($jobs, $count, $work) = @_;
            $jobs = $count if $jobs > $count;
            return if $jobs < 1;
            pipe my $queue, my $feed or fail('pipe', "no pipe: $!");
            my @workers;
            for my $number (1 .. $jobs) {
                pipe my $from, my $to or fail('pipe', "no pipe: $!");
                my $pid = fork;
                fail('fork', "cannot start a process: $!") unless defined $pid;
                if (!$pid) {
                    close $from; close $feed;
                    close $_->{handle} for @workers;
                    ($REPORT, $LAST_PROGRESS) = ($to, 0);
                    $work->(sub { my $got = sysread $queue, my $item, 4; $got ? unpack('N', $item) : undef });
                    send_results();
                    # Without the destructors of what the parent shares.
                    require POSIX;
                    POSIX::_exit(0);
                }
                close $to;
                push @workers, {handle => $from, pid => $pid, buffer => '', done => 0, rows => 0, bytes => 0};
            }
            close $queue;
            # Item numbers are four bytes each: written and read whole, and never more than a pipe holds.
            syswrite_all($feed, join '', map { pack 'N', $_ } 0 .. $count - 1);
            close $feed;
            gather(\@workers);
        }

        sub gather {
            my ($workers) = @_;
            my $told = Time::HiRes::time();
            while (my @open = grep { $_->{handle} } @$workers) {
                my $wanted = '';
                vec($wanted, fileno $_->{handle}, 1) = 1 for @open;
                next if select(my $ready = $wanted, undef, undef, 1) < 0;
                for my $worker (@open) {
                    next unless vec $ready, fileno $worker->{handle}, 1;
                    my $count = sysread $worker->{handle}, $worker->{buffer}, 1 << 16, length $worker->{buffer};
                    next if !defined $count && $!{EINTR};
                    while ((my $at = index $worker->{buffer}, "\n") >= 0) {
                        my $line = substr $worker->{buffer}, 0, $at + 1, '';
                        chomp $line;
                        take_report($worker, $workers, split /\t/, $line, -1);
                    }
                    if (!$count) {
                        close delete $worker->{handle};
                        waitpid $worker->{pid}, 0;
                        stop_with($workers, 'worker-lost', 'a hashing process ended without its result') if !$worker->{done};
                    }
                }
                if (Time::HiRes::time() - $told >= 0.5) { $told = Time::HiRes::time(); tell_progress($workers) }
            }
            tell_progress($workers);
        }

        sub tell_progress {
            my ($workers) = @_;
            my ($rows, $bytes) = (0, 0);
            $rows += $_->{rows}, $bytes += $_->{bytes} for @$workers;
            syswrite_all(\*STDERR, "{\"progress\":{\"rows\":$rows,\"bytes\":$bytes}}\n");
        }

        sub stop_with {
            my ($workers, $code, $message) = @_;
            for my $worker (grep { $_->{handle} } @$workers) { kill 'TERM', $worker->{pid}; waitpid $worker->{pid}, 0 }
            fail($code, $message);
        }

        sub take_report {
            my ($worker, $workers, $kind, @fields) = @_;
            if ($kind eq 'P') { @$worker{qw(rows bytes)} = @fields }
            elsif ($kind eq 'T') {
                my ($schema, $table) = map { unescaped($_) } splice @fields, 0, 2;
                my %sums;
                @sums{qw(rows hi lo bytes blocks stream)} = splice @fields, 0, 6;
                my @columns = map { unescaped($_) } @fields;
                my $entry = entry_for($schema, $table, \@columns);
                stop_with($workers, 'columns-differ', 'the archive holds ' . shown($schema, $table) . ' twice with different columns')
                    if join("\0", @{$entry->{columns}}) ne join("\0", @columns);
                merge_entry($entry, \%sums);
            } elsif ($kind eq 'S') { $SEQUENCE{join "\0", map { unescaped($_) } @fields[0, 1]} = [@fields[2, 3]] }
            elsif ($kind eq 'L') {
                my %sums; @sums{qw(count hi lo bytes)} = @fields;
                use integer;
                $OBJECTS{$_} += $sums{$_} for keys %sums;
            } elsif ($kind eq 'C') { $ENCODING = unescaped($fields[0]) }
            elsif ($kind eq 'E') { stop_with($workers, unescaped($fields[0]), unescaped($fields[1])) }
            elsif ($kind eq 'D') { $worker->{done} = 1 }
        }

        sub print_results {
            my ($started) = @_;
            my ($rows, $bytes) = (0, 0);
            my $text = '';
            for my $key (sort keys %RESULT) {
                my $entry = $RESULT{$key};
                $rows += $entry->{rows}; $bytes += $entry->{bytes};
                my $digest = $OPTION{digest} eq 'rows' ? sprintf('"hash":"%016x%016x",', @$entry{qw(hi lo)})
                    : $entry->{stream} ne '' ? "\"stream\":\"$entry->{stream}\"," : '';
                $text .= sprintf "{\"table\":%s,\"schema\":%s,\"name\":%s,\"columns\":[%s],%s\"rows\":%d,\"bytes\":%d}\n",
                    json(shown($entry->{schema}, $entry->{table})), json($entry->{schema}), json($entry->{table}),
                    join(',', map { json($_) } @{$entry->{columns}}), $digest, @$entry{qw(rows bytes)};
            }
            for my $key (sort keys %SEQUENCE) {
                my ($schema, $name) = split /\0/, $key;
                $text .= sprintf "{\"sequence\":%s,\"schema\":%s,\"name\":%s,\"value\":%s,\"called\":%s}\n", json(shown($schema, $name)),
                    json($schema), json($name), @{$SEQUENCE{$key}};
            }
            $text .= $_ for @NOTES;
            $text .= sprintf "{\"largeObjects\":%d,\"hash\":\"%016x%016x\",\"bytes\":%d}\n", @OBJECTS{qw(count hi lo bytes)};
            $text .= sprintf "{\"complete\":true,\"tables\":%d,\"rows\":%d,\"bytes\":%d,\"encoding\":%s,\"seconds\":%.3f}\n", scalar(keys %RESULT),
                $rows, $bytes, json($ENCODING), Time::HiRes::time() - $started;
            syswrite_all(\*STDOUT, $text);
        }
        """##
}
