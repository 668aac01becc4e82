extension HashProgram {
    /// Perl: configuration and start.
    static let main = ##"""
        # What to do comes after the program's end, one item a line, fields parted by tabs.
        sub read_configuration {
            my ($handle) = @_;
            while (defined(my $line = <$handle>)) {
                chomp $line;
                my ($kind, @fields) = map { unescaped($_) } split /\t/, $line, -1;
                next unless defined $kind && $kind ne '';
                if ($kind eq 'mode') { $MODE = $fields[0] }
                elsif ($kind eq 'archive') { @ARGUMENTS = ($fields[0]) }
                elsif ($kind eq 'encoding') { $ENCODING = $fields[0] }
                elsif ($kind eq 'environment') { $ENV{$fields[0]} = $fields[1] }
                elsif ($kind eq 'weight') { $OPTION{weight}{$fields[0]} = $fields[1] }
                elsif ($kind eq 'only') { $ONLY{$fields[0]} = 1 }
                elsif ($kind eq 'table') { push @WANTED, [@fields]; $KNOWN_ROOT{"$fields[0]\0$fields[1]"} = 1 }
                elsif ($kind eq 'end') { return }
                else { $OPTION{$kind} = $fields[0] }
            }
            fail('configuration', 'the configuration is cut off');
        }

        sub main {
            my $started = Time::HiRes::time();
            $ENV{LC_ALL} = 'C';
            $SIG{PIPE} = 'IGNORE';
            read_configuration(\*DATA);
            if ($MODE eq 'archive') { read_archive($ARGUMENTS[0]) }
            elsif ($MODE eq 'outline') { $OUTLINE = 1; read_archive($ARGUMENTS[0]); return }
            elsif ($MODE eq 'database') { read_database() }
            else { fail('configuration', 'no mode was given') }
            print_results($started);
        }

        main();
        """##
}
