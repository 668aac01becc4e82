internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import RunCore

/// Makes a restored database safe to serve from: queued jobs that may have run since the backup are held, and sessions and tokens
/// that may have been revoked since are removed.
///
/// It works on the run's own scratch database, before the swap, so that production is never without it and never touched by it. One
/// transaction with a mark in the database itself: a killed attempt finds all of it or nothing, so this step is never in doubt.
package struct PostgresSettleStep: StepKind {
    package static let schema = StepKindSchema(
        name: "postgres-settle", summary: "holds queued jobs and revokes sessions and tokens in the restored database, in one transaction",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the production database's name in the inventory"),
            FieldSchema("scratch", .identifier, isRequired: true, help: "the restored and verified database"),
            FieldSchema("jobs", .choice(["hold", "drop", "run"]), default: .string("hold"), help: "queued jobs: move them into a side table, remove them, or leave them to run"),
            FieldSchema("job-tables", .list(.string), help: "tables of queued jobs: `name` (of schema public) or `schema.name`"),
            FieldSchema("access", .choice(["revoke", "keep"]), default: .string("revoke"), help: "sessions and tokens: remove them, or leave them valid"),
            FieldSchema("access-tables", .list(.string), help: "tables of sessions and tokens"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let scratch = try context.string("scratch")
        let wish = wish(context)
        let (settlement, isNew) = try await settle(wish, scratch, database, context)
        return StepOutcome(
            evidence: ["database": .string(scratch), "found-done": .bool(!isNew)],
            outputs: [
                "settlement": try decodeJSON(JSONValue.self, encodeJSON(settlement)),
                "schema": .string(settlement.schema.name), "summary": .string(summary(settlement, context)),
            ])
    }

    private func wish(_ context: StepContext) -> Settlement.Wish {
        let jobs = context.strings("job-tables"), access = context.optionalString("access") == "keep" ? [] : context.strings("access-tables")
        switch context.optionalString("jobs") {
        case "run": return .init(held: [], emptied: access)
        case "drop": return .init(held: [], emptied: jobs + access)
        default: return .init(held: jobs, emptied: access)
        }
    }

    private func settle(
        _ wish: Settlement.Wish, _ scratch: String, _ database: DatabaseRef, _ context: StepContext
    ) async throws -> (Settlement, Bool) {
        try await context.untilMarked(on: database.host) { deadline in
            try await refuseOthers(scratch, database, context)
            let connection = try await context.services.connect(database, name: scratch)
            context.services.report(StepProgress("holding jobs and revoking sessions in \(scratch)"))
            Failpoint.hit("settle.before-commit", context.place())
            let result = try await Settlement.carryOut(wish, mark: "\(context.run) \(context.step)", connection: connection, deadline: deadline)
            Failpoint.hit("settle.after-commit", context.place())
            await connection.close()
            return result
        }
    }

    /// Only a database that this run restored is settled: production's sessions are never ended by a mistaken name.
    private func refuseOthers(_ scratch: String, _ database: DatabaseRef, _ context: StepContext) async throws {
        let connection = try await context.administer(database)
        let found = try await Catalog(connection).database(named: scratch)
        await connection.close()
        guard scratch != database.database, found?.comment == PostgresRestoreStep.mark(context) else {
            throw StepRefused(
                "postgres-settle.not-restored", "\"\(scratch)\" is no database that this run restored",
                hints: ["name under `scratch` what the postgres-restore step made"], exitStatus: .usage)
        }
    }

    private func summary(_ settlement: Settlement, _ context: StepContext) -> String {
        var text = "Settled on purpose: \(settlement.text)."
        let held = settlement.tables.compactMap { table in table.heldAs.map { "INSERT INTO \(table.name) SELECT * FROM \($0)" } }
        if !held.isEmpty { text += " To let held jobs run: \(held.joined(separator: "; "))." }
        return text
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "the mark in the restored database tells whether it was settled")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database(), let scratch = context.optionalString("scratch") else { return [] }
        let wish = wish(context)
        let all = wish.held + wish.emptied
        return ["# on \(database.host), in psql \(scratch) as \(database.superuser), for the tables that exist:", "BEGIN;"]
            + (wish.held.isEmpty ? [] : ["CREATE SCHEMA reprise_settled;"])
            + wish.held.map { "CREATE TABLE reprise_settled.\($0.replacing(".", with: "_")) AS TABLE \($0);" }
            + (all.isEmpty ? [] : ["TRUNCATE TABLE \(all.joined(separator: ", "));"]) + ["COMMIT;"]
    }
}

extension StepContext {
    /// What the settling step that the field names changed on purpose; nil where the field is not there or the step was left out.
    func settlement(ofStepIn field: String) throws -> Settlement? {
        guard optionalString(field) != nil, let value = try outputs(ofStepIn: field)["settlement"] else { return nil }
        return try decodeJSON(Settlement.self, encodeJSON(value))
    }
}
