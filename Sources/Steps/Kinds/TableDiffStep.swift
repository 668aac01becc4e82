internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import RunCore

/// Compares live tables with their backups and judges every difference: the preview that a person agrees to. No live table is touched.
package struct TableDiffStep: StepKind {
    private static let rules = ["keep-live", "take-backup", "fill-nulls", "newest", "decide"]

    package static let schema = StepKindSchema(
        name: "table-diff", summary: "compares tables with their backups, and shows what a merge would do with each difference",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("restored", .stepRef, isRequired: true, help: "the table-restore step"),
            FieldSchema("compare", .choice(["exact", "semantic"]), default: .string("exact"), help: "what is stored, byte by byte, or what each type's own `=` says"),
            FieldSchema("missing", .choice(["insert", "skip"]), default: .string("insert"), help: "rows of the backup that are not there"),
            FieldSchema("where", .text, help: "SQL over the columns of a missing row; only those for which it is true are inserted"),
            FieldSchema("changed", .choice(rules), default: .string("keep-live"), help: "rows that both have, with other values"),
            FieldSchema("newest-by", .identifier, help: "for `newest`: the column that is later where it counts, such as updated_at"),
            FieldSchema("columns", .map(.choice(rules)), help: "rules of single columns, before `changed`"),
            FieldSchema("extra", .choice(["keep", "delete"]), default: .string("keep"), help: "rows that the backup does not have"),
            FieldSchema("most-inserts", .integer, range: 0...1_000_000_000, help: "more than that stops the plan here"),
            FieldSchema("most-updates", .integer, range: 0...1_000_000_000),
            FieldSchema("most-deletes", .integer, default: .integer(0), range: 0...1_000_000_000),
            FieldSchema("other-rows", .choice(["skip", "merge"]), default: .string("skip"), help: "changed rows whose other unique values differ too: somebody else's under the same number, or not"),
            FieldSchema("drift", .choice(["refuse", "common-columns"]), default: .string("refuse"), help: "tables whose columns have changed since the backup"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome { try await TableRights.named { try await work(context) } }

    private func work(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let value = try context.outputs(ofStepIn: "restored")["rescue"] ?? .null
        let rescue = try decodeJSON(RescueTables.self, encodeJSON(value))
        let connection = try await context.services.connect(database, name: database.database)
        let deadline = context.deadline ?? Deadline(after: .seconds(3600))
        context.services.report(StepProgress("comparing \(rescue.tables.map { "\($0.live)" }.joined(separator: ", "))"))
        let plan = try await self.plan(rescue, connection, context, deadline)
        let preview = try await plan.prepare(connection, deadline: deadline)
        await connection.close()
        return StepOutcome(
            evidence: try decodeJSON(JSONValue.self, encodeJSON(preview)),
            outputs: [
                "plan": try decodeJSON(JSONValue.self, encodeJSON(plan)), "preview": .string(preview.hash), "summary": .string(preview.text),
            ])
    }

    private func plan(
        _ rescue: RescueTables, _ connection: PostgresConnection, _ context: StepContext, _ deadline: Deadline
    ) async throws -> MergePlan {
        let policy = try Self.policy(context)
        let mode = ComparisonMode(rawValue: context.optionalString("compare") ?? "exact") ?? .exact
        var diffs: [TableDiff] = []
        for (index, table) in rescue.tables.enumerated() {
            let backup = try await TableShape.read(table.rescue, connection, deadline: deadline)
            let live = try await Self.live(table.live, connection, deadline)
            let pair = try TablePair(backup: backup, live: live, toleratesDrift: context.optionalString("drift") == "common-columns")
            diffs.append(TableDiff(pair, policy: policy, mode: mode, into: try QualifiedName(schema: rescue.schema.name, name: "reprise diff \(index)")))
        }
        return try MergePlan(diffs)
    }

    private static func live(_ name: QualifiedName, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> TableShape {
        do {
            return try await TableShape.read(name, connection, deadline: deadline)
        } catch let error as ReconcileRefused where error.code == "reconcile.no-table" {
            throw ReconcileRefused(
                error.code, error.message,
                hints: ["a table that is gone comes back whole, and not row by row: see the step kind postgres-restore-tables"], exitStatus: error.exitStatus)
        }
    }

    static func policy(_ context: StepContext) throws -> MergePolicy {
        var policy = MergePolicy()
        policy.missing = context.optionalString("missing") == "skip" ? .skip : .insert(where: context.optionalString("where"))
        policy.changed = try rule(context.optionalString("changed") ?? "keep-live", context)
        for (name, value) in context.with["columns"]?.objectValue ?? [:] {
            policy.columns[try SQLIdentifier(name)] = try rule(value.plainText, context)
        }
        policy.deletesExtra = context.optionalString("extra") == "delete"
        policy.mostInserts = context.optionalInteger("most-inserts").map { Int($0) }
        policy.mostUpdates = context.optionalInteger("most-updates").map { Int($0) }
        policy.mostDeletes = Int(context.optionalInteger("most-deletes") ?? 0)
        policy.mergesOtherRows = context.optionalString("other-rows") == "merge"
        return policy
    }

    private static func rule(_ word: String, _ context: StepContext) throws -> MergePolicy.Changed {
        switch word {
        case "take-backup": return .takeBackup
        case "fill-nulls": return .fillNulls
        case "decide": return .decide
        case "newest":
            guard let column = context.optionalString("newest-by") else {
                throw StepRefused("table-diff.newest-by-what", "`newest` needs `newest-by`: the column that is later where it counts", exitStatus: .usage)
            }
            return .newest(try SQLIdentifier(column))
        default: return .keepLive
        }
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "comparing can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# compare by hand, in psql: rows of the backup that are not there", "SELECT * FROM rescue.TABLE b WHERE NOT EXISTS (SELECT FROM public.TABLE l WHERE l.id = b.id);"]
    }
}
