extension HashProgram {
    /// Perl: what every mode uses: configuration, names, row hashes.
    static let common = ##"""
        use strict;
        use warnings;
        no warnings 'portable';

        my ($MODE, @ARGUMENTS) = @ARGV;
        # digest: 'rows' hashes every row, whatever their order; 'stream' hashes a table's COPY text as it comes, which costs half.
        my %OPTION = (jobs => 2, pg_restore => 'pg_restore', psql => 'psql', digest => 'rows', timezone => 'UTC');
        my @WANTED;     # database mode: [schema, table, columns...] from the archive's result
        my %KNOWN_ROOT; # "schema\0table" of every wanted table
        my %ONLY;       # archive mode: dump ids of the data that is wanted; empty for all
        my %RESULT;     # "schema\0table" => {schema, table, columns, rows, hi, lo, bytes, blocks, stream}
        my %SEQUENCE;   # "schema\0name" => [value, called]
        my %OBJECTS = (count => 0, hi => 0, lo => 0, bytes => 0);
        my @NOTES;
        my $ENCODING = 'UTF8';
        my ($ROWS_SEEN, $BYTES_SEEN) = (0, 0);
        my $REPORT;     # a worker's pipe to the parent

        sub fail {
            my ($code, $message) = @_;
            if ($REPORT) {
                syswrite_all($REPORT, join("\t", 'E', escaped($code), escaped($message)) . "\n");
                exit 1;
            }
            syswrite_all(\*STDERR, '{"error":{"code":' . json($code) . ',"message":' . json($message) . "}}\n");
            exit 1;
        }

        sub syswrite_all {
            my ($handle, $text) = @_;
            my $offset = 0;
            while ($offset < length $text) {
                my $count = syswrite($handle, $text, length($text) - $offset, $offset);
                if (!defined $count) {
                    next if $!{EINTR};
                    return if $!{EPIPE}; # the reader ended early: what it said, or did not say, tells why
                    exit 1;
                }
                $offset += $count;
            }
        }

        BEGIN {
            for my $module ('Digest::MD5', 'Errno', 'Time::HiRes', 'File::Temp', 'IPC::Open2') {
                (my $file = "$module.pm") =~ s{::}{/}g;
                next if eval { require $file; 1 };
                print STDERR "{\"error\":{\"code\":\"module-missing\",\"message\":\"this host's perl has no $module; install it with: apt-get install perl\"}}\n";
                exit 1;
            }
            Digest::MD5->import('md5', 'md5_hex');
            Errno->import;
        }

        # JSON is UTF-8: a name in another encoding is refused by parse_name before it gets here.
        sub json {
            my ($text) = @_;
            $text =~ s/(["\\])/\\$1/g;
            $text =~ s/([\x00-\x1f\x7f])/sprintf('\\u%04x', ord $1)/ge;
            my $copy = $text;
            if (!utf8::decode($copy)) { $text =~ s/([\x80-\xff])/sprintf('\\u%04x', ord $1)/ge }
            return "\"$text\"";
        }

        # COPY's own escapes: how names travel between our processes and in the configuration.
        my %ESCAPE = ("\b" => '\\b', "\f" => '\\f', "\n" => '\\n', "\r" => '\\r', "\t" => '\\t', "\x0b" => '\\v', '\\' => '\\\\');
        my %PLAIN = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t", v => "\x0b");
        sub escaped { my ($text) = @_; $text =~ s/([\b\f\n\r\t\x0b\\])/$ESCAPE{$1}/g; return $text }
        sub unescaped { my ($text) = @_; $text =~ s/\\(.)/exists $PLAIN{$1} ? $PLAIN{$1} : $1/gse; return $text }

        sub quoted { my ($name) = @_; $name =~ s/"/""/g; return "\"$name\"" }
        sub literal { my ($text) = @_; $text =~ s/'/''/g; $text =~ s/\\/\\\\/g; return "E'$text'" }
        sub shown {
            return join '.', map { /\A[a-z_][a-z0-9_]*\z/ ? $_ : quoted($_) } @_;
        }

        # "schema.name", each part quoted or not, as a list of parts; $$text is advanced past it.
        sub parse_name {
            my ($text) = @_;
            my @parts;
            while ($$text =~ /\G\s*(?:"((?:[^"]|"")*)"|([^\s.,"'()\[\];]+))/gc) {
                my $part = defined $1 ? $1 : $2;
                $part =~ s/""/"/g if defined $1;
                if ($part =~ /[\x80-\xff]/) {
                    my $copy = $part;
                    fail('name-encoding', "a name in the archive is not UTF-8 (its encoding is $ENCODING); content of such tables is not compared")
                        if $ENCODING !~ /\AUTF-?8\z/i || !utf8::decode($copy);
                }
                push @parts, $part;
                last unless $$text =~ /\G\./gc;
            }
            return @parts;
        }

        # Where a dump of before 2018 names things without their schema, SET search_path says which one is meant.
        our $DEFAULT_SCHEMA = 'public';
        sub qualified { my @parts = @_; unshift @parts, $DEFAULT_SCHEMA if @parts == 1; return @parts[-2, -1] }

        # The sum of 128-bit row hashes in two lanes of 64 bits each: equal for equal multisets, whatever the order.
        my $HIGH = "\xff" x 8 . "\0" x 8;
        my $LOW = "\0" x 8 . "\xff" x 8;
        sub add_rows {
            my ($entry, $rows) = @_;
            my $count = @$rows or return;
            my $digests = join '', map { md5($_) } @$rows;
            use integer;
            $entry->{hi} += unpack '%64Q>*', $digests & ($HIGH x $count);
            $entry->{lo} += unpack '%64Q>*', $digests & ($LOW x $count);
            $entry->{rows} += $count;
            $ROWS_SEEN += $count;
        }

        sub entry_for {
            my ($schema, $table, $columns) = @_;
            my $entry = $RESULT{"$schema\0$table"} ||=
                {schema => $schema, table => $table, columns => $columns, rows => 0, hi => 0, lo => 0, bytes => 0, blocks => 0, stream => ''};
            return $entry;
        }

        # A table's text as one stream has a digest only where it comes in one piece and in the table's own column order.
        sub end_block {
            my ($entry, $digest, $is_plain) = @_;
            $entry->{stream} = $entry->{blocks}++ || !$is_plain ? '' : $digest->hexdigest;
        }

        sub merge_entry {
            my ($into, $from) = @_;
            use integer;
            $into->{stream} = $into->{blocks} || $from->{blocks} > 1 ? '' : $from->{stream};
            $into->{$_} += $from->{$_} for qw(rows hi lo bytes blocks);
        }
        """##
}
