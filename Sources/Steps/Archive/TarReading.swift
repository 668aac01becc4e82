/// The first part of the unpacking program: reads a tar archive (v7, ustar, pax, GNU long names) without trusting it.
///
/// Perl, and only what Debian's essential `perl-base` has. It reads the headers itself: what it has judged is what is written, and no
/// other reader of the same bytes can see another archive. The whole archive is read before anything is written anywhere.
let tarReadingSource = #"""
    use strict; use warnings; no warnings 'newline';
    use Fcntl qw(:DEFAULT :mode :seek);
    use POSIX ();

    our ($MOST_BYTES, $MOST_ENTRIES, $STRIP, @ONLY);
    our $ZEROS = "\0" x 512;
    our $TEMPORARY = '.reprise-unpacking';

    # A name as a person can read it, on one line.
    sub shown {
        my ($name) = @_;
        $name = substr($name, 0, 200) . '…' if length $name > 200;
        $name =~ s/([\x00-\x1f\x7f\\])/sprintf '\\x%02x', ord $1/ge;
        return "\"$name\"";
    }
    sub refuse { print STDERR "$_[0]\n"; exit 65 }
    # Another try may help.
    sub fail { print STDERR "$_[0]\n"; exit 1 }

    sub number {
        my ($field, $what) = @_;
        my @bytes = unpack 'C*', $field;
        if ($bytes[0] & 0x80) {
            refuse("the archive is damaged: $what is no number") if $bytes[0] != 0x80;
            my $value = 0;
            for (@bytes[1 .. $#bytes]) {
                refuse("the archive is damaged: $what is too large") if $value > 2 ** 44;
                $value = $value * 256 + $_;
            }
            return $value;
        }
        $field =~ /\A[ \0]*([0-7]{0,17})(?:[ \0].*)?\z/s or refuse("the archive is damaged: $what is no number");
        return $1 eq '' ? 0 : oct $1;
    }

    sub bytes_at {
        my ($tar, $at, $count) = @_;
        sysseek($tar, $at, SEEK_SET) or fail("cannot read the archive: $!");
        my $data = '';
        while (length $data < $count) {
            my $n = sysread($tar, $data, $count - length $data, length $data);
            fail("cannot read the archive: $!") unless defined $n;
            last if $n == 0;
        }
        return $data;
    }

    sub check_sum {
        my ($header, $at) = @_;
        my $said = number(substr($header, 148, 8), "the checksum at byte $at");
        my $blank = $header;
        substr($blank, 148, 8) = ' ' x 8;
        # Some old writers summed signed bytes.
        refuse("this is no tar archive, or it is damaged: the checksum at byte $at is wrong")
            unless $said == unpack('%32C*', $blank) || $said == unpack('%32c*', $blank);
    }

    # Behind the end mark: padding. A second archive there would be left out without a word.
    sub check_rest {
        my ($tar, $at, $size) = @_;
        while ($at < $size) {
            my $data = bytes_at($tar, $at, 1 << 20);
            last if $data eq '';
            refuse("the archive goes on behind its end mark at byte $at") if $data =~ /[^\0]/;
            $at += length $data;
        }
    }

    sub pax_records {
        my ($data, $at) = @_;
        my %record;
        while ($data ne '') {
            $data =~ /\A([1-9][0-9]{0,6}) / or refuse("the archive is damaged: the extended header at byte $at");
            my ($length, $digits) = ($1, length $1);
            refuse("the archive is damaged: the extended header at byte $at") if $length > length $data || $length < $digits + 4;
            my $line = substr($data, 0, $length, '');
            substr($line, -1) eq "\n" && substr($line, $digits + 1, -1) =~ /\A([^=]+)=(.*)\z/s
                or refuse("the archive is damaged: the extended header at byte $at");
            my ($key, $value) = ($1, $2);
            refuse("the archive has sparse files, which are not unpacked") if $key =~ /\AGNU\.sparse/;
            $record{$key} = $value;
        }
        return %record;
    }

    # The parts of a path that stays inside of the folder; anything else is refused.
    sub inside {
        my ($name, $what) = @_;
        refuse("$what has an empty name") if $name eq '';
        refuse("$what ".shown($name)." holds a NUL") if $name =~ /\0/;
        refuse("$what ".shown($name)." has an absolute path") if $name =~ m{\A/};
        my @parts = grep { $_ ne '' && $_ ne '.' } split m{/}, $name, -1;
        for (@parts) {
            refuse("$what ".shown($name)." leads out of its folder by ..") if $_ eq '..';
            refuse("$what ".shown($name)." has a name longer than 255 bytes") if length $_ > 255;
            refuse("$what ".shown($name)." has the name that is used while unpacking") if $_ eq $TEMPORARY;
        }
        refuse("$what ".shown($name)." lies deeper than 200 folders") if @parts > 200;
        return @parts;
    }

    # A link may lead up from its own folder and then down, and not out. One that goes up again on its way could pass
    # through another link, and end elsewhere than its text says.
    sub check_link {
        my ($path, $target) = @_;
        my $what = 'the symbolic link '.shown($path);
        refuse("$what has no target") if $target eq '' || $target =~ /\0/;
        refuse("$what leads to an absolute path, ".shown($target)) if $target =~ m{\A/};
        my ($depth, $down) = (scalar(() = $path =~ m{/}g), 0);
        for (grep { $_ ne '' && $_ ne '.' } split m{/}, $target) {
            if ($_ ne '..') { $down = 1; next }
            refuse("$what leads up again on its way, to ".shown($target)) if $down;
            refuse("$what leads out of the folder, to ".shown($target)) if --$depth < 0;
        }
    }

    sub pattern {
        my $expression = join '', map { $_ eq '*' ? '.*' : $_ eq '?' ? '.' : quotemeta $_ } split //, $_[0];
        return qr{\A$expression(?:/|\z)}s;
    }

    our %KIND = ("\0" => 'file', 0 => 'file', 7 => 'file', 1 => 'hard', 2 => 'link', 5 => 'folder');
    our %NOT_TAKEN = (3 => 'a device', 4 => 'a device', 6 => 'a named pipe', V => 'a volume label',
        M => 'a part of a file of another volume', D => 'a folder of an incremental backup');

    # All entries that are wanted, by path: the last of several with one name, as tar has it.
    # An entry: [kind, mode, user, group, size, place of the data, mtime, target].
    sub read_archive {
        my ($tar) = @_;
        my $size = (stat $tar)[7];
        my ($at, $count, $total, %entries, %data_of, %global, %next) = (0, 0, 0);
        my %used = map { $_ => 0 } @ONLY;
        my %patterns = map { $_ => pattern($_) } @ONLY;
        while (1) {
            my $header = bytes_at($tar, $at, 512);
            refuse("the archive is cut off: it ends at byte $size without an end mark") if length $header < 512;
            if ($header eq $ZEROS) { check_rest($tar, $at + 512, $size); last }
            check_sum($header, $at);
            my $type = substr($header, 156, 1);
            my $bytes = number(substr($header, 124, 12), "the size at byte $at");
            my $data = $at + 512;
            if ($type =~ /[xgLK]/) {
                refuse("the archive is damaged: a header of $bytes bytes at byte $at") if $bytes > 1 << 20;
                my $text = bytes_at($tar, $data, $bytes);
                refuse("the archive is cut off at byte $size") if length $text < $bytes;
                if ($type eq 'x') { %next = (%next, pax_records($text, $at)) }
                elsif ($type eq 'g') {
                    %global = (%global, pax_records($text, $at));
                    for (qw(path linkpath size)) { refuse("the archive gives all its entries the same $_") if exists $global{$_} }
                } else { $text =~ s/\0.*\z//s; $next{$type eq 'L' ? 'path' : 'linkpath'} = $text }
                $at = $data + 512 * POSIX::ceil($bytes / 512);
                refuse("more than $MOST_ENTRIES entries are in the archive (most-entries)") if ++$count > 2 * $MOST_ENTRIES;
                next;
            }
            refuse("the archive has sparse files, which are not unpacked") if $type eq 'S';
            my %extra = (%global, %next);
            %next = ();
            my $name = unpack 'Z100', $header;
            if (substr($header, 257, 6) eq "ustar\0") {
                my $prefix = unpack 'Z155', substr($header, 345, 155);
                $name = "$prefix/$name" if $prefix ne '';
            }
            $name = $extra{path} if exists $extra{path};
            my $target = exists $extra{linkpath} ? $extra{linkpath} : unpack 'Z100', substr($header, 157, 100);
            if (exists $extra{size}) {
                $extra{size} =~ /\A[0-9]{1,15}\z/ or refuse("the archive is damaged: the size of ".shown($name));
                $bytes = $extra{size};
            }
            my @parts = inside($name, 'the entry');
            refuse("more than $MOST_ENTRIES entries are in the archive (most-entries)") if ++$count > $MOST_ENTRIES;
            my $kind = $KIND{$type};
            $kind = 'folder' if defined $kind && $kind eq 'file' && $name =~ m{/\z};
            refuse("the entry ".shown($name)." holds data, though it is no file") if $bytes > 0 && ($kind // 'file') ne 'file';
            refuse("the archive is cut off at byte $size, in ".shown($name)) if $data + $bytes > $size;
            $at = $data + 512 * POSIX::ceil($bytes / 512);
            my $whole = join '/', @parts;
            my @source = ($bytes, $data);
            if (($kind // '') eq 'hard') {
                my $known = $data_of{join '/', inside($target, 'the hard link '.shown($name).' to')};
                refuse("the hard link ".shown($name)." leads to ".shown($target).", which is no file before it in the archive") unless $known;
                # A file of its own: a link that somebody could exchange meanwhile would give away what it leads to.
                ($kind, @source) = ('file', @$known);
            }
            $data_of{$whole} = [@source] if ($kind // '') eq 'file';
            if (@ONLY) {
                my @fitting = grep { $whole =~ $patterns{$_} } @ONLY;
                next unless @fitting;
                $used{$_}++ for @fitting;
            }
            refuse("the entry ".shown($name)." is ".($NOT_TAKEN{$type} // "of the unknown type ".shown($type))) unless defined $kind;
            splice @parts, 0, $STRIP;
            if (!@parts) {
                refuse("the entry ".shown($name)." has no name of its own") if $kind ne 'folder' && $STRIP == 0;
                next;
            }
            my $path = join '/', @parts;
            if ($kind eq 'link') {
                refuse("the entry ".shown($name)." is a symbolic link") if $ENV{LINKS} eq 'refuse';
                check_link($path, $target);
            }
            my $mode = number(substr($header, 100, 8), "the mode of ".shown($name));
            # Of a folder the bits only say to whom new files belong, and are left out.
            if ($kind eq 'file') { refuse("the entry ".shown($name)." is $_->[1]") for grep { $mode & $_->[0] } [04000, 'setuid'], [02000, 'setgid'] }
            my $before = $entries{$path};
            refuse("the archive has ".shown($path)." twice, as $before->[0] and as $kind") if $before && $before->[0] ne $kind;
            $total += $source[0] if $kind eq 'file';
            refuse("the archive unpacks to more than $MOST_BYTES bytes (most-bytes)") if $total > $MOST_BYTES;
            my $mtime = ($extra{mtime} // '') =~ /\A([0-9]{1,12})(?:\.[0-9]*)?\z/ ? $1
                : ord(substr($header, 136, 1)) & 0x80 ? 0 : number(substr($header, 136, 12), "the time of ".shown($name));
            $entries{$path} = [
                $kind, $mode & 0777,
                account('user', $extra{uname} // unpack('Z32', substr($header, 265, 32)), $extra{uid}, substr($header, 108, 8), $header),
                account('group', $extra{gname} // unpack('Z32', substr($header, 297, 32)), $extra{gid}, substr($header, 116, 8), $header),
                $source[0], $source[1], $mtime, $target];
        }
        for (@ONLY) { refuse("nothing in the archive is called ".shown($_)." (only)") unless $used{$_} }
        check_parents(\%entries);
        return \%entries;
    }

    sub check_parents {
        my ($entries) = @_;
        for my $path (keys %$entries) {
            for (my $end = index $path, '/'; $end >= 0; $end = index $path, '/', $end + 1) {
                my $above = $entries->{substr $path, 0, $end} or next;
                next if $above->[0] eq 'folder';
                refuse("the entry ".shown($path)." lies under ".shown(substr $path, 0, $end).", which is ".($above->[0] eq 'link' ? 'a symbolic link' : 'a file'));
            }
        }
    }

    # The number of an entry's user or group: the plan's, else by name as this host has it, else the archive's number where
    # it has no name.
    our (%FIXED, %KNOWN);
    sub account {
        my ($what, $name, $pax, $field, $header) = @_;
        return $FIXED{$what} if defined $FIXED{$what};
        $name = '' if $header !~ /\A.{257}ustar/s && !length $name;
        if ($name eq '') {
            return $pax if defined $pax && $pax =~ /\A[0-9]{1,9}\z/;
            return number($field, "the $what of an entry");
        }
        return $KNOWN{$what}{$name} //= do {
            my $number = $what eq 'user' ? getpwnam($name) : getgrnam($name);
            refuse("the archive has entries of the $what ".shown($name).", which this host does not have: name another under owner") unless defined $number;
            $number;
        };
    }
    """#
