package import BlockingIO
internal import CLibPQ
internal import Foundation
internal import RunCore

/// One session with a PostgreSQL server, on a thread of its own.
///
/// Every call has a deadline, and cancelling the task cancels the statement on the server; the session then remains usable, or
/// is closed where the server does not answer. A session serves one task at a time: a transaction of one task would take in
/// the statements of another.
package actor PostgresConnection {
    nonisolated private let thread: DedicatedThread
    package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    package nonisolated let target: PostgresTarget
    var handle: ConnectionHandle?
    /// For example `150020`.
    package private(set) var serverVersion = 0
    package private(set) var backendPID: Int32 = 0
    /// How long a cancelled statement has to end before the connection is given up.
    static let drainGrace = Duration.seconds(5)

    private init(target: PostgresTarget) {
        self.target = target
        thread = DedicatedThread(name: "pg")
    }

    /// Connects and pins the session's settings.
    ///
    /// - Throws: `PostgresConnectionError` (`postgresql.connection-refused`, `postgresql.starting`), `PostgresError` where the server refused the
    ///   login or a setting, `DeadlineExceeded`, `CancellationError`.
    package static func connect(
        to target: PostgresTarget, session: PostgresSession, deadline: Deadline
    ) async throws -> PostgresConnection {
        let connection = PostgresConnection(target: target)
        try await connection.open(session, deadline)
        return connection
    }

    /// Ends the session. Idempotent; an open transaction is rolled back by the server.
    package func close() { handle = nil }

    package var isOpen: Bool { handle.map { PQstatus($0.pointer) == CONNECTION_OK } ?? false }

    /// True between BEGIN and the end of a transaction, failed ones included.
    package var isInTransaction: Bool {
        handle.map { ![PQTRANS_IDLE, PQTRANS_UNKNOWN].contains(PQtransactionStatus($0.pointer)) } ?? false
    }

    /// What the server said beside its answers since the last call.
    package func takeNotices() -> [PostgresNotice] { handle?.takeNotices() ?? [] }

    /// Runs one statement and returns its whole answer as text.
    ///
    /// - Parameter parameters: for `$1`, `$2`, …; never substituted as text.
    package func query(
        _ sql: String, _ parameters: [PostgresParameter] = [], deadline: Deadline
    ) async throws -> PostgresResult {
        try await withInterrupt { try run(sql, parameters, deadline, $0) }
    }

    /// Runs one statement for its effect.
    ///
    /// - Returns: rows affected, where the command counts them.
    @discardableResult
    package func execute(_ sql: String, _ parameters: [PostgresParameter] = [], deadline: Deadline) async throws -> Int {
        try await query(sql, parameters, deadline: deadline).affectedRows
    }

    /// Runs `body` between BEGIN and COMMIT; rolls back when it throws, also when the task was cancelled.
    ///
    /// - Parameter mode: what follows BEGIN, for example `ISOLATION LEVEL REPEATABLE READ READ ONLY`.
    /// - Throws: `PostgresCommitUnknown` where the connection was lost between COMMIT and its answer.
    @discardableResult
    package func transaction<Value: Sendable>(
        _ mode: String = "", deadline: Deadline, _ body: @Sendable (isolated PostgresConnection) async throws -> Value
    ) async throws -> Value {
        try await execute("BEGIN \(mode)", deadline: deadline)
        let value: Value
        do {
            value = try await body(self)
            try Task.checkCancellation()
        } catch {
            rollBack()
            throw error
        }
        try commit(deadline)
        return value
    }

    /// Shielded from cancellation: an undone transaction must not linger in a pooled session.
    private func rollBack() { runShielded("ROLLBACK") }

    /// For what takes a session back to where it was, whatever has become of the task. A session in which it fails is given up.
    func runShielded(_ sql: String) {
        do {
            _ = try run(sql, [], Deadline(after: Self.drainGrace), Interrupt())
        } catch {
            handle = nil
        }
    }

    /// Shielded from cancellation: between COMMIT and its answer nothing is known.
    private func commit(_ deadline: Deadline) throws {
        do {
            let tag = try run("COMMIT", [], deadline, Interrupt()).commandTag
            guard tag == "COMMIT" else {
                // COMMIT of a failed transaction succeeds, and says ROLLBACK.
                throw PostgresError(
                    sqlState: "25P02", severity: "ERROR", primary: "the transaction had failed and was rolled back", place: target.place)
            }
        } catch let error as PostgresError where !error.sqlState.hasPrefix("08") && !error.sqlState.hasPrefix("57P") {
            throw error
        } catch {
            handle = nil
            throw PostgresCommitUnknown(place: target.place, reason: (error as? any RepriseError)?.message ?? "it failed")
        }
    }
}

