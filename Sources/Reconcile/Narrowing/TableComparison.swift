package import BlockingIO
package import PostgreSQL
internal import RunCore

/// Compares tables of a database with a backup that is somewhere else, or beside them.
///
/// The way is chosen by where the data is: two tables of one database are joined there; rows of an archive, or of another server, are
/// streamed against the live ones, and only the candidates for differences are laid beside these. Whether they differ, and what a
/// merge would do with them, is decided by the same SQL in all cases.
package struct TableComparison: Sendable {
    /// What the live tables are compared with.
    package enum Backup: Sendable {
        /// An archive on this machine, unwrapped.
        case archive(path: String, contents: ArchiveTOC)
        /// A database on any server.
        case database(PostgresConnection)
        /// Other tables of the same database.
        case sameDatabase
    }

    package enum Way: String, Sendable, Hashable, Codable {
        case joined = "joined in the database"
        case streamed = "the archive streamed against the table"
        case ordered = "both tables streamed in the order of their keys"
        /// There is no key by which the backup's rows could be told apart as they come.
        case laidBeside = "the whole backup laid beside the table"
    }

    /// One table, and how its differences are judged.
    package struct Request: Sendable {
        package var backup: QualifiedName
        package var live: QualifiedName
        package var policy = MergePolicy()
        package var mode = ComparisonMode.exact
        package var key: [SQLIdentifier]?
        package var toleratesDrift = false

        package init(backup: QualifiedName, live: QualifiedName) {
            self.backup = backup
            self.live = live
        }
    }

    /// A table that was compared.
    package struct Compared: Sendable {
        package let diff: TableDiff
        package let way: Way
        /// nil where the rows were not read one by one.
        package let rows: Narrowing.Progress?
    }

    private let backup: Backup
    private let live: PostgresConnection
    private let schema: SQLIdentifier
    /// How much of the streams is kept in memory.
    package var limits = Narrowing.Limits()

    /// - Parameters:
    ///   - live: is used for all that is looked at and made.
    ///   - schema: where tables are made: `pg_temp` for looking only; else one that exists for nothing else.
    package init(with backup: Backup, of live: PostgresConnection, in schema: SQLIdentifier) {
        (self.backup, self.live, self.schema) = (backup, live, schema)
    }

    /// Streams where that is needed. The differences themselves are found by `MergePlan.prepare`.
    ///
    /// - Throws: `ReconcileRefused` where a table is not there, has changed its shape, or cannot be compared.
    package func compare(
        _ requests: [Request], deadline: Deadline, report: @escaping @Sendable (QualifiedName, Narrowing.Progress) -> Void = { _, _ in }
    ) async throws -> [Compared] {
        var compared: [Compared] = []
        for (index, request) in requests.enumerated() {
            compared.append(try await compare(request, index, deadline) { report(request.live, $0) })
        }
        return compared
    }

    private func name(_ what: String, _ index: Int) throws -> QualifiedName { try QualifiedName(schema: schema.name, name: "reprise \(what) \(index)") }

    private func compare(
        _ request: Request, _ index: Int, _ deadline: Deadline, _ report: @escaping @Sendable (Narrowing.Progress) -> Void
    ) async throws -> Compared {
        let shape = try await TableShape.read(request.live, live, deadline: deadline)
        func pair(_ backup: TableShape) throws -> TablePair {
            try TablePair(backup: backup, live: shape, key: request.key, toleratesDrift: request.toleratesDrift)
        }
        if case .sameDatabase = backup {
            let pair = try pair(try await TableShape.read(request.backup, live, deadline: deadline))
            return Compared(diff: try diff(pair, request, index, scope: nil), way: .joined, rows: nil)
        }
        let source = try await source(request, index, deadline)
        try await live.execute("DROP TABLE IF EXISTS \(source.table.sql)", deadline: deadline)
        try await live.execute(source.definition, deadline: deadline)
        let laid = try pair(try await TableShape.read(source.table, live, deadline: deadline))
        let rows = source.rows(laid)
        guard source.hasKey(laid) else {
            let lines = try await AllRows(laid).read(rows, deadline)
            try await load(lines, into: source.table, laid.columns.map(\.name), deadline)
            return Compared(diff: try diff(laid, request, index, scope: nil), way: .laidBeside, rows: nil)
        }
        let order = source.isOrdered ? RowSQL(pair: laid).order("t") : nil
        let liveRows = TableRows(shape, columns: laid.columns.map(\.name), order: order, live)
        let found = try await Narrowing(laid, limits).run(backup: rows, live: liveRows, deadline: deadline, report: report)
        try await load(found.backup, into: source.table, laid.columns.map(\.name), deadline)
        let scope = try await makeScope(found, laid, index, deadline)
        return Compared(
            diff: try diff(laid, request, index, scope: scope), way: source.isOrdered ? .ordered : .streamed,
            rows: .init(backupRows: found.backupRows, liveRows: found.liveRows, candidates: found.backup.count + found.live.count))
    }

    private func diff(_ pair: TablePair, _ request: Request, _ index: Int, scope: QualifiedName?) throws -> TableDiff {
        TableDiff(pair, policy: request.policy, mode: request.mode, into: try name("diff", index), scope: scope)
    }

    /// What live rows are looked at again.
    private func makeScope(_ found: Narrowing.Candidates, _ pair: TablePair, _ index: Int, _ deadline: Deadline) async throws -> QualifiedName {
        let scope = try name("scope", index), columns = pair.key?.columns ?? pair.columns.map(\.name)
        try await live.execute("DROP TABLE IF EXISTS \(scope.sql)", deadline: deadline)
        let list = columns.map(\.sql).joined(separator: ", ")
        try await live.execute("\(scope.creation) AS SELECT \(list) FROM \(pair.live.from) WITH NO DATA", deadline: deadline)
        try await load(pair.key == nil ? found.live : found.keys, into: scope, columns, deadline)
        return scope
    }

    private func load(_ lines: RowLines, into table: QualifiedName, _ columns: [SQLIdentifier], _ deadline: Deadline) async throws {
        let list = columns.map(\.sql).joined(separator: ", ")
        _ = try await live.copyIn("COPY \(table.sql) (\(list)) FROM STDIN", deadline: deadline, nextChunk: lines.portions())
        try await live.execute("ANALYZE \(table.sql)", deadline: deadline)
    }

    // MARK: Where the backup's rows come from

    private struct Source {
        /// Where its rows are laid.
        let table: QualifiedName
        let definition: String
        let isOrdered: Bool
        let rows: (TablePair) -> any RowSource
        /// Whether its rows can be told apart by that key.
        let hasKey: (TablePair) -> Bool
    }

    private func source(_ request: Request, _ index: Int, _ deadline: Deadline) async throws -> Source {
        let table = try name("backup", index)
        switch backup {
        case .archive(let path, let contents):
            try contents.requireUTF8()
            let found = try RescueTables.table(request.backup, as: table, contents)
            return Source(
                table: table, definition: found.definition, isOrdered: false, rows: { _ in ArchiveRows(at: path, of: found) },
                hasKey: { pair in pair.key.map { contents.isUnique($0.columns, in: request.backup) } ?? true })
        case .database(let connection):
            let shape = try await TableShape.read(request.backup, connection, deadline: deadline)
            let columns = try await shape.columnDefinitions(connection, deadline: deadline)
            return Source(
                table: table, definition: "\(table.creation) (\(columns))", isOrdered: true,
                rows: { pair in
                    TableRows(shape, columns: pair.columns.map(\.name), order: pair.key == nil ? nil : RowSQL(pair: pair).order("t"), connection)
                },
                hasKey: { pair in pair.key.map { key in shape.keys.contains { Set($0.columns) == Set(key.columns) } } ?? true })
        case .sameDatabase: preconditionFailure("the tables of one database are not streamed")
        }
    }
}

/// All rows of one side, for where nothing can be left out.
private struct AllRows {
    private let columns: [SQLIdentifier]

    init(_ pair: TablePair) { columns = pair.columns.map(\.name) }

    func read(_ source: any RowSource, _ deadline: Deadline) async throws -> RowLines {
        let lines = try RowLines(), columns = columns
        _ = try await source.read(deadline: deadline) { chunk in
            try lines.append(RowReader(columns: chunk.columns, compared: columns, key: nil).projected(chunk.bytes))
        }
        return lines
    }
}
