extension HashProgram {
    /// Perl: expected content, from an archive.
    static let archive = ##"""
        # Expected content: an archive of pg_dump in any of its formats, also inside gzip, zstd or xz.
        sub head_of {
            my ($handle) = @_;
            binmode $handle;
            my $head = '';
            while (length $head < 512) { last unless sysread $handle, $head, 512 - length $head, length $head }
            return $head;
        }

        sub kind_of {
            my ($head) = @_;
            return 'custom' if substr($head, 0, 5) eq 'PGDMP';
            return 'tar' if length $head >= 262 && substr($head, 257, 5) eq 'ustar' && substr($head, 0, 8) eq "toc.dat\0";
            return 'gzip' if substr($head, 0, 2) eq "\x1f\x8b";
            return 'zstd' if substr($head, 0, 4) eq "\x28\xb5\x2f\xfd";
            return 'xz' if substr($head, 0, 6) eq "\xfd7zXZ\0";
            return 'plain' if $head =~ /\A(?:\s|--|\\restrict |SET )/ && $head !~ /\0/;
            fail('not-an-archive', 'this is no archive of pg_dump (neither custom, directory or tar format nor plain SQL)');
        }

        sub start {
            my ($what, @command) = @_;
            # Debian's pg_restore looks for a cluster to serve where no host is given, and fails beside one that is being made.
            local $ENV{PGHOST} = $ENV{PGHOST} // '';
            my $pid = open my $handle, '-|', @command;
            fail('program-missing', "cannot run $command[0]: $!") unless $pid;
            binmode $handle;
            return $handle;
        }

        # What says nothing about the archive must not be taken for damage: an older one would be restored for nothing.
        sub finish {
            my ($handle, $what) = @_;
            return if close $handle;
            my ($signal, $status) = ($? & 127, $? >> 8);
            fail('program-killed', "$what was ended by signal $signal before it had read the archive to its end; the kernel does so where memory is short")
                if grep { $signal == $_ } 1, 2, 9, 15;
            fail('program-missing', "$what does not run on this host (its own message is in the log)") if $what eq 'pg_restore' && !runs($OPTION{pg_restore});
            fail('archive-damaged', "$what ended with " . ($signal ? "signal $signal" : "status $status") . ': the archive is cut off or damaged (its own message is in the log)');
        }

        sub runs {
            my ($program) = @_;
            my $said = start('--version', $program, '--version');
            1 while sysread $said, my $rest, 1 << 16;
            return close $said;
        }

        sub wrapped_command { return {gzip => ['gzip', '-dc'], zstd => ['zstd', '-dcq'], xz => ['xz', '-dc']}->{$_[0]} }

        sub read_archive {
            my ($file) = @_;
            return read_seekable($file, 'directory') if -d $file && !$OUTLINE;
            open my $handle, '<', $file or fail('archive-missing', "cannot open the archive: $!");
            my $kind = kind_of(head_of($handle));
            fail('not-plain', 'only plain SQL dumps have an outline; other archives have a table of contents') if $OUTLINE && $kind =~ /custom|tar/;
            if ($kind eq 'plain') {
                sysseek $handle, 0, 0;
                run_workers(1, 1, sub { read_script(new_stream($handle), 'the dump') });
            } elsif (wrapped_command($kind)) { read_wrapped($file, $kind) }
            else { read_seekable($file, $kind) }
        }

        # One pass over schema and data together: what comes from a pipe cannot be read twice.
        sub read_wrapped {
            my ($file, $wrapping) = @_;
            my @unwrap = (@{wrapped_command($wrapping)}, '--', $file);
            my $probe = start($wrapping, @unwrap);
            my $kind = kind_of(head_of($probe));
            close $probe;
            fail('not-an-archive', "an archive of the format $kind inside $wrapping cannot be read from a pipe: unwrap it first") if $kind ne 'plain' && $kind ne 'custom';
            run_workers(1, 1, sub {
                my $unwrapped = start($wrapping, @unwrap);
                my $source = $unwrapped;
                if ($kind eq 'custom') {
                    open my $own, '<&', \*STDIN;
                    open STDIN, '<&', $unwrapped;
                    $source = start('pg_restore', $OPTION{pg_restore}, '-f', '-');
                    open STDIN, '<&', $own if $own;
                }
                read_script(new_stream($source, $kind eq 'custom' ? 'pg_restore' : ''), 'the archive');
                # To its end, so that the decompressor checks its own checksum.
                1 while sysread $unwrapped, my $rest, 1 << 16;
                finish($unwrapped, $wrapping);
            });
        }

