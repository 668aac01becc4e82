internal import BlockingIO
internal import PostgreSQL

/// How many rows a table without a key has of each that is to come back: what a row of any other table tells by being there, these tell
/// by their number.
extension TableDiff {
    /// Counts them as a person is shown the differences.
    func noteCopies(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard pair.key == nil else { return }
        try await connection.execute("ALTER TABLE \(table.sql) ADD COLUMN there bigint", deadline: deadline)
        try await connection.execute(
            "UPDATE \(table.sql) AS d SET there = x.there FROM (\(countingCopies)) AS x WHERE d.seq = x.seq", deadline: deadline)
    }

    /// Counts them again, and makes `pg_temp.reprise_step`: of how many of each difference it is still true that they are missing.
    ///
    /// Until the transaction ends nobody else writes the table: no lock of a row keeps another one like it away. Less than this mode would
    /// let somebody write whom the count does not see, and two merges that had counted at once would wait for each other.
    func recountCopies(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        let wanted = try await connection.query(
            "SELECT EXISTS (SELECT FROM \(table.sql) WHERE verdict = 'insert') AS wanted", deadline: deadline
        ).only().bool("wanted")
        if wanted { try await connection.execute("LOCK TABLE \(pair.live.from) IN SHARE ROW EXCLUSIVE MODE", deadline: deadline) }
        try await connection.execute(
            """
            CREATE TEMP TABLE reprise_step ON COMMIT DROP AS
            SELECT x.seq, x.copies > 0 AS unchanged, x.copies, x.there
            FROM (SELECT d.seq, greatest(d.copies - greatest(n.there - d.there, 0), 0) AS copies, n.there
                  FROM \(table.sql) AS d JOIN (\(countingCopies)) AS n USING (seq)) AS x
            """, deadline: deadline)
        try await connection.execute(
            "UPDATE \(table.sql) AS d SET there = s.there FROM pg_temp.reprise_step AS s WHERE d.seq = s.seq", deadline: deadline)
    }

    /// - Parameter written: rows `image`, `copies` of what was inserted since they were counted.
    /// - Returns: of how many there are not as many as there were and were inserted.
    func miscountedCopies(_ written: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> Int {
        try await connection.query(
            """
            SELECT coalesce(sum(pg_catalog.abs(n.there - d.there - w.copies)), 0)::bigint AS rows
            FROM \(table.sql) AS d JOIN (\(countingCopies)) AS n USING (seq) JOIN (\(written)) AS w ON w.image = d.backup
            """, deadline: deadline
        ).only().integer("rows")
    }

    /// Rows `seq`, `there`.
    private var countingCopies: String {
        """
        SELECT d.seq, pg_catalog.count(t.tableoid) AS there FROM \(table.sql) AS d LEFT JOIN \(pair.live.from) AS t ON \(isOfBackup("t"))
        WHERE d.verdict = 'insert' GROUP BY d.seq
        """
    }
}
