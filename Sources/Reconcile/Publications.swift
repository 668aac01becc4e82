package import BlockingIO
package import PostgreSQL

/// Publications by which tables that are made beside the live ones would be sent to other servers.
///
/// Who subscribes to all tables of a database gets the rows of new ones as well, and stops at the first: it has no such table. It goes on
/// stopping there after they were dropped, since what it has to carry out lies before.
package enum Publications {
    /// - Throws: `ReconcileRefused` (`reconcile.published`) where this database has such a publication and somebody reads it.
    package static func requireUnread(_ connection: PostgresConnection, deadline: Deadline) async throws {
        let found = try await connection.query(query, deadline: deadline).only()
        if let refusal = refusal(
            publications: try found.strings("publications"), slots: try found.strings("slots"), database: connection.target.database) { throw refusal }
    }

    /// Names of both, as arrays. Slots of copies that are being made do not stay.
    package static let query = """
        SELECT ARRAY(SELECT pubname::text FROM pg_catalog.pg_publication WHERE puballtables ORDER BY pubname) AS publications,
               ARRAY(SELECT slot_name::text FROM pg_catalog.pg_replication_slots
                     WHERE database = pg_catalog.current_database() AND plugin = 'pgoutput' AND NOT temporary ORDER BY slot_name) AS slots
        """

    /// - Returns: nil where nobody would get them.
    package static func refusal(publications: [String], slots: [String], database: String) -> ReconcileRefused? {
        guard !publications.isEmpty, !slots.isEmpty else { return nil }
        func list(_ one: String, _ names: [String]) -> String { "\(names.count == 1 ? one : one + "s") \(names.joined(separator: ", "))" }
        return ReconcileRefused(
            "reconcile.published",
            "\(list("publication", publications)) of \(database) is of all tables, and replication \(list("slot", slots)) sends them on: the tables that are made "
                + "here would be sent too, and a subscriber, which has none of them, would stop, and not go on after they were dropped",
            hints: [
                "publish the application's tables alone: CREATE PUBLICATION … FOR TABLE …; on the subscriber ALTER SUBSCRIPTION … SET PUBLICATION …; "
                    + "then drop the publication of all tables",
                "a slot that nobody needs any more: SELECT pg_drop_replication_slot('…')",
                "where whoever reads it does not mind tables that it does not know: `published: accept` in this step, or --published accept",
            ])
    }
}
