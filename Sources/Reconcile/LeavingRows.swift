internal import BlockingIO
internal import PostgreSQL

/// Rows that are to be deleted, by where they lie, in a temporary table that ends with the transaction.
struct LeavingRows {
    /// `number`, a place in `diffs`; `seq` of the difference; `part` and `spot`.
    static let table = "pg_temp.reprise_leaving"
    private static let moving = "pg_temp.reprise_moving"
    private static let holding = "pg_temp.reprise_holding"
    static let heldReason = "other rows hang on it"

    private let diffs: [TableDiff]

    init(_ diffs: [TableDiff]) { self.diffs = diffs }

    /// - Parameter condition: what is true of a difference `d` whose live row `t` is to be deleted.
    /// - Returns: how many there are.
    func note(where condition: (TableDiff) -> String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> Int {
        let rows = diffs.enumerated().map { number, diff in
            "SELECT \(number) AS number, d.seq, t.tableoid AS part, t.ctid AS spot FROM \(diff.pair.live.from) AS t, \(diff.table.sql) AS d WHERE \(condition(diff))"
        }
        return try await Self.make(Self.table, rows, connection, deadline: deadline)
    }

    /// - Returns: how many rows it has.
    private static func make(_ table: String, _ rows: [String], _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> Int {
        try await connection.execute("DROP TABLE IF EXISTS \(table)", deadline: deadline)
        let name = table.split(separator: ".").last!
        let count = try await connection.execute(
            "CREATE TEMP TABLE \(name) ON COMMIT DROP AS \(rows.joined(separator: " UNION ALL "))", deadline: deadline)
        try await connection.execute("ANALYZE \(table)", deadline: deadline)
        return count
    }

    /// Of a difference `d` of that table that was among them: a row hangs on its row that stays.
    static func isHeld(_ number: Int) -> String { "NOT EXISTS (SELECT FROM \(table) AS x WHERE x.number = \(number) AND x.seq = d.seq)" }

    /// Takes those out to which a row leads that is not among them, and those to which one of these leads, and so on.
    ///
    /// - Parameter updates: what differences will update first: a row that will lead elsewhere by then holds none back.
    func keepHeld(whileMoving updates: [TableDiff] = [], _ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        let moves = updates.flatMap(moves)
        if !moves.isEmpty { _ = try await Self.make(Self.moving, moves, connection, deadline: deadline) }
        let holds = diffs.enumerated().flatMap { number, diff in diff.pair.live.children.map { holding(number, diff, $0, mayMove: !moves.isEmpty) } }
        guard !holds.isEmpty, try await Self.make(Self.holding, holds, connection, deadline: deadline) > 0 else { return }
        // A chain is gone along row by row.
        try await connection.execute("CREATE INDEX ON \(Self.holding) (by_number, by_seq)", deadline: deadline)
        try await connection.execute(
            """
            WITH RECURSIVE held AS (
                SELECT h.number, h.seq FROM \(Self.holding) AS h WHERE h.by_seq IS NULL
                UNION SELECT h.number, h.seq FROM held JOIN \(Self.holding) AS h ON h.by_number = held.number AND h.by_seq = held.seq)
            DELETE FROM \(Self.table) AS x USING held WHERE x.number = held.number AND x.seq = held.seq
            """, deadline: deadline)
    }

    /// Which of these rows have one that leads to them: `number`, `seq`, and that one's, which are NULL where it stays.
    private func holding(_ number: Int, _ diff: TableDiff, _ child: TableShape.Child, mayMove: Bool) -> String {
        let isMoving = """
            EXISTS (SELECT FROM \(Self.moving) AS m
                    WHERE m.part = child.tableoid AND m.spot = child.ctid AND m.columns = \(RowSQL.texts(child.columns.map(\.name))))
            """
        return """
            SELECT DISTINCT x.number, x.seq, o.number AS by_number, o.seq AS by_seq
            FROM \(Self.table) AS x JOIN \(diff.pair.live.from) AS t ON t.tableoid = x.part AND t.ctid = x.spot
                 JOIN \(child.from) AS child ON \(child.leads(from: "child", to: "t"))
                 LEFT JOIN \(Self.table) AS o ON o.part = child.tableoid AND o.spot = child.ctid
            WHERE x.number = \(number)\(mayMove ? " AND NOT \(isMoving)" : "")
            """
    }

    /// Rows that an update will lead away from tables of which some are to go: `part`, `spot`, and the columns that lead there.
    private func moves(_ updating: TableDiff) -> [String] {
        let parents = Set(diffs.map(\.pair.live.name))
        return updating.pair.live.foreignKeys.filter { parents.contains($0.parent) }.compactMap { foreignKey in
            updating.taking(foreignKey.columns).map { isTaken in
                """
                SELECT l.tableoid AS part, l.ctid AS spot, \(RowSQL.texts(foreignKey.columns.map(\.name))) AS columns
                FROM \(updating.pair.live.from) AS l, \(updating.table.sql) AS d WHERE d.verdict = 'update' AND \(isTaken) AND \(updating.isAbout("l"))
                """
            }
        }
    }
}

extension MergePlan {
    /// Rows that `extra: delete` would delete and on which others hang that stay: nobody is to agree to what will not happen.
    func skipHeld(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        let deleting = diffs.filter { $0.policy.deletesExtra && $0.pair.key != nil }
        guard deleting.contains(where: { !$0.pair.live.children.isEmpty }) else { return }
        let leaving = LeavingRows(deleting)
        guard try await leaving.note(where: { "d.verdict = 'delete' AND \($0.isAbout("t"))" }, connection, deadline: deadline) > 0 else { return }
        try await leaving.keepHeld(whileMoving: diffs, connection, deadline: deadline)
        for (number, diff) in deleting.enumerated() {
            let held = try await connection.execute(
                """
                UPDATE \(diff.table.sql) AS d SET verdict = 'skip', reason = \(RowSQL.text(LeavingRows.heldReason))
                WHERE d.verdict = 'delete' AND \(LeavingRows.isHeld(number))
                """, deadline: deadline)
            try await diff.noteVerdicts(of: held, connection, deadline: deadline)
        }
    }
}
