internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import RunCore

/// Drops what a run's table-restore and table-diff laid beside the live tables. A merge can be undone without it.
package struct TableCleanupStep: StepKind {
    package static let schema = StepKindSchema(
        name: "table-cleanup", summary: "drops the tables that this run laid beside the live ones",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("keep", .boolean, default: .boolean(false), help: "leave them, for somebody to look at"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database(), schema = try TableRestoreStep.schemaName(context.run)
        guard !context.boolean("keep", default: false) else {
            return StepOutcome(
                evidence: ["kept": true],
                outputs: ["summary": .string("Kept, as the plan says: DROP SCHEMA \(schema) CASCADE drops it.")], changed: false)
        }
        let connection = try await context.services.connect(database, name: database.database)
        try await connection.execute(
            "DROP SCHEMA IF EXISTS \(schema.sql) CASCADE", deadline: context.deadline ?? Deadline(after: .seconds(300)))
        await connection.close()
        return StepOutcome(outputs: ["summary": .string("Schema \(schema) is gone.")])
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "dropping what is gone changes nothing")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["DROP SCHEMA IF EXISTS reprise_rescue_\(context.run) CASCADE;"]
    }
}
