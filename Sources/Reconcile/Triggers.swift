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
            let found = try await connection.query(
                """
                SELECT t.tgenabled AS enabled FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
                       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relname = $2 AND t.tgname = $3 AND NOT t.tgisinternal
                """, [.text(table.schema.name), .text(table.name.name), .text(trigger.name)], deadline: deadline)
            guard let row = found.rows.first else {
                throw ReconcileRefused("reconcile.no-trigger", "table \(table) has no trigger \(trigger)", hints: ["see what it has: psql -c '\\d \(table)'"])
            }
            // One that is off already, or fires on replicas only, stays as it is.
            guard let word = ["O": "ENABLE", "A": "ENABLE ALWAYS"][try row.string("enabled")] else { continue }
            try await connection.execute("ALTER TABLE \(table.sql) DISABLE TRIGGER \(trigger.sql)", deadline: deadline)
            restoring.append("ALTER TABLE \(table.sql) \(word) TRIGGER \(trigger.sql)")
        }
        return Triggers(restoring: restoring)
    }

    func enable(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        for statement in restoring { try await connection.execute(statement, deadline: deadline) }
    }
}
