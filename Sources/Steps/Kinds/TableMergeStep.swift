internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// Merges what a table-diff showed into the live tables: exactly that, in one audited transaction with a mark of its own.
///
/// Whether it happened is decided by that mark, so this step is never in doubt.
package struct TableMergeStep: StepKind {
    package static let schema = StepKindSchema(
        name: "table-merge", summary: "merges the differences that were shown and agreed to, in one transaction, with an audit and an undo",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("diff", .stepRef, isRequired: true, help: "the table-diff step whose differences were agreed to"),
            FieldSchema(
                "disable-triggers", .map(.list(.identifier)),
                help: "for each table the triggers that would change rows on their way; during the merge they are off, and writers of that table wait"),
            FieldSchema("lock-timeout", .duration, default: .string("10s"), help: "how long to wait for a row or table that somebody holds"),
        ], isDestructive: true)

    package static let hasUndo = true

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let (database, plan) = try target(context)
        guard let agreed = try context.outputs(ofStepIn: "diff")["preview"]?.stringValue else {
            throw StepRefused("table-merge.no-preview", "the step in `diff` left no preview to merge", exitStatus: .usage)
        }
        let outcome = try await persistently(context, database) { connection, deadline in
            context.services.report(StepProgress("merging \(plan.diffs.map { "\($0.pair.live.name)" }.joined(separator: ", "))"))
            Failpoint.hit("table-merge.before", context.place())
            let outcome = try await plan.merge(
                as: Self.id(context), agreed: agreed, disabling: try triggers(context), lockTimeout: try context.duration("lock-timeout") ?? .seconds(10), connection,
                deadline: deadline)
            Failpoint.hit("table-merge.after", context.place())
            return outcome
        }
        return result(outcome, context)
    }

    package func undo(_ context: StepContext) async throws -> StepOutcome {
        let (database, plan) = try target(context)
        let outcome = try await persistently(context, database) { connection, deadline in
            guard try await AuditTrail.mark(Self.id(context), connection, deadline: deadline) != .absent else { return MergeOutcome?.none }
            Failpoint.hit("table-merge.before-undo", context.place())
            let outcome = try await AuditTrail.undo(Self.id(context), of: plan, disabling: try triggers(context), connection, deadline: deadline)
            Failpoint.hit("table-merge.after-undo", context.place())
            return outcome
        }
        guard let outcome else { return StepOutcome(evidence: ["merged": false], changed: false) }
        return result(outcome, context)
    }

    /// One name for all attempts: an earlier one's transaction either left its mark or nothing.
    private static func id(_ context: StepContext) -> String {
        let again = context.isResumed && Failpoint.mutant("merge.new-name-each-time") ? " again" : ""
        return "\(context.run) \(context.step)\(again)"
    }

    private func target(_ context: StepContext) throws -> (DatabaseRef, MergePlan) {
        let value = try context.outputs(ofStepIn: "diff")["plan"] ?? .null
        return (try context.database(), try decodeJSON(MergePlan.self, encodeJSON(value)))
    }

    private func triggers(_ context: StepContext) throws -> [QualifiedName: [SQLIdentifier]] {
        var triggers: [QualifiedName: [SQLIdentifier]] = [:]
        for (table, names) in context.with["disable-triggers"]?.objectValue ?? [:] {
            triggers[try TableName.read(table)] = try (names.arrayValue ?? []).map { try SQLIdentifier($0.plainText) }
        }
        return triggers
    }

    private func persistently<Value: Sendable>(
        _ context: StepContext, _ database: DatabaseRef, _ body: (PostgresConnection, Deadline) async throws -> Value
    ) async throws -> Value {
        try await context.untilMarked(on: database.host, orAgainAfter: Self.isRace) { deadline in
            let connection = try await context.services.connect(database, name: database.database)
            let value = try await TableRights.named { try await body(connection, deadline) }
            await connection.close()
            return value
        }
    }

    /// Somebody wrote at the same instant: nothing was merged, and the next try sees what they wrote.
    private static func isRace(_ error: any RepriseError) -> Bool {
        // A key or a parent that was there when it was looked at; a deadlock; a lock that was not had in time.
        ["23505", "23503", "40P01", "55P03"].contains((error as? PostgresError)?.sqlState)
    }

    private func result(_ outcome: MergeOutcome, _ context: StepContext) -> StepOutcome {
        let skipped = outcome.tables.flatMap { table in
            table.skipped.sorted { $0.key < $1.key }.map { "\($0.value) rows of \(table.name) were left alone: \($0.key)" }
        }
        let done = outcome.tables.map { "\($0.name): \($0.inserted) inserted, \($0.updated) updated, \($0.deleted) deleted" }
        return StepOutcome(
            evidence: (try? decodeJSON(JSONValue.self, encodeJSON(outcome))) ?? .null,
            outputs: ["summary": .string("\(done.joined(separator: "; ")). Every row before and after is in reprise_audit.changes.")], warnings: skipped)
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "the mark in the database tells whether it was merged")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# in psql, one transaction: insert from the rescue schema what table-diff showed (OVERRIDING SYSTEM VALUE), parents first"]
    }
}
