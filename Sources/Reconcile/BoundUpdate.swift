internal import BlockingIO
internal import PostgreSQL

extension PostgresConnection {
    /// Runs an UPDATE of ours that asks what the tables' own conditions, indexes and generated columns ask.
    ///
    /// Their functions run as in any session of the database. What they are made of was bound when they were made, and is bound here under
    /// the pinned path, as a rule is: under the database's own, an operator that anybody made in a schema on it, and that fits arrays or
    /// enumerations better than the built-in one, would take its place, and run as our role.
    /// - Returns: rows affected.
    @discardableResult
    func updateBound(_ sql: String, deadline: Deadline) async throws -> Int {
        try await execute("CREATE TEMP TABLE reprise_bound (x integer) ON COMMIT DROP", deadline: deadline)
        try await execute("CREATE RULE reprise_bound AS ON UPDATE TO pg_temp.reprise_bound DO INSTEAD \(sql)", deadline: deadline)
        let rows = try await executeWithDatabasePath("UPDATE pg_temp.reprise_bound SET x = 1", deadline: deadline)
        // The rule holds on to all that it names.
        try await execute("DROP TABLE pg_temp.reprise_bound", deadline: deadline)
        return rows
    }
}
