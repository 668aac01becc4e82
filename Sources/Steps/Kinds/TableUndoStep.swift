internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// Takes a merge back, of this run or of another one. It needs nothing but what the database itself remembers.
///
/// Idempotent by the merge's mark, so this step is never in doubt.
package struct TableUndoStep: StepKind {
    package static let schema = StepKindSchema(
        name: "table-undo", summary: "takes a merge of tables back, by what the database remembers of it",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("step", .stepRef, help: "the table-merge step of this run whose merge is taken back"),
            FieldSchema("merge", .string, help: "or the id of a merge, as reprise_audit.merges has it"),
            StepContext.disableTriggersField, StepContext.lockTimeoutField,
        ], isDestructive: true)

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let triggers = try context.triggersToDisable()
        switch (context.optionalString("step"), context.optionalString("merge")) {
        case (let step?, nil):
            guard let id = StepID(step) else { throw StepRefused("table-undo.no-step", "`\(step)` is no id of a step", exitStatus: .usage) }
            return try await context.undoMerge(TableMergeStep.id(context.run, id), disabling: triggers, failpoint: "table-undo")
        case (nil, let merge?):
            let outcome = try await context.undoMerge(merge, disabling: triggers, failpoint: "table-undo")
            guard outcome.outputs["merge"] != nil else { throw AuditTrail.unknown(merge) }
            return outcome
        default:
            throw StepRefused(
                "table-undo.which-merge", "step \(context.step) does not say which merge to take back, or says it twice",
                hints: ["give either `step`, a table-merge step of this run, or `merge`, an id of reprise_audit.merges"], exitStatus: .usage)
        }
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "the mark in the database tells whether it was undone")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# in psql: what the merge did, to put it back by hand", "SELECT * FROM reprise_audit.changes WHERE merge = 'MERGE' ORDER BY place;"]
    }
}
