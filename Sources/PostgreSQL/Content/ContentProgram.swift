/// The program that counts and hashes rows on the database host, so that gigabytes need not cross the network.
///
/// Perl with Digest::MD5, which Debian's postgresql-common brings along. A table's hash is a multiset hash: each row's COPY text is
/// hashed with MD5, and the digests are added up as two 64-bit numbers modulo 2^64. The order of rows, which differs from one
/// restore to the next, does not matter; a changed, missing, doubled or additional row does. MD5 guards against damage and
/// mistakes here, not against somebody who makes up rows that collide.
enum ContentProgram {
    static let text = ####"""
        use strict; use warnings; use integer;
        use Digest::MD5 qw(md5);
        use POSIX ();
        $| = 1;
        binmode STDOUT; binmode STDIN;

        my ($mode, @args) = @ARGV;
        my $tz = qr/(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d)(?::(\d\d))?)?( BC)?/;
        my $name = qr/(?:"(?:[^"]|"")*"|[^\s".,()]+)/;
        my %children;
        # Whoever ends this program ends what it started.
        $SIG{TERM} = $SIG{INT} = $SIG{HUP} = sub { kill 'TERM', keys %children; POSIX::_exit(143) };
        $SIG{PIPE} = 'IGNORE';

        sub fail { my ($status, $text) = @_; kill 'TERM', keys %children; print STDERR "$text\n"; POSIX::_exit($status) }

        # A name as written in SQL, without its quotes.
        sub plain { my $n = shift; if ($n =~ s/^"(.*)"$/$1/s) { $n =~ s/""/"/g } return $n }
        sub quote { my $n = shift; $n =~ s/"/""/g; return "\"$n\"" }
        sub json {
            my $v = shift;
            $v =~ s/([\\"])/\\$1/g;
            $v =~ s/([\x00-\x1f])/sprintf '\\u%04x', ord $1/ge;
            return "\"$v\"";
        }

        # ---- timestamptz: the same instant in UTC, as PostgreSQL prints it ----
        sub days { # of the proleptic Gregorian calendar, from 1970-01-01
            my ($y, $m, $d) = @_;
            $y-- if $m <= 2;
            my $era = ($y >= 0 ? $y : $y - 399) / 400;
            my $yoe = $y - $era * 400;
            my $doy = (153 * ($m + ($m > 2 ? -3 : 9)) + 2) / 5 + $d - 1;
            return $era * 146097 + $yoe * 365 + $yoe / 4 - $yoe / 100 + $doy - 719468;
        }
        sub civil {
            my $z = shift() + 719468;
            my $era = ($z >= 0 ? $z : $z - 146096) / 146097;
            my $doe = $z - $era * 146097;
            my $yoe = ($doe - $doe / 1460 + $doe / 36524 - $doe / 146096) / 365;
            my $doy = $doe - (365 * $yoe + $yoe / 4 - $yoe / 100);
            my $mp = (5 * $doy + 2) / 153;
            my $m = $mp < 10 ? $mp + 3 : $mp - 9;
            return ($yoe + $era * 400 + ($m <= 2 ? 1 : 0), $m, $doy - (153 * $mp + 2) / 5 + 1);
        }
        sub utc {
            my ($y, $mo, $d, $h, $mi, $s, $frac, $sign, $oh, $om, $os, $bc) = @_;
            $y = 1 - $y if $bc;
            my $offset = $oh * 3600 + ($om // 0) * 60 + ($os // 0);
            my $t = $h * 3600 + $mi * 60 + $s + ($sign eq '-' ? $offset : -$offset);
            my $shift = $t >= 0 ? $t / 86400 : -((86399 - $t) / 86400);
            $t -= $shift * 86400;
            ($y, $mo, $d) = civil(days($y, $mo, $d) + $shift);
            my $era = $y <= 0 ? ' BC' : '';
            $y = 1 - $y if $y <= 0;
            return sprintf('%04d-%02d-%02d %02d:%02d:%02d%s+00%s', $y, $mo, $d, $t / 3600, $t / 60 % 60, $t % 60, $frac // '', $era);
        }
        sub normalise { # a row of COPY text and the positions of the columns that hold timestamptz
            my ($row, $columns) = @_;
            chomp $row;
            my @fields = split /\t/, $row, -1;
            for my $column (@$columns) { $fields[$column] =~ s/$tz/utc($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)/ge }
            return join("\t", @fields) . "\n";
        }

        # ---- which columns hold timestamptz, from the definitions ----
        my (%tables, %types, %parents);
        sub holds_tz {
            my $type = shift;
            return 1 if $type =~ /timestamp(?:\(\d\))? with time zone|\btstz(?:multi)?range\b/;
            for my $known (keys %types) { return 1 if $types{$known} && index($type, $known) >= 0 }
            return 0;
        }
        sub read_definitions { # lines of SQL, up to the end of the handle or the first COPY block
            my ($line, $state) = @_;
            if (my $open = $$state) {
                if ($line =~ /^\)/) {
                    if ($open->{table} && $line =~ /INHERITS \((.*)\)/) { push @{$parents{$open->{name}}}, map { s/^\s+//r } split /,\s*(?=[^\s])/, $1 }
                    $types{$open->{name}} = 1 if $open->{type} && grep { $_ } values %{$open->{columns}};
                    $$state = undef;
                } elsif ($line =~ /^\t? *($name) (.*)$/ && $1 ne 'CONSTRAINT') {
                    my ($column, $type) = (plain($1), $2);
                    $type =~ s/ (?:DEFAULT|NOT NULL|GENERATED|COLLATE|CHECK)\b.*//;
                    $open->{columns}{$column} = holds_tz($type);
                }
                return;
            }
            if ($line =~ /^CREATE (?:UNLOGGED )?(?:FOREIGN )?TABLE (?:IF NOT EXISTS )?($name\.$name)(?: OF ($name\.$name))? \($/) {
                $$state = { table => 1, name => $1, columns => $tables{$1} = {} };
                push @{$parents{$1}}, $2 if $2;
            } elsif ($line =~ /^CREATE TABLE ($name\.$name) OF ($name\.$name)/) {
                push @{$parents{$1}}, $2; $tables{$1} = {};
            } elsif ($line =~ /^CREATE TYPE ($name\.$name) AS \($/) {
                $$state = { type => 1, name => $1, columns => $tables{$1} = {} };
            } elsif ($line =~ /^CREATE DOMAIN ($name\.$name) AS (.*)$/) {
                $types{$1} = 1 if holds_tz($2 =~ s/ (?:DEFAULT|NOT NULL|CONSTRAINT|COLLATE)\b.*//r);
            } elsif ($line =~ /^CREATE TYPE ($name\.$name) AS RANGE/) {
                $$state = { type => 1, name => $1, columns => {} };
                $$state->{columns}{range} = 1; # a range over what cannot be told from this line: normalising is harmless
            }
        }
        sub column_holds_tz {
            my ($table, $column) = @_;
            return $tables{$table}{$column} if exists $tables{$table} && exists $tables{$table}{$column};
            for my $parent (@{$parents{$table} // []}) { my $found = column_holds_tz($parent, $column); return $found if defined $found }
            return undef;
        }

        # ---- one stream of COPY blocks ----
        # Emits "T\t<json>" for each block, "S…", "L…", and "P\t<rows>" about once a second.
        sub emit { my ($out, $text) = @_; syswrite $out, $text }
        sub hash_rows { # reads rows to the closing line; the columns in @$fix are normalised
            my ($in, $fix, $out) = @_;
            my ($s, $t, $n, $bytes, $a, $b, $reported) = (0, 0, 0, 0, 0, 0, time);
            my $fast;
            if (@$fix) {
                my ($pattern, $at) = ('^', 0);
                for my $column (@$fix) {
                    $pattern .= sprintf('(?:[^\t]*\t){%d}', $column - $at) if $column > $at;
                    $pattern .= '(?:[^\t\n{(\["]*\+00(?: BC)?|\\\\N|-?infinity)[\t\n]';
                    $at = $column + 1;
                }
                $fast = qr/$pattern/;
            }
            while (defined(my $row = <$in>)) {
                if ($row eq "\\.\n") { emit($out, "P\t$n\n"); return ($n, sprintf('%016x%016x', $s, $t), $bytes) }
                $row = normalise($row, $fix) if $fast && $row !~ $fast;
                ($a, $b) = unpack 'q>2', md5 $row;
                $s += $a; $t += $b; $n++; $bytes += length $row;
                if (($n & 0xffff) == 0 && time != $reported) { $reported = time; emit($out, "P\t$n\n") }
            }
            return;
        }
        sub hash_stream {
            my ($in, $out, $whole) = @_;
            my ($announced, $copies, $encoding, $state, $lo, $digest, $last) = (0, 0, undef, undef, undef, undef, '');
            my ($lo_count, $lo_s, $lo_t) = (0, 0, 0);
            while (defined(my $line = <$in>)) {
                if ($line =~ /^COPY ($name\.$name) (?:\((.*)\) )? ?FROM stdin;$/) {
                    my ($table, $list) = ($1, $2 // '');
                    my @columns; push @columns, plain($1) while $list =~ /\G(?:, )?($name)/g;
                    my @fix = grep { my $is = column_holds_tz($table, $columns[$_]); !defined $is || $is } 0 .. $#columns;
                    # A column whose type is not known is looked at too: it costs time and changes nothing in other types' values but timestamps.
                    my ($n, $hash, $bytes) = hash_rows($in, \@fix, $out) or return "the data of $table is cut off";
                    $copies++;
                    $table =~ /^($name)\.($name)$/;
                    emit($out, "T\t{\"schema\":" . json(plain($1)) . ',"name":' . json(plain($2)) . ',"columns":[' . join(',', map { json($_) } @columns)
                        . "],\"rows\":$n,\"hash\":\"$hash\",\"bytes\":$bytes}\n");
                } elsif ($line =~ /^-- (?:Data for )?Name: .*; Type: TABLE DATA; /) { $announced++ }
                elsif ($line =~ /^INSERT INTO /) { return "INSERTS" }
                elsif ($line =~ /^SET client_encoding = '(.*)';/) { emit($out, "E\t$1\n") unless $encoding; $encoding = $1 }
                elsif ($line =~ /^SELECT pg_catalog\.setval\('(.*)', (-?\d+), (true|false)\);$/) {
                    my ($sequence, $value, $called) = ($1, $2, $3);
                    $sequence =~ s/''/'/g;
                    $sequence =~ /^($name)\.($name)$/ or next;
                    emit($out, "S\t{\"schema\":" . json(plain($1)) . ',"name":' . json(plain($2)) . ",\"lastValue\":$value,\"isCalled\":$called}\n");
                } elsif ($line =~ /^SELECT pg_catalog\.lo_open\('(\d+)', \d+\);$/) { $digest = Digest::MD5->new; $digest->add("$1:") }
                elsif ($digest && $line =~ /^SELECT pg_catalog\.lowrite\(0, '\\x([0-9a-f]*)'\);$/) { $digest->add(pack 'H*', $1) }
                elsif ($digest && $line =~ /^SELECT pg_catalog\.lo_close\(0\);$/) {
                    my ($a, $b) = unpack 'q>2', $digest->digest; $lo_s += $a; $lo_t += $b; $lo_count++; $digest = undef;
                } elsif ($whole) { read_definitions($line, \$state) }
                $last = $line if $line =~ /^-- PostgreSQL database dump complete/;
            }
            return "INSERTS" if $announced > $copies;
            return "the dump has no closing line: it is cut off" if $whole && $last eq '';
            emit($out, "L\t$lo_count\t$lo_s\t$lo_t\n");
            return '';
        }

        # ---- workers ----
        sub run_workers { # code references; each writes lines to the handle that it is given and returns an exit status
            my @work = @_;
            my ($rows, $shown, %seen, @lines, %buffer) = (0, time);
            require IO::Select;
            my $select = IO::Select->new;
            for my $code (@work) {
                pipe my $r, my $w or fail(71, "pipe: $!");
                my $pid = fork // fail(71, "fork: $!");
                if (!$pid) { close $r; $SIG{TERM} = 'DEFAULT'; %children = (); POSIX::_exit($code->($w)) }
                close $w; $children{$pid} = 1; $select->add($r); $buffer{$r} = '';
            }
            while ($select->count) {
                for my $r ($select->can_read(1)) {
                    my $got = sysread $r, $buffer{$r}, 1 << 16, length $buffer{$r};
                    if (!$got) { $select->remove($r); next }
                    while ($buffer{$r} =~ s/^([^\n]*)\n//) {
                        my $line = $1;
                        if ($line =~ /^P\t(\d+)/) { $seen{$r} = $1 } else { $rows += delete $seen{$r} // 0 if $line =~ /^T/; push @lines, $line }
                    }
                }
                if (time != $shown) { $shown = time; my $now = $rows; $now += $_ for values %seen; print "reprise-progress $now -\n" }
            }
            my $worst = 0;
            for my $pid (keys %children) { waitpid $pid, 0; my $status = $? >> 8 || ($? & 127 ? 70 : 0); $worst = $status if $status > $worst }
            %children = ();
            exit $worst if $worst;
            return @lines;
        }
        sub report {
            my ($encoding, %sum) = ('UTF8');
            my ($count, $s, $t) = (0, 0, 0);
            for (sort @_) {
                if (/^T\t(\{"schema":("(?:[^"\\]|\\.)*"),"name":("(?:[^"\\]|\\.)*"),"columns":(\[.*\])),"rows":(\d+),"hash":"(.{16})(.{16})","bytes":(\d+)\}/) {
                    my ($head, $key, $rows, $a, $b, $bytes) = ($1, "$2.$3 $4", $5, hex64($6), hex64($7), $8);
                    my $entry = $sum{$key} //= { head => $head, rows => 0, s => 0, t => 0, bytes => 0 };
                    $entry->{rows} += $rows; $entry->{s} += $a; $entry->{t} += $b; $entry->{bytes} += $bytes;
                } elsif (/^S\t(.*)/) { print "{\"sequence\":$1}\n" }
                elsif (/^E\t(.*)/) { $encoding = $1 }
                elsif (/^X\t(.*)/) { print "{\"extra\":$1}\n" }
                elsif (/^L\t(-?\d+)\t(-?\d+)\t(-?\d+)/) { $count += $1; $s += $2; $t += $3 }
            }
            for my $key (sort keys %sum) {
                my $entry = $sum{$key};
                printf "{\"table\":%s,\"rows\":%d,\"hash\":\"%016x%016x\",\"bytes\":%d}}\n", $entry->{head}, @$entry{qw(rows s t bytes)};
            }
            printf "{\"largeObjects\":{\"count\":%d,\"hash\":\"%016x%016x\"}}\n", $count, $s, $t;
            print "{\"complete\":{\"encoding\":" . json($encoding) . "}}\n";
        }
        sub hex64 { my $h = shift; return unpack 'q>', pack 'H16', $h }

        # ---- archive ----
        sub archive {
            my ($path, $tool, $jobs) = @_;
            open my $in, '<', $path or -d $path or fail(65, "cannot read $path: $!");
            my $magic = '';
            read $in, $magic, 262 if !-d $path;
            if (-d $path || $magic =~ /^PGDMP/ || $magic =~ /^toc\.dat\0/ || substr($magic, 257, 5) eq 'ustar') {
                my $state;
                open my $definitions, '-|', $tool, '--schema-only', '-f', '-', $path or fail(69, "cannot run $tool: $!");
                while (<$definitions>) { read_definitions($_, \$state) }
                close $definitions or fail(65, "$tool cannot read the definitions of $path");
                # The tar format can be read in one pass only.
                $jobs = 1 if !-d $path && $magic !~ /^PGDMP/;
                my @lists = split_toc($path, $tool, $jobs);
                return report(run_workers(map { my $list = $_; sub { restore_worker($tool, $path, $list, shift) } } @lists));
            }
            fail(65, "$path is neither an archive of pg_dump nor a plain dump") unless $magic =~ /^(?:--|SET|\\restrict|\s)/;
            report(run_workers(sub {
                my $out = shift;
                open my $plain, '<', $path or return 65;
                return judge(hash_stream($plain, $out, 1));
            }));
        }
        sub split_toc { # table data entries dealt out to $jobs lists; everything else goes to the first
            my ($path, $tool, $jobs) = @_;
            open my $toc, '-|', $tool, '-l', $path or fail(69, "cannot run $tool: $!");
            my (@data, @other);
            while (<$toc>) { if (/^\d+; \d+ \d+ TABLE DATA /) { push @data, $_ } elsif (/^\d+; \d+ \d+ (?:SEQUENCE SET|BLOBS?|BLOB METADATA|LARGE OBJECT) /) { push @other, $_ } }
            close $toc or fail(65, "$tool cannot read the contents of $path");
            return (undef) if $jobs < 2 || @data < 2;
            my @lists = map { [] } 1 .. ($jobs < @data ? $jobs : @data);
            push @{$lists[$_ % @lists]}, $data[$_] for 0 .. $#data;
            push @{$lists[0]}, @other;
            return map { join '', @$_ } @lists;
        }
        sub restore_worker {
            my ($tool, $path, $list, $out) = @_;
            my @limit;
            if (defined $list) {
                # An unnamed file: nothing to clean up, whatever ends this process.
                open my $file, '+>', undef or return 71;
                print $file $list; $file->flush; seek $file, 0, 0;
                POSIX::dup2(fileno $file, 9);
                @limit = ('-L', '/dev/fd/9');
            }
            my $pid = open my $in, '-|', $tool, '--data-only', '-f', '-', @limit, $path;
            return 69 unless $pid;
            $SIG{TERM} = sub { kill 'TERM', $pid; POSIX::_exit(143) };
            my $verdict = hash_stream($in, $out, 0);
            my $ended = close $in;
            return 65 if !$ended && $verdict eq '';
            return judge($verdict);
        }
        sub judge {
            my $verdict = shift;
            return 0 if $verdict eq '';
            if ($verdict eq 'INSERTS') { print STDERR "the dump was made with --inserts; its rows cannot be counted and compared\n"; return 66 }
            print STDERR "$verdict\n";
            return 65;
        }

        # ---- database ----
        sub psql { return ('psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', @_) }
        my $pins = "SET TimeZone='UTC'; SET DateStyle='ISO, MDY'; SET IntervalStyle='postgres'; SET extra_float_digits=3; SET bytea_output='hex';"
            . " SET row_security=off; SET statement_timeout=0; SET lock_timeout=0; SET idle_in_transaction_session_timeout=0; SET synchronize_seqscans=off;"
            . " SET search_path='';";
        sub database {
            my ($jobs, @place) = @_;
            my (@wanted, $encoding);
            while (my $line = <STDIN>) { # "E<tab>encoding", then "schema<tab>name<tab>column<tab>column…", each in hex
                chomp $line;
                my ($first, @rest) = map { pack 'H*', $_ } split /\t/, $line, -1;
                if ($first eq 'encoding') { $encoding = $rest[0] } else { push @wanted, [$first, @rest] }
            }
            $ENV{PGCLIENTENCODING} = $encoding || 'UTF8';
            # One session keeps the snapshot that all workers read from.
            require IPC::Open2;
            my $keeper = IPC::Open2::open2(my $answers, my $asks, psql(@place));
            $children{$keeper} = 1;
            print $asks "$pins BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();\n";
            $asks->flush;
            my $snapshot = <$answers> // fail(74, 'the database cannot be reached');
            chomp $snapshot;
            my %kind;
            print $asks "SELECT encode(convert_to(n.nspname,'UTF8'),'hex')||' '||encode(convert_to(c.relname,'UTF8'),'hex')||' '||c.relkind::text||' '||pg_relation_size(c.oid)"
                . " FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind IN ('r','p','m','f') AND n.nspname NOT IN ('pg_catalog','information_schema') AND n.nspname !~ '^pg_(toast|temp)';\n\\echo .\n";
            $asks->flush;
            while (defined(my $line = <$answers>)) {
                chomp $line; last if $line eq '.';
                my ($schema, $table, $relkind, $size) = split / /, $line;
                $kind{pack('H*', $schema) . "\0" . pack('H*', $table)} = [$relkind, $size];
            }
            my (@present, %named);
            for my $table (@wanted) {
                my $key = "$table->[0]\0$table->[1]";
                $named{$key} = 1;
                push @present, [@$table] if $kind{$key};
            }
            my @extra = grep { !$named{$_} && $kind{$_}[0] eq 'r' } keys %kind;
            @present = sort { $kind{"$b->[0]\0$b->[1]"}[1] <=> $kind{"$a->[0]\0$a->[1]"}[1] } @present;
            my @load = (0) x $jobs; my @share = map { [] } 1 .. $jobs;
            for my $table (@present) {
                my ($least) = sort { $load[$a] <=> $load[$b] } 0 .. $#load;
                push @{$share[$least]}, $table; $load[$least] += $kind{"$table->[0]\0$table->[1]"}[1] + 8192;
            }
            my @work = map { my $tables = $_; sub { database_worker($snapshot, $tables, \%kind, shift, @place) } } grep { @$_ } @share;
            push @work, sub { facts_worker($snapshot, \@extra, shift, @place) };
            delete $children{$keeper};
            my @lines = eval { run_workers(@work) };
            close $asks; waitpid $keeper, 0;
            report(@lines);
        }
        sub begin { my $snapshot = shift; return "$pins BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '$snapshot';\n" }
        sub ask { # runs psql on an unnamed script file and gives its output
            my ($script, @place) = @_;
            open my $file, '+>', undef or return;
            print $file $script; $file->flush; seek $file, 0, 0;
            POSIX::dup2(fileno $file, 0);
            open my $in, '-|', psql(@place) or return;
            return $in;
        }
        sub database_worker {
            my ($snapshot, $tables, $kind, $out, @place) = @_;
            my $script = begin($snapshot);
            for my $table (@$tables) {
                my ($schema, $name, @columns) = @$table;
                my $from = quote($schema) . '.' . quote($name);
                my $list = join ', ', map { quote($_) } @columns;
                my $source = $kind->{"$schema\0$name"}[0] eq 'r' ? "$from" . (@columns ? " ($list)" : '') : "(SELECT $list FROM $from)";
                $script .= "COPY $source TO STDOUT;\n\\echo '\\\\.'\n";
            }
            my $in = ask($script, @place) or return 69;
            for my $table (@$tables) {
                my ($schema, $name, @columns) = @$table;
                my ($n, $hash, $bytes) = hash_rows($in, [], $out) or do { print STDERR "reading $schema.$name failed\n"; return 74 };
                emit($out, "T\t{\"schema\":" . json($schema) . ',"name":' . json($name) . ',"columns":[' . join(',', map { json($_) } @columns)
                    . "],\"rows\":$n,\"hash\":\"$hash\",\"bytes\":$bytes}\n");
            }
            return close($in) ? 0 : 74;
        }
        sub facts_worker { # sequences, large objects, and rows in tables that the backup does not have
            my ($snapshot, $extra, $out, @place) = @_;
            my $script = begin($snapshot)
                . "SELECT 'S'||E'\\t'||json_build_object('schema',schemaname,'name',sequencename,'lastValue',coalesce(last_value,start_value),'isCalled',last_value IS NOT NULL)::text FROM pg_catalog.pg_sequences;\n"
                . "SELECT 'O'||E'\\t'||pg_catalog.md5(pg_catalog.convert_to(oid||':','UTF8')||pg_catalog.lo_get(oid)) FROM pg_catalog.pg_largeobject_metadata;\n";
            for my $key (@$extra) {
                my ($schema, $name) = split /\0/, $key;
                my $from = quote($schema) . '.' . quote($name);
                my ($s, $n) = map { s/'/''/gr } ($schema, $name);
                $script .= "SELECT 'X'||E'\\t'||pg_catalog.json_build_object('schema',E'$s','name',E'$n','rows',(SELECT count(*) FROM ONLY $from))::text;\n";
            }
            my $in = ask($script, @place) or return 69;
            my ($count, $s, $t) = (0, 0, 0);
            while (<$in>) {
                if (/^O\t([0-9a-f]{16})([0-9a-f]{16})$/) { $count++; $s += hex64($1); $t += hex64($2) } else { s/^S\t\{"schema" : /S\t{"schema":/; emit($out, $_) }
            }
            emit($out, "L\t$count\t$s\t$t\n");
            return close($in) ? 0 : 74;
        }

        if ($mode eq 'archive') { archive(@args) } elsif ($mode eq 'database') { database(@args) } else { fail(64, 'unknown mode') }
        """####
}
