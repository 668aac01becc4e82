/// Brings one path of a host into its wanted state: a file, a folder, a link, or nothing.
///
/// A shell script whose whole work a Perl program does: what belongs to a file that is open cannot be exchanged for something else
/// meanwhile, as can what a shell names by its path, in a folder that others may write into.
///
/// In by the environment: `WISH` (`file`, `directory`, `link` or `absent`), `WISH_PATH`, `WISH_MODE` (octal), `WISH_OWNER` and
/// `WISH_GROUP` (empty: as they are), `WISH_TARGET` (of a link), `WISH_VALIDATE` (a shell script), `WISH_SECRET` (1: the file must not
/// have been open to others). The content of a file comes by standard input.
let fileScript =
    #"""
    command -v perl >/dev/null || { echo "this host has no perl, which files are written by: apt-get install perl-base" >&2; exit 65; }
    exec perl -- /dev/fd/3 3<<'REPRISE_END'
    """# + "\n" + fileProgram + "\nREPRISE_END\n"

private let fileProgram = #"""
    use strict;
    use warnings;
    use Errno;
    use Fcntl qw(:DEFAULT :mode);
    use IO::Handle;

    my ($path, $mode) = ($ENV{WISH_PATH}, oct $ENV{WISH_MODE});
    my $candidate;
    $| = 1;
    $SIG{$_} = sub { exit 143 } for qw(TERM INT HUP);
    END { my $status = $?; unlink $candidate if defined $candidate; $? = $status }

    sub changed { print "changed: @_\n" }
    sub refuse { print STDERR "@_\n"; exit 65 }
    # What the system said; another try may only help where it is no matter of rights or of what lies at the path.
    sub problem {
        my ($what) = @_;
        my $again = !($!{EACCES} || $!{EPERM} || $!{EROFS} || $!{ENOTDIR} || $!{ELOOP} || $!{ENAMETOOLONG} || $!{ENOENT});
        my $hint = $!{EACCES} || $!{EPERM} ? ' (the login of this host must be root, or become it)' : '';
        print STDERR "cannot $what: " . lcfirst("$!") . "$hint\n";
        exit($again ? 1 : 65);
    }

    $path =~ s{/+\z}{};
    my ($folder, $name) = $path =~ m{\A(.*)/([^/]+)\z}s or refuse('the root folder is no path that can be made or changed');
    $folder = '/' if $folder eq '';

    my ($uid, $gid) = (-1, -1);
    if ($ENV{WISH_OWNER} ne '') {
        my @entry = getpwnam $ENV{WISH_OWNER}
            or refuse("this host has no account $ENV{WISH_OWNER}: make it first, or install the package that brings it");
        ($uid, $gid) = @entry[2, 3];
    }
    if ($ENV{WISH_GROUP} ne '') {
        $gid = getgrnam($ENV{WISH_GROUP})
            // refuse("this host has no group $ENV{WISH_GROUP}: make it first, or install the package that brings it");
    }

    sub owner { my ($u, $g) = @_; return (getpwuid($u) // $u) . ':' . (getgrgid($g) // $g) }

    sub look {
        my @found = lstat $path;
        problem("look at $path") unless @found || $!{ENOENT} || $!{ENOTDIR};
        return @found;
    }

    sub sync_folder {
        sysopen(my $d, $_[0], O_RDONLY | O_DIRECTORY) or problem("open $_[0]");
        $d->sync or problem("flush $_[0]");
    }

    # Owner first: changing it takes set-user-id bits away.
    sub set_rights {
        my ($handle) = @_;
        my @did;
        my @now = stat $handle or problem("look at $path");
        if (($uid != -1 && $now[4] != $uid) || ($gid != -1 && $now[5] != $gid)) {
            chown $uid, $gid, $handle or problem("give $path to another owner");
            my @then = stat $handle;
            push @did, 'owner ' . owner(@now[4, 5]) . ' became ' . owner(@then[4, 5]);
            @now = @then;
        }
        if (($now[2] & 07777) != $mode) {
            chmod $mode, $handle or problem("change the mode of $path");
            push @did, sprintf('mode %04o became %04o', $now[2] & 07777, $mode);
        }
        return @did;
    }

    sub rights_differ {
        my @now = @_;
        return ($uid != -1 && $now[4] != $uid) || ($gid != -1 && $now[5] != $gid) || ($now[2] & 07777) != $mode;
    }

    sub content_of {
        my ($handle) = @_;
        my ($bytes, $all) = ('', '');
        while (my $count = sysread $handle, $bytes, 1 << 20) { $all .= $bytes }
        return $all;
    }

    sub make_file {
        binmode STDIN;
        my $content = content_of(\*STDIN);
        my @now = look();
        refuse("$path is a folder: take it away first, or name a file inside it") if @now && S_ISDIR($now[2]);
        refuse("$path is neither a file nor a link, and is not replaced") if @now && !S_ISREG($now[2]) && !S_ISLNK($now[2]);
        my $exists = @now && S_ISREG($now[2]);
        if ($exists) {
            sysopen(my $old, $path, O_RDONLY | O_NOFOLLOW) or problem("read $path");
            print "warning: others could read $path until now (its mode was " . sprintf('%04o', $now[2] & 07777) . ")\n"
                if $ENV{WISH_SECRET} && $now[2] & 07 & ~$mode;
            if (content_of($old) eq $content) {
                my @did = set_rights($old);
                $old->sync if @did;
                changed("$path: $_") for @did;
                return;
            }
            # What nobody asks for stays as it is.
            $uid = $now[4] if $uid == -1;
            $gid = $now[5] if $gid == -1;
        }
        refuse("the folder $folder is not there: make it first, with a step of kind file and `directory: true`") unless -d $folder;
        replace($content, \@now);
        changed(!@now ? "made $path" : $exists ? "wrote $path anew" : "wrote $path, which was a link");
        my @then = look();
        sysopen(my $again, $path, O_RDONLY | O_NOFOLLOW) or problem("read $path again");
        if (content_of($again) ne $content || rights_differ(@then)) {
            print STDERR "$path is not as it was just written: something else writes it too\n";
            exit 1;
        }
    }

    # Beside the path, under a name that programs which read whole folders pass over; what a killed attempt left is thrown away.
    sub replace {
        my ($content) = @_;
        my $new = "$folder/.$name.reprise-new";
        unlink $new or $!{ENOENT} or problem("remove $new");
        sysopen(my $out, $new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or problem("write $new");
        $candidate = $new;
        my $done = 0;
        while ($done < length $content) { $done += syswrite($out, $content, 1 << 20, $done) // problem("write $new") }
        set_rights($out);
        $out->sync or problem("flush $new");
        close $out or problem("write $new");
        validate($new, $content);
        rename $new, $path or problem("rename $new to $path");
        undef $candidate;
        sync_folder($folder);
    }

    # The plan's own word on whether the file may take its place: a script that finds it as $FILE and $1.
    sub validate {
        my ($file, $content) = @_;
        my $script = $ENV{WISH_VALIDATE};
        return if $script eq '';
        my $pid = open(my $said, '-|') // problem('start the command in `validate`');
        if (!$pid) {
            open STDIN, '<', '/dev/null';
            open STDERR, '>&', \*STDOUT;
            delete @ENV{grep { /\AWISH/ } keys %ENV};
            $ENV{FILE} = $file;
            exec '/bin/sh', '-euc', $script, 'validate', $file;
            exit 127;
        }
        my @lines = <$said>;
        close $said;
        return if $? == 0;
        # What is said is kept on the host, too.
        if ($ENV{WISH_SECRET}) {
            for my $secret (sort { length $b <=> length $a } grep { length >= 4 } split /\n/, $content) { s/\Q$secret\E/[redacted]/g for @lines }
        }
        my $how = $? & 127 ? 'signal ' . ($? & 127) : 'exit status ' . ($? >> 8);
        print STDERR @lines;
        chomp @lines;
        @lines = grep { /\S/ } @lines;
        my $why = join '; ', @lines > 3 ? @lines[-3 .. -1] : @lines;
        refuse("`validate` refuses the new $path ($how)" . ($why eq '' ? '' : ": $why") . '; what was there before stays');
    }

    sub make_directory {
        my @now = look();
        refuse("$path is a link to " . (readlink($path) // '?') . ': name the folder that it leads to') if @now && S_ISLNK($now[2]);
        refuse("$path is there and is no folder") if @now && !S_ISDIR($now[2]);
        make_parents($path) unless @now;
        sysopen(my $d, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) or problem("open $path");
        my @did = set_rights($d);
        if (!@now) { changed("made the folder $path") } else { changed("$path: $_") for @did }
        $d->sync if @did;
    }

    # The folders above it as usual, itself for nobody until it has its owner and mode.
    sub make_parents {
        my ($wanted) = @_;
        my $above = '';
        for my $part (grep { $_ ne '' } split m{/}, $wanted) {
            my $here = "$above/$part";
            if (mkdir $here, $here eq $wanted ? 0700 : 0755) { sync_folder($above eq '' ? '/' : $above) }
            elsif (!$!{EEXIST}) { problem("make the folder $here") }
            $above = $here;
        }
    }

    sub make_link {
        my $target = $ENV{WISH_TARGET};
        my @now = look();
        return if @now && S_ISLNK($now[2]) && readlink($path) eq $target;
        refuse("$path is a folder: take it away first") if @now && S_ISDIR($now[2]);
        my $new = "$folder/.$name.reprise-new";
        unlink $new or $!{ENOENT} or problem("remove $new");
        symlink $target, $new or problem("make the link $new");
        $candidate = $new;
        rename $new, $path or problem("rename $new to $path");
        undef $candidate;
        sync_folder($folder);
        changed("$path leads to $target");
    }

    sub make_absent {
        my @now = look() or return;
        if (S_ISDIR($now[2])) {
            if (!rmdir $path) {
                refuse("the folder $path is not empty; only an empty one is taken away") if $!{ENOTEMPTY} || $!{EEXIST};
                problem("remove the folder $path");
            }
        } else {
            unlink $path or problem("remove $path");
        }
        sync_folder($folder);
        changed("took $path away");
    }

    umask 0;
    my %make = (file => \&make_file, directory => \&make_directory, link => \&make_link, absent => \&make_absent);
    $make{$ENV{WISH}}->();
    print "evidence: $path is $ENV{WISH} as wanted\n";
    """#
