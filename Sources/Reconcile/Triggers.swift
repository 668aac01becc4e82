internal import BlockingIO
internal import PostgreSQL

/// Triggers that are off during a transaction, and how each was on before.
struct Triggers {
    private let restoring: [String]

    /// Holds back every writer of these tables until the transaction ends.
    static func disable(
        _ wanted: [QualifiedName: [SQLIdentifier]], _ connection: isolated PostgresConnection, deadline: Deadline
    ) async throws -> Triggers {
        var restoring: [String] = []
        for (table, trigger) in wanted.sorted(by: { $0.key < $1.key }).flatMap({ table, names in names.map { (table, $0) } }) {
            let enabled = try await enabled(trigger, of: table, connection, deadline: deadline)
            // One that is off already, or fires on replicas only, stays as it is.
            guard let word = ["O": "ENABLE", "A": "ENABLE ALWAYS"][enabled] else { continue }
            try await connection.execute("ALTER TABLE \(table.sql) DISABLE TRIGGER \(trigger.sql)", deadline: deadline)
            restoring.append("ALTER TABLE \(table.sql) \(word) TRIGGER \(trigger.sql)")
        }
        return Triggers(restoring: restoring)
    }

    /// - Throws: `ReconcileRefused` where one of them is not there.
    static func requireAll(_ wanted: [QualifiedName: [SQLIdentifier]], _ connection: PostgresConnection, deadline: Deadline) async throws {
        for (table, names) in wanted.sorted(by: { $0.key < $1.key }) {
            for name in names { _ = try await enabled(name, of: table, connection, deadline: deadline) }
        }
    }

    /// How it is on, as the catalog has it.
    private static func enabled(
        _ trigger: SQLIdentifier, of table: QualifiedName, _ connection: isolated PostgresConnection, deadline: Deadline
    ) async throws -> String {
        let found = try await connection.query(
            """
            SELECT t.tgenabled AS enabled FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relname = $2 AND t.tgname = $3 AND NOT t.tgisinternal
            """, [.text(table.schema.name), .text(table.name.name), .text(trigger.name)], deadline: deadline)
        guard let row = found.rows.first else {
            throw ReconcileRefused("reconcile.no-trigger", "table \(table) has no trigger \(trigger)", hints: ["see what it has: psql -c '\\d \(table)'"])
        }
        return try row.string("enabled")
    }

    func enable(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        for statement in restoring { try await connection.execute(statement, deadline: deadline) }
    }
}
