internal import BlockingIO
internal import Foundation
package import PlanModel
internal import PostgreSQL
package import RunCore

/// Puts the restored database in production's place: both names change in one transaction, and production's name leads to exactly
/// one whole database at every instant.
///
/// Which databases are meant is journaled by their OIDs before anything changes; whether the swap happened is decided from the
/// catalog by those OIDs, so this step is never in doubt.
package struct PostgresSwapStep: StepKind {
    package static let schema = StepKindSchema(
        name: "postgres-swap", summary: "exchanges the names of production and the restored database, in one transaction",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the production database's name in the inventory"),
            FieldSchema("name", .identifier, help: "the name that production has by the plan, where that says it in other places too: another one than the inventory's is refused before anything starts"),
            FieldSchema("scratch", .identifier, isRequired: true, help: "the restored and verified database"),
            FieldSchema("keep-as", .identifier, isRequired: true, help: "name under which the damaged database is kept"),
            FieldSchema("sequence-margin", .integer, default: .integer(1000), range: 0...1_000_000_000, help: "numbers to leave out beyond the last ones that the damaged database gave out"),
            FieldSchema("copy-settings", .boolean, default: .boolean(true), help: "carry over owner, grants, settings, comment and connection limit"),
            FieldSchema("backup", .stepRef, help: "the fetch-backup step: where no production is there to carry them over from, they come from the backup"),
        ], isDestructive: true)

    package static let hasUndo = true

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        if let other = OtherName(context.with, context.inventory) { throw other }
        let connection = try await context.administer(database)
        if let oid = try await firstOfItsName(database, Catalog(connection), context) {
            return try await adopt(oid, database, connection, context)
        }
        let swap = try await planned(database, Catalog(connection), context)
        var warnings: [String] = []
        var moved = 0
        if try await swap.state(Catalog(connection)) == .notSwapped {
            let obstacles = try await swap.obstacles(Catalog(connection))
            warnings += Self.warnings(obstacles, database)
            if context.boolean("copy-settings", default: true) {
                context.services.report(StepProgress("carrying over owner, grants and settings"))
                Failpoint.hit("swap.before-settings", context.place())
                _ = try await DatabaseProperties.copy(
                    from: swap.damagedOID, to: swap.restoredOID, catalog: Catalog(connection), deadline: Deadline(after: .seconds(60)))
                Failpoint.hit("swap.after-settings", context.place())
            }
            (moved, warnings) = try await advanceSequences(swap, database, context, warnings)
        }
        await connection.close()
        try await rename(swap, connection.target, context)
        return StepOutcome(
            evidence: ["production-oid": .integer(Int64(swap.restoredOID)), "damaged-oid": .integer(Int64(swap.damagedOID)), "sequences-moved": .integer(Int64(moved))],
            outputs: ["damaged": .string(swap.retiredName), "summary": .string("\(swap.productionName) is the restored database; the damaged one is kept as \(swap.retiredName).")],
            warnings: warnings)
    }

    // MARK: A server that has no production yet

    /// The restored database, where no other has production's name; which one is meant is journaled before anything changes.
    private func firstOfItsName(_ database: DatabaseRef, _ catalog: Catalog, _ context: StepContext) async throws -> UInt32? {
        let value = try await context.decided("first") {
            guard try await catalog.database(named: database.database) == nil else { return .null }
            let scratch = try context.string("scratch")
            guard let restored = try await catalog.database(named: scratch) else { throw DatabaseSwapFailure.missing(scratch) }
            return .integer(Int64(restored.oid))
        }
        return value.integerValue.map { UInt32($0) }
    }

    /// The restored database gets production's name, and what the backup says of the database itself. A new attempt goes on from what it finds.
    private func adopt(_ oid: UInt32, _ database: DatabaseRef, _ connection: PostgresConnection, _ context: StepContext) async throws -> StepOutcome {
        let catalog = Catalog(connection), deadline = context.deadline ?? Deadline(after: .seconds(120))
        let archived = try await archived(database, context)
        var restored: DatabaseProperties.Restored?
        if let archived {
            context.services.report(StepProgress("restoring owner, grants and settings of the database"))
            Failpoint.hit("swap.before-settings", context.place())
            restored = try await DatabaseProperties.restore(archived, to: oid, catalog: catalog, deadline: deadline)
            Failpoint.hit("swap.after-settings", context.place())
        }
        try await name(oid, database, archived, connection, context, deadline)
        await connection.close()
        let own = Self.told(archived, restored)
        return StepOutcome(
            evidence: ["production-oid": .integer(Int64(oid)), "restored-properties": .array((restored?.brought ?? []).map { .string($0) })],
            outputs: ["summary": .string("\(database.database) is the restored database; there was none of this name before. \(own.summary)")],
            warnings: own.warnings)
    }

    /// What the backup says of the database as such; nil where the plan names no backup, or the backup holds nothing of it.
    private func archived(_ database: DatabaseRef, _ context: StepContext) async throws -> ArchivedDatabase? {
        guard context.boolean("copy-settings", default: true), context.with["backup"] != nil,
            let path = try context.outputs(ofStepIn: "backup")["path"]?.stringValue
        else { return nil }
        return try await context.contents(ofArchive: path, host: database.host, part: "contents", runAs: database.superuser).database
    }

    /// Name and comment change in one transaction: by its comment a scratch database is known until then.
    private func name(
        _ oid: UInt32, _ database: DatabaseRef, _ archived: ArchivedDatabase?, _ connection: PostgresConnection, _ context: StepContext, _ deadline: Deadline
    ) async throws {
        let catalog = Catalog(connection), name = try SQLIdentifier(database.database).sql
        let comment = try archived?.comment.map { try SQLLiteral($0).sql } ?? "NULL"
        let owner = archived?.owner == nil ? try database.applicationRole.map { try SQLIdentifier($0).sql } : nil
        for attempt in 1...20 {
            guard let found = try await catalog.database(oid: oid) else { throw DatabaseSwapFailure.missing(try context.string("scratch")) }
            if found.name == database.database { break }
            _ = try await catalog.terminateSessions(inDatabase: oid)
            let scratch = try SQLIdentifier(found.name).sql
            do {
                Failpoint.hit("swap.before-rename", context.place())
                try await connection.transaction(deadline: deadline) { connection in
                    if let owner { try await connection.execute("ALTER DATABASE \(scratch) OWNER TO \(owner)", deadline: deadline) }
                    try await connection.execute("COMMENT ON DATABASE \(scratch) IS \(comment)", deadline: deadline)
                    try await connection.execute("ALTER DATABASE \(scratch) RENAME TO \(name)", deadline: deadline)
                }
                Failpoint.hit("swap.after-rename", context.place())
            } catch let error as PostgresError where error.sqlState == "55006" && attempt < 20 {
                // Somebody is inside again.
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// What came back of the database's own, and what did not.
    private static func told(_ archived: ArchivedDatabase?, _ restored: DatabaseProperties.Restored?) -> (summary: String, warnings: [String]) {
        guard let archived, let restored else {
            return ("Settings, grants and comment of the database itself were not restored: what was restored from does not hold them, or the plan names no `backup` here.", [])
        }
        let brought = restored.brought + (archived.comment == nil ? [] : ["comment"])
        var warnings = archived.leftOut.map { "not restored, of the database itself: \($0)" }
        if !restored.refused.isEmpty {
            warnings.append("settings of the database that this server does not take, and that were not restored: \(restored.refused.joined(separator: "; "))")
        }
        return ("As in the backup, and read back: \(brought.isEmpty ? "nothing of its own" : brought.joined(separator: ", ")).", warnings)
    }

    // MARK: In production's place

    /// Which databases are meant: journaled before anything changes.
    private func planned(_ database: DatabaseRef, _ catalog: Catalog, _ context: StepContext) async throws -> DatabaseSwap {
        let value = try await context.decided("swap") {
            // Under an attempt that did not live to say so.
            if let earlier = try await happened(context, catalog) { return try decodeJSON(JSONValue.self, encodeJSON(earlier)) }
            let swap = try await DatabaseSwap.plan(
                production: database.database, scratch: try context.string("scratch"), retired: try context.string("keep-as"),
                catalog: catalog)
            return try decodeJSON(JSONValue.self, encodeJSON(swap))
        }
        return try decodeJSON(DatabaseSwap.self, encodeJSON(value))
    }

    /// What earlier attempts decided, where it was done and still stands.
    ///
    /// - Parameter orRefuse: whether databases that have other names than before it and than after it are an error, or count as not done.
    /// - Throws: `StepRefused` (`postgres-swap.renamed-since`), then.
    private func happened(_ context: StepContext, _ catalog: Catalog, orRefuse: Bool = false) async throws -> DatabaseSwap? {
        guard let value = await context.services.observedBefore("swap") else { return nil }
        let swap = try decodeJSON(DatabaseSwap.self, encodeJSON(value))
        switch try await swap.state(catalog) {
        case .swapped: return swap
        case .notSwapped: return nil
        case .inconsistent(let evidence):
            guard orRefuse else { return nil }
            throw StepRefused(
                "postgres-swap.renamed-since", "the databases have other names by now than this swap gave them: \(evidence)",
                hints: ["nothing was renamed; look which database should be \(swap.productionName), and rename by hand: ALTER DATABASE … RENAME TO …"])
        }
    }

    /// - Parameter target: the server; the swap makes its own connections to it, one to rename and one to end sessions.
    private func rename(_ swap: DatabaseSwap, _ target: PostgresTarget, _ context: StepContext) async throws {
        context.services.report(StepProgress("exchanging the names"))
        Failpoint.hit("swap.before-rename", context.place())
        _ = try await swap.swap(
            target: target, session: PostgresSession(run: context.run, step: context.step, attempt: context.attempt, lockTimeout: .seconds(5)),
            deadline: context.deadline ?? Deadline(after: .seconds(300)))
        Failpoint.hit("swap.after-rename", context.place())
    }

    /// Numbers that the damaged database gave out after the backup are not given out again. Where it cannot be read, that is said.
    private func advanceSequences(
        _ swap: DatabaseSwap, _ database: DatabaseRef, _ context: StepContext, _ warnings: [String]
    ) async throws -> (Int, [String]) {
        context.services.report(StepProgress("moving sequences past the damaged database's"))
        let damaged: [Catalog.SequencePosition]
        do {
            let connection = try await context.services.connect(database, name: swap.productionName)
            damaged = try await Catalog(connection).sequences()
            await connection.close()
        } catch let error as any RepriseError where !error.isTransient {
            return (0, warnings + ["the damaged database's sequences cannot be read (\(error.message)): numbers given out after the backup may be given out again"])
        }
        let connection = try await context.services.connect(database, name: swap.scratchName)
        let restored = try await Catalog(connection).sequences()
        let moves = SequenceAdvance.plan(damaged: damaged, restored: restored, margin: context.optionalInteger("sequence-margin") ?? 1000)
        Failpoint.hit("swap.before-sequences", context.place())
        try await SequenceAdvance.apply(moves, connection: connection, deadline: Deadline(after: .seconds(60)))
        Failpoint.hit("swap.after-sequences", context.place())
        await connection.close()
        return (moves.count, warnings)
    }

    private static func warnings(_ obstacles: DatabaseSwap.Obstacles, _ database: DatabaseRef) -> [String] {
        var warnings: [String] = []
        if !obstacles.subscriptions.isEmpty {
            warnings.append("subscriptions stay with the damaged database and go on writing into it: \(obstacles.subscriptions.joined(separator: ", "))")
        }
        if obstacles.hasCronJobs { warnings.append("pg_cron's jobs name the database and run in the restored one from now on") }
        if !obstacles.standbys.isEmpty { warnings.append("\(obstacles.standbys.count) standbys have to receive the restored database") }
        return warnings
    }

    /// The names change back where this step has changed them, which the databases' OIDs tell: a database of the same name may have been kept
    /// by another recovery. What was restored keeps the scratch name afterwards.
    package func undo(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let connection = try await context.administer(database)
        let catalog = Catalog(connection)
        let value = try await context.decided("undo") {
            guard let swap = try await happened(context, catalog, orRefuse: true) else { return .null }
            return try decodeJSON(JSONValue.self, encodeJSON(swap.undo))
        }
        await connection.close()
        guard value != .null else { return StepOutcome(evidence: ["swapped": false], changed: false) }
        try await rename(try decodeJSON(DatabaseSwap.self, encodeJSON(value)), connection.target, context)
        return StepOutcome(outputs: ["summary": .string("\(database.database) is the database that it was before the swap.")])
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        // A new attempt asks the catalog by the journaled OIDs and goes on from what it finds.
        DoubtResolution(.notDone, reason: "the catalog decides by the databases' OIDs what is left to do")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database(), let scratch = try? SQLIdentifier(context.string("scratch")).sql,
            let production = try? SQLIdentifier(database.database).sql, let kept = try? SQLIdentifier(context.string("keep-as")).sql
        else { return [] }
        return [
            "# on \(database.host), in psql as \(database.superuser), database postgres; end sessions until it succeeds:",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('\(database.database.escaping("'", as: "''"))');",
            "BEGIN; ALTER DATABASE \(production) RENAME TO \(kept); ALTER DATABASE \(scratch) RENAME TO \(production); COMMIT;",
        ]
    }
}

/// A plan that calls production otherwise than the inventory does. Its checks would look for the one name, and the swap give the other:
/// a second run would not see that the database is there, and restore an older one over it.
package struct OtherName: RepriseError {
    /// The database as the inventory has it.
    package let database: DatabaseRef
    /// What the plan calls it.
    package let name: String

    /// - Parameter with: the fields of a swap.
    /// - Returns: nil where both say the same, and where the plan says nothing.
    package init?(_ with: [String: JSONValue], _ inventory: Inventory) {
        guard let name = with["name"]?.stringValue, let database = with["database"]?.stringValue.flatMap(inventory.database),
            database.database != name
        else { return nil }
        (self.database, self.name) = (database, name)
    }

    package let code = "postgres-swap.other-name"
    package var exitStatus: ExitStatus { .usage }
    package var needsNewRun: Bool { true }
    package var message: String { "the plan calls the database \"\(name)\", and the inventory's \(database.name) is \"\(database.database)\"" }
    package var hints: [String] {
        ["give the right name to both: with --param where the plan has it as a parameter, and under `databases`, \(database.name), `database` in the inventory"]
    }
}
