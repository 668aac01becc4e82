internal import BlockingIO
package import PostgreSQL
internal import RunCore
internal import Synchronization

/// Somebody holds a row or a table for longer than the transaction waits. Nothing was written; another try may find it free.
package struct LockNotHad: RepriseError {
    package let code = "reconcile.lock-not-had"
    package let message: String
    package let hints: [String]
    package let isTransient = true
    package let holders: [LockHolder]

    init(_ place: String, _ holders: [LockHolder]) {
        let who = holders.isEmpty ? "somebody; who, could not be seen in time" : holders.map(\.description).joined(separator: "; ")
        message = "\(place): a row or table that is to be written is held by \(who); nothing was written"
        let ends = holders.filter { $0.pid != 0 }.map { "pg_terminate_backend(\($0.pid))" }
        hints = ["let it come to its end" + (ends.isEmpty ? "" : ", or end it: SELECT \(ends.joined(separator: ", "))"), "or raise `lock-timeout`"]
        self.holders = holders
    }
}

/// A session that holds what another one waits for.
package struct LockHolder: Sendable, Hashable, Codable, CustomStringConvertible {
    /// Of its server process; 0 for a prepared transaction, which has none.
    package let pid: Int32
    package let user: String?
    package let application: String?
    /// `active`, `idle in transaction` and the like.
    package let state: String?
    /// When its transaction began, as the server writes it in UTC.
    package let since: String?
    /// The first word of its last statement, such as UPDATE. Never more of it: the rest may quote what people keep in their rows.
    package let command: String?

    package var description: String {
        guard pid != 0 else { return "a prepared transaction (see pg_prepared_xacts)" }
        let application = application.flatMap { $0.isEmpty ? nil : ", \($0)" } ?? ""
        return "pid \(pid) (\(user ?? "an unknown role")\(application)), \(state ?? "in an unknown state"), in a transaction since "
            + "\(since ?? "an unknown time"), last statement \(command ?? "unknown")"
    }
}

/// Looks from a second session at who holds what a first one waits for: the server tells that only while it waits.
package enum LockWatch {
    /// - Throws: `LockNotHad` in place of the server's own error where a lock was not had in time; anything else as `body` throws it.
    package static func naming<Value: Sendable>(
        holdersFor connection: PostgresConnection, from observer: PostgresConnection, every interval: Duration = .milliseconds(200),
        _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        let pid = await connection.backendPID, last = LastSeen()
        let watcher = Task {
            while !Task.isCancelled {
                if let seen = try? await holders(of: pid, observer), !seen.isEmpty { last.set(seen) }
                try? await Task.sleep(for: interval)
            }
        }
        let result: Result<Value, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        watcher.cancel()
        await watcher.value
        if case .failure(let error as PostgresError) = result, error.sqlState == "55P03" { throw LockNotHad(error.place, last.seen) }
        return try result.get()
    }

    private final class LastSeen: Sendable {
        private let value = Mutex<[LockHolder]>([])
        var seen: [LockHolder] { value.withLock { $0 } }
        func set(_ holders: [LockHolder]) { value.withLock { $0 = holders } }
    }

    private static func holders(of pid: Int32, _ observer: PostgresConnection) async throws -> [LockHolder] {
        try await observer.query(
            """
            SELECT p.pid, a.usename, a.application_name, a.state,
                   pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
                   pg_catalog.upper(pg_catalog.substring(a.query, '^\\s*([A-Za-z]+)')) AS command
            FROM (SELECT DISTINCT u.pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) AS u(pid)) AS p
                 LEFT JOIN pg_catalog.pg_stat_activity a USING (pid) ORDER BY p.pid
            """, [.integer(pid)], deadline: Deadline(after: .seconds(5))
        ).rows.map { row in
            LockHolder(
                pid: try row.integer("pid"), user: try row.optionalString("usename"), application: try row.optionalString("application_name"),
                state: try row.optionalString("state"), since: try row.optionalString("since"), command: try row.optionalString("command"))
        }
    }
}
