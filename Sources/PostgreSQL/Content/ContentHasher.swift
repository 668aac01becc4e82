internal import Foundation
package import RunCore

/// Counts and hashes what an archive or a database holds: scripts for jobs on the database host, and what they print.
///
/// The scripts run as the database's superuser on the host; they change nothing, and can be run again at any time.
package enum ContentHasher {
    /// Counts and hashes the rows of a dump without restoring it; every block of it is decoded.
    ///
    /// - Parameters:
    ///   - archive: path of a custom, directory, tar or plain SQL dump, unwrapped.
    ///   - pgRestore: the program, of at least the version that made the archive.
    ///   - jobs: how many processes read at once.
    package static func archiveScript(archive: String, pgRestore: String = "pg_restore", jobs: Int = 2) -> String {
        script(["archive", archive, pgRestore, "\(max(1, jobs))"])
    }

    /// Counts and hashes, in one snapshot, those tables of a database that `expected` names, column by column as it names them.
    ///
    /// - Returns: the script, and what it must be given on standard input.
    package static func databaseScript(
        database: String, socketDirectory: String, port: Int, user: String, expected: ContentManifest, jobs: Int = 2
    ) -> (script: String, stdin: [UInt8]) {
        // A name goes in as a connection string with quotes, so that one that looks like a connection string is still a name.
        let name = "dbname='\(database.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "'", with: "\\'"))'"
        let arguments = ["database", "\(max(1, jobs))", "-w", "-h", socketDirectory, "-p", "\(port)", "-U", user, "-d", name]
        var lines = [["encoding", expected.encoding]]
        lines += expected.tables.map { [$0.schema, $0.name] + $0.columns }
        let text = lines.map { $0.map { hex($0) }.joined(separator: "\t") + "\n" }.joined()
        return (script(arguments), Array(text.utf8))
    }

    private static func script(_ arguments: [String]) -> String {
        let words = arguments.map(quotedWord).joined(separator: " ")
        return """
            perl -MDigest::MD5 -e 1 2>/dev/null || { echo "perl with Digest::MD5 is missing on this host" >&2; exit 69; }
            exec perl -e \(quotedWord(ContentProgram.text)) -- \(words)
            """
    }

    private static func quotedWord(_ text: String) -> String {
        "'" + text.replacingOccurrences(of: "'", with: #"'\''"#) + "'"
    }

    private static func hex(_ text: String) -> String {
        text.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// Rows done so far, where `line` is a line of progress.
    package static func progress(_ line: String) -> Int64? {
        let words = line.split(separator: " ")
        return words.count == 3 && words[0] == "reprise-progress" ? Int64(words[1]) : nil
    }

    /// Reads what a script printed.
    ///
    /// - Throws: `ContentUnreadable` where the job failed, or did not say that it came to the end.
    package static func manifest(exitStatus: Int?, stdout: String, stderr: String, of source: String) throws -> ContentManifest {
        guard exitStatus == 0 else { throw ContentUnreadable(exitStatus: exitStatus, stderr: stderr, source: source) }
        var manifest = ContentManifest()
        var isComplete = false
        for line in stdout.split(separator: "\n") where line.hasPrefix("{") {
            let entry = try JSONDecoder().decode(Entry.self, from: Data(line.utf8))
            if let table = entry.table { manifest.tables.append(table) }
            if let sequence = entry.sequence { manifest.sequences.append(sequence) }
            if let extra = entry.extra { manifest.extraTables.append(extra) }
            if let objects = entry.largeObjects { manifest.largeObjects = objects }
            if let complete = entry.complete {
                manifest.encoding = complete.encoding
                isComplete = true
            }
        }
        guard isComplete else { throw ContentUnreadable(exitStatus: nil, stderr: stderr, source: source) }
        return manifest
    }

    private struct Entry: Decodable {
        struct Complete: Decodable { let encoding: String }
        let table: TableContent?
        let sequence: SequenceContent?
        let extra: ExtraTable?
        let largeObjects: LargeObjectContent?
        let complete: Complete?
    }
}

/// What an archive or a database holds: exact counts, and hashes that are equal where the content is.
package struct ContentManifest: Codable, Hashable, Sendable {
    package var tables: [TableContent] = []
    package var sequences: [SequenceContent] = []
    package var largeObjects = LargeObjectContent(count: 0, hash: String(repeating: "0", count: 32))
    /// Tables of the database that were not asked for.
    package var extraTables: [ExtraTable] = []
    /// The client encoding in which the rows were hashed, as PostgreSQL names it.
    package var encoding = "UTF8"

    package init() {}

    package var rows: Int64 { tables.reduce(0) { $0 + $1.rows } }
}

package struct TableContent: Codable, Hashable, Sendable {
    package var schema: String
    package var name: String
    /// Those in the backup, in its order; generated columns are not among them.
    package var columns: [String]
    package var rows: Int64
    /// Multiset hash of the rows, 32 hex digits.
    package var hash: String
    /// Bytes of COPY text.
    package var bytes: Int64

    package var qualifiedName: String { "\(schema).\(name)" }
}

package struct SequenceContent: Codable, Hashable, Sendable {
    package var schema: String
    package var name: String
    package var lastValue: Int64
    package var isCalled: Bool

    package var qualifiedName: String { "\(schema).\(name)" }
}

package struct LargeObjectContent: Codable, Hashable, Sendable {
    package var count: Int64
    /// Multiset hash of ids and contents, 32 hex digits.
    package var hash: String
}

package struct ExtraTable: Codable, Hashable, Sendable {
    package var schema: String
    package var name: String
    package var rows: Int64

    package var qualifiedName: String { "\(schema).\(name)" }
}

/// An archive or a database could not be counted to its end.
package struct ContentUnreadable: RepriseError {
    package enum Kind: String, Sendable, Hashable {
        /// The archive is cut off or damaged.
        case damaged
        /// Made with `--inserts`: there are no rows to count.
        case inserts
        case toolMissing = "tool-missing"
        case failed
    }
    package let kind: Kind
    package let message: String
    package let hints: [String]

    init(exitStatus: Int?, stderr: String, source: String) {
        let said = stderr.split(separator: "\n").suffix(3).joined(separator: "; ")
        switch exitStatus {
        case 65:
            kind = .damaged
            hints = ["use an older backup: reprise backup list"]
        case 66:
            kind = .inserts
            hints = ["make backups with pg_dump -Fc; set `content: false` to go on without this proof"]
        case 69:
            kind = .toolMissing
            hints = ["on the database host: apt-get install perl postgresql-client"]
        default:
            kind = .failed
            hints = ["see all it said with: reprise logs"]
        }
        message = "\(source) cannot be counted and hashed to its end: \(said.isEmpty ? "it ended early" : said)"
    }

    package var code: String { "content.\(kind.rawValue)" }
    package var exitStatus: ExitStatus { kind == .damaged ? .verificationMismatch : .failed }
    package var isTransient: Bool { kind == .failed }
}
