package import BlockingIO
package import PostgreSQL

/// One merge of one or more tables of a database, whose backups lie in the same database under other names.
///
/// Parents come before their children. Nothing here writes into a live table.
package struct MergePlan: Sendable, Hashable, Codable {
    /// In the order in which they are merged.
    package let diffs: [TableDiff]
    /// Tables reference each other in a circle, and the constraints that close it are checked at the end.
    package let defersConstraints: Bool
    /// A row that is to be written brings the rows with it on which it hangs, as far as the backup has them.
    package let followsParents: Bool
    /// Triggers that are off during the merge; nil: none.
    package internal(set) var disabled: [DisabledTriggers]?

    /// - Parameter followsParents: a circle whose constraints cannot be deferred is then opened somewhere: rows that need another one
    ///   before it can be there are skipped.
    /// - Throws: `ReconcileRefused` where tables reference each other in a circle whose constraints cannot be deferred, or one is there twice.
    package init(_ diffs: [TableDiff], followingParents followsParents: Bool = false) throws {
        self.followsParents = followsParents
        let names = diffs.map(\.pair.live.name)
        guard Set(names).count == names.count else { throw ReconcileRefused("reconcile.table-twice", "a table is named twice") }
        var left = diffs.sorted { $0.pair.live.name < $1.pair.live.name }, ordered: [TableDiff] = [], defers = false
        while !left.isEmpty {
            let waiting = Set(left.map(\.pair.live.name))
            func blocking(_ diff: TableDiff) -> [TableShape.ForeignKey] {
                diff.pair.live.foreignKeys.filter { $0.parent != diff.pair.live.name && waiting.contains($0.parent) }
            }
            // In a circle the one goes first whose way to its parents can be checked later.
            let isOptional = { (diff: TableDiff) in
                blocking(diff).allSatisfy { key in key.isDeferrable || key.columns.contains { diff.pair.live.column($0)?.isNullable == true } }
            }
            guard let next = left.first(where: { blocking($0).isEmpty }) ?? left.first(where: { blocking($0).allSatisfy(\.isDeferrable) })
                ?? (followsParents ? left.first(where: isOptional) ?? left.first : nil)
            else {
                throw ReconcileRefused(
                    "reconcile.circle",
                    "the tables \(left.map { "\($0.pair.live.name)" }.joined(separator: ", ")) reference each other in a circle, and none of these "
                        + "constraints is deferrable",
                    hints: ["make one of them deferrable: ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE", "or merge the tables one after the other"])
            }
            defers = defers || blocking(next).contains(where: \.isDeferrable)
            ordered.append(next)
            left.removeAll { $0.table == next.table }
        }
        self.diffs = ordered
        defersConstraints = defers
    }

    /// Compares all tables anew and finds what stands in the way of merging each row.
    ///
    /// - Parameter decisions: for rows that a person decides.
    /// - Returns: what a person is shown and agrees to.
    /// - Throws: `ReconcileRefused` where more would be merged than may be, or a decision names no table, key or column that there is.
    package func prepare(_ connection: PostgresConnection, decisions: [Decision] = [], deadline: Deadline) async throws -> MergePreview {
        // A name that is wrong is found before anybody is asked.
        try await Triggers.requireAll(triggersToDisable, connection, deadline: deadline)
        let (unused, looking) = try await connection.transaction("ISOLATION LEVEL REPEATABLE READ", deadline: deadline) { connection in
            for diff in diffs { try await diff.refuseRepeatedKeys(connection, deadline: deadline) }
            for diff in diffs { try await diff.make(connection, deadline: deadline) }
            try await chooseJoins(connection, deadline: deadline)
            for diff in diffs { try await diff.noteCopies(connection, deadline: deadline) }
            for diff in diffs { try await diff.skipOtherRows(connection, deadline: deadline) }
            // Whoever decides about a row has looked at whose it is.
            var unused = try await decide(decisions, connection, deadline: deadline)
            try await findObjects(connection, deadline: deadline)
            unused += try await decideObjects(decisions, connection, deadline: deadline)
            let started = ContinuousClock.now
            for diff in diffs { try await diff.skipRefused(connection, deadline: deadline) }
            try await followParents(connection, deadline: deadline)
            try await skipOrphans(connection, deadline: deadline)
            try await skipHeld(connection, deadline: deadline)
            try await keepNeededParents(connection, deadline: deadline)
            try await keepNeededObjects(connection, deadline: deadline)
            return (unused.sorted(), started.duration(to: .now))
        }
        var preview = try await MergePreview.read(self, connection, deadline: deadline)
        preview.unusedDecisions = unused
        preview.heldBack = MergePreview.HeldBack(disabled ?? [], by: preview.tables, looking: looking)
        for (diff, table) in zip(diffs, preview.tables) {
            preview.slowDeletes += try await diff.slowDeletes(table, among: preview.tables, connection, deadline: deadline)
        }
        try preview.requireCaps(self)
        return preview
    }

    /// A row whose parent is neither there nor coming, or is another one by now. One that is skipped can be the parent of others, so until nothing changes.
    func skipOrphans(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        try await skipChildrenOfOthers(connection, deadline: deadline)
        var changed = true
        while changed {
            changed = false
            for (index, diff) in diffs.enumerated() {
                for foreignKey in diff.pair.live.foreignKeys {
                    let parent = parent(of: index, by: foreignKey)
                    for sql in diff.skippingOrphans(of: foreignKey, parent: parent?.diff, comesInTime: parent?.comesInTime ?? false) {
                        changed = try await connection.executeBound(.update, sql, deadline: deadline) > 0 || changed
                    }
                }
            }
        }
    }
}

