internal import PostgreSQL
internal import RunCore

/// What a role must at least be allowed in order to compare and merge tables.
package enum TableRights {
    static let least = """
        the least that it needs: CREATE and TEMPORARY on the database; USAGE on the tables' schemas and SELECT on the tables, on those that their foreign keys \
        name and on those that name them; INSERT, UPDATE and DELETE on the tables, and SELECT and UPDATE on their sequences and on the large \
        objects that they name; the tables' ownership for `disable-triggers`; BYPASSRLS where one of all these has row security
        """

    /// Calls `body`; where the server says that the role may not do something, what it must be allowed is named as well.
    package static func named<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as PostgresError where error.sqlState == "42501" {
            throw StepRefused("tables.not-allowed", error.message, hints: [least] + error.hints)
        }
    }
}
