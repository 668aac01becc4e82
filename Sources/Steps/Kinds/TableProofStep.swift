internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// Compares once more after a merge: nothing may differ but what was left alone on purpose, or written since by others.
package struct TableProofStep: StepKind {
    package static let schema = StepKindSchema(
        name: "table-proof", summary: "compares once more after a merge; nothing may differ but what was left alone or written since by others",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("merge", .stepRef, isRequired: true, help: "the table-merge step"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        guard let id = try context.outputs(ofStepIn: "merge")["merge"]?.stringValue else {
            throw StepRefused("table-proof.no-merge", "the step in `merge` merged nothing", exitStatus: .usage)
        }
        let connection = try await context.services.connect(database, name: database.database)
        context.services.report(StepProgress("comparing once more"))
        let proof = try await AuditTrail.prove(id, connection, deadline: context.deadline ?? Deadline(after: .seconds(3600)))
        await connection.close()
        let evidence = try decodeJSON(JSONValue.self, encodeJSON(proof))
        guard proof.isProven else {
            throw StepRefused(
                "table-proof.mismatch", "the tables are not as the merge was to leave them. \(proof.text)",
                hints: [
                    "every row before and after is in reprise_audit.changes, under merge '\(id)'",
                    "to take the merge back: reprise undo \(context.run)",
                ],
                exitStatus: .verificationMismatch, evidence: evidence)
        }
        return StepOutcome(evidence: evidence, outputs: ["summary": .string(proof.text)])
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "comparing can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let merge = (try? context.outputs(ofStepIn: "merge"))?["merge"]?.stringValue ?? "\(context.run) STEP"
        return [
            "# in psql: rows that the merge wrote, to hold against the live table",
            "SELECT * FROM reprise_audit.changes WHERE merge = '\(merge)';",
        ]
    }
}