// MARK: What stands in the way of single rows

extension TableDiff {
    /// The rows as they will be, for those that are inserted or updated: `seq`, `verdict` and the columns of the table.
    var wantedRows: String {
        let columns = pair.columns.enumerated().map { index, column in
            let collation = column.collation.map { " COLLATE \($0)" } ?? ""
            return "CASE WHEN d.verdict = 'insert' OR d.take[\(index + 1)] THEN b.\(column.name.sql) ELSE l.\(column.name.sql) END\(collation) "
                + "AS \(column.name.sql)"
        }
        // Those that the backup does not have keep what the live row holds, and a new row gets nothing.
        let others = undefaulted.map { "l.\($0.name.sql)" }
        return withGenerated(
            """
            (SELECT d.seq AS "reprise seq", d.verdict AS "reprise verdict", d.take AS "reprise take", \((columns + others).joined(separator: ", "))
             FROM \(withBackup) LEFT JOIN \(pair.live.from) AS l ON \(isAbout("l"))
             WHERE d.verdict IN ('insert', 'update'))
            """)
    }

    /// Those of them that a foreign key is about: of one that a single part has, the rows that will lie there.
    func wantedRows(under foreignKey: TableShape.ForeignKey) -> String {
        foreignKey.condition.map { "(SELECT * FROM \(wantedRows) AS \(pair.live.name.name.sql) WHERE \($0))" } ?? wantedRows
    }

    /// Whether all is known of a row to be written that a foreign key asks of it.
    func knows(_ foreignKey: TableShape.ForeignKey) -> Bool {
        names.isSuperset(of: foreignKey.condition == nil ? foreignKey.columns : pair.live.columns.map(\.name))
    }

    /// Columns whose values in a row to be written are known before it is.
    var names: Set<SQLIdentifier> { Set((pair.columns + undefaulted + generated).map(\.name)) }

    private var undefaulted: [TableShape.Column] {
        pair.live.columns.filter { column in !column.isGenerated && !column.hasDefault && !pair.columns.contains { $0.name == column.name } }
    }

    private var generated: [TableShape.Column] {
        let there = Set((pair.columns + undefaulted).map(\.name))
        return pair.live.columns.filter { $0.generation != nil && there.isSuperset(of: $0.sources) }
    }

    /// - Parameter rows: a sub-select of the table's columns but those that are worked out.
    private func withGenerated(_ rows: String, only: [TableShape.Column]? = nil) -> String {
        let added = (only ?? generated).map { "(\($0.generation!)) AS \($0.name.sql)" }
        return added.isEmpty ? rows : "(SELECT *, \(added.joined(separator: ", ")) FROM \(rows) AS \(pair.live.name.name.sql))"
    }

    /// Two rows of the backup under one key would be joined with one live row both.
    func refuseRepeatedKeys(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard let key = pair.key else { return }
        // An index of the backup's own that holds the same values for one has looked at that already.
        guard !pair.backup.keys.contains(where: { $0.columns == key.columns && $0.equality == key.equality }) else { return }
        let columns = sql.list(key.columns)
        // Told apart as the live table does it.
        let groups = key.columns.map { name in name.sql + (pair.live.column(name)?.collation.map { " COLLATE \($0)" } ?? "") }
        let found = try await connection.query(
            """
            SELECT 1 FROM \(pair.backup.from) WHERE pg_catalog.num_nulls(\(columns)) > 0
            UNION ALL (SELECT 1 FROM \(pair.backup.from) GROUP BY \(groups.joined(separator: ", ")) HAVING pg_catalog.count(*) > 1) LIMIT 1
            """, deadline: deadline)
        guard found.rows.isEmpty else {
            throw ReconcileRefused(
                "reconcile.key-repeats",
                "in the backup of \(pair.live.name) several rows have the same (\(key.columns.map(\.description).joined(separator: ", "))), or none",
                hints: ["name another key, or take a backup from before the table was damaged"])
        }
    }

