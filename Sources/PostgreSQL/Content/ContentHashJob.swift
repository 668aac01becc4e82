/// A job for the database's host that counts and hashes content.
///
/// `program` goes to `perl -` on standard input, or into a file that perl runs. On standard output come the lines that
/// `ContentSummary` reads; on standard error progress and errors, as JSON lines among what `pg_restore` and `psql` say.
/// It changes nothing, so that it can be repeated at will.
package struct ContentHashJob: Sendable, Hashable {
    package let program: String

    /// What is hashed.
    package enum Digest: String, Sendable, Hashable {
        /// Every row by itself, moments in UTC: equal rows are found equal in whatever order and time zone they are written.
        case rows
        /// A table's text as it comes, at half the cost: decides where both sides come in the same order and time zone.
        case stream
    }

    /// Expected content, from an archive on that host.
    ///
    /// - Parameters:
    ///   - path: a file or folder of any format of pg_dump; custom format and plain SQL also inside gzip, zstd or xz.
    ///   - contents: the archive's table of contents; with it, large tables are spread evenly over the processes.
    ///   - tables: only these; needs `contents`. Plain and wrapped archives are read whole nevertheless.
    ///   - processes: one at a time reads plain, tar and wrapped archives, whatever is given here.
    package static func archive(
        at path: String, contents: ArchiveTOC? = nil, digest: Digest = .rows, tables: [QualifiedName]? = nil, processes: Int = 2,
        pgRestore: String = "pg_restore"
    ) -> ContentHashJob {
        var lines = [
            HashProgram.line("mode", ["archive"]), HashProgram.line("archive", [path]), HashProgram.line("digest", [digest.rawValue]),
            HashProgram.line("jobs", ["\(max(1, processes))"]), HashProgram.line("pg_restore", [pgRestore]),
        ]
        for (dumpID, bytes) in contents?.storedBytes ?? [:] { lines.append(HashProgram.line("weight", ["\(dumpID)", "\(bytes)"])) }
        if let tables, let contents { lines += only(Set(tables), contents) }
        return ContentHashJob(lines)
    }

    /// Partitions that are loaded through their root bear the root's name in their COPY statement, and their own in the table of contents.
    private static func only(_ tables: Set<QualifiedName>, _ contents: ArchiveTOC) -> [String] {
        let isThroughRoot = !tables.isSubset(of: contents.dataTables.map(\.name))
        guard !isThroughRoot else { return [] }
        return contents.dataTables.filter { tables.contains($0.name) }.map { HashProgram.line("only", ["\($0.dumpID)"]) }
    }

    /// Actual content of the tables that `expected` names, with exactly its columns, all in one snapshot.
    ///
    /// - Parameters:
    ///   - environment: how psql finds the server on that host (`PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSFILE`). It becomes
    ///     part of the program's text: never a password.
    ///   - tables: only these, and nothing but tables.
    ///   - digest: with `stream`, `timeZone` is the one in which the archive was probably written; a wrong guess only decides nothing.
    package static func database(
        expecting expected: ContentSummary, environment: [String: String], applicationName: String, digest: Digest = .rows,
        timeZone: String = "UTC", tables: [QualifiedName]? = nil, processes: Int = 2, psql: String = "psql"
    ) -> ContentHashJob {
        var lines = [
            HashProgram.line("mode", ["database"]), HashProgram.line("jobs", ["\(max(1, processes))"]),
            HashProgram.line("psql", [psql]), HashProgram.line("encoding", [expected.encoding]),
            HashProgram.line("application_name", [applicationName]), HashProgram.line("digest", [digest.rawValue]),
            HashProgram.line("timezone", [digest == .stream ? timeZone : "UTC"]),
        ]
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) where name != "PGPASSWORD" {
            lines.append(HashProgram.line("environment", [name, value]))
        }
        if tables != nil { lines.append(HashProgram.line("partial", ["1"])) }
        let wanted = tables.map(Set.init)
        for table in expected.tables where wanted?.contains(table.name) ?? true {
            lines.append(HashProgram.line("table", [table.name.schema.name, table.name.name.name] + table.columns))
        }
        return ContentHashJob(lines)
    }

    /// The script of a plain SQL dump (also wrapped) without its rows, on standard output: what `ArchiveTOC` reads.
    ///
    /// It reads the whole file and fails on one that is cut off.
    package static func outline(ofPlainDumpAt path: String) -> ContentHashJob {
        ContentHashJob([HashProgram.line("mode", ["outline"]), HashProgram.line("archive", [path])])
    }

    private init(_ lines: [String]) {
        program = HashProgram.text + lines.joined() + HashProgram.line("end", [])
    }
}
