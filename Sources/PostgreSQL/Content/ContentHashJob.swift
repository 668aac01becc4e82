/// A job for the database's host that counts and hashes content.
///
/// `program` goes to `perl -` on standard input, or into a file that perl runs. On standard output come the lines that
/// `ContentSummary` reads; on standard error progress and errors, as JSON lines among what `pg_restore` and `psql` say.
/// It changes nothing, so that it can be repeated at will.
package struct ContentHashJob: Sendable, Hashable {
    package let program: String

    /// Expected content, from an archive on that host.
    ///
    /// - Parameters:
    ///   - path: a file or folder of any format of pg_dump; custom format and plain SQL also inside gzip, zstd or xz.
    ///   - contents: the archive's table of contents; with it, large tables are spread evenly over the processes.
    ///   - processes: one at a time reads plain, tar and wrapped archives, whatever is given here.
    package static func archive(
        at path: String, contents: ArchiveTOC? = nil, processes: Int = 2, pgRestore: String = "pg_restore"
    ) -> ContentHashJob {
        var lines = [
            HashProgram.line("mode", ["archive"]), HashProgram.line("archive", [path]),
            HashProgram.line("jobs", ["\(max(1, processes))"]), HashProgram.line("pg_restore", [pgRestore]),
        ]
        for (dumpID, bytes) in contents?.storedBytes ?? [:] { lines.append(HashProgram.line("weight", ["\(dumpID)", "\(bytes)"])) }
        return ContentHashJob(lines)
    }

    /// Actual content of the tables that `expected` names, with exactly its columns, all in one snapshot.
    ///
    /// - Parameter environment: how psql finds the server on that host (`PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`,
    ///   `PGPASSFILE`). It becomes part of the program's text: never a password.
    package static func database(
        expecting expected: ContentSummary, environment: [String: String], applicationName: String, processes: Int = 2,
        psql: String = "psql"
    ) -> ContentHashJob {
        var lines = [
            HashProgram.line("mode", ["database"]), HashProgram.line("jobs", ["\(max(1, processes))"]),
            HashProgram.line("psql", [psql]), HashProgram.line("encoding", [expected.encoding]),
            HashProgram.line("application_name", [applicationName]),
        ]
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) where name != "PGPASSWORD" {
            lines.append(HashProgram.line("environment", [name, value]))
        }
        for table in expected.tables {
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
