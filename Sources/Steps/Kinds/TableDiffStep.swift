internal import BlockingIO
internal import Foundation
package import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// Compares live tables with their backups and judges every difference: the preview that a person agrees to. No live table is touched.
package struct TableDiffStep: StepKind {
    package static let schema = StepKindSchema(
        name: "table-diff", summary: "compares tables with their backups, and shows what a merge would do with each difference",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("restored", .stepRef, isRequired: true, help: "the table-restore step"),
            FieldSchema(
                "parents", .choice(["skip", "follow"]), default: .string("skip"),
                help: "`follow`: rows on which others hang that come back, come back too; of a backup, table-restore must have loaded them"),
            FieldSchema("decisions", .path, help: "a file on the orchestrator with what people decided, a line of JSON for each row"),
            FieldSchema(
                "undecided", .choice(["leave", "stop"]), default: .string("leave"),
                help: "rows that wait for a decision: they stay as they are, or the step stops until they are decided"),
            StepContext.disableTriggersField,
        ] + RuleFields.all)

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome { try await TableRights.named { try await work(context) } }

    private func work(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database(), restored = try context.outputs(ofStepIn: "restored")
        let rules = try RuleFields.read(context.with), decisions = try Self.decisions(context)
        let connection = try await context.services.connect(database, name: database.database)
        let deadline = context.deadline ?? Deadline(after: .seconds(3600))
        let (compared, way) =
            if let source = restored["elsewhere"] {
                try await stream(try decodeJSON(RowsElsewhere.self, encodeJSON(source)), rules, connection, deadline, context)
            } else {
                try await join(try decodeJSON(RescueTables.self, encodeJSON(restored["rescue"] ?? .null)), rules, connection, deadline, context)
            }
        let plan = compared.disabling(try context.triggersToDisable())
        let preview = try await plan.prepare(connection, decisions: decisions, deadline: deadline)
        await connection.close()
        try Self.requireDecided(preview, context)
        return StepOutcome(
            evidence: try decodeJSON(JSONValue.self, encodeJSON(preview)),
            outputs: [
                "plan": try decodeJSON(JSONValue.self, encodeJSON(plan)), "preview": .string(preview.hash),
                "summary": .string("\(preview.text) Compared: \(way)."), "summary-samples": .string(preview.samplesText),
                "undecided": .string(preview.undecidedLines),
            ], warnings: preview.unusedDecisions.map { "line \($0) of the decisions decides no row that waits for one" })
    }

    private typealias Found = (plan: MergePlan, way: String)

    private func join(
        _ rescue: RescueTables, _ rules: MergeRuleSet, _ live: PostgresConnection, _ deadline: Deadline, _ context: StepContext
    ) async throws -> Found {
        context.services.report(StepProgress("comparing \(rescue.tables.map { "\($0.live)" }.joined(separator: ", "))"))
        try await rescue.requireWhole(live, deadline: deadline)
        let plan = try await rescue.plan(rules, followingParents: Self.followsParents(context), live, deadline: deadline)
        return (plan, TableComparison.Way.joined.rawValue)
    }

    /// Only what may differ is laid beside the live tables, in the schema that the table-restore step made.
    private func stream(
        _ source: RowsElsewhere, _ rules: MergeRuleSet, _ live: PostgresConnection, _ deadline: Deadline, _ context: StepContext
    ) async throws -> Found {
        let other = try await source.connect(context)
        var comparison = TableComparison(with: .database(other), of: live, in: try TableRestoreStep.schemaName(context.run))
        comparison.followsParents = Self.followsParents(context)
        let names = source.tables.map { TableComparison.Names(backup: $0, live: $0) }
        let compared = try await comparison.compare(names, by: rules, deadline: deadline) { table, progress in
            context.services.report(StepProgress("comparing \(table)", done: Int64(progress.backupRows), unit: .rows))
        }
        await other.close()
        let ways = Set(compared.map(\.way.rawValue)).sorted().joined(separator: "; ")
        return (try MergePlan(compared.map(\.diff), followingParents: comparison.followsParents), ways)
    }

    private static func followsParents(_ context: StepContext) -> Bool { context.optionalString("parents") == "follow" }

    /// Where the step stops for decisions, the file comes into being only after it has.
    private static func decisions(_ context: StepContext) throws -> [Decision] {
        guard let path = context.optionalString("decisions") else { return [] }
        if context.optionalString("undecided") == "stop", !FileManager.default.fileExists(atPath: path) { return [] }
        return try DecisionsFile.read(path)
    }

    private static func requireDecided(_ preview: MergePreview, _ context: StepContext) throws {
        let waiting = preview.tables.map(\.undecidedRows).reduce(0, +)
        guard context.optionalString("undecided") == "stop", waiting > 0 else { return }
        let file = context.optionalString("decisions") ?? "the file under `decisions`"
        throw StepRefused(
            "table-diff.undecided", "\(counted(waiting, "row waits", plural: "rows wait")) for a decision",
            hints: [
                "see them with: reprise journal show \(context.run) --json; copy their lines into \(file), and write `backup` or `live` into each `take`",
                "then: reprise retry \(context.run) \(context.step)",
            ], exitStatus: .verificationMismatch, evidence: ["undecided": .string(preview.undecidedLines)])
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "comparing can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# compare by hand, in psql: rows of the backup that are not there", "SELECT * FROM rescue.TABLE b WHERE NOT EXISTS (SELECT FROM public.TABLE l WHERE l.id = b.id);"]
    }
}
