internal import BlockingIO
package import PlanModel
package import PostgreSQL
internal import Reconcile
internal import RunCore
internal import SSH

/// Lays tables of a backup beside the live ones, in a schema of the run's own: what a diff compares with. No live table is touched.
///
/// Where the rows are in another database, on whatever server, nothing is laid there yet: the diff streams both sides beside each other.
/// Whatever an earlier attempt left in that schema is thrown away and loaded anew; that is how a doubt is resolved here.
package struct TableRestoreStep: StepKind {
    package static let schema = StepKindSchema(
        name: "table-restore", summary: "loads tables of a backup beside the live ones, in a schema of their own; or names another database that has their rows",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("backup", .stepRef, help: "the fetch-backup step; this or `from`"),
            FieldSchema("from", .databaseRef, help: "a database of the inventory that has the rows as they were, such as a delayed standby"),
            FieldSchema("from-name", .identifier, help: "for `from`: the database on that server, if it is another one"),
            FieldSchema("tables", .list(.string), isRequired: true, help: "`name` (of schema public) or `schema.name`"),
            FieldSchema(
                "parents", .choice(["skip", "follow"]), default: .string("skip"),
                help: "`follow`: the tables, too, to which foreign keys of these lead, and theirs"),
            FieldSchema(
                "large-objects", .choice(["load", "ignore"]), default: .string("load"),
                help: "for `backup`: the contents of the large objects that rows name in columns of type oid, or not"),
            StepContext.publishedField,
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome { try await TableRights.named { try await work(context) } }

    private func work(_ context: StepContext) async throws -> StepOutcome {
        switch (context.with["backup"], context.with["from"]) {
        case (.some, nil): return try await loadBackup(context)
        case (nil, .some): return try await nameSource(context)
        case (nil, nil), (.some, .some):
            throw StepRefused(
                "table-restore.one-source", "step \(context.step): the rows come from a `backup` or `from` another database, and one of them has to be said",
                exitStatus: .usage)
        }
    }

    private func loadBackup(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let backup = try context.outputs(ofStepIn: "backup")
        guard let path = backup["path"]?.stringValue else {
            throw StepRefused("table-restore.no-backup", "the step in `backup` fetched nothing", exitStatus: .usage)
        }
        try await context.requireUnpublished(database.database, of: database)
        let archive = try await context.contents(ofArchive: path, host: database.host, part: "contents", runAs: database.superuser)
        var rescue = try RescueTables(
            try context.strings("tables").map(TableName.read), from: archive, into: Self.schemaName(context.run),
            followingParents: context.optionalString("parents") == "follow")
        // Where the host knows the loading job already, the tables are its business and are not made anew.
        if try await !context.jobExists(on: database.host, part: "load") { try await prepare(rescue, database, context) }
        context.services.report(StepProgress("loading \(rescue.tables.map { "\($0.live)" }.joined(separator: ", "))"))
        let (archivePath, target) = (shellQuoted(path), shellQuoted(connectionString(database.database)))
        try await load("load", rescue.loadingScript(from: archive, archive: archivePath, database: target), database, context)
        try await loadObjects(of: &rescue, archive, archivePath, target, database, context)
        let rows = try await finish(rescue, database, context)
        try requireCounts(rows, rescue, backup)
        for index in rescue.tables.indices { rescue.tables[index].rows = rows[rescue.tables[index].live] }
        return StepOutcome(
            evidence: .object(Dictionary(uniqueKeysWithValues: rows.map { ("\($0.key)", .integer($0.value)) })),
            outputs: [
                "rescue": try decodeJSON(JSONValue.self, encodeJSON(rescue)), "schema": .string(rescue.schema.name),
                "summary": .string("Beside the live tables, in schema \(rescue.schema): \(Self.loaded(rows, rescue))."),
            ])
    }

    private static func loaded(_ rows: [QualifiedName: Int64], _ rescue: RescueTables) -> String {
        (rows.sorted { $0.key < $1.key }.map { "\(counted($0.value, "row")) of \($0.key)" } + [rescue.objects?.count].compactMap { $0 }.map { "\(counted($0, "large object")) that they name" })
            .joined(separator: ", ")
    }

    /// The schema in which a run's rescued tables lie.
    static func schemaName(_ run: RunID) throws -> SQLIdentifier { try SQLIdentifier("reprise_rescue_\(run)") }

    private func prepare(_ rescue: RescueTables, _ database: DatabaseRef, _ context: StepContext) async throws {
        context.services.report(StepProgress("making \(rescue.schema)"))
        let connection = try await context.services.connect(database, name: database.database)
        try await makeSchema(rescue.schema, of: rescue.tables.flatMap(\.definitions), connection, database, context)
        await connection.close()
    }

    /// What an earlier attempt made under this name is thrown away.
    private func makeSchema(
        _ schema: SQLIdentifier, of definitions: [String], _ connection: PostgresConnection, _ database: DatabaseRef, _ context: StepContext
    ) async throws {
        try await context.requireDrillable(connection, database)
        let deadline = context.deadline ?? Deadline(after: .seconds(300))
        Failpoint.hit("table-restore.before-make", context.place())
        try await connection.transaction(deadline: deadline) { connection in
            try await connection.execute("DROP SCHEMA IF EXISTS \(schema.sql) CASCADE", deadline: deadline)
            try await connection.execute("CREATE SCHEMA \(schema.sql)", deadline: deadline)
            for definition in definitions { try await connection.execute(definition, deadline: deadline) }
        }
        Failpoint.hit("table-restore.after-make", context.place())
    }

    // MARK: Rows of another database

    private func nameSource(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database(), source = try RowsElsewhere(context)
        let deadline = context.deadline ?? Deadline(after: .seconds(300)), schema = try Self.schemaName(context.run)
        let other = try await source.connect(context)
        for table in source.tables { _ = try await TableShape.read(table, other, deadline: deadline) }
        await other.close()
        try await context.requireUnpublished(database.database, of: database)
        let live = try await context.services.connect(database, name: database.database)
        for table in source.tables { _ = try await TableShape.read(table, live, deadline: deadline) }
        try await makeSchema(schema, of: [], live, database, context)
        await live.close()
        let names = source.tables.map { "\($0)" }.joined(separator: ", ")
        return StepOutcome(
            evidence: ["source": .string(source.database)],
            outputs: [
                "elsewhere": try decodeJSON(JSONValue.self, encodeJSON(source)), "schema": .string(schema.name),
                "summary": .string("\(names): the rows of database \(source.database) on \(source.host) are compared with the live ones as they lie there."),
            ])
    }

    /// The large objects that the loaded rows name, where there are such columns and the backup has any.
    private func loadObjects(
        of rescue: inout RescueTables, _ archive: ArchiveTOC, _ path: String, _ target: String, _ database: DatabaseRef, _ context: StepContext
    ) async throws {
        let dataIDs = archive.objectDataIDs, deadline = context.deadline ?? Deadline(after: .seconds(600))
        guard context.optionalString("large-objects") != "ignore", !dataIDs.isEmpty else { return }
        let connection = try await context.services.connect(database, name: database.database)
        if let numbers = try await rescue.objectNumbers(connection, deadline: deadline) {
            let objects = try RescuedObjects(in: rescue.schema)
            context.services.report(StepProgress("loading large objects"))
            if try await !context.jobExists(on: database.host, part: "objects") { try await objects.make(connection, deadline: deadline) }
            try await load("objects", objects.loadingScript(numbers, dataIDs: dataIDs, archive: path, database: target), database, context)
            try await rescue.finishObjects(objects, from: archive, connection, deadline: deadline)
        }
        await connection.close()
    }

    private func load(_ part: String, _ script: String, _ database: DatabaseRef, _ context: StepContext) async throws {
        var job = DurableJob(host: database.host, part: part, script: .shell(script))
        job.runAs = database.superuser
        job.directory = "/"
        job.environment = database.clientEnvironment
        job.environment["PGAPPNAME"] = "reprise/\(context.run)"
        job.environment["PGOPTIONS"] = "-c synchronous_commit=off -c client_connection_check_interval=500 -c statement_timeout=0"
        let outcome = try await context.run(job)
        guard !outcome.succeeded else { return }
        let what = "the tables could not be loaded on \(database.host): \(outcome.ending)"
        // Loading is begun anew where the server went away under it; whatever else is in the way will be there again.
        if ServerGone.isSaid(in: outcome.stderrText) {
            throw StepFailed(
                "table-restore.server-lost", what, hints: ["see why it stopped: pg_lsclusters and its log on the database host"], evidence: outcome.evidence)
        }
        throw StepRefused(
            "table-restore.not-loaded", what,
            hints: RestoreErrors.remedies(RestoreErrors.read(outcome.stderrText))
                + ["no live table was touched; then: reprise retry \(context.run) \(context.step)"], evidence: outcome.evidence)
    }

    /// Counts, and tells the planner what is there.
    private func finish(_ rescue: RescueTables, _ database: DatabaseRef, _ context: StepContext) async throws -> [QualifiedName: Int64] {
        let connection = try await context.services.connect(database, name: database.database)
        let deadline = context.deadline ?? Deadline(after: .seconds(600))
        var rows: [QualifiedName: Int64] = [:]
        for table in rescue.tables {
            try await table.indexKey(connection, deadline: deadline)
            try await connection.execute("ANALYZE \(table.rescue.sql)", deadline: deadline)
            rows[table.live] = try await connection.query("SELECT pg_catalog.count(*) AS rows FROM \(table.rescue.sql)", deadline: deadline).only().integer("rows")
        }
        await connection.close()
        return rows
    }

    /// What the decode of the whole archive counted is what must be here now.
    private func requireCounts(_ rows: [QualifiedName: Int64], _ rescue: RescueTables, _ backup: [String: JSONValue]) throws {
        guard let value = backup["content"], let content = try? decodeJSON(ContentSummary.self, encodeJSON(value)) else { return }
        for table in rescue.tables {
            let expected = content.tables.filter { table.sources.contains($0.name) }.map { Int64($0.rows) }.reduce(0, +)
            guard rows[table.live] == expected else {
                throw StepRefused(
                    "table-restore.miscounted", "\(table.live): the backup holds \(counted(expected, "row")), and \(countText(rows[table.live] ?? 0)) were loaded", exitStatus: .verificationMismatch)
            }
        }
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "the rescue tables are thrown away and loaded from nothing")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database() else { return [] }
        if let source = try? RowsElsewhere(context) {
            return ["# on \(source.host): the rows as they were, to look at"] + source.tables.map { "psql -d \(shellQuoted(source.database)) -c \(shellQuoted("SELECT * FROM \($0.sql) LIMIT 10"))" }
        }
        return [
            "# on \(database.host), as \(database.superuser): the tables into a database of their own, to look at",
            "createdb -T template0 rescue && pg_restore --dbname=rescue \(context.strings("tables").map { "--table=\(shellQuoted($0))" }.joined(separator: " ")) NAME.dump",
        ]
    }
}

