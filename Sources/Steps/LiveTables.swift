internal import BlockingIO
internal import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// What steps have in common that write into live tables, to merge or to take a merge back.
extension StepContext {
    static let disableTriggersField = FieldSchema(
        "disable-triggers", .map(.list(.identifier)),
        help: "for each table the triggers that would change rows on their way; meanwhile they are off, and writers of that table wait")
    static let lockTimeoutField = FieldSchema(
        "lock-timeout", .duration, default: .string("10s"), help: "how long to wait for a row or table that somebody holds")

    func triggersToDisable() throws -> [QualifiedName: [SQLIdentifier]] {
        var triggers: [QualifiedName: [SQLIdentifier]] = [:]
        for (table, names) in with["disable-triggers"]?.objectValue ?? [:] {
            triggers[try TableName.read(table)] = try (names.arrayValue ?? []).map { try SQLIdentifier($0.plainText) }
        }
        return triggers
    }

    /// Calls `body`, which leaves a mark in the database, until it was carried out or it is certain that it cannot be: at most five times.
    /// A second session looks at who holds what the first one waits for.
    func writingLiveTables<Value: Sendable>(
        of database: DatabaseRef, _ body: @escaping @Sendable (PostgresConnection, Deadline) async throws -> Value
    ) async throws -> Value {
        try await untilMarked(on: database.host, orAgainAfter: LiveWrite.isRace) { deadline in
            let connection = try await services.connect(database, name: database.database)
            let observer = try await services.connect(database, name: database.database)
            let value = try await TableRights.named {
                try await LockWatch.naming(holdersFor: connection, from: observer) { try await body(connection, deadline) }
            }
            await connection.close()
            await observer.close()
            return value
        }
    }

    /// Takes a merge back. One that never happened has nothing to take back.
    ///
    /// - Parameters:
    ///   - triggers: those that are off meanwhile.
    ///   - failpoint: where a test may kill the program: `NAME.before-undo` and `NAME.after-undo`.
    func undoMerge(
        _ id: String, plan: MergePlan? = nil, disabling triggers: [QualifiedName: [SQLIdentifier]], failpoint: String
    ) async throws -> StepOutcome {
        let lockTimeout = try duration("lock-timeout") ?? .seconds(10)
        let outcome = try await writingLiveTables(of: try database()) { connection, deadline -> MergeOutcome? in
            guard try await AuditTrail.mark(id, connection, deadline: deadline) != .absent else { return nil }
            services.report(StepProgress("taking merge \(id) back"))
            Failpoint.hit("\(failpoint).before-undo", place())
            let outcome = try await AuditTrail.undo(
                id, of: plan, disabling: triggers, lockTimeout: lockTimeout, connection, deadline: deadline)
            Failpoint.hit("\(failpoint).after-undo", place())
            return outcome
        }
        guard let outcome else { return StepOutcome(evidence: ["merged": false], changed: false) }
        return result(of: outcome, merge: id)
    }

    func result(of outcome: MergeOutcome, merge id: String) -> StepOutcome {
        let skipped = outcome.tables.flatMap { table in
            table.skipped.sorted { $0.key < $1.key }.map { "\(counted($0.value, "row")) of \(table.name) \($0.value == 1 ? "was" : "were") left alone: \($0.key)" }
        }
        let done = outcome.tables.map { "\($0.name): \(countText($0.inserted)) inserted, \(countText($0.updated)) updated, \(countText($0.deleted)) deleted" }
        let what = outcome.tables.isEmpty ? "It was done before." : "\(done.joined(separator: "; "))."
        return StepOutcome(
            evidence: (try? decodeJSON(JSONValue.self, encodeJSON(outcome))) ?? .null,
            outputs: ["merge": .string(id), "summary": .string("\(what) Every row before and after is in reprise_audit.changes.")],
            warnings: skipped)
    }
}
