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
        var counts = DiffCounts()
        for row in found.rows { counts.rows[try MergePreview.kind(row)] = try row.integer("rows") }
        return counts
    }

    /// Hands on every difference that was found, in the order of the keys, without holding them all.
    ///
    /// - Parameters:
    ///   - most: of each kind at most so many; nil: all.
    package func forEachRecord(
        most: Int? = nil, _ connection: PostgresConnection, deadline: Deadline, _ body: (DiffRecord) async throws -> Void
    ) async throws {
        let names = RowSQL.texts(pair.columns.map(\.name.name)), batch = 2000
        let keys = pair.key.map { key in
            let places = key.columns.map { name in pair.columns.firstIndex { $0.name == name }! + 1 }
            let values = places.map { "(coalesce(d.backup, d.live))[\($0)]" }.joined(separator: ", ")
            return "pg_catalog.json_object(\(RowSQL.texts(key.columns.map(\.name))), ARRAY[\(values)])::text"
        }
        let source = most.map {
            "(SELECT * FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY kind ORDER BY seq) AS place FROM \(table.sql)) AS p WHERE place <= \($0))"
        }
        var last = "0"
        while true {
            let found = try await connection.query(
                """
                SELECT d.seq, d.kind, d.verdict, d.reason, d.copies, \(keys ?? "NULL::text") AS key,
                       pg_catalog.json_object(\(names), d.backup)::text AS backup, pg_catalog.json_object(\(names), d.live)::text AS live,
                       ARRAY(SELECT (\(names))[i] FROM pg_catalog.generate_subscripts(d.backup, 1) AS i
                             WHERE d.kind = 'changed' AND d.backup[i] IS DISTINCT FROM d.live[i] ORDER BY i) AS columns
                FROM \(source ?? table.sql) AS d WHERE d.seq > $1::bigint ORDER BY d.seq LIMIT \(batch)
                """, [.text(last)], deadline: deadline)
            for row in found.rows {
                try await body(
                    DiffRecord(
                        kind: MergePreview.kind(row), verdict: MergePreview.verdict(row), reason: row.optionalString("reason"), rows: row.integer("copies"),
                        key: row.optionalString("key"), backup: row.optionalString("backup"), live: row.optionalString("live"),
                        columns: row.strings("columns")))
                last = try row.string("seq")
            }
            guard found.rows.count == batch else { return }
        }
    }
}
