package import PostgreSQL
internal import RunCore

/// The data of one entry of an archive, and the statement that takes it in.
///
/// The archive's own statement is text like any other in there: it is read, and written anew out of the names in it.
struct DataLoad {
    /// As pg_restore writes it before the rows, with its newline.
    let header: String
    /// `COPY "schema"."table" ("a", "b") FROM STDIN …`
    let statement: String

    /// - Throws: `ReconcileRefused` where the entry is no COPY of its own table.
    init(_ entry: ArchiveEntry, into rescue: QualifiedName, _ archive: ArchiveTOC) throws {
        guard entry.copyStatement.hasPrefix("COPY ") else {
            throw ReconcileRefused("reconcile.inserts", "the backup of \(entry.tag) was made with --inserts, which cannot be loaded beside the live table")
        }
        var reader = TableDefinition.Reader(entry.copyStatement)
        // Up to 10.2 pg_dump wrote no schema there.
        guard reader.skip("COPY "), let first = reader.identifier(), (reader.skip(".") ? reader.identifier() : first) == entry.tag,
            let columns = reader.columns(), reader.skip(columns.isEmpty ? "  FROM stdin;\n" : " FROM stdin;\n"), reader.rest.isEmpty,
            !entry.copyStatement.dropLast().unicodeScalars.contains("\n")
        else {
            throw ReconcileRefused(
                "reconcile.odd-data", "the backup's data of \(entry.tag) begins in a way that is not understood",
                hints: ["pg_dump writes no such line, unless a name holds a line break: find out who can write to the store"])
        }
        header = entry.copyStatement
        let list = columns.isEmpty ? "" : " (\(columns.map(\.sql).joined(separator: ", ")))"
        statement = "COPY \(rescue.sql)\(list) FROM STDIN WITH (ENCODING \(try SQLLiteral(archive.encoding ?? "UTF8").sql))"
    }
}

extension RescueTables {
    /// A script for `sh` that loads the data of all tables out of an archive on the host, in one transaction.
    ///
    /// No text of the archive reaches the server as SQL: the statements stand in psql's arguments, and on its standard input there are
    /// rows alone, of which it could take nothing for a statement.
    /// - Parameters:
    ///   - contents: of the archive out of which these tables were chosen.
    ///   - archive, database: as words of the shell, quoted.
    package func loadingScript(from contents: ArchiveTOC, archive: String, database: String) throws -> String {
        let entries = Dictionary(contents.entries.map { ($0.dumpID, $0) }, uniquingKeysWith: { first, _ in first })
        let loads = try tables.flatMap { table in try table.dataIDs.compactMap { entries[$0] }.map { try DataLoad($0, into: table.rescue, contents) } }
        // Parts of one table that have their columns in the same order are one statement's: their names alone could fill an argument list.
        var statements: [String] = []
        let blocks = loads.map { load in
            let isNext = statements.last != load.statement
            if isNext { statements.append(load.statement) }
            return (isNext ? "+" : "=") + load.header.dropLast()
        }
        let commands = ([Self.settings] + statements).map { "-c \(shellQuoted($0))" }.joined(separator: " ")
        return Self.pipe(
            tables.flatMap(\.dataIDs), archive: archive,
            into: "PGCLIENTENCODING=UTF8 psql -X -q -w -v ON_ERROR_STOP=1 --single-transaction \(commands) -d \(database)", program: Self.filter,
            argument: "blocks", before: "printf '%s\\n' \(blocks.map(shellQuoted).joined(separator: " ")) > \"$work/blocks\" || exit 73")
    }

    /// What pg_restore sets before it writes rows, but for the search path: functions that look at a domain's values, or work columns out,
    /// find what they name as in any session of that database.
    private static let settings = """
        SET xmloption TO content; SET statement_timeout TO 0; SET lock_timeout TO 0; \
        SET idle_in_transaction_session_timeout TO 0
        """

    /// In Perl. Its input is what pg_restore writes, its output the rows of the entries that were asked for, in their order, and a line
    /// `\.` after each statement's. A line that could be taken for that one in another way ends everything: pg_dump writes none.
    private static let filter = #"""
        open my $list, '<', $ARGV[0] or die "cannot read $ARGV[0]: $!\n";
        my @blocks = grep { length > 1 } <$list>;
        my ($inside, $begun) = (0, 0);
        sub put { print @_ or die "cannot write: $!\n" }
        while (my $line = <STDIN>) {
            if ($inside) {
                if ($line eq "\\.\n") { $inside = 0; next }
                $line =~ /[\0\r]/ and die "a row of the archive holds a sign that pg_dump writes in another way\n";
                put($line);
            } elsif (@blocks && $line eq substr $blocks[0], 1) {
                put("\\.\n") if $begun && $blocks[0] =~ /^\+/;
                shift @blocks;
                ($inside, $begun) = (1, 1);
            }
        }
        die "the archive ends in the middle of a table\n" if $inside;
        die "the archive has no data where it says: $blocks[0]" if @blocks;
        put("\\.\n") if $begun;
        close STDOUT or die "cannot write: $!\n";
        """#

    /// A script for `sh` that sends data of an archive through a program into a database.
    ///
    /// - Parameters:
    ///   - dataIDs: the archive's entries.
    ///   - program: in Perl; its argument is a file in the folder `$work`.
    ///   - argument: the name of that file.
    ///   - before: what the shell does first: it writes the file.
    static func pipe(_ dataIDs: [Int], archive: String, into loading: String, program: String, argument: String, before: String) -> String {
        """
        set -u
        export LC_ALL=C
        work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT || exit 73
        \(before)
        printf '%s\\n' \(dataIDs.map { "'\($0);'" }.joined(separator: " ")) > "$work/list" || exit 73
        cat > "$work/filter.pl" <<'PROGRAM' || exit 73
        use strict; use warnings;
        \(program)
        PROGRAM
        # Every program of the pipe has to end well.
        { pg_restore --data-only --use-list="$work/list" --file=- -- \(archive); echo "$?" > "$work/restore"; } \\
            | { perl "$work/filter.pl" "$work/\(argument)"; echo "$?" > "$work/filter"; } \\
            | \(loading)
        status=$?
        [ "$(cat "$work/restore")" = 0 ] || exit 81
        [ "$(cat "$work/filter")" = 0 ] || exit 82
        exit "$status"
        """
    }
}
