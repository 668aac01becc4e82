package import BlockingIO

extension PostgresConnection {
    /// Runs what makes the server run code that the database holds itself, or that people wrote: triggers, conditions, functions. They name
    /// things as any session of that database finds them, by the search path that it, the role or the server was given.
    ///
    /// The text of some values depends on the path: what is compared as text is written by statements of their own.
    package func withDatabasePath<Value: Sendable>(deadline: Deadline, _ body: @Sendable () async throws -> Value) async throws -> Value {
        try await execute("SET search_path TO DEFAULT", deadline: deadline)
        do {
            let value = try await body()
            pinPath()
            return value
        } catch {
            // A transaction that failed takes it back itself.
            if !isInTransaction { pinPath() }
            throw error
        }
    }

    /// The same for one statement.
    ///
    /// - Returns: rows affected.
    @discardableResult
    package func executeWithDatabasePath(_ sql: String, deadline: Deadline) async throws -> Int {
        try await withDatabasePath(deadline: deadline) { try await self.execute(sql, deadline: deadline) }
    }

    private func pinPath() { runShielded("SET search_path TO \(PostgresSession.pinnedSearchPath)") }
}
