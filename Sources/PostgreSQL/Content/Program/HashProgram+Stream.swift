extension HashProgram {
    /// Perl: reading SQL and COPY blocks as pg_dump writes them.
    static let stream = ##"""
        # Reads a stream of SQL and COPY blocks as pg_dump and pg_restore write it.
        my $CHUNK_BYTES = 1 << 20;
        my $OUTLINE = 0; # print the script without its rows, hash nothing

        # $program: who writes it, where that is a program of ours that has to end well.
        sub new_stream {
            my ($handle, $program) = @_;
            fcntl($handle, 1031, $CHUNK_BYTES); # F_SETPIPE_SZ: fewer switches between the two processes; no harm where it is refused
            return {handle => $handle, program => $program, buffer => '', ended => 0};
        }

        # Reads more; false at the end.
        sub fill {
            my ($stream) = @_;
            return 0 if $stream->{ended};
            while (1) {
                my $count = sysread $stream->{handle}, $stream->{buffer}, $CHUNK_BYTES, length $stream->{buffer};
                if (!defined $count) { next if $!{EINTR}; fail('read', "cannot read: $!") }
                $stream->{ended} = 1 if !$count;
                return $count;
            }
        }

        # The next line with its newline; undef at the end. The last line may lack its newline.
        sub next_line {
            my ($stream) = @_;
            my $from = 0;
            while (1) {
                my $at = index $stream->{buffer}, "\n", $from;
                return substr $stream->{buffer}, 0, $at + 1, '' if $at >= 0;
                $from = length $stream->{buffer};
                next if fill($stream);
                return undef if $stream->{buffer} eq '';
                return substr $stream->{buffer}, 0, length $stream->{buffer}, '';
            }
        }

        # Hashes rows up to the line that is just \. ; that line is always there, or the stream was cut off.
        sub read_copy {
            my ($stream, $entry, $plan) = @_;
            my $digest = $OPTION{digest} eq 'stream' && Digest::MD5->new;
            while (1) {
                my $end = substr($stream->{buffer}, 0, 3) eq "\\.\n" ? 0 : index($stream->{buffer}, "\n\\.\n") + 1;
                my $closed = $end > 0 || substr($stream->{buffer}, 0, 3) eq "\\.\n";
                $end = rindex($stream->{buffer}, "\n") + 1 if !$closed;
                if ($end > 0) {
                    my $chunk = substr $stream->{buffer}, 0, $end, '';
                    take_rows($entry, \$chunk, $plan, $digest);
                }
                if ($closed && $OUTLINE) { syswrite_all(\*STDOUT, "\\.\n") }
                if ($closed) {
                    end_block($entry, $digest, !($plan && $plan->{order})) if $digest;
                    substr $stream->{buffer}, 0, 3, '';
                    return;
                }
                progress();
                fill($stream) or cut_off($stream, 'the data of ' . shown($entry->{schema}, $entry->{table}) . ' is cut off');
            }
        }

        sub take_rows {
            my ($entry, $chunk, $plan, $digest) = @_;
            $entry->{bytes} += length $$chunk;
            $BYTES_SEEN += length $$chunk;
            return if $OUTLINE;
            if ($digest) {
                $digest->add($$chunk);
                my $count = $$chunk =~ tr/\n//;
                $entry->{rows} += $count;
                $ROWS_SEEN += $count;
                return;
            }
            my @rows = split /\n/, $$chunk, -1;
            pop @rows; # what follows the last newline: nothing
            if ($plan) {
                normalise_rows(\@rows, $plan->{moments})
                    if $plan->{moments} && $$chunk =~ /:\d\d(?:\.\d+)?[+-](?!00[^:\d])\d\d/;
                normalise_rows(\@rows, $plan->{bytes}) if $plan->{bytes} && $BYTEA ne 'hex';
                if (my $order = $plan->{order}) { @rows = map { join "\t", (split /\t/, $_, -1)[@$order] } @rows }
            }
            add_rows($entry, \@rows);
        }

        # The columns in the table's own order. Partitions that are loaded through their root list its columns in theirs.
        sub canonical {
            my ($key, $columns) = @_;
            my $table = $TABLE{$key} or return $columns;
            my %listed = map { $_ => 1 } @$columns;
            my @ordered = grep { $listed{$_} } @{$table->{order}};
            return @ordered == @$columns ? \@ordered : $columns;
        }

        # What must be done to the rows of a COPY block before they are hashed; undef for nothing.
        sub plan_for {
            my ($entry, $columns) = @_;
            my (@moments, @bytes, %plan);
            my $key = "$entry->{schema}\0$entry->{table}";
            for my $index (0 .. $#$columns) {
                my $shape = column_shape($key, $columns->[$index], 0);
                push @moments, [$index, $shape] if mentions($shape, 'z') || mentions($shape, 'r');
                push @bytes, [$index, $shape] if mentions($shape, 'b');
            }
            $plan{moments} = \@moments if @moments;
            $plan{bytes} = \@bytes if @bytes;
            my @first = @{$entry->{columns}};
            if (join("\0", @first) ne join("\0", @$columns)) {
                # Partitions loaded through their root may list its columns in another order.
                my %position = map { ($columns->[$_] => $_) } 0 .. $#$columns;
                fail('columns-differ', 'the archive holds ' . shown($entry->{schema}, $entry->{table}) . ' twice with different columns')
                    if @first != @$columns || grep { !exists $position{$_} } @first;
                $plan{order} = [map { $position{$_} } @first];
            }
            return %plan ? \%plan : undef;
        }

        my $STRINGS_ESCAPE = 0; # standard_conforming_strings = off

        # Advances the lexical state over a line. Returns true where a statement ended with it.
        sub scan_line {
            my ($state, $line) = @_;
            my $ended = 0;
            pos($line) = 0;
            while (pos($line) < length $line) {
                my $in = $state->{in};
                if ($in eq '') {
                    last unless $line =~ /\G(?:[^'"\$\/\-;Ee\w]|[A-Za-z_\x80-\xff][\w\$\x80-\xff]*'?|\d[\w]*|(\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$)|(')|(")|(--)|(\/\*)|(;)|.)/gcs;
                    my $token = $&;
                    if (defined $1) { $state->{in} = $1 }
                    elsif (defined $2) { $state->{in} = $STRINGS_ESCAPE ? "E'" : "'" }
                    elsif (defined $3) { $state->{in} = '"' }
                    elsif (defined $4) { last }
                    elsif (defined $5) { $state->{in} = '/*' }
                    elsif (defined $6) { $ended = 1; next }
                    elsif ($token =~ /'\z/) { $state->{in} = $token =~ /\A[eE]'\z/ || $STRINGS_ESCAPE ? "E'" : "'" }
                    $ended = 0 if $token =~ /\S/;
                } elsif ($in eq "'") { $line =~ /\G[^']*/gc; $state->{in} = '' if $line =~ /\G'/gc }
                elsif ($in eq "E'") { $line =~ /\G(?:[^'\\]|\\.)*/gcs; $state->{in} = '' if $line =~ /\G'/gc }
                elsif ($in eq '"') { $line =~ /\G[^"]*/gc; $state->{in} = '' if $line =~ /\G"/gc }
                elsif ($in eq '/*') { if ($line =~ /\G.*?\*\//gcs) { $state->{in} = '' } else { last } }
                else {
                    my $at = index $line, $in, pos $line;
                    if ($at < 0) { last }
                    pos($line) = $at + length $in;
                    $state->{in} = '';
                }
            }
            return $ended && $state->{in} eq '';
        }

        # Reads a whole script. $needs_close: the script must end with pg_dump's closing comment.
        sub read_script {
            my ($stream, $what) = @_;
            my ($statement, %state, $closed) = ('', in => '');
            while (defined(my $line = next_line($stream))) {
                syswrite_all(\*STDOUT, $line) if $OUTLINE;
                if ($statement eq '') {
                    if ($line =~ /\A--/) { $closed = 1 if $line =~ /\A-- PostgreSQL database dump complete/; next }
                    next if $line =~ /\A\s*\z/ || $line =~ /\A\\(?:un)?restrict /;
                    $closed = 0;
                    next if $line =~ /\A\\connect /;
                    fail('not-sql', "$what holds a line that pg_dump does not write") if $line =~ /\A\\/;
                }
                $statement .= $line;
                next unless scan_line(\%state, $line);
                take_statement($stream, $statement);
                $statement = '';
            }
            cut_off($stream, "$what is cut off in the middle of a statement") if $statement ne '';
            cut_off($stream, "$what lacks its closing line: it is cut off") if !$closed;
            finish($stream->{handle}, $stream->{program}) if $stream->{program};
        }

        # Where the program that writes the stream says itself that it failed, that is why.
        sub cut_off {
            my ($stream, $message) = @_;
            finish($stream->{handle}, $stream->{program}) if $stream->{program};
            fail('truncated', $message);
        }

        my ($OBJECT, $OBJECT_DIGEST, $OBJECT_BYTES);

        sub take_statement {
            my ($stream, $statement) = @_;
            if ($statement =~ /\ACOPY (.+) FROM stdin;\n\z/s) {
                my $text = $1;
                my ($schema, $table) = qualified(parse_name(\$text));
                my @columns;
                if ($text =~ /\G\s*\(/gc) { do { push @columns, parse_name(\$text) } while $text =~ /\G\s*,/gc }
                my $entry = entry_for($schema, $table, canonical("$schema\0$table", \@columns));
                read_copy($stream, $entry, plan_for($entry, \@columns));
            } elsif ($statement =~ /\AINSERT INTO (.*?)(?: VALUES| \(|\n)/s) {
                fail('inserts', "the data of $1 was dumped as INSERT statements: such archives cannot be verified row by row; dump without --inserts");
            } elsif ($statement =~ /\ASELECT pg_catalog\.setval\('((?:[^']|'')*)', (-?\d+), (true|false)\);/) {
                my ($name, $value, $called) = ($1, $2, $3);
                $name =~ s/''/'/g;
                $SEQUENCE{join "\0", qualified(parse_name(\$name))} = [$value, $called];
            } elsif ($statement =~ /\ASELECT pg_catalog\.lowrite\(\d+, '\\{1,2}x([0-9a-fA-F]*)'\);/) {
                my $content = pack 'H*', $1;
                $OBJECT_DIGEST->add($content);
                $OBJECT_BYTES += length $content;
                $BYTES_SEEN += length $content;
                progress();
            } elsif ($statement =~ /\ASELECT pg_catalog\.lo_open\('(\d+)', \d+\);/) {
                ($OBJECT, $OBJECT_DIGEST, $OBJECT_BYTES) = ($1, Digest::MD5->new, 0);
            } elsif ($statement =~ /\ASELECT pg_catalog\.lo_close\(\d+\);/) {
                add_object($OBJECT, $OBJECT_DIGEST->hexdigest, $OBJECT_BYTES);
                undef $OBJECT_DIGEST;
            } elsif ($statement =~ /\ASET client_encoding = '([^']*)';/) { $ENCODING = $1 }
            elsif ($statement =~ /\ASET standard_conforming_strings = (on|off);/) { $STRINGS_ESCAPE = $1 eq 'off' }
            elsif ($statement =~ /\ASET search_path = (.*), pg_catalog;/) { my $text = $1; ($DEFAULT_SCHEMA) = parse_name(\$text) }
            elsif ($statement =~ /\ACREATE (?:UNLOGGED |FOREIGN )?(?:TABLE|TYPE|DOMAIN) /) { note_definition($statement) }
        }

        sub add_object {
            my ($oid, $digest, $bytes) = @_;
            my %one = (rows => 0, hi => 0, lo => 0);
            add_rows(\%one, ["$oid:$digest"]);
            use integer;
            $OBJECTS{count}++;
            $OBJECTS{$_} += $one{$_} for qw(hi lo);
            $OBJECTS{bytes} += $bytes;
        }
        """##
}
