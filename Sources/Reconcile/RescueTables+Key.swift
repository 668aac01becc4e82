package import BlockingIO
package import PostgreSQL

extension RescueTables.Table {
    /// Gives the loaded table the live one's key, so that it need not be sorted for each comparison. Idempotent.
    ///
    /// A backup whose rows repeat the key, or lack it, stays without: the comparison says so.
    package func indexKey(_ connection: PostgresConnection, deadline: Deadline) async throws {
        // One that is not there has no rows to be compared with; that is for the comparison to say.
        guard let shape = try? await TableShape.read(live, connection, deadline: deadline), let key = shape.keys.first else { return }
        let loaded = try await TableShape.read(rescue, connection, deadline: deadline)
        guard loaded.keys.isEmpty, Set(loaded.columns.map(\.name)).isSuperset(of: key.columns) else { return }
        let columns = key.columns.map(\.sql).joined(separator: ", ")
        do {
            try await connection.execute("CREATE UNIQUE INDEX ON \(rescue.sql) (\(columns))", deadline: deadline)
        } catch let error as PostgresError where error.sqlState == "23505" || error.sqlState == "42704" {
            // It repeats, or its type has no order any more.
        }
    }
}
