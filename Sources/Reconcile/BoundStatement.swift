internal import BlockingIO
internal import PostgreSQL

/// A statement of ours at which the server runs code that the database holds: triggers, conditions, generated columns, domains.
///
/// That code finds what it names as in any session of the database. What the statement itself is made of is bound under the pinned path, as
/// a rule is: under the database's own, an operator or a type that anybody made in a schema on it could take the place of the built-in one,
/// and run as our role.
enum BoundStatement: String {
    case insert = "INSERT", update = "UPDATE", delete = "DELETE"

    /// What the rule takes the place of, of the same kind: only so the number of rows comes back.
    fileprivate var calling: String {
        switch self {
        case .insert: "INSERT INTO pg_temp.reprise_bound VALUES (1)"
        case .update: "UPDATE pg_temp.reprise_bound SET x = 1"
        case .delete: "DELETE FROM pg_temp.reprise_bound"
        }
    }

    fileprivate func rule(_ sql: String) -> String {
        "CREATE OR REPLACE RULE reprise_\(rawValue.lowercased()) AS ON \(rawValue) TO pg_temp.reprise_bound DO INSTEAD \(sql)"
    }
}

extension PostgresConnection {
    /// Runs such a statement, inside of a transaction.
    ///
    /// - Returns: rows affected.
    @discardableResult
    func executeBound(_ kind: BoundStatement, _ sql: String, deadline: Deadline) async throws -> Int {
        // One for the whole transaction: each would hold its locks to the end.
        try await execute("CREATE TEMP TABLE IF NOT EXISTS reprise_bound (x integer) ON COMMIT DROP", deadline: deadline)
        try await execute(kind.rule(sql), deadline: deadline)
        let rows = try await executeWithDatabasePath(kind.calling, deadline: deadline)
        // The rule holds on to all that it names.
        try await execute(kind.rule("NOTHING"), deadline: deadline)
        return rows
    }
}
