package import BlockingIO
package import PostgreSQL
internal import RunCore

extension RescueTables {
    /// The numbers of large objects that the loaded tables name, as a query; nil where none of them has a column for those.
    package func objectNumbers(_ connection: PostgresConnection, deadline: Deadline) async throws -> String? {
        var selects: [String] = []
        for table in tables {
            let shape = try await TableShape.read(table.rescue, connection, deadline: deadline)
            for column in shape.columns where column.refersToLargeObjects {
                let number = "\(column.name.sql)::pg_catalog.oid"
                selects.append("SELECT \(number) AS number FROM \(shape.from) WHERE \(number) <> 0")
            }
        }
        return selects.isEmpty ? nil : selects.joined(separator: " UNION ")
    }

    /// Notes what the archive says of the objects that were loaded, and counts them. Idempotent.
    package mutating func finishObjects(
        _ objects: RescuedObjects, from archive: ArchiveTOC, _ connection: PostgresConnection, deadline: Deadline
    ) async throws {
        try await objects.noteRights(archive.objectRights, connection, deadline: deadline)
        let loaded = try await connection.query("SELECT pg_catalog.count(*) AS objects FROM \(objects.known.sql)", deadline: deadline)
        self.objects = objects
        self.objects?.count = try loaded.only().integer("objects")
    }
}

extension RescuedObjects {
    /// A script for `sh` that loads the contents of the objects that loaded tables name out of an archive on the host, in one transaction.
    /// What an earlier one loaded is thrown away.
    ///
    /// pg_restore writes the contents as calls of `lowrite`; a filter makes rows of them, and nothing else.
    /// - Parameters:
    ///   - numbers: a query for them.
    ///   - archive, database: as words of the shell, quoted.
    package func loadingScript(_ numbers: String, dataIDs: [Int], archive: String, database: String) -> String {
        let psql = "psql -X -q -w -v ON_ERROR_STOP=1 -d \(database)"
        return RescueTables.pipe(
            dataIDs, archive: archive, into: "\(psql) --single-transaction -f -", program: program, argument: "numbers",
            before: "\(psql) -c \(shellQuoted("COPY (\(numbers)) TO STDOUT")) > \"$work/numbers\" || exit")
    }

    private var program: String {
        let limit = ObjectSQL.pieceBytes * 2
        return #"""
            my $limit = \#(limit);
            my %wanted;
            open my $list, '<', $ARGV[0] or die "cannot read $ARGV[0]: $!\n";
            while (my $number = <$list>) { chomp $number; $wanted{$number} = 1 }
            my ($number, $place, $held);
            sub put { print @_ or die "cannot write: $!\n" }
            sub piece { put("$number\t", $place++, "\t\\\\x", substr($held, 0, $limit, ''), "\n") }
            put(<<'BEFORE');
            \#(before)
            BEFORE
            while (my $line = <STDIN>) {
                if (!defined $number) {
                    if ($line =~ /^SELECT pg_catalog\.lo_open\('(\d+)', \d+\);$/) { ($number, $place, $held) = ($1, 0, '') }
                    elsif ($line =~ /^SELECT pg_catalog\.lo/) { die "a large object begins in a way that is not understood\n" }
                }
                elsif ($line =~ /^SELECT pg_catalog\.lowrite\(0, '\\{1,2}x([0-9a-fA-F]*)'\);$/) {
                    next unless $wanted{$number};
                    $held .= $1;
                    piece() while length $held >= $limit;
                }
                elsif ($line =~ /^SELECT pg_catalog\.lo_close\(0\);$/) {
                    piece() if $wanted{$number};
                    undef $number;
                }
                else { die "large object $number is written in a way that is not understood\n" }
            }
            die "the archive ends in the middle of large object $number\n" if defined $number;
            put(<<'AFTER');
            \#(after)
            AFTER
            close STDOUT or die "cannot write: $!\n";
            """#
    }

    private var before: String {
        """
        TRUNCATE \(pieces.sql), \(known.sql);
        COPY \(pieces.sql) (number, place, data) FROM stdin;
        """
    }

    private var after: String {
        """
        \\.
        INSERT INTO \(known.sql) (number, digest) SELECT number, \(ObjectSQL.digestOfRows) FROM \(pieces.sql) GROUP BY number;
        ANALYZE \(pieces.sql) (number, place), \(known.sql) (number);
        """
    }

    /// Makes the empty tables. Made by whoever merges, who reads them afterwards. Idempotent.
    package func make(_ connection: PostgresConnection, deadline: Deadline) async throws {
        for statement in [
            "CREATE TABLE IF NOT EXISTS \(pieces.sql) (number oid, place integer, data bytea NOT NULL, PRIMARY KEY (number, place))",
            // It would be looked at in vain: most of what people keep there is compressed already.
            "ALTER TABLE \(pieces.sql) ALTER data SET STORAGE EXTERNAL",
            "CREATE TABLE IF NOT EXISTS \(known.sql) (number oid PRIMARY KEY, digest bytea NOT NULL, rights text)",
        ] { try await connection.execute(statement, deadline: deadline) }
    }
}
