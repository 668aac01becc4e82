internal import BlockingIO
internal import PostgreSQL

/// How many rows a table without a key has of each that is to come back: what a row of any other table tells by being there, these tell
/// by their number.
extension TableDiff {
    /// Counts them as a person is shown the differences.
    func noteCopies(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard pair.key == nil else { return }
        try await connection.execute("ALTER TABLE \(table.sql) ADD COLUMN there bigint, ADD COLUMN meant bigint", deadline: deadline)
        let counts = streamedCopies.map { "SELECT * FROM \($0.sql)" } ?? countingCopies(of: missing)
        try await connection.execute(
            "UPDATE \(table.sql) AS d SET there = n.there, meant = n.meant FROM (\(counts)) AS n WHERE n.image = d.backup", deadline: deadline)
    }

    /// Counts them as both sides are streamed, for all that the backup may have more of: where a row is entered after that, the comparison
    /// has not seen it. Goes into the table `counts`.
    func keepCopies(in counts: QualifiedName, _ connection: PostgresConnection, deadline: Deadline) async throws {
        try await connection.execute("DROP TABLE IF EXISTS \(counts.sql)", deadline: deadline)
        let images = "SELECT DISTINCT \(sql.image("t")) AS image FROM \(pair.backup.from) AS t"
        // Of a meaning, which is a row of any kind, no column can be made.
        try await connection.execute("\(counts.creation) AS SELECT n.image, n.there, n.meant FROM (\(countingCopies(of: images))) AS n", deadline: deadline)
    }

    /// Counts them again, and makes `pg_temp.reprise_step`: of how many of each difference it is still true that they are missing.
    ///
    /// Until the transaction ends nobody else writes the table: no lock of a row keeps another one like it away. Less than this mode would
    /// let somebody write whom the count does not see, and two merges that had counted at once would wait for each other.
    func recountCopies(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        // What came since stands for those that mean the same, one after the other, as it would have in the comparison.
        let before = "sum(d.copies) OVER (PARTITION BY n.meaning ORDER BY n.there <= d.there, n.image COLLATE \"C\" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        if try await has(.insert, connection, deadline: deadline) { try await connection.execute("LOCK TABLE \(pair.live.from) IN SHARE ROW EXCLUSIVE MODE", deadline: deadline) }
        // Another table of the merge may have been counted before.
        try await connection.execute("DROP TABLE IF EXISTS pg_temp.reprise_step", deadline: deadline)
        try await connection.execute(
            """
            CREATE TEMP TABLE reprise_step ON COMMIT DROP AS
            SELECT d.seq, d.copies - least(d.copies, greatest(n.meant - d.meant - coalesce(\(before), 0), 0)) AS copies, n.there
            FROM \(table.sql) AS d JOIN (\(countingCopies(of: missing))) AS n ON n.image = d.backup
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
            FROM \(table.sql) AS d JOIN (\(countingCopies(of: missing))) AS n ON n.image = d.backup JOIN (\(written)) AS w ON w.image = d.backup
            """, deadline: deadline
        ).only().integer("rows")
    }

    /// Rows `image`, of what is to come back.
    private var missing: String { "SELECT d.backup AS image FROM \(table.sql) AS d WHERE d.verdict = 'insert'" }

    /// Of rows `image` of the backup: how many live ones are written the same (`there`), and how many mean the same (`meant`), which are
    /// those that have the same `meaning`. Byte by byte that is the same.
    private func countingCopies(of images: String) -> String {
        guard mode == .semantic else {
            return """
                SELECT m.image, m.image AS meaning, pg_catalog.count(t.tableoid) AS there, pg_catalog.count(t.tableoid) AS meant
                FROM (\(images)) AS m LEFT JOIN \(pair.live.from) AS t ON \(sql.image("t")) = m.image GROUP BY m.image
                """
        }
        let rows = { (from: String) in "SELECT \(sql.image("t")) AS image, \(sql.meaning("t")) AS meaning, t.tableoid FROM \(from) AS t" }
        return """
            SELECT m.image, m.meaning, pg_catalog.count(l.tableoid) FILTER (WHERE l.image = m.image) AS there, pg_catalog.count(l.tableoid) AS meant
            FROM (SELECT DISTINCT ON (b.image) b.image, b.meaning FROM (\(rows(pair.backup.from))) AS b WHERE b.image IN (\(images))) AS m
                 LEFT JOIN (\(rows(pair.live.from))) AS l ON l.meaning = m.meaning
            GROUP BY m.image, m.meaning
            """
    }
}