    /// The same key, but another natural key: the number was given to somebody else since.
    func skipOtherRows(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard let key = pair.key, !policy.mergesOtherRows else { return }
        for other in tellingApart(beside: key.columns) {
            try await connection.executeBound(
                .update,
                """
                UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(try SQLLiteral("another row under the same key, by \(other.index)").sql)
                FROM \(other.backup) AS b, \(other.live) AS l
                WHERE d.verdict = 'update' AND \(isAbout("b")) AND \(isAbout("l")) AND (\(other.differ))
                """, deadline: deadline)
        }
    }

    /// By what two rows that have the same in `columns` are found to be different ones all the same: each other unique index that does not
    /// hold these columns itself, both tables' rows with `columns` and the index's values, and what is true where `b` and `l` differ in it.
    func tellingApart(
        beside columns: [SQLIdentifier]
    ) -> [(index: SQLIdentifier, backup: String, live: String, differ: String)] {
        let compared = Set(pair.columns.map(\.name)), workedOut = generated.filter { compared.isSuperset(of: $0.sources) }
        let known = compared.union(workedOut.map(\.name))
        return pair.live.uniqueIndexes.filter { index in
            !index.isExclusion && known.isSuperset(of: index.columns) && !Set(index.columns).isSuperset(of: columns)
        }.map { index in
            let side = { (from: String) in
                let rows = self.withGenerated("(SELECT \(self.sql.list(self.sql.columnNames)) FROM \(from) AS x)", only: workedOut)
                return "(SELECT \(self.sql.list(columns)), \(index.values) FROM \(rows) AS \(self.pair.live.name.name.sql)\(index.condition))"
            }
            let differ = index.equality.enumerated().map { "NOT (\($1.holds("b.\"e \($0)\"", "l.\"e \($0)\"")))" }.joined(separator: " OR ")
            return (index.name, side(pair.backup.from), side(pair.live.from), differ)
        }
    }

    /// - Parameters:
    ///   - parent: the differences of the parent, where it is merged too.
    ///   - comesInTime: its rows are written before they have to be there.
    /// - Returns: nothing where the constraint is about columns that are not merged.
    func skippingOrphans(of foreignKey: TableShape.ForeignKey, parent: TableDiff?, comesInTime: Bool) -> [String] {
        let coming = comesInTime ? parent : nil
        guard knows(foreignKey) else { return [] }
        func matches(_ parent: String) -> String { foreignKey.leads(from: "w", to: parent) }
        func reason(_ what: String) -> String { RowSQL.text("its parent \(what), by \(foreignKey.name)") }
        let missing = "pg_catalog.num_nulls(\(sql.list(foreignKey.columns, of: "w")))"
        // Of the same table only those that are inserted: they come before any is updated.
        let verdicts = coming?.pair.live.name == pair.live.name ? "'insert'" : "'insert', 'update'"
        let parents = coming.flatMap { diff in
            diff.names.isSuperset(of: foreignKey.parentColumns)
                ? "(SELECT p.* FROM \(diff.wantedRows) AS p WHERE p.\"reprise verdict\" IN (\(verdicts)))" : nil
        }
        let isComing = parents.map { " AND NOT EXISTS (SELECT FROM \($0) AS p WHERE \(matches("p")))" } ?? ""
        let leaves = parent.map { diff in
            let gone = diff.taking(foreignKey.parentColumns).map { " OR d.verdict = 'update' AND \($0)" } ?? ""
            return " AND NOT EXISTS (SELECT FROM \(diff.table.sql) AS d WHERE (d.verdict = 'delete'\(gone)) AND \(diff.isAbout("p")))"
        } ?? ""
        // One by one: of a number of NULLs that equals something the server expects so few rows that it would hold each of the others
        // against each parent that comes.
        let isNamed = foreignKey.columns.map { "pg_catalog.num_nulls(w.\($0.sql)) <> 1" }.joined(separator: " AND ")
        let isLost = "\(isNamed) AND NOT EXISTS (SELECT FROM \(foreignKey.from) AS p WHERE \(matches("p"))\(leaves))\(isComing)"
        let isNamedInPart = "\(missing) BETWEEN 1 AND \(foreignKey.columns.count - 1)"
        // Each by itself: beside OR the server looks for a parent row by row.
        return ([("is not there", isLost)] + (foreignKey.namesWholeParents == true ? [("is named in part only", isNamedInPart)] : [])).map { what, isOrphan in
            """
            UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(reason(what))
            FROM \(wantedRows(under: foreignKey)) AS w WHERE d.seq = w."reprise seq" AND \(isOrphan)
            """
        }
    }
}
