internal import BlockingIO
internal import PostgreSQL

extension MergePlan {
    /// A parent that was to come back, and whose number somebody else has had since the preview: what hung on it must not hang on that one.
    ///
    /// To be called when `parent` has been written, whose step still tells what was left alone.
    func skipChildren(ofTaken parent: TableDiff, _ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard parent.pair.key != nil else { return }
        var count = 0
        for diff in diffs where diff.pair.key != nil && diff.table != parent.table {
            for foreignKey in diff.pair.live.foreignKeys where foreignKey.parent == parent.pair.live.name {
                guard let sql = diff.skippingChildren(of: foreignKey, parent) else { continue }
                count += try await connection.execute(sql, deadline: deadline)
            }
        }
        if count > 0 { try await skipOrphans(connection, deadline: deadline) }
    }
}

extension TableDiff {
    /// - Returns: nil where the constraint is about columns that are not merged.
    fileprivate func skippingChildren(of foreignKey: TableShape.ForeignKey, _ parent: TableDiff) -> String? {
        guard Set(pair.columns.map(\.name)).isSuperset(of: foreignKey.columns),
            Set(parent.pair.columns.map(\.name)).isSuperset(of: foreignKey.parentColumns)
        else { return nil }
        let matches = foreignKey.columns.indices.map {
            "p.\(foreignKey.parentColumns[$0].sql) \(foreignKey.equality[$0]) w.\(foreignKey.columns[$0].sql)"
        }.joined(separator: " AND ")
        return """
            UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(RowSQL.text("its parent is another row by now, by \(foreignKey.name)"))
            FROM \(pair.backup.from) AS w,
                 (SELECT p.* FROM \(parent.table.sql) AS d JOIN pg_temp.reprise_step AS s USING (seq) JOIN \(parent.pair.backup.from) AS p ON \(parent.isAbout("p"))
                  WHERE d.verdict = 'insert' AND NOT s.unchanged) AS p
            WHERE d.verdict = 'insert' AND \(isAbout("w")) AND \(matches)
            """
    }
}
