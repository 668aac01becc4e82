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
            StepContext.lockTimeoutField,
        ], isDestructive: true,
        elsewhere: ["disable-triggers": "put it under `with` of the table-diff step, whose preview names the triggers to whoever approves"])

    package static let hasUndo = true

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database(), diff = try context.outputs(ofStepIn: "diff")
        guard let agreed = diff["preview"]?.stringValue else {
            throw StepRefused("table-merge.no-preview", "the step in `diff` left no preview to merge", exitStatus: .usage)
        }
        let plan = try decodeJSON(MergePlan.self, encodeJSON(diff["plan"] ?? .null))
        let again = context.isResumed && Failpoint.mutant("merge.new-name-each-time") ? " again" : ""
        let id = Self.id(context.run, context.step) + again
        let lockTimeout = try context.duration("lock-timeout") ?? .seconds(10)
        let outcome = try await context.writingLiveTables(of: database) { connection, deadline in
            context.services.report(StepProgress("merging \(plan.diffs.map { "\($0.pair.live.name)" }.joined(separator: ", "))"))
            Failpoint.hit("table-merge.before", context.place())
            let outcome = try await plan.merge(as: id, agreed: agreed, lockTimeout: lockTimeout, connection, deadline: deadline)
            Failpoint.hit("table-merge.after", context.place())
            return outcome
        }
        return context.result(of: outcome, merge: id)
    }

    package func undo(_ context: StepContext) async throws -> StepOutcome {
        let diff = try? context.outputs(ofStepIn: "diff")["plan"], plan = diff.flatMap { try? decodeJSON(MergePlan.self, encodeJSON($0)) }
        return try await context.undoMerge(
            Self.id(context.run, context.step), plan: plan, disabling: plan?.triggersToDisable ?? [:], failpoint: "table-merge")
    }

    /// One name for all attempts: an earlier one's transaction either left its mark or nothing.
    static func id(_ run: RunID, _ step: StepID) -> String { "\(run) \(step)" }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "the mark in the database tells whether it was merged")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# in psql, one transaction: insert from the rescue schema what table-diff showed (OVERRIDING SYSTEM VALUE), parents first"]
    }
}
