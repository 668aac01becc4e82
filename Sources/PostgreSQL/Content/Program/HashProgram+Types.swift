extension HashProgram {
    /// Perl: which columns hold moments or bytea, found in the schema's own statements.
    static let types = ##"""
        # Which columns hold moments (their text depends on the dumping session's TimeZone) or bytea (on its bytea_output).
        # A shape is z (timestamptz), b (bytea), r (a range or multirange of timestamptz), [a => shape] or [c => shape or undef, ...].
        my %TYPE;  # "schema\0name" => ['domain' | 'composite' | 'range', text or [texts], default schema]
        my %TABLE; # "schema\0name" => {columns => {name => type text}, order => [names], parents => [keys], schema => default schema}

        sub split_top {
            my ($text) = @_;
            my ($depth, $current, @pieces) = (0, '');
            while ($text =~ /\G('(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$).*?\g{2}|[()\[\]]|,|[^'"()\[\],\$]+|.)/gs) {
                my $token = $1;
                $depth++ if $token eq '(' || $token eq '[';
                $depth-- if $token eq ')' || $token eq ']';
                last if $depth < 0;
                if ($token eq ',' && $depth == 0) { push @pieces, $current; $current = ''; next }
                $current .= $token;
            }
            push @pieces, $current if $current =~ /\S/;
            return @pieces;
        }

        sub note_columns {
            my ($body) = @_;
            my (%columns, @order);
            for my $piece (split_top($body)) {
                $piece =~ s/\A\s+//;
                next if $piece =~ /\A(?:CONSTRAINT|CHECK|PRIMARY|UNIQUE|FOREIGN|EXCLUDE|LIKE|NOT)\b/;
                my @name = parse_name(\$piece) or next;
                $columns{$name[0]} = substr $piece, pos($piece) // 0;
                push @order, $name[0];
            }
            return (\%columns, \@order);
        }

        # Takes in CREATE TABLE, CREATE TYPE and CREATE DOMAIN in pg_dump's own spelling.
        sub note_definition {
            my ($statement) = @_;
            if ($statement =~ /\ACREATE (?:UNLOGGED |FOREIGN )?TABLE (?:IF NOT EXISTS )?/gc) {
                my $key = join "\0", qualified(parse_name(\$statement));
                my @parents;
                if ($statement =~ /\G\s+(?:PARTITION )?OF\s+/gc) { push @parents, join "\0", qualified(parse_name(\$statement)) }
                my ($columns, $order) = ({}, []);
                ($columns, $order) = note_columns(substr $statement, pos $statement) if $statement =~ /\G\s*\(/gc;
                if ($statement =~ /\nINHERITS \((.*?)\)(?:;|\n)/s) {
                    push @parents, map { join "\0", qualified(parse_name(\$_)) } split_top($1);
                }
                $TABLE{$key} = {columns => $columns, order => $order, parents => \@parents, schema => $DEFAULT_SCHEMA};
            } elsif ($statement =~ /\ACREATE DOMAIN /gc) {
                my $key = join "\0", qualified(parse_name(\$statement));
                $TYPE{$key} = ['domain', substr($statement, pos $statement), $DEFAULT_SCHEMA] if $statement =~ /\G\s+AS\s+/gc;
            } elsif ($statement =~ /\ACREATE TYPE /gc) {
                my $key = join "\0", qualified(parse_name(\$statement));
                if ($statement =~ /\G\s+AS\s+RANGE\s*\(/gc) {
                    my $body = substr $statement, pos $statement;
                    return unless $body =~ /subtype\s*=\s*([^,\n]+)/;
                    $TYPE{$key} = ['range', $1, $DEFAULT_SCHEMA];
                    if ($body =~ /multirange_type_name\s*=\s*([^,\n]+)/) {
                        my ($subtype, $name) = ($TYPE{$key}[1], $1);
                        $TYPE{join "\0", qualified(parse_name(\$name))} = ['range', $subtype, $DEFAULT_SCHEMA];
                    }
                } elsif ($statement =~ /\G\s+AS\s*\(/gc) {
                    my ($columns, $order) = note_columns(substr $statement, pos $statement);
                    $TYPE{$key} = ['composite', [map { $columns->{$_} } @$order], $DEFAULT_SCHEMA];
                }
            }
        }

        sub shape_of {
            my ($text, $schema, $depth) = @_;
            return undef if $depth > 20;
            $text =~ s/\A\s+//;
            my $shape;
            if ($text =~ /\G(?:timestamp(?:\(\d+\))? with time zone|timestamptz)\b/gc) { $shape = 'z' }
            elsif ($text =~ /\Gbytea\b/gc) { $shape = 'b' }
            elsif ($text =~ /\G(?:tstzrange|tstzmultirange)\b/gc) { $shape = 'r' }
            else {
                local $DEFAULT_SCHEMA = $schema;
                my @name = parse_name(\$text) or return undef;
                my $key = join "\0", qualified(@name);
                my $type = $TYPE{$key};
                if (!$type && $TABLE{$key}) {
                    my @shapes = map { column_shape($key, $_, $depth + 1) } @{$TABLE{$key}{order}};
                    $shape = ['c', @shapes] if grep { defined } @shapes;
                } elsif (!$type) { return undef }
                elsif ($type->[0] eq 'domain') { $shape = shape_of($type->[1], $type->[2], $depth + 1) }
                elsif ($type->[0] eq 'range') {
                    my $inner = shape_of($type->[1], $type->[2], $depth + 1);
                    $shape = 'r' if defined $inner && $inner eq 'z';
                } else {
                    my @shapes = map { shape_of($_, $type->[2], $depth + 1) } @{$type->[1]};
                    $shape = ['c', @shapes] if grep { defined } @shapes;
                }
                return undef unless defined $shape;
            }
            return $text =~ /\G(?:\(\d+\))?\s*\[/gc ? ['a', $shape] : $shape;
        }

        sub column_shape {
            my ($key, $column, $depth) = @_;
            return undef if $depth > 20;
            if (my $table = $TABLE{$key}) {
                return shape_of($table->{columns}{$column}, $table->{schema}, $depth) if exists $table->{columns}{$column};
                for my $parent (@{$table->{parents}}) {
                    my $shape = column_shape($parent, $column, $depth + 1);
                    return $shape if defined $shape;
                }
            } elsif (my $type = $TYPE{$key}) {
                return undef; # a typed table: its columns are listed by CREATE TYPE without names kept
            }
            return undef;
        }

        sub mentions {
            my ($shape, $letter) = @_;
            return 0 unless defined $shape;
            return $shape eq $letter unless ref $shape;
            for my $inner (@$shape[1 .. $#$shape]) { return 1 if mentions($inner, $letter) }
            return 0;
        }
        """##
}
