package import PlanModel
internal import PostgreSQL
internal import RunCore

/// Asks the database questions whose answers a working application cannot do without.
package struct SQLCheckStep: StepKind {
    package static let schema = StepKindSchema(
        name: "sql-check", summary: "runs queries in a read-only transaction and compares their one value with what it must be",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("name", .identifier, help: "the database on that server, if it is another one"),
            FieldSchema(
                "checks",
                .list(
                    .record([
                        FieldSchema("sql", .string, isRequired: true, help: "a query that returns one row with one column"),
                        FieldSchema("expect", .any, help: "the value must be this"),
                        FieldSchema("at-least", .number, help: "the value must be a number that is no smaller"),
                        FieldSchema("at-most", .number, help: "the value must be a number that is no larger"),
                        FieldSchema("help", .string, help: "what it means when the check fails"),
                    ])), isRequired: true),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let connection = try await context.services.connect(database, name: context.optionalString("name") ?? database.database)
        let checks = context.with["checks"]?.arrayValue ?? []
        var results: [JSONValue] = []
        var failures: [String] = []
        for (index, check) in checks.enumerated() {
            context.services.report(StepProgress("check \(index + 1) of \(checks.count)", done: Int64(index), total: Int64(checks.count)))
            let value = try await context.answer(to: check["sql"]?.stringValue ?? "", connection)
            let problem = Self.problem(value, check)
            results.append(["sql": check["sql"] ?? .null, "value": value.map { .string($0) } ?? .null, "ok": .bool(problem == nil)])
            if let problem {
                failures.append([check["help"]?.stringValue, "\(check["sql"]?.stringValue ?? ""): \(problem)"].compactMap { $0 }.joined(separator: " – "))
            }
        }
        await connection.close()
        guard failures.isEmpty else {
            throw StepRefused(
                "sql-check.failed", "\(failures.count) of \(checks.count) checks failed: \(failures.joined(separator: "; "))",
                hints: ["look at the data, then: reprise retry \(context.run) \(context.step)"], exitStatus: .verificationMismatch,
                evidence: .array(results))
        }
        return StepOutcome(evidence: .array(results), changed: true)
    }

    /// Why `value` does not pass, or nil.
    static func problem(_ value: String?, _ check: JSONValue) -> String? {
        if let expected = check["expect"], expected.plainText != (value ?? "") { return "is \(value ?? "NULL"), expected \(expected.plainText)" }
        for (key, fits) in [("at-least", { (a: Double, b: Double) in a >= b }), ("at-most", { $0 <= $1 })] {
            guard let bound = check[key].flatMap({ Double($0.plainText) }) else { continue }
            guard let number = value.flatMap(Double.init), fits(number, bound) else { return "is \(value ?? "NULL"), expected \(key) \(check[key]?.plainText ?? "")" }
        }
        return nil
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let database = try? context.database()
        return ["# on \(database?.host ?? "the database host"), in psql \(context.optionalString("name") ?? database?.database ?? ""):"]
            + (context.with["checks"]?.arrayValue ?? []).compactMap { $0["sql"]?.stringValue.map { "\($0);" } }
    }
}
