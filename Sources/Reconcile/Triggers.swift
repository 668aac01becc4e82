internal import BlockingIO
internal import PostgreSQL

/// Triggers that are off during a transaction, and how each was on before.
struct Triggers {
    private let restoring: [String]

    /// One trigger of one table. Of a partitioned table's trigger each part has its own, which is on or off by itself.
    private struct One {
        let table: QualifiedName
        let name: SQLIdentifier
        /// How it is on, as the catalog has it.
        let enabled: String
    }

    /// Holds back every writer of these tables until the transaction ends.
    static func disable(
        _ wanted: [QualifiedName: [SQLIdentifier]], _ connection: isolated PostgresConnection, deadline: Deadline
    ) async throws -> Triggers {
        var restoring: [String] = []
        for (table, trigger) in wanted.sorted(by: { $0.key < $1.key }).flatMap({ table, names in names.map { (table, $0) } }) {
            for one in try await find(trigger, of: table, connection, deadline: deadline) {
                // One that is off already, or fires on replicas only, stays as it is.
                guard let word = ["O": "ENABLE", "A": "ENABLE ALWAYS"][one.enabled] else { continue }
                // Without ONLY it would be the same for every part afterwards.
                let alter = "ALTER TABLE ONLY \(one.table.sql)"
                try await connection.execute("\(alter) DISABLE TRIGGER \(one.name.sql)", deadline: deadline)
                restoring.append("\(alter) \(word) TRIGGER \(one.name.sql)")
            }
        }
        return Triggers(restoring: restoring)
    }

    /// - Throws: `ReconcileRefused` where one of them is not there.
    static func requireAll(_ wanted: [QualifiedName: [SQLIdentifier]], _ connection: PostgresConnection, deadline: Deadline) async throws {
        for (table, names) in wanted.sorted(by: { $0.key < $1.key }) {
            for name in names { _ = try await find(name, of: table, connection, deadline: deadline) }
        }
    }

    /// The table's own, and after it what its parts have of it, at every depth.
    private static func find(
        _ trigger: SQLIdentifier, of table: QualifiedName, _ connection: isolated PostgresConnection, deadline: Deadline
    ) async throws -> [One] {
        let found = try await connection.query(
            """
            WITH RECURSIVE tree AS (
                SELECT t.oid, 0 AS depth FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
                       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relname = $2 AND t.tgname = $3 AND NOT t.tgisinternal
                UNION ALL SELECT t.oid, r.depth + 1 FROM tree r JOIN pg_catalog.pg_trigger t ON t.tgparentid = r.oid)
            SELECT n.nspname AS schema, c.relname AS name, t.tgname AS trigger, t.tgenabled AS enabled
            FROM tree r JOIN pg_catalog.pg_trigger t ON t.oid = r.oid JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            ORDER BY r.depth, n.nspname, c.relname
            """, [.text(table.schema.name), .text(table.name.name), .text(trigger.name)], deadline: deadline)
        guard !found.rows.isEmpty else {
            throw ReconcileRefused("reconcile.no-trigger", "table \(table) has no trigger \(trigger)", hints: ["see what it has: psql -c '\\d \(table)'"])
        }
        return try found.rows.map { row in
            One(
                table: try QualifiedName(schema: row.string("schema"), name: row.string("name")), name: try SQLIdentifier(row.string("trigger")),
                enabled: try row.string("enabled"))
        }
    }

    func enable(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        for statement in restoring { try await connection.execute(statement, deadline: deadline) }
    }
}
