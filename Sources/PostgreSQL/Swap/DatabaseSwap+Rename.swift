internal import BlockingIO
package import RunCore

extension DatabaseSwap {
    /// One transaction with both renames, while `evictor` ends the sessions that stand in its way.
    func renameOnce(_ place: PostgresTarget, _ session: PostgresSession, evictor: PostgresConnection, deadline: Deadline) async throws {
        var settings = session
        // RENAME waits for sessions inside for at most 5 s by itself; a session that holds the lock is waited for no longer.
        settings.lockTimeout = .seconds(5)
        let renamer = try await PostgresConnection.connect(to: place, session: settings, deadline: deadline)
        let oids = [damagedOID, restoredOID]
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try await Self.evict(oids, evictor)
                    try await Self.pause(evictor)
                }
            }
            group.addTask {
                try await renamer.transaction(deadline: deadline) { connection in
                    for (from, to) in renames {
                        try await connection.execute(
                            "ALTER DATABASE \(try SQLIdentifier(from).sql) RENAME TO \(try SQLIdentifier(to).sql)", deadline: deadline)
                        Failpoint.hit("swap.renamed", from)
                    }
                    // RENAME goes by name: names that moved since they were looked at must not be exchanged.
                    try await confirm(connection, deadline)
                }
            }
            // Whoever ends first: the renamer with or without success, or the evictor with an error.
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private var renames: [(String, String)] { [(productionName, retiredName), (scratchName, productionName)] }

    private func confirm(_ connection: isolated PostgresConnection, _ deadline: Deadline) async throws {
        let row = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS count FROM pg_catalog.pg_database
            WHERE (oid = $1::pg_catalog.oid AND datname = $2) OR (oid = $3::pg_catalog.oid AND datname = $4)
            """, [.integer(damagedOID), .text(retiredName), .integer(restoredOID), .text(productionName)], deadline: deadline
        ).only()
        guard try row.integer("count", as: Int.self) == 2 else {
            throw DatabaseSwapFailure.inconsistent("the names moved to other databases while they were being exchanged")
        }
    }

    private static func evict(_ oids: [UInt32], _ evictor: PostgresConnection) async throws {
        _ = try await evictor.query(
            """
            SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
            WHERE datid = ANY ($1::pg_catalog.oid[]) AND pid <> pg_catalog.pg_backend_pid() AND backend_type <> 'walsender'
            """, [.array(oids.map(String.init))], deadline: Deadline(after: .seconds(30)))
    }

    /// The server sleeps: it costs no thread of ours, and cancelling the task ends it.
    private static func pause(_ evictor: PostgresConnection) async throws {
        do {
            _ = try await evictor.query("SELECT pg_catalog.pg_sleep(0.02)", deadline: Deadline(after: .seconds(30)))
        } catch is CancellationError {
            return
        }
    }
}

/// The swap did not happen; nothing was changed.
package struct DatabaseSwapFailure: RepriseError, Equatable {
    package let code: String
    package let message: String
    package let hints: [String]
    package let exitStatus: ExitStatus

    private init(_ code: String, _ message: String, _ hints: [String], _ exitStatus: ExitStatus = .failed) {
        self.code = "postgresql.swap-\(code)"
        self.message = message
        self.hints = hints
        self.exitStatus = exitStatus
    }

    static func misuse(_ message: String) -> Self { .init("misuse", message, ["give the databases other names"], .usage) }
    package static func missing(_ name: String) -> Self {
        .init("missing", "there is no database named \"\(name)\"", ["look at the server with: psql -l"])
    }
    static func inconsistent(_ evidence: String) -> Self {
        .init(
            "inconsistent", "the databases are not as they were recorded: \(evidence)",
            ["somebody renamed or dropped one: put the names right by hand, then resolve the step"], .waitingForPerson)
    }
    static func blocked(_ what: [String]) -> Self {
        .init(
            "blocked", "the names cannot be exchanged because of \(what.joined(separator: ", "))",
            ["commit or roll back prepared transactions; drop logical slots once their consumers are stopped"])
    }
    static func busy(_ name: String, _ reason: String) -> Self {
        .init(
            "busy", "sessions kept coming back to \"\(name)\": \(reason)",
            ["stop the application's workers and poolers, then retry the step"])
    }
    static func different(_ what: [String]) -> Self {
        .init(
            "settings-differ", "what belongs to the database could not be carried over: \(what.joined(separator: "; "))",
            ["set it by hand on the restored database, then retry the step"], .verificationMismatch)
    }
}
