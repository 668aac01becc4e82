internal import BlockingIO
internal import PostgreSQL

/// A merge the other way round: what it wrote is the live row, and what was there before is what is wanted. All that is known of what
/// stands in a merge's way holds for its undoing too.
extension MergePlan {
    /// - Parameter merge: the one that this plan made.
    /// - Returns: the differences in the order of this plan, in temporary tables of the transaction.
    /// - Throws: `ReconcileRefused` where a table is gone, or has other columns than it had.
    func reversed(_ merge: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> MergePlan {
        var reversed: [TableDiff] = []
        for (index, diff) in diffs.enumerated() {
            reversed.append(try await diff.reversed(merge, index, connection, deadline))
        }
        return MergePlan(reversed, like: self)
    }

    private init(_ diffs: [TableDiff], like plan: MergePlan) {
        self.diffs = diffs
        defersConstraints = plan.defersConstraints
        followsParents = false
    }

    /// What hung on a row that does not come back must not hang on the one that has its place by now, and cannot be where there is none.
    ///
    /// - Parameter lost: what is true of a skipped difference `d` whose row was to come back and is lost.
    func skipChildrenOfLost(where lost: String = "true", _ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        var count = 0
        repeat {
            try await skipOrphans(connection, deadline: deadline)
            count = 0
            for (index, diff) in diffs.enumerated() {
                for foreignKey in diff.pair.live.foreignKeys {
                    guard let parent = parent(of: index, by: foreignKey)?.diff, let sql = diff.skippingChildrenOfLost(lost, of: foreignKey, parent) else { continue }
                    count += try await connection.executeBound(.update, sql, deadline: deadline)
                }
            }
        } while count > 0
    }
}

extension TableDiff {
    /// The number of a change is the number of its difference.
    fileprivate func reversed(
        _ merge: String, _ index: Int, _ connection: isolated PostgresConnection, _ deadline: Deadline
    ) async throws -> TableDiff {
        let former = try QualifiedName.temporary("reprise former \(index)"), table = try QualifiedName.temporary("reprise undo \(index)")
        // Its constraints, and whose foreign keys lead to it, may have changed since the merge.
        let live = try await TableShape.read(pair.live.name, connection, deadline: deadline)
        try requireSameColumns(live)
        for (name, rows) in [(former, formerRows(merge)), (table, changes(merge))] {
            try await connection.execute("CREATE TEMP TABLE \(name.sql) ON COMMIT DROP AS \(rows) WITH NO DATA", deadline: deadline)
            // A domain's values are looked at there.
            try await connection.executeBound(.insert, "INSERT INTO \(name.sql) \(rows)", deadline: deadline)
        }
        try await connection.execute("ALTER TABLE \(table.sql) ADD PRIMARY KEY (seq)", deadline: deadline)
        // By what they are looked into, as when they are made for a merge.
        let key = pair.key?.columns ?? [], asked = ["seq", "kind", "verdict"] + key.indices.map(keyAlias)
        try await connection.execute("ANALYZE \(table.sql) (\(asked.joined(separator: ", ")))", deadline: deadline)
        if !key.isEmpty { try await connection.execute("ANALYZE \(former.sql) (\(sql.list(key)))", deadline: deadline) }
        var policy = MergePolicy()
        // It was that row, and what it named is looked after by itself.
        (policy.mergesOtherRows, policy.ignoresLargeObjects) = (true, true)
        let backup = try await TableShape.read(former, connection, deadline: deadline)
        return TableDiff(TablePair(reversing: pair, backup: backup, live: live), policy: policy, into: table)
    }

    private func requireSameColumns(_ live: TableShape) throws {
        let changed = pair.whole.filter { live.column($0.name)?.type != $0.type }
        guard changed.isEmpty else {
            throw ReconcileRefused(
                "reconcile.drift",
                "columns of \(live.name) are gone or have another type since the merge: \(changed.map(\.name.description).joined(separator: ", "))",
                hints: ["every row before and after is in reprise_audit.changes"])
        }
    }

    private func recorded(_ merge: String) -> String {
        "reprise_audit.changes AS c WHERE c.merge = \(RowSQL.text(merge)) AND (c.schema_name, c.table_name) = (\(auditedName))"
    }

    private func formerRows(_ merge: String) -> String {
        let values = pair.whole.enumerated().map { "c.before[\($0 + 1)]::\($1.type) AS \($1.name.sql)" }
        return """
            SELECT \(values.joined(separator: ", ")) FROM \(recorded(merge)) AND pg_catalog.num_nulls(c.before) = 0
            """
    }

    private func changes(_ merge: String) -> String {
        let keys = (pair.key?.columns ?? []).enumerated().map { index, name in
            let place = pair.columns.firstIndex { $0.name == name }!
            return "(coalesce(c.after, c.before))[\(place + 1)]::\(pair.columns[place].type) AS \(keyAlias(index)), "
        }
        let takes = pair.whole.indices.map { "c.before[\($0 + 1)] IS DISTINCT FROM c.after[\($0 + 1)]" }
        return """
            SELECT c.place AS seq, \(keys.joined())c.before AS backup, c.after AS live,
                   CASE c.operation WHEN 'delete' THEN 'missing' WHEN 'update' THEN 'changed' ELSE 'extra' END AS kind,
                   CASE c.operation WHEN 'delete' THEN 'insert' WHEN 'update' THEN 'update' ELSE 'delete' END AS verdict, NULL::text AS reason,
                   CASE c.operation WHEN 'update' THEN ARRAY[\(takes.joined(separator: ", "))] END AS take, 1::bigint AS copies,
                   NULL::pg_catalog.oid AS part, NULL::pg_catalog.tid AS spot
            FROM \(recorded(merge))
            """
    }

    /// - Returns: nil where what is asked is not compared.
    fileprivate func skippingChildrenOfLost(_ lost: String, of foreignKey: TableShape.ForeignKey, _ parent: TableDiff) -> String? {
        guard parent.pair.key != nil, knows(foreignKey), Set(parent.pair.columns.map(\.name)).isSuperset(of: foreignKey.parentColumns) else { return nil }
        return """
            UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(Self.otherParent(foreignKey))
            FROM \(wantedRows(under: foreignKey)) AS w,
                 (SELECT p.* FROM \(parent.table.sql) AS d JOIN \(parent.pair.backup.from) AS p ON \(parent.isAbout("p"))
                  WHERE d.kind = 'missing' AND d.verdict = 'skip' AND \(lost)) AS p
            WHERE d.seq = w."reprise seq" AND (\(leadsAnew(by: foreignKey))) AND \(foreignKey.leads(from: "w", to: "p"))
                  AND EXISTS (SELECT FROM \(foreignKey.from) AS l WHERE \(foreignKey.leads(from: "w", to: "l")))
            """
    }
}

extension TablePair {
    /// The same key as when it was merged, and all that the rows held.
    fileprivate init(reversing pair: TablePair, backup: TableShape, live: TableShape) {
        self.backup = backup
        self.live = live
        columns = pair.whole
        key = pair.key
        others = nil
        drift = []
    }
}
