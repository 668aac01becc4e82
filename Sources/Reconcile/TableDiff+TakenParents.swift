internal import BlockingIO
internal import PostgreSQL

extension MergePlan {
    /// What hung on a row whose number or name somebody else has by now must not hang on that one.
    func skipChildrenOfOthers(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        for (index, diff) in diffs.enumerated() {
            for foreignKey in diff.pair.live.foreignKeys {
                guard let parent = parent(of: index, by: foreignKey)?.diff else { continue }
                for sql in diff.skippingChildrenOfOthers(of: foreignKey, parent) { try await connection.executeBound(.update, sql, deadline: deadline) }
            }
        }
    }
}

extension TableDiff {
    /// Rows that would lead to a live row which is another one than that to which they led in the backup.
    ///
    /// - Returns: nothing where the parent's policy takes such rows for the same, or what is asked is not compared.
    fileprivate func skippingChildrenOfOthers(of foreignKey: TableShape.ForeignKey, _ parent: TableDiff) -> [String] {
        guard !parent.policy.mergesOtherRows, knows(foreignKey),
            Set(parent.pair.columns.map(\.name)).isSuperset(of: foreignKey.parentColumns)
        else { return [] }
        func matches(_ parent: String) -> String { foreignKey.leads(from: "w", to: parent) }
        return parent.tellingApart(beside: foreignKey.parentColumns).map { other in
            """
            UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(Self.otherParent(foreignKey))
            FROM \(wantedRows(under: foreignKey)) AS w, \(other.backup) AS b, \(other.live) AS l
            WHERE d.seq = w."reprise seq" AND (\(leadsAnew(by: foreignKey))) AND \(matches("b")) AND \(matches("l")) AND (\(other.differ))
            """
        }
    }

    /// True where the row `w` to be written leads, by this constraint, to where it does not lead yet.
    func leadsAnew(by foreignKey: TableShape.ForeignKey) -> String {
        "w.\"reprise verdict\" = 'insert'" + (taking(foreignKey.columns).map { " OR \($0)" } ?? "")
    }

    static func otherParent(_ foreignKey: TableShape.ForeignKey) -> String {
        RowSQL.text("its parent is another row by now, by \(foreignKey.name)")
    }
}