        # pg_restore was seen to loop for ever on a tar file that was cut off, so its members are walked first.
        sub check_tar {
            my ($file) = @_;
            open my $handle, '<', $file or fail('archive-missing', "cannot open the archive: $!");
            binmode $handle;
            my ($size, $at) = (-s $handle, 0);
            while (1) {
                sysseek $handle, $at, 0;
                my $header = '';
                while (length $header < 512) { last unless sysread $handle, $header, 512 - length $header, length $header }
                fail('archive-damaged', 'the tar file is cut off') if length $header < 512;
                return if $header !~ /[^\0]/; # the end mark
                fail('archive-damaged', 'the tar file is damaged') if substr($header, 257, 5) ne 'ustar';
                my $field = substr $header, 124, 12;
                my $bytes = 0;
                if (ord($field) & 0x80) { $bytes = $bytes * 256 + $_ for unpack 'x4 C8', $field }
                else { ($bytes) = $field =~ /\A\s*([0-7]+)/; $bytes = oct($bytes // fail('archive-damaged', 'the tar file is damaged')) }
                $at += 512 + $bytes + (512 - $bytes % 512) % 512;
                fail('archive-damaged', 'the tar file is cut off') if $at > $size;
            }
        }

        sub read_seekable {
            my ($file, $kind) = @_;
            check_tar($file) if $kind eq 'tar';
            my $schema = start('pg_restore', $OPTION{pg_restore}, '--section=pre-data', '-f', '-', '--', $file);
            read_script(new_stream($schema, 'pg_restore'), 'the archive\'s schema');
            my $listing = start('pg_restore', $OPTION{pg_restore}, '--data-only', '-l', '--', $file);
            my @entries = grep { /\A(\d+); / && (!%ONLY || $ONLY{$1}) } <$listing>;
            finish($listing, 'pg_restore');
            my @batches = batches($kind, @entries);
            run_workers($OPTION{jobs}, scalar @batches, sub {
                my ($next) = @_;
                while (defined(my $item = $next->())) {
                    my $list = File::Temp->new(TEMPLATE => 'reprise-list-XXXXXXXX', TMPDIR => 1);
                    print $list @{$batches[$item]};
                    $list->flush;
                    my $data = start('pg_restore', $OPTION{pg_restore}, '--data-only', '-L', $list->filename, '-f', '-', '--', $file);
                    read_script(new_stream($data, 'pg_restore'), 'the archive\'s data');
                }
            });
        }

        # Large tables one by one, the largest first; the small ones together, since each batch costs a start of pg_restore.
        sub batches {
            my ($kind, @entries) = @_;
            return () unless @entries;
            return ([@entries]) if $kind eq 'tar' || $OPTION{jobs} < 2;
            my %weight = %{$OPTION{weight} || {}};
            if (!%weight) {
                my $size = int((@entries + 4 * $OPTION{jobs} - 1) / (4 * $OPTION{jobs}));
                my @result;
                push @result, [splice @entries, 0, $size] while @entries;
                return @result;
            }
            my %bytes = map { my ($id) = /\A(\d+);/; ($_ => $weight{$id} || 0) } @entries;
            my $total = 0;
            $total += $_ for values %bytes;
            my $small = $total / (8 * $OPTION{jobs});
            my @large = sort { $bytes{$b} <=> $bytes{$a} } grep { $bytes{$_} > $small } @entries;
            my @rest = grep { $bytes{$_} <= $small } @entries;
            my @result = map { [$_] } @large;
            my ($batch, $filled) = ([], 0);
            for my $entry (@rest) {
                push @$batch, $entry;
                $filled += $bytes{$entry};
                if ($filled > $small) { push @result, $batch; ($batch, $filled) = ([], 0) }
            }
            push @result, $batch if @$batch;
            return @result;
        }
        """##
}
