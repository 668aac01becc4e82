internal import BlockingIO
internal import PostgreSQL

/// Rows that others hang on, brought back because of those.
extension MergePlan {
    private static let reason = "needed by "

    /// Where the rows of `diffs[child]` hang, and whether such a row may be written when it has to be there.
    func parent(of child: Int, by foreignKey: TableShape.ForeignKey) -> (diff: TableDiff, comesInTime: Bool)? {
        guard let index = diffs.firstIndex(where: { $0.pair.live.name == foreignKey.parent }) else { return nil }
        return (diffs[index], index <= child || foreignKey.isDeferrable && defersConstraints)
    }

    /// Marks the missing parents of all that is to be written, and theirs, until nothing is missing that the backup has.
    func followParents(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        var changed = followsParents
        while changed {
            changed = false
            for (index, child) in diffs.enumerated() {
                for foreignKey in child.pair.live.foreignKeys {
                    guard let parent = parent(of: index, by: foreignKey), parent.comesInTime,
                        let sql = child.following(foreignKey, to: parent.diff, because: RowSQL.text("\(Self.reason)\(child.pair.live.name)"))
                    else { continue }
                    let marked = try await connection.executeBound(.update, sql, deadline: deadline)
                    guard marked > 0 else { continue }
                    try await parent.diff.noteVerdicts(of: marked, connection, deadline: deadline)
                    try await parent.diff.skipRefused(connection, deadline: deadline)
                    changed = true
                }
            }
        }
    }

    /// Some rows for which parents were marked cannot come after all: marks once more those that are needed for what is left, and no others.
    func keepNeededParents(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard followsParents else { return }
        for diff in diffs {
            let left = try await connection.execute(
                """
                UPDATE \(diff.table.sql) SET verdict = 'keep', reason = \(RowSQL.text(diff.unwantedReason))
                WHERE verdict = 'insert' AND pg_catalog.starts_with(reason, \(RowSQL.text(Self.reason)))
                """, deadline: deadline)
            try await diff.noteVerdicts(of: left, connection, deadline: deadline)
        }
        try await followParents(connection, deadline: deadline)
        for diff in diffs where diff.isFollowed {
            try await connection.execute("DELETE FROM \(diff.table.sql) WHERE verdict = 'keep'", deadline: deadline)
        }
    }
}

extension TableDiff {
    /// Marks the backup's rows of `parent` that rows of this table need and that are not there.
    ///
    /// - Returns: nil where that table gives none, or the constraint is about columns that are not merged.
    fileprivate func following(_ foreignKey: TableShape.ForeignKey, to parent: TableDiff, because reason: String) -> String? {
        let names = Set(pair.columns.map(\.name)), theirs = Set(parent.pair.columns.map(\.name))
        guard parent.givesParents, names.isSuperset(of: foreignKey.columns), knows(foreignKey), theirs.isSuperset(of: foreignKey.parentColumns) else {
            return nil
        }
        func matches(_ row: String) -> String { foreignKey.leads(from: "w", to: row) }
        return """
            UPDATE \(parent.table.sql) AS d SET verdict = 'insert', reason = \(reason)
            FROM \(parent.pair.backup.from) AS p, \(wantedRows(under: foreignKey)) AS w
            WHERE d.kind = 'missing' AND d.verdict = 'keep' AND \(parent.isAbout("p")) AND \(matches("p"))
                  AND NOT EXISTS (SELECT FROM \(foreignKey.parent.sql) AS l WHERE \(matches("l")))
            """
    }

    private var givesParents: Bool {
        guard pair.key != nil else { return false }
        if case .insert = policy.missing { return true }
        return false
    }
}
