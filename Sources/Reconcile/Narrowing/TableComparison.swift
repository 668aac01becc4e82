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
        case unordered = "both tables streamed as they lie"
        /// There is no key by which the backup's rows could be told apart as they come.
        case laidBeside = "the whole backup laid beside the table"
    }

    /// A table, as it is called on either side.
    package struct Names: Sendable, Hashable {
        package let backup: QualifiedName
        package let live: QualifiedName

        package init(backup: QualifiedName, live: QualifiedName) { (self.backup, self.live) = (backup, live) }
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
    /// Contents of large objects that differ are laid beside the live tables, from where they are merged. False: only told of.
    package var bringsContents = true
    /// The tables, too, to which foreign keys of these lead, and theirs, for the rows on which others hang that come back.
    package var followsParents = false

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
        _ tables: [Names], by rules: MergeRuleSet = MergeRuleSet(), deadline: Deadline, report: @escaping @Sendable (QualifiedName, Narrowing.Progress) -> Void = { _, _ in }
    ) async throws -> [Compared] {
        let parents = try await followsParents ? parents(of: tables, deadline) : []
        try rules.requireTables((tables + parents).map(\.live))
        var compared: [Compared] = [], objects: StreamedObjects?
        for (index, names) in (tables + parents).enumerated() {
            compared.append(try await compare(names, rules, index, isFollowed: index >= tables.count, &objects, deadline) { report(names.live, $0) })
        }
        if bringsContents { try await objects?.bringContents() }
        try rules.requireUsed(in: compared.map(\.diff).filter { !$0.isFollowed })
        return compared
    }

    /// Those to which foreign keys of the live tables lead, and theirs, as far as both sides have them and their rows can be told apart.
    private func parents(of tables: [Names], _ deadline: Deadline) async throws -> [Names] {
        if case .sameDatabase = backup {
            throw ReconcileRefused(
                "reconcile.no-parents", "parents are to be followed, and the backups of their tables have no names in the same database",
                hints: ["name their tables too: BACKUP=LIVE"])
        }
        var known = Set(tables.map(\.live)), waiting = tables.map(\.live), parents: [Names] = []
        while let table = waiting.popLast() {
            for foreignKey in try await TableShape.read(table, live, deadline: deadline).foreignKeys where known.insert(foreignKey.parent).inserted {
                guard try await TableShape.read(foreignKey.parent, live, deadline: deadline).keys.isEmpty == false else { continue }
                let names = Names(backup: foreignKey.parent, live: foreignKey.parent)
                do {
                    _ = try await source(names, 0, deadline)
                } catch let error as ReconcileRefused where ["reconcile.no-table", "reconcile.not-in-backup"].contains(error.code) {
                    continue
                }
                parents.append(names)
                waiting.append(foreignKey.parent)
            }
        }
        return parents.sorted { $0.live < $1.live }
    }

    private func name(_ what: String, _ index: Int) throws -> QualifiedName { try QualifiedName(schema: schema.name, name: "reprise \(what) \(index)") }

    private func compare(
        _ names: Names, _ rules: MergeRuleSet, _ index: Int, isFollowed: Bool, _ objects: inout StreamedObjects?, _ deadline: Deadline,
        _ report: @escaping @Sendable (Narrowing.Progress) -> Void
    ) async throws -> Compared {
        let shape = try await TableShape.read(names.live, live, deadline: deadline), table = try name("diff", index)
        guard let source = try await source(names, index, deadline) else {
            let backup = try await TableShape.read(names.backup, live, deadline: deadline)
            return Compared(diff: try rules.diff(backup: backup, live: shape, isFollowed: isFollowed, into: table), way: .joined, rows: nil)
        }
        try await live.execute("DROP TABLE IF EXISTS \(source.table.sql)", deadline: deadline)
        for definition in source.definitions { try await live.execute(definition, deadline: deadline) }
        let laid = try await TableShape.read(source.table, live, deadline: deadline)
        let whole = try rules.diff(backup: laid, live: shape, isFollowed: isFollowed, into: table), pair = whole.pair
        var contents = whole.policy.ignoresLargeObjects ? [] : whole.objectColumns.map(\.name)
        if !contents.isEmpty, objects == nil { objects = try await StreamedObjects(of: backup, live, in: schema, deadline: deadline, report: report) }
        if objects == nil { contents = [] }
        let fields = pair.columns.map(\.name) + NamedContents.fields(contents), columns = pair.columns.map(\.name)
        let rows = objects?.rows(source.rows(pair, contents), contents) ?? source.rows(pair, contents)
        guard source.hasKey(pair) else {
            let lines = try await AllRows(fields).read(rows, deadline)
            try await lay(lines, fields, whole, contents, objects, source.table, deadline)
            return Compared(diff: whole.looking(into: contents.isEmpty ? nil : objects?.objects), way: .laidBeside, rows: nil)
        }
        // Without a key there is nothing to order by.
        let isOrdered = source.isOrdered && pair.key != nil
        let liveRows = TableRows(shape, columns: columns, contents: contents, order: isOrdered ? RowSQL(pair: pair).order("t") : nil, live)
        let counted = pair.key == nil ? try name("copies", index) : nil, streamed = objects, named = contents, place = source.table
        let (found, scope) = try await inOneView(of: pair, deadline) {
            let found = try await Narrowing(pair, contents: named, limits).run(backup: rows, live: liveRows, deadline: deadline, report: report)
            try await lay(found.backup, fields, whole, named, streamed, place, deadline)
            if !bringsContents, !named.isEmpty { try await streamed?.noteExtra(found.live, fields, named) }
            if let counted {
                // In the transaction of tables without a key.
                try await live.forbidNestedLoops(deadline: deadline)
                try await whole.keepCopies(in: counted, live, deadline: deadline)
            }
            return (found, try await makeScope(found, fields, pair, index, deadline))
        }
        return Compared(
            diff: try rules.diff(backup: laid, live: shape, isFollowed: isFollowed, into: table, scope: scope).counting(in: counted)
                .looking(into: contents.isEmpty ? nil : objects?.objects),
            way: isOrdered ? .ordered : source.isOrdered ? .unordered : .streamed,
            rows: .init(backupRows: found.backupRows, liveRows: found.liveRows, candidates: found.backup.count + found.live.count))
    }

    /// What no key tells apart is counted among the same live rows that are streamed: one that is entered in between would be in the count
    /// and not in the comparison, and what it was entered for would come back beside it.
    private func inOneView<Value: Sendable>(of pair: TablePair, _ deadline: Deadline, _ body: @Sendable () async throws -> Value) async throws -> Value {
        guard pair.key == nil else { return try await body() }
        return try await live.transaction("ISOLATION LEVEL REPEATABLE READ", deadline: deadline) { _ in try await body() }
    }

    /// Lays rows of the backup beside the live table, and notes what is known of the large objects that they name.
    private func lay(
        _ lines: RowLines, _ fields: [SQLIdentifier], _ diff: TableDiff, _ contents: [SQLIdentifier], _ objects: StreamedObjects?, _ table: QualifiedName,
        _ deadline: Deadline
    ) async throws {
        let columns = diff.pair.columns.map(\.name)
        try await load(try lines.projected(fields, to: columns), into: table, columns, joinedBy: diff.pair.key, deadline)
        if !contents.isEmpty { try await objects?.note(lines, fields, contents) }
    }

    /// What live rows are looked at again.
    private func makeScope(
        _ found: Narrowing.Candidates, _ fields: [SQLIdentifier], _ pair: TablePair, _ index: Int, _ deadline: Deadline
    ) async throws -> QualifiedName {
        let scope = try name("scope", index), columns = pair.key?.columns ?? pair.columns.map(\.name)
        try await live.execute("DROP TABLE IF EXISTS \(scope.sql)", deadline: deadline)
        let list = columns.map(\.sql).joined(separator: ", ")
        try await live.execute("\(scope.creation) AS SELECT \(list) FROM \(pair.live.from) WITH NO DATA", deadline: deadline)
        try await load(pair.key == nil ? found.live.projected(fields, to: columns) : found.keys, into: scope, columns, joinedBy: pair.key, deadline)
        return scope
    }

    private func load(_ lines: RowLines, into table: QualifiedName, _ columns: [SQLIdentifier], joinedBy key: TableShape.Key?, _ deadline: Deadline) async throws {
        let list = columns.map(\.sql).joined(separator: ", ")
        // A domain's values are looked at there.
        _ = try await live.withDatabasePath(deadline: deadline) {
            try await live.copyIn("COPY \(table.sql) (\(list)) FROM STDIN", deadline: deadline, nextChunk: lines.portions())
        }
        // The columns that are joined by are enough, and all of them would take longer than the comparison.
        let joined = key.map { " (\($0.columns.map(\.sql).joined(separator: ", ")))" } ?? ""
        try await live.execute("ANALYZE \(table.sql)\(joined)", deadline: deadline)
    }

    // MARK: Where the backup's rows come from

    private struct Source {
        /// Where its rows are laid.
        let table: QualifiedName
        let definitions: [String]
        let isOrdered: Bool
        /// Of a server with the digests of the contents that these columns name, which an archive's rows get afterwards.
        let rows: (TablePair, [SQLIdentifier]) -> any RowSource
        /// Whether its rows can be told apart by that key.
        let hasKey: (TablePair) -> Bool
    }

    /// - Returns: nil where the backup's tables lie in the same database.
    private func source(_ names: Names, _ index: Int, _ deadline: Deadline) async throws -> Source? {
        let table = try name("backup", index)
        switch backup {
        case .archive(let path, let contents):
            try contents.requireUTF8()
            let found = try RescueTables.table(names.backup, as: table, contents)
            return Source(
                table: table, definitions: found.definitions, isOrdered: false, rows: { _, _ in ArchiveRows(at: path, of: found) },
                hasKey: { pair in pair.key.map { contents.isUnique($0.columns, in: names.backup) } ?? true })
        case .database(let connection):
            let shape = try await TableShape.read(names.backup, connection, deadline: deadline)
            let columns = try await shape.columnDefinitions(connection, deadline: deadline)
            return Source(
                table: table, definitions: ["\(table.creation) (\(columns))"], isOrdered: true,
                rows: { pair, contents in
                    TableRows(shape, columns: pair.columns.map(\.name), contents: contents, order: pair.key == nil ? nil : RowSQL(pair: pair).order("t"), connection)
                },
                hasKey: { pair in pair.key.map { key in shape.keys.contains { Set($0.columns) == Set(key.columns) } } ?? true })
        case .sameDatabase: return nil
        }
    }
}

/// All rows of one side, for where nothing can be left out.
private struct AllRows {
    private let columns: [SQLIdentifier]

    init(_ columns: [SQLIdentifier]) { self.columns = columns }

    func read(_ source: any RowSource, _ deadline: Deadline) async throws -> RowLines {
        let lines = try RowLines(), columns = columns
        _ = try await source.read(deadline: deadline) { chunk in
            try lines.append(RowReader(columns: chunk.columns, compared: columns, key: nil).projected(chunk.bytes))
        }
        return lines
    }
}
