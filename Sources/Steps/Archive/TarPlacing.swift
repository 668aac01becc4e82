/// The second part of the unpacking program: holds what the archive has against what is there, and puts in place what differs.
///
/// Folders are opened one by one without following links, and everything happens relative to an open folder (through `/proc/self/fd`,
/// as `openat` would): whoever may write in the tree cannot lead the program elsewhere by exchanging a folder for a link. Each file is
/// written beside its place and renamed; links and files of other types that stand in the way are never followed.
let tarPlacingSource = #"""
    our ($INTO, $BASE, $EXISTING, $DEFAULT_USER, $DEFAULT_GROUP);
    our $BLOCK = 1 << 20;

    sub at { my ($folder, $name) = @_; return '/proc/self/fd/'.fileno($folder)."/$name" }

    # Opens a folder, and no link to one; undef where it is none. $! tells why.
    sub open_folder {
        my ($path) = @_;
        sysopen(my $handle, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) or return undef;
        return $handle;
    }

    # The folders that lead to where the work is: [name, handle], the first one is the root.
    our @STACK;
    # The open folder of these parts, or undef where there is none yet and none is to be made.
    sub folder {
        my ($parts, $entries, $make) = @_;
        my $same = 0;
        $same++ while $same < @$parts && $same + 1 < @STACK && $STACK[$same + 1][0] eq $parts->[$same];
        splice @STACK, $same + 1;
        while ($same < @$parts) {
            my ($above, $name) = ($STACK[-1][1], $parts->[$same]);
            my $path = join '/', @$parts[0 .. $same];
            my $handle = open_folder(at($above, $name));
            if (!$handle && $!{ENOENT}) {
                return undef unless $make;
                make_folder($above, $name, $path, $entries->{$path});
                $handle = open_folder(at($above, $name));
            }
            if (!$handle) {
                my $why = "$!";
                my @there = lstat at($above, $name);
                refuse(shown("$INTO/$path")." is ".(S_ISLNK($there[2]) ? 'a symbolic link' : 'no folder').", and the archive has a folder there") if @there && !S_ISDIR($there[2]);
                fail("cannot open the folder ".shown("$INTO/$path").": $why");
            }
            push @STACK, [$name, $handle];
            $same++;
        }
        return $STACK[-1][1];
    }

    sub clear_temporary {
        my ($folder) = @_;
        my $path = at($folder, $TEMPORARY);
        unlink $path or $!{ENOENT} or rmdir $path or fail("cannot remove what an earlier attempt left, ".shown($TEMPORARY).": $!");
    }

    # Born under another name, so that it is whole when it appears.
    sub make_folder {
        my ($above, $name, $path, $entry) = @_;
        my ($mode, $user, $group) = $entry ? @$entry[1, 2, 3] : (0755, $DEFAULT_USER, $DEFAULT_GROUP);
        clear_temporary($above);
        my $temporary = at($above, $TEMPORARY);
        my $handle;
        mkdir $temporary, 0700 and $handle = open_folder($temporary) and chown $user, $group, $handle and chmod $mode, $handle
            and rename $temporary, at($above, $name) or give_up($above, "cannot make the folder ".shown("$INTO/$path"));
    }

    sub give_up {
        my ($folder, $what) = @_;
        my $why = "$!";
        my $temporary = at($folder, $TEMPORARY);
        unlink $temporary or rmdir $temporary;
        fail("$what: $why");
    }

    sub copy_data {
        my ($tar, $entry, $out, $path, $folder) = @_;
        my ($size, $at) = @$entry[4, 5];
        while ($size > 0) {
            my $data = bytes_at($tar, $at, $size < $BLOCK ? $size : $BLOCK);
            fail("the archive became shorter while it was unpacked") if $data eq '';
            my $done = 0;
            while ($done < length $data) {
                my $n = syswrite $out, $data, length($data) - $done, $done;
                defined $n or $!{EINTR} or give_up($folder, "cannot write ".shown("$INTO/$path"));
                $done += $n // 0;
            }
            $at += length $data;
            $size -= length $data;
        }
    }

    sub place {
        my ($tar, $entries, $path) = @_;
        my $entry = $entries->{$path};
        my @parts = split m{/}, $path;
        if ($entry->[0] eq 'folder') { folder(\@parts, $entries, 1); return }
        my $name = pop @parts;
        my $folder = folder(\@parts, $entries, 1);
        clear_temporary($folder);
        my $temporary = at($folder, $TEMPORARY);
        my $shown = shown("$INTO/$path");
        if ($entry->[0] eq 'link') {
            symlink $entry->[7], $temporary and POSIX::lchown($entry->[2], $entry->[3], $temporary)
                and rename $temporary, at($folder, $name) or give_up($folder, "cannot make the link $shown");
            return;
        }
        sysopen(my $out, $temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or give_up($folder, "cannot write $shown");
        copy_data($tar, $entry, $out, $path, $folder);
        # The owner first: giving a file away clears bits of its mode.
        chown $entry->[2], $entry->[3], $out and chmod $entry->[1], $out and utime $entry->[6], $entry->[6], $out and close $out
            and rename $temporary, at($folder, $name) or give_up($folder, "cannot put $shown in its place");
    }

    # Owner and mode of what is otherwise as it should be. Bits beyond rwx that a folder has stay.
    sub mend {
        my ($entries, $path) = @_;
        my $entry = $entries->{$path};
        my @parts = split m{/}, $path;
        my $name = pop @parts;
        my $folder = folder(\@parts, $entries, 0) or fail(shown("$INTO/$path")." went away meanwhile");
        sysopen(my $handle, at($folder, $name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK) or fail("cannot open ".shown("$INTO/$path").": $!");
        my @there = stat $handle;
        fail(shown("$INTO/$path")." was exchanged meanwhile") if kind_of($there[2]) ne $entry->[0] || ($entry->[0] eq 'file' && $there[3] > 1);
        chown $entry->[2], $entry->[3], $handle and chmod wanted_mode($entry, $there[2]), $handle
            or fail("cannot set owner and mode of ".shown("$INTO/$path").": $!");
    }

    sub kind_of { my ($mode) = @_; return S_ISREG($mode) ? 'file' : S_ISDIR($mode) ? 'folder' : S_ISLNK($mode) ? 'link' : 'other' }
    sub wanted_mode { my ($entry, $there) = @_; return $entry->[1] | ($entry->[0] eq 'folder' ? $there & 07000 : 0) }

    # What is there, against the entry: missing, same, owner, differs; a folder where none should be, or the other way, is in the way.
    sub look {
        my ($tar, $entries, $path) = @_;
        my $entry = $entries->{$path};
        my @parts = split m{/}, $path;
        my $name = pop @parts;
        my $folder = folder(\@parts, $entries, 0) or return 'missing';
        my @there = lstat at($folder, $name);
        if (!@there) { return 'missing' if $!{ENOENT}; fail("cannot look at ".shown("$INTO/$path").": $!") }
        my $kind = kind_of($there[2]);
        if ($kind ne $entry->[0]) { return $kind eq 'folder' || $entry->[0] eq 'folder' ? 'in the way' : 'differs' }
        if ($kind eq 'link') { return (readlink(at($folder, $name)) // '') eq $entry->[7] ? 'same' : 'differs' }
        my $owned = $there[4] == $entry->[2] && $there[5] == $entry->[3] && ($there[2] & 07777) == wanted_mode($entry, $there[2]);
        return $owned ? 'same' : 'owner' if $kind eq 'folder';
        return 'differs' if $there[7] != $entry->[4] || !same_data($tar, $entry, at($folder, $name));
        # A file with several names may be one from elsewhere: it is written anew instead of being given away.
        return $owned ? 'same' : $there[3] > 1 ? 'again' : 'owner';
    }

    sub same_data {
        my ($tar, $entry, $path) = @_;
        sysopen(my $file, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) or return 0;
        my ($size, $at) = @$entry[4, 5];
        while ($size > 0) {
            my $count = $size < $BLOCK ? $size : $BLOCK;
            my $data = '';
            while (length $data < $count) { my $n = sysread $file, $data, $count - length $data, length $data or return 0 }
            return 0 if $data ne bytes_at($tar, $at, $count);
            $at += $count;
            $size -= $count;
        }
        return 1;
    }

    sub output_of { open(my $pipe, '-|', @_) or fail("cannot run $_[0]: $!"); local $/; my $text = <$pipe>; close $pipe or fail("$_[0] failed"); return $text // '' }

    # The folder itself may be reached by links: the plan names it.
    sub open_root {
        sysopen(my $root, $INTO, O_RDONLY | O_DIRECTORY) or fail("cannot open ".shown($INTO).": $!");
        @STACK = (['', $root]);
    }

    sub make_root {
        my $path = '';
        for (grep { $_ ne '' } split m{/}, $INTO) {
            $path .= "/$_";
            next if -d $path;
            mkdir $path, 0755 and chmod 0755, $path or refuse("cannot make the folder ".shown($path).": $!");
        }
        my $root = open_folder($INTO);
        $root && chown $DEFAULT_USER, $DEFAULT_GROUP, $root or fail("cannot give ".shown($INTO)." to its owner: $!");
        print "changed: made the folder ".shown($INTO)."\n";
    }

    # Bytes and inodes that are left on the file system; undef where it does not count them.
    sub room {
        my $bytes = output_of('df', '-PB1', '--', $BASE) =~ /\n.*?\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%/ ? $3 : undef;
        my $inodes = output_of('df', '-Pi', '--', $BASE) =~ /\n.*?\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%/ && $1 > 0 ? $3 : undef;
        return ($bytes, $inodes);
    }

    sub check_room {
        my ($entries, @missing) = @_;
        my ($bytes, $inodes) = room();
        my $need = 0;
        $need += 4096 * (1 + POSIX::ceil(($entries->{$_}[0] eq 'file' ? $entries->{$_}[4] : 0) / 4096)) for @missing;
        refuse("unpacking takes $need bytes and ".shown($INTO)." has room for $bytes: make room, or name another place") if defined $bytes && $need > $bytes;
        my $count = @missing;
        refuse("unpacking makes $count files and ".shown($INTO)." has inodes for $inodes") if defined $inodes && $count > $inodes;
    }

    # The archive as a seekable tar. One that is wrapped is unwrapped into a nameless file, to its quota and no further.
    sub open_archive {
        my ($path) = @_;
        sysopen(my $tar, $path, O_RDONLY) or refuse("cannot read the archive ".shown($path).": $!");
        S_ISREG((stat $tar)[2]) or refuse("the archive ".shown($path)." is no file");
        my $magic = bytes_at($tar, 0, 6);
        my $program = $magic =~ /\A\x1f\x8b/ ? 'gzip' : $magic =~ /\A\x28\xb5\x2f\xfd/ ? 'zstd' : $magic =~ /\A\xfd7zXZ\0/ ? 'xz' : $magic =~ /\ABZh/ ? 'bzip2' : '';
        return $tar if $program eq '';
        my ($free) = room();
        my $limit = $MOST_BYTES + 1536 * $MOST_ENTRIES + 10240;
        $limit = int($free / 2) if defined $free && $limit > $free / 2;
        sysopen(my $base, $BASE, O_RDONLY | O_DIRECTORY) or fail("cannot open ".shown($BASE).": $!");
        my $temporary = at($base, $TEMPORARY);
        clear_temporary($base);
        sysopen(my $plain, $temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or fail("cannot write in ".shown($BASE).": $!");
        unlink $temporary;
        sysseek($tar, 0, SEEK_SET);
        my $child = open(my $pipe, '-|') // fail("cannot start $program: $!");
        if (!$child) { open STDIN, '<&', $tar; exec $program, '-dc' or POSIX::_exit(127) }
        my $total = 0;
        while (my $n = sysread $pipe, my $data, $BLOCK) {
            $total += $n;
            if ($total > $limit) { kill 'KILL', $child; refuse("the archive unwraps to more than $limit bytes: most-bytes and half of the free disk allow no more") }
            for (my $done = 0; $done < $n;) { $done += syswrite($plain, $data, $n - $done, $done) // fail("cannot unwrap the archive: $!") }
        }
        close $pipe or refuse($? >> 8 == 127 ? "$program is not installed, and the archive is wrapped by it" : "the archive is damaged: $program ended with ".($? >> 8 || "signal $?"));
        return $plain;
    }
    """#

let tarMainSource = #"""
    binmode STDIN;
    $| = 1;
    umask 077;
    $ENV{LC_ALL} = 'C';
    ($INTO, $EXISTING, $MOST_BYTES, $MOST_ENTRIES, $STRIP) = @ENV{qw(INTO EXISTING MOST_BYTES MOST_ENTRIES STRIP)};
    { local $/; @ONLY = split /\0/, <STDIN> // '' }
    for (['user', $ENV{OWNER}, sub { getpwnam $_[0] }], ['group', $ENV{GROUP}, sub { getgrnam $_[0] }]) {
        my ($what, $name, $number) = @$_;
        next if $name eq '';
        $FIXED{$what} = $number->($name) // refuse("this host has no $what ".shown($name));
    }
    $FIXED{group} //= (getpwnam $ENV{OWNER})[3] if $ENV{OWNER} ne '';
    ($DEFAULT_USER, $DEFAULT_GROUP) = ($FIXED{user} // $>, $FIXED{group} // $) + 0);

    if ($ENV{SHA256} ne '') {
        my ($seen) = output_of('sha256sum', '-b', '--', $ENV{ARCHIVE}) =~ /\A\\?([0-9a-f]{64})/;
        refuse("the archive ".shown($ENV{ARCHIVE})." is not as it was fetched: its SHA-256 is another one") if ($seen // '') ne $ENV{SHA256};
    }
    # What a missing folder will lie in; there is the room that it will have.
    $BASE = $INTO;
    $BASE =~ s{/+[^/]*\z}{} while $BASE ne '' && !-d $BASE;
    $BASE = '/' if $BASE eq '';
    my $tar = open_archive($ENV{ARCHIVE});
    my $entries = read_archive($tar);
    my @paths = sort keys %$entries;
    my %found;
    if (-d $INTO) {
        open_root();
        push @{$found{look($tar, $entries, $_)}}, $_ for @paths;
    } else { $found{missing} = \@paths }
    my ($missing, $differs, $blocked, $again, $owner) = map { $found{$_} // [] } 'missing', 'differs', 'in the way', 'again', 'owner';
    sub some { my @all = @_; return join(', ', map { shown($_) } @all[0 .. ($#all < 4 ? $#all : 4)]).(@all > 5 ? ', …' : '') }
    refuse(@$blocked." entries of the archive are folders where ".shown($INTO)." has something else, or the other way round: ".some(@$blocked)) if @$blocked;
    refuse(@$differs." files are there already with other content: ".some(@$differs)."; say under existing whether to keep or to replace them") if @$differs && $EXISTING eq 'refuse';
    my @write = (@$missing, @$again, $EXISTING eq 'replace' ? @$differs : ());
    check_room($entries, @write) if @write;
    if (!@STACK) { make_root(); open_root() }
    if (@write || @$owner) {
        place($tar, $entries, $_) for sort @write;
        mend($entries, $_) for @$owner;
        for (@write, @$owner) { my $now = look($tar, $entries, $_); fail(shown("$INTO/$_")." is not as it was written: $now") if $now ne 'same' }
        system('sync', '-f', '--', $INTO) == 0 or fail("sync of ".shown($INTO)." failed");
    }
    print "changed: unpacked ".@$missing." entries\n" if @$missing;
    print "changed: replaced ".@$differs.(@$differs == 1 ? " file: " : " files: ").some(@$differs)."\n" if @$differs && $EXISTING eq 'replace';
    print "changed: owner or mode of ".(@$owner + @$again)." entries\n" if @$owner || @$again;
    print "evidence: kept ".@$differs." files with other content: ".some(@$differs)."\n" if @$differs && $EXISTING eq 'keep';
    my ($files, $bytes) = (0, 0);
    for (values %$entries) { if ($_->[0] eq 'file') { $files++; $bytes += $_->[4] } }
    print "evidence: ".@paths." entries, $files files of $bytes bytes\n";
    """#
