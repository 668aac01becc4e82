extension HashProgram {
    /// Perl: text forms made independent of the dumping session.
    static let normal = ##"""
        # Text forms made independent of the dumping session: moments in UTC, bytea in hexadecimal.
        my $BYTEA = ''; # 'hex' or 'escape' once a value has shown it; one session writes one form
        my %HOUR;       # "2024-03-01 09+09" => "2024-03-01 00"

        # Days since 0000-03-01 of the proleptic Gregorian calendar, and back (Howard Hinnant, "chrono-compatible low-level date algorithms").
        sub days_of {
            my ($year, $month, $day) = @_;
            use integer;
            $year-- if $month <= 2;
            my $era = ($year >= 0 ? $year : $year - 399) / 400;
            my $of_era = $year - $era * 400;
            my $of_year = (153 * ($month + ($month > 2 ? -3 : 9)) + 2) / 5 + $day - 1;
            return $era * 146097 + $of_era * 365 + $of_era / 4 - $of_era / 100 + $of_year;
        }
        sub date_of {
            my ($days) = @_;
            use integer;
            my $era = ($days >= 0 ? $days : $days - 146096) / 146097;
            my $of_era = $days - $era * 146097;
            my $year = ($of_era - $of_era / 1460 + $of_era / 36524 - $of_era / 146096) / 365;
            my $of_year = $of_era - (365 * $year + $year / 4 - $year / 100);
            my $shifted = (5 * $of_year + 2) / 153;
            my $day = $of_year - (153 * $shifted + 2) / 5 + 1;
            my $month = $shifted + ($shifted < 10 ? 3 : -9);
            return ($year + $era * 400 + ($month <= 2 ? 1 : 0), $month, $day);
        }

        sub utc {
            my ($text) = @_;
            return $text if substr($text, -3) eq '+00' || $text eq 'infinity' || $text eq '-infinity';
            if ($text =~ /\A(\d{4}-\d\d-\d\d \d\d)(:\d\d:\d\d(?:\.\d+)?)([+-]\d\d)\z/) {
                my ($start, $rest, $zone) = ($1, $2, $3);
                my $hour = $HOUR{"$start$zone"};
                if (!defined $hour) {
                    %HOUR = () if keys %HOUR > 500_000;
                    my $whole = utc_exactly("$start:00:00$zone");
                    # Year 1 BC and 10000: no longer this simple form.
                    return utc_exactly($text) if $whole !~ /\A\d{4}-\d\d-\d\d \d\d:00:00\+00\z/;
                    $hour = $HOUR{"$start$zone"} = substr $whole, 0, 13;
                }
                return "$hour$rest+00";
            }
            return utc_exactly($text);
        }

        sub utc_exactly {
            my ($text) = @_;
            $text =~ /\A(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?\z/
                or fail('timestamp-form', 'a timestamp with time zone in the archive has an unknown form (DateStyle must be ISO)');
            my ($year, $month, $day, $fraction, $bc) = ($1, $2, $3, $7 // '', $12);
            my $offset = ($9 * 60 + ($10 // 0)) * 60 + ($11 // 0);
            $offset = -$offset if $8 eq '-';
            my $seconds = ($4 * 60 + $5) * 60 + $6 - $offset;
            my $days = days_of($bc ? 1 - $year : $year, $month, $day);
            while ($seconds < 0) { $seconds += 86400; $days-- }
            while ($seconds >= 86400) { $seconds -= 86400; $days++ }
            ($year, $month, $day) = date_of($days);
            my $suffix = $year <= 0 ? ' BC' : '';
            $year = 1 - $year if $year <= 0;
            return sprintf('%04d-%02d-%02d %02d:%02d:%02d%s+00%s', $year, $month, $day, int($seconds / 3600), int($seconds / 60) % 60,
                $seconds % 60, $fraction, $suffix);
        }

        sub hexadecimal {
            my ($text) = @_;
            if (substr($text, 0, 2) eq '\\x') { $BYTEA ||= 'hex'; return $text }
            $BYTEA = 'escape';
            $text =~ s/\\(\\|[0-3][0-7][0-7])/$1 eq '\\' ? '\\' : chr oct $1/ge;
            return '\\x' . unpack 'H*', $text;
        }

        # A value of this shape, without COPY's escapes, in its independent form.
        sub independent {
            my ($shape, $text) = @_;
            return $text unless defined $shape;
            return utc($text) if $shape eq 'z';
            return hexadecimal($text) if $shape eq 'b';
            if ($shape eq 'r') { $text =~ s/"([^"]*)"/'"' . utc($1) . '"'/ge; return $text }
            return $shape->[0] eq 'a' ? independent_array($shape->[1], $text) : independent_row($shape, $text);
        }

        # Quoting as array_out and record_out do it.
        sub independent_array {
            my ($shape, $text) = @_;
            my $result = '';
            $result = $1 if $text =~ /\G((?:\[-?\d+:-?\d+\])+=)/gc;
            while ($text =~ /\G([{},]|"((?:[^"\\]|\\.)*)"|([^{},"]+))/gcs) {
                my ($token, $inside, $bare) = ($1, $2, $3);
                if (defined $inside) { $inside =~ s/\\(.)/$1/gs }
                elsif (!defined $bare || $bare eq 'NULL') { $result .= $token; next }
                my $value = independent($shape, $inside // $bare);
                if ($value eq '' || $value =~ /["\\{},\s]/ || lc $value eq 'null') {
                    $value =~ s/(["\\])/\\$1/g;
                    $value = "\"$value\"";
                }
                $result .= $value;
            }
            return $result;
        }

        sub independent_row {
            my ($shape, $text) = @_;
            my @shapes = @$shape[1 .. $#$shape];
            my ($body) = $text =~ /\A\((.*)\)\z/s or fail('composite-form', 'a composite value in the archive has an unknown form');
            my @values;
            pos($body) = 0;
            for my $index (0 .. $#shapes) {
                $body =~ /\G,/gc if $index;
                $body =~ /\G((?:[^,"\\]|"(?:[^"\\]|""|\\.)*"|\\.)*)/gcs;
                my $raw = $1;
                if ($raw eq '') { push @values, ''; next } # NULL
                my $value = '';
                while ($raw =~ /\G(?:"((?:[^"\\]|""|\\.)*)"|([^"\\]+)|\\(.))/gcs) {
                    if (defined $1) { my $part = $1; $part =~ s/""|\\(.)/defined $1 ? $1 : '"'/gse; $value .= $part }
                    else { $value .= $2 // $3 }
                }
                $value = independent($shapes[$index], $value);
                if ($value eq '' || $value =~ /["\\(),\s]/) {
                    $value =~ s/(["\\])/$1$1/g;
                    $value = "\"$value\"";
                }
                push @values, $value;
            }
            return '(' . join(',', @values) . ')';
        }

        # Brings the columns of these rows into their independent form. $shaped: [[column index, shape], ...].
        sub normalise_rows {
            my ($rows, $shaped) = @_;
            my $limit = $shaped->[-1][0] + 2;
            for my $row (@$rows) {
                my @fields = split /\t/, $row, $limit;
                for my $column (@$shaped) {
                    my ($index, $shape) = @$column;
                    my $field = $fields[$index];
                    next if $field eq '\\N';
                    if ($shape eq 'z') { $fields[$index] = utc($field) unless substr($field, -3) eq '+00'; next }
                    $fields[$index] = escaped(independent($shape, unescaped($field)));
                }
                $row = join "\t", @fields;
            }
        }
        """##
}
