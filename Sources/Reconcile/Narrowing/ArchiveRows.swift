package import BlockingIO
internal import Glibc
internal import PostgreSQL
internal import RunCore

/// The rows of a table out of an archive on this machine, by pg_restore.
package struct ArchiveRows: RowSource {
    private let path: String
    private let entries: [Int]
    /// As they stand in the archive's COPY statements.
    private let tables: Set<QualifiedName>
    private let pgRestore: String

    /// - Parameters:
    ///   - path: a file or folder of one of pg_dump's archive formats, not wrapped.
    ///   - table: what of it belongs to the table; of a partitioned one, all its parts.
    package init(at path: String, of table: RescueTables.Table, pgRestore: String = "pg_restore") {
        self.path = path
        self.pgRestore = pgRestore
        entries = table.dataIDs
        tables = Set(table.sources)
    }

    package func read(deadline: Deadline, _ take: @escaping @Sendable (RowChunk) throws -> Void) async throws -> Int {
        // pg_restore reads without a list what a list of nothing leaves out.
        guard !entries.isEmpty else { return 0 }
        return try await withInterrupt { interrupt in
            try await DedicatedThread(name: "pg_restore").run { try read(interrupt, deadline, take) }
        }
    }

    private func read(_ interrupt: Interrupt, _ deadline: Deadline, _ take: (RowChunk) throws -> Void) throws -> Int {
        let errors = try SpoolFile()
        let program = try Self.start(pgRestore, path, entries, errors)
        var parser = CopyParser(tables: tables), rows = 0
        try program.read(interrupt, until: deadline, operation: "rows out of the archive") { portion in
            try parser.take(portion) { columns, bytes, count in
                rows += count
                try take(RowChunk(columns: columns, bytes: bytes))
            }
        }
        let status = program.waitForEnd()
        guard status == 0, !parser.isInside else { throw try Self.unreadable(path, errors, status) }
        return rows
    }
}

extension ArchiveRows {
    /// Starts pg_restore on the data of some entries of an archive.
    ///
    /// - Throws: `ReconcileRefused` (`reconcile.no-program`) where it cannot be started.
    static func start(_ pgRestore: String, _ path: String, _ entries: [Int], _ errors: SpoolFile) throws -> ChildOutput {
        let list = try SpoolFile()
        try list.append(entries.map { "\($0);\n" }.joined().utf8)
        do {
            return try withExtendedLifetime(list) {
                try ChildOutput(
                    pgRestore, ["--data-only", "--use-list=/dev/fd/3", "--file=-", "--", path], descriptors: [3: try list.open(), 2: try errors.open()],
                    // Debian's looks for a cluster to serve where no host is given, and fails beside one that is being made.
                    environment: ["PGHOST": ""])
            }
        } catch let error as ChildOutput.CannotRun {
            throw ReconcileRefused(
                "reconcile.no-program", "cannot run \(error.program): \(error.reason)",
                hints: ["install PostgreSQL's client programs on this machine: apt-get install postgresql-client"], exitStatus: .failed)
        }
    }

    /// - Parameters:
    ///   - errors: what the program wrote there.
    ///   - status: how it ended.
    static func unreadable(_ path: String, _ errors: SpoolFile, _ status: Int32) throws -> ReconcileRefused {
        let said = try String(decoding: errors.read(at: 0, count: 2000), as: UTF8.self).split(separator: "\n").last.map(String.init)
        return ReconcileRefused(
            "reconcile.archive-unreadable", "pg_restore could not read \(path) to its end: \(said ?? "exit status \(status)")",
            hints: ["see whether it is whole: reprise backup verify", "or choose an older backup"], exitStatus: .failed)
    }
}

/// Finds the rows in the script that pg_restore writes.
struct CopyParser {
    private let tables: Set<QualifiedName>
    private var columns: [SQLIdentifier]?
    /// The beginning of a line whose end has not come.
    private var rest: [UInt8] = []

    init(tables: Set<QualifiedName>) { self.tables = tables }

    /// In the middle of a table's rows.
    var isInside: Bool { columns != nil }

    private static let newline = UInt8(ascii: "\n")
    private static let end = Array("\\.\n".utf8)

    mutating func take(_ portion: ArraySlice<UInt8>, _ body: ([SQLIdentifier], [UInt8], Int) throws -> Void) throws {
        guard let last = portion.lastIndex(of: Self.newline) else { return rest.append(contentsOf: portion) }
        var lines = rest[...]
        lines.append(contentsOf: portion[...last])
        rest = Array(portion[(last + 1)...])
        while !lines.isEmpty {
            if let columns {
                let (rows, count, hasEnded) = Self.rows(lines)
                if count > 0 { try body(columns, Array(rows), count) }
                lines = lines[(rows.endIndex + (hasEnded ? Self.end.count : 0))...]
                if hasEnded { self.columns = nil }
            } else {
                let end = lines.firstIndex(of: Self.newline)! + 1
                try header(String(decoding: lines[..<(end - 1)], as: UTF8.self))
                lines = lines[end...]
            }
        }
    }

    /// The lines up to the one that ends the table; a value that looks like it is written `\\.`.
    private static func rows(_ lines: ArraySlice<UInt8>) -> (rows: ArraySlice<UInt8>, count: Int, hasEnded: Bool) {
        var count = 0
        let end: Int? = lines.withUnsafeBytes { bytes in
            var at = 0
            while at < bytes.count {
                if bytes[at] == Self.end[0], bytes.count - at >= 3, bytes[at + 1] == Self.end[1], bytes[at + 2] == Self.end[2] { return at }
                let found = memchr(bytes.baseAddress! + at, Int32(newline), bytes.count - at)!
                at = bytes.baseAddress!.distance(to: UnsafeRawPointer(found)) + 1
                count += 1
            }
            return nil
        }
        return (end.map { lines.prefix($0) } ?? lines, count, end != nil)
    }

    private mutating func header(_ line: String) throws {
        guard line.hasPrefix("COPY ") else { return }
        var reader = TableDefinition.Reader(line)
        guard reader.skip("COPY "), let table = reader.name(), let columns = reader.columns(), reader.rest == " FROM stdin;" else { return }
        guard tables.contains(table) else {
            throw ReconcileRefused("reconcile.odd-row", "the archive sends rows of \(table), which were not asked for", exitStatus: .failed)
        }
        self.columns = columns
    }
}
