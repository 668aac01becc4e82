package import BlockingIO
package import PostgreSQL

/// One difference, for programs. Values are as the types' own output functions write them; nil is NULL.
package struct DiffRecord: Sendable {
    package let kind: TableDiff.Kind
    package let verdict: TableDiff.Verdict
    package let reason: String?
    /// How many rows alike; more than one only in a table without a key.
    package let rows: Int
    /// JSON objects from column to value; nil: there is no such row.
    package let key: String?
    package let backup: String?
    package let live: String?
    /// Of a changed row, the columns whose values differ.
    package let columns: [String]
}

/// How many differences of each kind a table has.
package struct DiffCounts: Sendable, Hashable {
    package var rows: [TableDiff.Kind: Int]

    package init(rows: [TableDiff.Kind: Int] = [:]) { self.rows = rows }

    /// - Parameter found: a row for each kind, with its number in `column`.
    init(_ found: PostgresResult, in column: String) throws {
        rows = try Dictionary(found.rows.map { (try MergePreview.kind($0), try $0.integer(column)) }, uniquingKeysWith: { $1 })
    }

    package var total: Int { rows.values.reduce(0, +) }
}

extension TableDiff {
    /// Finds the differences, without looking at what stands in the way of merging them.
    package func find(_ connection: PostgresConnection, deadline: Deadline) async throws -> DiffCounts {
        try await connection.transaction("ISOLATION LEVEL REPEATABLE READ", deadline: deadline) { connection in
            try await refuseRepeatedKeys(connection, deadline: deadline)
            try await make(connection, deadline: deadline)
        }
        let found = try await connection.query(
            "SELECT kind, pg_catalog.sum(copies)::bigint AS rows FROM \(table.sql) GROUP BY kind", deadline: deadline)
        return try DiffCounts(found, in: "rows")
    }

    /// Hands on every difference that was found, in the order of the keys, one by one as they come.
    ///
    /// - Parameters:
    ///   - most: of each kind at most so many; nil: all.
    ///   - body: runs on the connection's thread.
    package func forEachRecord(
        most: Int? = nil, _ connection: PostgresConnection, deadline: Deadline, _ body: @Sendable (DiffRecord) throws -> Void
    ) async throws {
        let names = RowSQL.texts(pair.columns.map(\.name.name))
        let keys = pair.key.map { key in
            let places = key.columns.map { name in pair.columns.firstIndex { $0.name == name }! + 1 }
            let values = places.map { "(coalesce(d.backup, d.live))[\($0)]" }.joined(separator: ", ")
            return "pg_catalog.json_object(\(RowSQL.texts(key.columns.map(\.name))), ARRAY[\(values)])::text"
        }
        let source = most.map {
            "(SELECT * FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY kind ORDER BY seq) AS place FROM \(table.sql)) AS p WHERE place <= \($0))"
        }
        try await connection.forEachRow(
            ["kind", "verdict", "reason", "copies", "key", "backup", "live", "columns"],
            of: """
                SELECT d.kind, d.verdict, d.reason, d.copies, \(keys ?? "NULL::text") AS key,
                       pg_catalog.json_object(\(names), d.backup)::text AS backup, pg_catalog.json_object(\(names), d.live)::text AS live,
                       ARRAY(SELECT (\(names))[i] FROM pg_catalog.generate_subscripts(d.backup, 1) AS i
                             WHERE d.kind = 'changed' AND d.backup[i] IS DISTINCT FROM d.live[i] ORDER BY i) AS columns
                FROM \(source ?? table.sql) AS d ORDER BY d.seq
                """, deadline: deadline
        ) { row in
            try body(
                DiffRecord(
                    kind: try MergePreview.kind(row), verdict: try MergePreview.verdict(row), reason: try row.optionalString("reason"),
                    rows: try row.integer("copies"), key: try row.optionalString("key"), backup: try row.optionalString("backup"),
                    live: try row.optionalString("live"), columns: try row.strings("columns")))
        }
    }
}
