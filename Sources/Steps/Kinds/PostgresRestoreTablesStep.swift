internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Restores tables of a backup that the target lacks, with everything that belongs to them, in one transaction.
///
/// That transaction leaves a mark in its database, so what became of a killed attempt is read there: this step is never in doubt.
/// Nothing that is in the target already is overwritten.
package struct PostgresRestoreTablesStep: StepKind {
    package static let schema = StepKindSchema(
        name: "postgres-restore-tables", summary: "restores tables that are gone, with all that belongs to them, in one transaction",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("backup", .stepRef, help: "the fetch-backup step"),
            FieldSchema("archive", .path, help: "or an archive of pg_dump that lies on the database's host, such as a folder of its directory format"),
            FieldSchema("tables", .list(.string), isRequired: true, help: "patterns: `name` (of schema public) or `schema.name`, with *, ? and [a-z]"),
            FieldSchema("exclude", .list(.string), help: "patterns of tables that do not come"),
            FieldSchema("into", .identifier, help: "another database on the same server; made where there is none"),
            FieldSchema("types", .choice(["create", "require"]), default: .string("create"), help: "types, domains, collations, extensions and sequences that the target lacks"),
            FieldSchema("functions", .choice(["create", "require"]), default: .string("require"), help: "functions and operators that the target lacks"),
            FieldSchema("foreign-keys", .choice(["target", "chosen"]), default: .string("target"), help: "those to tables of the target as well, or only those among the chosen ones"),
            FieldSchema("lock-timeout", .duration, default: .string("10s"), help: "how long to wait for tables of the target that foreign keys or partitions lead to"),
            StepContext.publishedField,
        ])

    package static let hasUndo = true

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let source = try Source(context), path = source.path
        let wish = try wish(context)
        // The first job of an attempt ends what is left of earlier attempts on the host; their transactions are waited for below.
        let archive = try await context.contents(ofArchive: path, host: database.host, part: "contents", runAs: database.superuser)
        let name = try await madeTarget(database, archive, context)
        var warnings: [String] = []
        if try await mark(name, database, context) == nil {
            try await context.requireUnpublished(name, of: database)
            let selection = try await select(wish, archive, name, database, context)
            let rows = try await rows(of: source, archive, database, context)
            if rows.isEmpty { warnings.append("the backup was fetched without being decoded: the rows that were restored could not be held against its counts") }
            try await restore(selection, rows, path, archive, name, database, context)
        }
        guard let mark = try await mark(name, database, context) else {
            throw StepFailed("postgres-restore-tables.no-mark", "the restore into \(name) ended well, and its mark is not there", hints: ["look at the log of the database host"])
        }
        try await verify(mark, archive, name, database, context)
        return outcome(mark, name, warnings)
    }

    /// One name for all attempts: an earlier one's transaction either left its mark or nothing.
    private static func id(_ context: StepContext) -> String { "\(context.run) \(context.step)" }

    private func wish(_ context: StepContext) throws -> TableSelection.Wish {
        var wish = TableSelection.Wish(tables: try context.strings("tables").map { try TablePattern($0) })
        wish.excluded = try context.strings("exclude").map { try TablePattern($0) }
        wish.createsTypes = context.optionalString("types") != "require"
        wish.createsFunctions = context.optionalString("functions") == "create"
        wish.keepsKeysToTarget = context.optionalString("foreign-keys") != "chosen"
        return wish
    }

    /// Where the tables come from.
    private enum Source {
        /// What a fetch-backup step left on the host.
        case fetched(path: String, content: JSONValue?)
        /// Somebody put it there.
        case lying(String)

        init(_ context: StepContext) throws {
            switch (context.with["backup"], context.optionalString("archive")) {
            case (.some, nil):
                let backup = try context.outputs(ofStepIn: "backup")
                guard let path = backup["path"]?.stringValue else {
                    throw StepRefused("postgres-restore-tables.no-backup", "the step in `backup` fetched nothing", exitStatus: .usage)
                }
                self = .fetched(path: path, content: backup["content"])
            case (nil, let path?): self = .lying(path)
            default:
                throw StepRefused(
                    "postgres-restore-tables.which-archive", "step \(context.step) does not say from which archive the tables come, or says it twice",
                    hints: ["give either `backup`, a fetch-backup step, or `archive`, a path on the database's host"], exitStatus: .usage)
            }
        }

        var path: String {
            switch self {
            case .fetched(let path, _), .lying(let path): path
            }
        }
    }

    /// What a decode of the whole archive counted, by table; empty where it was fetched without one.
    private func rows(
        of source: Source, _ archive: ArchiveTOC, _ database: DatabaseRef, _ context: StepContext
    ) async throws -> [QualifiedName: Int] {
        let content: ContentSummary
        switch source {
        case .fetched(_, let value):
            guard let value, let decoded = try? decodeJSON(ContentSummary.self, encodeJSON(value)) else { return [:] }
            content = decoded
        case .lying(let path):
            let hashing = ContentHashJob.archive(at: path, contents: archive, digest: .stream)
            content = try await context.hashContent(
                hashing, host: database.host, part: "decode", runAs: database.superuser, "decoding and counting \(path)")
        }
        return Dictionary(content.tables.map { ($0.name, $0.rows) }, uniquingKeysWith: +)
    }

    // MARK: Where to

    private static func target(_ database: DatabaseRef, _ context: StepContext) -> String { context.optionalString("into") ?? database.database }

    /// The comment by which a database is known to have been made here.
    private static func comment(_ context: StepContext) -> String { "reprise restored tables into it, run \(id(context))" }

    /// The database that the tables come into; it is made where there is none.
    private func madeTarget(_ database: DatabaseRef, _ archive: ArchiveTOC, _ context: StepContext) async throws -> String {
        let name = Self.target(database, context), deadline = Deadline(after: .seconds(120))
        let connection = try await context.administer(database)
        try await context.requireDrillable(connection, database)
        let catalog = Catalog(connection)
        // Journaled before it is made, so that whoever resumes knows whose it is.
        let isMade = try await context.decided("makes-database") { .bool(try await catalog.database(named: name) == nil) } == .bool(true)
        var found = try await catalog.database(named: name)
        if found == nil, isMade {
            context.services.report(StepProgress("making the database \(name)"))
            try await catalog.createEmpty(name, like: database, or: archive, deadline: deadline)
            Failpoint.hit("restore-tables.after-create", context.place())
            found = try await catalog.database(named: name)
        }
        if isMade, found?.comment == nil {
            try await connection.execute(
                "COMMENT ON DATABASE \(try SQLIdentifier(name).sql) IS \(try SQLLiteral(Self.comment(context)).sql)", deadline: deadline)
        }
        await connection.close()
        return name
    }

    private func mark(_ name: String, _ database: DatabaseRef, _ context: StepContext) async throws -> SelectionMark? {
        let mark = try await context.untilMarked(on: database.host) { deadline in
            let connection = try await context.services.connect(database, name: name)
            let mark = try await SelectionMark.read(Self.id(context), connection, deadline: deadline)
            await connection.close()
            return mark
        }
        guard mark?.isUndone != true else {
            throw StepRefused("postgres-restore-tables.undone", "what this step restored into \(name) was taken back", hints: ["start another run"])
        }
        return mark
    }

    // MARK: What

    private func select(
        _ wish: TableSelection.Wish, _ archive: ArchiveTOC, _ name: String, _ database: DatabaseRef, _ context: StepContext
    ) async throws -> TableSelection {
        context.services.report(StepProgress("looking at what \(name) has"))
        let target = try await context.contents(ofDatabase: name, database, part: "target")
        let selection = try TableSelection(wish, from: archive, into: target) { word, names in
            var speller = Speller()
            return speller.nearest(to: word, among: names).map { [$0] } ?? []
        }
        let connection = try await context.administer(database)
        let present = Set(try await Catalog(connection).roles().map(\.name))
        await connection.close()
        let missing = selection.expected(of: archive).roles.filter { !present.contains($0) && !$0.hasPrefix("pg_") }
        guard missing.isEmpty else {
            throw StepRefused(
                "postgres-restore-tables.no-role", "roles that own these tables or may use them are not on the server: \(missing.joined(separator: ", "))",
                hints: ["create them first: pg_dumpall --globals-only from the old server has them"])
        }
        return selection
    }

    // MARK: Restoring

    private func restore(
        _ selection: TableSelection, _ rows: [QualifiedName: Int], _ path: String, _ archive: ArchiveTOC, _ name: String, _ database: DatabaseRef,
        _ context: StepContext
    ) async throws {
        let restore = SelectionRestore(
            selection, id: Self.id(context), expectedRows: rows, lockTimeout: try context.duration("lock-timeout") ?? .seconds(10))
        let script = try restore.script(archive: shellQuoted(path), database: shellQuoted(connectionString(name)), isTar: archive.format == .tar)
        var job = DurableJob(host: database.host, part: "restore", script: .shell(script))
        job.stdin = Array(try restore.input().utf8)
        job.runAs = database.superuser
        job.directory = "/"
        job.environment = database.clientEnvironment
        job.environment["PGAPPNAME"] = "reprise/\(context.run)"
        job.environment["PGOPTIONS"] = "-c maintenance_work_mem=256MB -c client_connection_check_interval=500"
        job.outputLimit = 8 << 20
        job.onLine = context.progress(ofRestoring: selection.entryIDs.count)
        Failpoint.hit("restore-tables.before", context.place())
        let outcome = try await context.run(job)
        Failpoint.hit("restore-tables.after", context.place())
        guard !outcome.succeeded else { return }
        if ServerGone.isSaid(in: outcome.stderrText) {
            throw StepFailed(
                "postgres-restore-tables.server-lost", "the server went away while tables were being restored: \(outcome.tail(lines: 2))",
                hints: ["nothing was kept; see why it stopped: pg_lsclusters and its log on the database host"], evidence: outcome.evidence)
        }
        let errors = RestoreErrors.read(outcome.stderrText)
        let shown = errors.isEmpty ? outcome.ending : errors.prefix(3).joined(separator: "; ")
        throw StepRefused(
            "postgres-restore-tables.failed", "the tables could not be restored into \(name), and nothing was kept: \(shown)",
            hints: Self.remedies(errors) + ["then: reprise retry \(context.run) \(context.step)"], evidence: outcome.evidence)
    }

    private static func remedies(_ errors: [String]) -> [String] {
        let known: [(String, String)] = [
            ("violates foreign key constraint", "rows of the target that they lead to are gone: bring those back first, or leave such keys out with `foreign-keys: chosen`"),
            ("lock timeout", "a table of the target is in use: wait for its transactions, or set a longer `lock-timeout`"),
        ]
        return known.filter { pattern, _ in errors.contains { $0.contains(pattern) } }.map(\.1) + RestoreErrors.remedies(errors)
    }

    // MARK: Proving it

    /// Everything that the archive says of these tables, against what the database says of them, and sequences against their keys. The
    /// counts were held against the backup's before the commit.
    private func verify(_ mark: SelectionMark, _ archive: ArchiveTOC, _ name: String, _ database: DatabaseRef, _ context: StepContext) async throws {
        context.services.report(StepProgress("comparing structure"))
        let present = try await context.contents(ofDatabase: name, database, part: "restored")
        let selection = mark.selection
        var findings = StructureDiff(archive: selection.expected(of: archive), database: selection.found(in: present, of: archive)).findings.map(\.text)
        let connection = try await context.services.connect(database, name: name)
        let deadline = context.deadline ?? Deadline(after: .seconds(600))
        for table in selection.tables { try await connection.execute("ANALYZE \(table.sql)", deadline: deadline) }
        let behind = try await Catalog(connection, timeout: deadline.remaining).sequencesBehindTheirKeys(of: Set(selection.tables))
        await connection.close()
        findings += behind.map { "sequence \($0.sequence) would hand out \($0.nextValue), and \($0.column) is at \($0.key) already" }
        guard findings.isEmpty else {
            throw StepRefused(
                "postgres-restore-tables.mismatch", "the tables in \(name) are not what the backup holds; \(findings.count) findings: \(findings.prefix(5).joined(separator: "; "))",
                hints: ["put it right by hand, then: reprise retry \(context.run) \(context.step)", "or take it back: reprise undo \(context.run)"],
                exitStatus: .verificationMismatch, evidence: ["findings": .array(findings.prefix(200).map { .string($0) })])
        }
    }

    private func outcome(_ mark: SelectionMark, _ name: String, _ warnings: [String]) -> StepOutcome {
        let selection = mark.selection, rows = mark.rows.values.reduce(0, +)
        var summary = "Restored into \(name): \(counted(selection.tables.count, "table")) with \(counted(rows, "row"))."
        if !selection.alsoMade.isEmpty { summary += " Made for them: \(selection.alsoMade.joined(separator: ", "))." }
        return StepOutcome(
            evidence: .object(Dictionary(uniqueKeysWithValues: mark.rows.map { ("\($0.key)", .integer(Int64($0.value))) })),
            outputs: [
                "database": .string(name), "tables": .array(selection.tables.map { .string("\($0)") }), "rows": .integer(Int64(rows)),
                "summary": .string(summary),
            ],
            warnings: warnings + selection.leftOut.map { "left out: \($0.text)" } + selection.notTaken.map { "not restored, because it was not asked for: \($0)" })
    }

    // MARK: Taking it back

    package func undo(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database(), name = Self.target(database, context)
        let administration = try await context.administer(database)
        let found = try await Catalog(administration).database(named: name)
        await administration.close()
        guard let found else { return StepOutcome(evidence: ["restored": false], changed: false) }
        let undone = try await context.untilMarked(on: database.host) { deadline in
            let connection = try await context.services.connect(database, name: name)
            Failpoint.hit("restore-tables.before-undo", context.place())
            let mark = try await SelectionMark.undo(
                Self.id(context), lockTimeout: try context.duration("lock-timeout") ?? .seconds(10), connection, deadline: deadline)
            Failpoint.hit("restore-tables.after-undo", context.place())
            await connection.close()
            return mark
        }
        let isDropped = try await dropOwn(found, name, database, context)
        guard let undone else { return StepOutcome(evidence: ["restored": false], changed: isDropped) }
        return StepOutcome(
            outputs: ["summary": .string("Dropped from \(name): \(counted(undone.selection.tables.count, "table")) that the step had restored.\(isDropped ? " The database was dropped as well." : "")")])
    }

    /// Drops the database where the step made it and nothing but the marks is left in it.
    private func dropOwn(_ found: DatabaseFacts, _ name: String, _ database: DatabaseRef, _ context: StepContext) async throws -> Bool {
        guard found.comment == Self.comment(context) else { return false }
        let deadline = Deadline(after: .seconds(120))
        let connection = try await context.services.connect(database, name: name)
        let left: Int = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS left FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'reprise_audit')
            """, deadline: deadline).only().integer("left")
        await connection.close()
        guard left == 0 else { return false }
        let administration = try await context.administer(database)
        try await administration.execute("DROP DATABASE \(try SQLIdentifier(name).sql)", deadline: deadline)
        await administration.close()
        return true
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "the mark in the database tells whether the tables were restored")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database() else { return [] }
        let name = Self.target(database, context), path = (try? context.outputs(ofStepIn: "backup"))?["path"]?.stringValue ?? "NAME.dump"
        return [
            "# on \(database.host), as \(database.superuser): list what is in the archive, keep the lines of these tables (data, keys, indexes, …), restore them",
            "pg_restore -l \(shellQuoted(path)) > list    # then delete every line that is not wanted",
            "pg_restore --single-transaction --exit-on-error --use-list=list --dbname=\(shellQuoted(name)) \(shellQuoted(path))",
        ]
    }
}
