internal import BlockingIO
internal import PostgreSQL

/// Rows that are to be deleted, and on which others may hang: a constraint might take those along, so such rows stay.
extension TableDiff {
    /// Deletes the rows on which nothing hangs that stays, be it of this table or of another.
    ///
    /// - Parameters:
    ///   - condition: what is true of a difference `d` whose live row `t`, which is locked, is to be deleted.
    ///   - delete: deletes those of which another condition is true too, and says how many it deleted.
    /// - Returns: how many went. Afterwards `isHeld` is true of those that stay.
    func deleteUnreferenced(
        where condition: String, _ connection: isolated PostgresConnection, deadline: Deadline,
        _ delete: (isolated PostgresConnection, String) async throws -> Int
    ) async throws -> Int {
        let leaving = LeavingRows([self])
        let wanted = try await leaving.note(where: { _ in condition }, connection, deadline: deadline)
        // By its place: one that a trigger enters again is another one.
        let isThere = "EXISTS (SELECT FROM \(LeavingRows.table) AS x WHERE x.seq = d.seq AND x.part = t.tableoid AND x.spot = t.ctid)"
        var deleted = 0, count = 0, round = 0
        // A row that hangs on another of this table goes before it, so that triggers which look for such rows find none. Where there are no
        // triggers, what is left of a long chain goes at once.
        repeat {
            count = try await delete(connection, "\(isThere) AND \(sql.isUnreferenced("t"))")
            deleted += count
            round += 1
        } while count > 0 && (round < Self.mostGenerations || !pair.live.triggers.isEmpty)
        guard deleted < wanted else { return deleted }
        try await leaving.keepHeld(connection, deadline: deadline)
        // Rows that hang on themselves or on each other go at once: constraints are looked at when all of them are gone.
        return try await deleted + delete(connection, isThere)
    }

    /// Each looks at all rows that are left.
    private static let mostGenerations = 50

    /// Of a difference `d` that was among them: a row hangs on its row that stays.
    static let isHeld = LeavingRows.isHeld(0)
}

extension TableShape.Child {
    /// True where the row `child` leads to the row `parent`.
    func leads(from child: String, to parent: String) -> String {
        columns.indices.map {
            equality[$0].holds("\(parent).\(parentColumns[$0].sql)", "\(child).\(columns[$0].sql)")
        }.joined(separator: " AND ")
    }
}