// MARK: Connecting

extension PostgresConnection {
    private func open(_ session: PostgresSession, _ deadline: Deadline) async throws {
        try await withInterrupt { interrupt in
            do {
                try start(session, deadline, interrupt)
                try pin(session, deadline, interrupt)
            } catch {
                handle = nil
                throw error
            }
        }
    }

    private func start(_ session: PostgresSession, _ deadline: Deadline, _ interrupt: Interrupt) throws {
        let seconds = Int(min(deadline.remaining.components.seconds, 3600))
        let parameters = target.parameters(applicationName: session.applicationName, connectSeconds: seconds)
        guard let pointer = withCStrings(parameters.map(\.0), { keys in
            withCStrings(parameters.map(\.1)) { PQconnectStartParams(keys, $0, 0) }
        }) else { throw PostgresConnectionError.refused(target.place, "out of memory") }
        let handle = ConnectionHandle(pointer)
        self.handle = handle
        guard PQstatus(pointer) != CONNECTION_BAD else { throw refused(handle) }
        var next = PGRES_POLLING_WRITING
        while next != PGRES_POLLING_OK {
            guard next == PGRES_POLLING_WRITING || next == PGRES_POLLING_READING else { throw refused(handle) }
            // The socket may change between polls, so it is asked for each time.
            _ = try interrupt.wait(
                for: [(PQsocket(pointer), next == PGRES_POLLING_READING ? .read : .write)], until: deadline,
                operation: "a connection to \(target.place)")
            next = PQconnectPoll(pointer)
        }
        guard PQsetnonblocking(pointer, 1) == 0 else { throw refused(handle) }
        serverVersion = Int(PQserverVersion(pointer))
        backendPID = PQbackendPID(pointer)
    }

    /// Refusals carry no SQLSTATE through libpq while connecting; the server's own words are passed on.
    private func refused(_ handle: ConnectionHandle) -> PostgresConnectionError {
        .refused(target.place, handle.lastError)
    }

    private func pin(_ session: PostgresSession, _ deadline: Deadline, _ interrupt: Interrupt) throws {
        let settings = session.settings(serverVersion: serverVersion)
        let calls = settings.indices.map { "pg_catalog.set_config($\($0 * 2 + 1), $\($0 * 2 + 2), false)" }
        let values = settings.flatMap { [PostgresParameter.text($0.0), .text($0.1)] }
        _ = try run("SELECT " + calls.joined(separator: ", "), values, deadline, interrupt)
        for (name, wanted) in [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")] {
            guard let handle, let value = PQparameterStatus(handle.pointer, name), String(cString: value) == wanted else {
                throw PostgresConnectionError.misuse("\(target.place): \(name) could not be set to \(wanted)")
            }
        }
    }
}

/// Calls `body` with a NULL-terminated array of C strings.
func withCStrings<Result>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) throws -> Result) rethrows -> Result {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    let pointers = copies.map { $0.map { UnsafePointer($0) } } + [nil]
    return try pointers.withUnsafeBufferPointer { try body($0.baseAddress!) }
}
