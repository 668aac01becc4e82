extension HashProgram {
    /// Perl: actual content, from a database.
    static let database = ##"""
        # Actual content: the tables that the archive named, all in one snapshot.
        sub open_psql {
            local $ENV{PGCLIENTENCODING} = $ENCODING;
            local $ENV{PGAPPNAME} = $OPTION{application_name} || 'reprise';
            local $ENV{PGCONNECT_TIMEOUT} = $ENV{PGCONNECT_TIMEOUT} || 30;
            my ($from, $to);
            my $pid = eval { IPC::Open2::open2($from, $to, $OPTION{psql}, '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-f', '-') };
            fail('program-missing', "cannot run $OPTION{psql}: $@") unless $pid;
            binmode $from; binmode $to;
            my $session = {pid => $pid, to => $to, stream => new_stream($from)};
            ask($session, map { "SET $_;" } 'TimeZone = ' . literal($OPTION{timezone}), "DateStyle = 'ISO, MDY'", "IntervalStyle = 'postgres'", 'extra_float_digits = 3',
                "bytea_output = 'hex'", 'row_security = off', "search_path = ''", 'statement_timeout = 0', 'lock_timeout = 0',
                'idle_in_transaction_session_timeout = 0', 'synchronize_seqscans = off', 'standard_conforming_strings = on');
            return $session;
        }

        sub ask { my ($session, @lines) = @_; syswrite_all($session->{to}, join '', map { "$_\n" } @lines) }

        # Rows of a query, each a list of fields; undef for NULL.
        sub rows_of {
            my ($session, $query) = @_;
            ask($session, "COPY ($query) TO STDOUT;", "\\echo '\\\\.'");
            my @rows;
            while (1) {
                my $line = next_line($session->{stream});
                database_failed() unless defined $line;
                chomp $line;
                return @rows if $line eq '\\.';
                push @rows, [map { $_ eq '\\N' ? undef : unescaped($_) } split /\t/, $line, -1];
            }
        }

        sub database_failed { fail('database', 'the database session ended early (psql\'s own message is in the log)') }

        sub finish_psql {
            my ($session) = @_;
            close $session->{to};
            1 while sysread $session->{stream}{handle}, my $rest, 1 << 16;
            close $session->{stream}{handle};
            waitpid $session->{pid}, 0;
            database_failed() if $?;
        }

        sub read_database {
            my $leader = open_psql();
            ask($leader, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;');
            my ($snapshot) = map { $_->[0] } rows_of($leader, 'SELECT pg_catalog.pg_export_snapshot()');
            my %relation = map { ("$_->[0]\0$_->[1]" => $_) } rows_of($leader, q{
                SELECT n.nspname, c.relname, c.relkind, c.relpages, (SELECT pg_catalog.string_agg(pg_catalog.replace(a.attname, '/', '//'), '/,' ORDER BY a.attnum)
                    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), c.oid,
                    (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid AND c.relispartition),
                    EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'});
            my @items = wanted_items(\%relation);
            if (!$OPTION{partial}) {
                note_extra($leader, \%relation);
                read_sequences($leader);
            }
            run_workers($OPTION{jobs}, scalar @items, sub {
                my ($next) = @_;
                my $session = open_psql();
                ask($session, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;', 'SET TRANSACTION SNAPSHOT ' . literal($snapshot) . ';');
                while (defined(my $item = $next->())) { $items[$item]->($session) }
                ask($session, 'COMMIT;');
                finish_psql($session);
            });
            ask($leader, 'COMMIT;');
            finish_psql($leader);
        }

        sub wanted_items {
            my ($relation) = @_;
            my @found;
            for my $wanted (@WANTED) {
                my ($schema, $table, @columns) = @$wanted;
                my $known = $relation->{"$schema\0$table"};
                my %present = map { s{//}{/}gr => 1 } split m{/,}, $known ? $known->[4] // '' : '';
                my @missing = grep { !$present{$_} } @columns;
                if (!$known || @missing) {
                    my $reason = $known ? 'has no column ' . join(', ', map { shown($_) } @missing) : 'does not exist';
                    push @NOTES, sprintf("{\"missing\":%s,\"schema\":%s,\"name\":%s,\"reason\":%s}\n", json(shown($schema, $table)), json($schema), json($table), json($reason));
                    next;
                }
                push @found, [$known->[3] < 0 ? 0 : $known->[3], $known->[2], $schema, $table, @columns];
            }
            my @items = map { my $found = $_; sub { hash_table($_[0], @$found) } } sort { $b->[0] <=> $a->[0] } @found;
            push @items, \&hash_objects unless $OPTION{partial};
            return @items;
        }

        sub hash_table {
            my ($session, $pages, $kind, $schema, $table, @columns) = @_;
            my $name = quoted($schema) . '.' . quoted($table);
            my $list = join ', ', map { quoted($_) } @columns;
            # COPY reads no partitions and no foreign tables by itself; of an inheritance parent it reads that table alone, as pg_dump does.
            my $source = $kind eq 'r' ? $name . (@columns ? " ($list)" : '') : "(SELECT $list FROM $name)";
            ask($session, "COPY $source TO STDOUT;", "\\echo '\\\\.'");
            my $entry = entry_for($schema, $table, \@columns);
            read_copy($session->{stream}, $entry, undef);
        }

        # Tables that the archive holds no data of, with what is in them.
        sub note_extra {
            my ($session, $relation) = @_;
            my %by_oid = map { ($_->[5] => $_) } values %$relation;
            for my $key (sort keys %$relation) {
                my ($schema, $table, $kind, undef, undef, undef, $parent, $extension) = @{$relation->{$key}};
                next if $kind ne 'r' || $KNOWN_ROOT{$key} || $extension eq 't';
                my $covered = 0;
                while (defined $parent && $by_oid{$parent}) {
                    $covered = 1 if $KNOWN_ROOT{join "\0", @{$by_oid{$parent}}[0, 1]};
                    $parent = $by_oid{$parent}[6];
                }
                next if $covered;
                my ($row) = rows_of($session, 'SELECT pg_catalog.count(*) FROM ONLY ' . quoted($schema) . '.' . quoted($table));
                push @NOTES, sprintf("{\"extra\":%s,\"schema\":%s,\"name\":%s,\"rows\":%d}\n", json(shown($schema, $table)), json($schema), json($table), $row->[0]);
            }
        }

        sub read_sequences {
            my ($session) = @_;
            my @names = rows_of($session, q{SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind = 'S' AND c.relpersistence <> 't'});
            while (my @some = splice @names, 0, 200) {
                my $query = join ' UNION ALL ', map { "SELECT $_, last_value, is_called FROM " . quoted($some[$_][0]) . '.' . quoted($some[$_][1]) } 0 .. $#some;
                for my $row (rows_of($session, $query)) {
                    $SEQUENCE{"$some[$row->[0]][0]\0$some[$row->[0]][1]"} = [$row->[1], $row->[2] eq 't' ? 'true' : 'false'];
                }
            }
        }

        # Large objects are stored in pages; what is absent between them reads as zeros.
        sub hash_objects {
            my ($session) = @_;
            my ($block) = map { $_->[0] / 4 } rows_of($session, "SELECT pg_catalog.current_setting('block_size')");
            ask($session, q{COPY (SELECT m.oid, l.pageno, pg_catalog.encode(l.data, 'hex') FROM pg_catalog.pg_largeobject_metadata m
                LEFT JOIN pg_catalog.pg_largeobject l ON l.loid = m.oid ORDER BY 1, 2) TO STDOUT;}, "\\echo '\\\\.'");
            my ($oid, $digest, $size);
            while (1) {
                my $line = next_line($session->{stream});
                database_failed() unless defined $line;
                chomp $line;
                my ($next, $page, $data) = $line eq '\\.' ? () : split /\t/, $line, -1;
                if (defined $oid && (!defined $next || $next ne $oid)) { add_object($oid, $digest->hexdigest, $size) }
                last if !defined $next;
                ($oid, $digest, $size) = ($next, Digest::MD5->new, 0) if !defined $oid || $next ne $oid;
                next if $page eq '\\N';
                for (my $gap = $page * $block - $size; $gap > 0;) {
                    my $part = $gap > 1 << 20 ? 1 << 20 : $gap;
                    $digest->add("\0" x $part);
                    $gap -= $part; $size += $part;
                }
                my $content = pack 'H*', $data =~ s/\\n//gr;
                $digest->add($content);
                $size += length $content;
                $BYTES_SEEN += length $content;
            }
        }
        """##
}