/// Tables whose rows, as they were, are in another database.
struct RowsElsewhere: Sendable, Codable {
    /// The database's name in the inventory.
    let reference: String
    let host: String
    let database: String
    let tables: [QualifiedName]

    /// - Throws: `StepRefused` where it is the very database into which rows are to be merged.
    init(_ context: StepContext) throws {
        let source = try context.database("from"), live = try context.database()
        (reference, host) = (source.name, source.host)
        database = context.optionalString("from-name") ?? source.database
        tables = try context.strings("tables").map(TableName.read)
        guard host != live.host || source.port != live.port || database != live.database else {
            throw StepRefused(
                "table-restore.same-database", "`from` names \(database) on \(host), into which the rows are to be merged",
                hints: ["name another database of that server under `from-name`, or another server"], exitStatus: .usage)
        }
    }

    func connect(_ context: StepContext) async throws -> PostgresConnection {
        guard let source = context.inventory.database(reference) else {
            throw StepRefused("steps.unknown-database", "the inventory has no database \(reference)")
        }
        return try await context.services.connect(source, name: database)
    }
}

/// A table as plans and the command line name it.
package enum TableName {
    /// - Parameter text: `name`, of schema public, or `schema.name`; both as stored, without quotes.
    package static func read(_ text: String) throws -> QualifiedName {
        do {
            return try QualifiedName(asWritten: text)
        } catch {
            throw StepRefused("steps.bad-table", "`\(text)` is no name of a table", hints: ["write name or schema.name, without quotes"], exitStatus: .usage)
        }
    }
}
