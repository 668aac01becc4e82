package import BlockingIO
package import PostgreSQL

/// Contents that differ, for who only looks.
extension RescuedObjects {
    /// Finds those that are gone, are only there or hold something else, without looking at what becomes of them.
    package func find(_ connection: PostgresConnection, deadline: Deadline) async throws -> DiffCounts {
        let extra = try extra.sql
        try await connection.execute("DROP TABLE IF EXISTS \(diff.sql)", deadline: deadline)
        try await connection.execute("CREATE TABLE IF NOT EXISTS \(extra) (number oid PRIMARY KEY, digest bytea)", deadline: deadline)
        try await connection.execute(
            """
            \(diff.creation) AS
            SELECT number, NULL::bytea AS backup, digest AS live, 'extra' AS kind FROM \(extra) UNION ALL
            SELECT x.*, CASE WHEN x.live IS NULL THEN 'missing' ELSE 'changed' END AS kind
            FROM (SELECT k.number, k.digest AS backup, \(ObjectSQL.digest(of: "k.number")) AS live FROM \(known.sql) AS k OFFSET 0) AS x
            WHERE x.live IS DISTINCT FROM x.backup
            """, deadline: deadline)
        let found = try await connection.query("SELECT kind, pg_catalog.count(*) AS objects FROM \(diff.sql) GROUP BY kind", deadline: deadline)
        return try DiffCounts(found, in: "objects")
    }

    /// Hands on each that was found, in the order of their numbers: which one it is, and the digests of its contents.
    ///
    /// - Parameters:
    ///   - most: of each kind at most so many; nil: all.
    ///   - body: runs on the connection's thread.
    package func forEachRecord(
        most: Int? = nil, _ connection: PostgresConnection, deadline: Deadline, _ body: @Sendable (DiffRecord) throws -> Void
    ) async throws {
        let number = "'number', d.number::text"
        let side = { (name: String) in
            "CASE WHEN d.\(name) IS NOT NULL THEN pg_catalog.json_build_object(\(number), 'sha256', pg_catalog.encode(d.\(name), 'hex'))::text END AS \(name)"
        }
        let ranked = "SELECT *, pg_catalog.row_number() OVER (PARTITION BY kind ORDER BY number) AS place FROM \(diff.sql)"
        let source = most.map { "(SELECT * FROM (\(ranked)) AS p WHERE place <= \($0))" } ?? diff.sql
        try await connection.forEachRow(
            ["kind", "key", "backup", "live"],
            of: """
                SELECT d.kind, pg_catalog.json_build_object(\(number))::text AS key, \(side("backup")), \(side("live"))
                FROM \(source) AS d ORDER BY d.number
                """, deadline: deadline
        ) { row in
            let kind = try MergePreview.kind(row)
            try body(
                DiffRecord(
                    kind: kind, verdict: .keep, reason: nil, rows: 1, key: try row.optionalString("key"), backup: try row.optionalString("backup"),
                    live: try row.optionalString("live"), columns: kind == .changed ? ["sha256"] : []))
        }
    }
}
