package import BlockingIO
package import PostgreSQL
internal import RunCore

extension AuditTrail {
    /// Takes a merge back, in one transaction: inserted rows are deleted, updated ones get their former values, deleted ones come back.
    /// Rows that somebody has changed since the merge are left alone and listed. Idempotent. Needs nothing but the database.
    ///
    /// - Parameter plan: for a merge of an older version, which kept none in the database.
    /// - Throws: `ReconcileRefused` where there is no such merge, or a row did not come out as it was before.
    package static func undo(
        _ id: String, of plan: MergePlan? = nil, disabling: [QualifiedName: [SQLIdentifier]] = [:], lockTimeout: Duration = .seconds(10),
        _ connection: PostgresConnection, deadline: Deadline
    ) async throws -> MergeOutcome {
        guard let plan = try await self.plan(of: id, connection, deadline: deadline) ?? plan else {
            throw ReconcileRefused(
                "reconcile.no-plan", "merge \(id) was made by an older version, which kept no plan of it in the database",
                hints: ["undo the run that made it: reprise undo", "every row before and after is in reprise_audit.changes"])
        }
        // Whose foreign keys lead here may have changed since the merge.
        var children: [QualifiedName: [TableShape.Child]] = [:]
        for diff in plan.diffs {
            let name = diff.pair.live.name
            children[name] = try await TableShape.read(name, connection, deadline: deadline).children
        }
        return try await connection.transaction("ISOLATION LEVEL READ COMMITTED", deadline: deadline) { [children] connection in
            try await plan.prepareToWrite(connection, lockTimeout: lockTimeout, deadline: deadline)
            // Of two that undo at once the second waits here, and then finds it done.
            let mine = try await connection.execute(
                "UPDATE reprise_audit.merges SET undone_at = pg_catalog.now() WHERE id = $1 AND undone_at IS NULL", [.text(id)], deadline: deadline)
            guard mine == 1 else { return MergeOutcome(wasDoneAlready: true) }
            let triggers = try await Triggers.disable(disabling, connection, deadline: deadline)
            let writers = plan.diffs.map { UndoWriter(diff: $0, merge: id, children: children[$0.pair.live.name] ?? [], deadline: deadline) }
            var tables = try await takeBack(writers, connection)
            if let objects = try await plan.takeBackObjects(of: id, connection, deadline: deadline) { tables.append(objects) }
            try await connection.execute("SET CONSTRAINTS ALL IMMEDIATE", deadline: deadline)
            for (writer, table) in zip(writers, tables) { try await writer.requireFormer(table, connection) }
            try await triggers.enable(connection, deadline: deadline)
            return MergeOutcome(tables: tables)
        }
    }

    /// Deleted parents come back before their children; then former values; then what was inserted goes, children first.
    private static func takeBack(
        _ writers: [UndoWriter], _ connection: isolated PostgresConnection
    ) async throws -> [MergeOutcome.Table] {
        var tables = writers.map { MergeOutcome.Table(name: $0.diff.pair.live.name) }
        for (index, writer) in writers.enumerated() { tables[index].inserted = try await writer.insert(connection) }
        for (index, writer) in writers.enumerated() {
            let (done, left) = try await writer.update(connection)
            tables[index].updated = done
            if left > 0 { tables[index].skipped["changed since the merge"] = left }
        }
        for (index, writer) in writers.enumerated().reversed() { try await writer.delete(connection, &tables[index]) }
        return tables
    }
}

/// Takes one table's part of a merge back, inside of the undo's transaction.
private struct UndoWriter {
    let diff: TableDiff
    let merge: String
    /// Whose foreign keys lead to the table now.
    let children: [TableShape.Child]
    let deadline: Deadline

    private var pair: TablePair { diff.pair }
    private var changes: String {
        let name = pair.live.name
        return """
            reprise_audit.changes AS c
            WHERE c.merge = \(RowSQL.text(merge)) AND c.schema_name = \(RowSQL.text(name.schema.name)) AND c.table_name = \(RowSQL.text(name.name.name))
            """
    }

    /// What stands in an image of a live row.
    private var whole: [TableShape.Column] { pair.columns + (pair.others ?? []) }

    /// The typed value of a column out of an image.
    private func value(_ column: TableShape.Column, _ image: String) -> String {
        "\(image)[\(whole.firstIndex(of: column)! + 1)]::\(column.type)"
    }

    /// The row `t` is the one whose values `image` holds.
    private func isRow(_ image: String) -> String {
        guard let key = pair.key else { return "\(diff.sql.image("t")) = \(image)" }
        return zip(key.columns, key.equality).map { name, equals in
            equals.holds("t.\(name.sql)", value(pair.live.column(name)!, image))
        }.joined(separator: " AND ")
    }

    func update(_ connection: isolated PostgresConnection) async throws -> (done: Int, left: Int) {
        let all = try await count("update", connection)
        guard all > 0 else { return (0, 0) }
        let sets = pair.columns.filter { !$0.isIdentityAlways }.map { "\($0.name.sql) = \(value($0, "c.before"))" }
        let done = try await connection.execute(
            """
            UPDATE \(pair.live.from) AS t SET \(sets.joined(separator: ", ")) FROM \(changes) AND c.operation = 'update'
            AND \(isRow("c.after")) AND \(diff.sql.wholeImage("t")) = c.after
            """, deadline: deadline)
        return (done, all - done)
    }

    /// Rows on which something hangs that was written since the merge stay: a constraint might take that along.
    func delete(_ connection: isolated PostgresConnection, _ table: inout MergeOutcome.Table) async throws {
        let all = try await count("insert", connection)
        guard all > 0 else { return }
        if pair.key == nil {
            table.deleted = try await deleteCopies(connection)
        } else {
            let ours = "\(changes) AND c.operation = 'insert' AND \(isRow("c.after")) AND \(diff.sql.wholeImage("t")) = c.after"
            var count = 0
            // A row that hangs on another of this table goes before it.
            repeat {
                count = try await connection.execute(
                    "DELETE FROM \(pair.live.from) AS t USING \(ours) AND \(RowSQL.isUnreferenced("t", by: children))", deadline: deadline)
                table.deleted += count
            } while count > 0
            let held = try await connection.query("SELECT pg_catalog.count(*) AS rows FROM \(pair.live.from) AS t, \(ours)", deadline: deadline)
            let hanging = try held.only().integer("rows", as: Int.self)
            if hanging > 0 { table.skipped["other rows hang on it"] = hanging }
        }
        let left = all - table.deleted - (table.skipped["other rows hang on it"] ?? 0)
        if left > 0 { table.skipped["changed since the merge", default: 0] += left }
    }

    /// As many of the rows that look the same as were inserted.
    private func deleteCopies(_ connection: isolated PostgresConnection) async throws -> Int {
        try await connection.execute(
            """
            DELETE FROM \(pair.live.from) AS t USING (SELECT tableoid AS part, ctid AS place, \(diff.sql.image("t")) AS image,
                pg_catalog.row_number() OVER (PARTITION BY \(diff.sql.image("t")) ORDER BY ctid DESC) AS copy FROM \(pair.live.from) AS t) AS x
                JOIN (SELECT c.after, pg_catalog.count(*) AS copies FROM \(changes) AND c.operation = 'insert' GROUP BY c.after) AS c
                ON c.after = x.image
            WHERE t.tableoid = x.part AND t.ctid = x.place AND x.copy <= c.copies
            """, deadline: deadline)
    }

    func insert(_ connection: isolated PostgresConnection) async throws -> Int {
        let values = whole.map { value($0, "c.before") }.joined(separator: ", ")
        return try await connection.execute(
            """
            INSERT INTO \(pair.live.name.sql) (\(diff.sql.list(whole.map(\.name)))) OVERRIDING SYSTEM VALUE
            SELECT \(values) FROM \(changes) AND c.operation = 'delete' ORDER BY c.place
            """, deadline: deadline)
    }

    /// At least as many rows as were taken back are as they were before the merge.
    func requireFormer(_ table: MergeOutcome.Table, _ connection: isolated PostgresConnection) async throws {
        for (operation, done) in [("update", table.updated), ("delete", table.inserted)] where done > 0 {
            let found = try await connection.query(
                """
                SELECT pg_catalog.count(*) AS rows FROM \(changes) AND c.operation = '\(operation)'
                AND EXISTS (SELECT FROM \(pair.live.from) AS t WHERE \(isRow("c.before")) AND \(diff.sql.wholeImage("t")) = c.before)
                """, deadline: deadline)
            let former = try found.only().integer("rows", as: Int.self)
            guard former >= done else {
                throw ReconcileRefused(
                    "reconcile.rewritten",
                    "\(counted(done - former, "row")) of \(pair.live.name) did not come out as they were before the merge: a trigger changes them; "
                        + "nothing was undone",
                    hints: ["name the table's triggers under `disable-triggers`"], exitStatus: .verificationMismatch)
            }
        }
    }

    private func count(_ operation: String, _ connection: isolated PostgresConnection) async throws -> Int {
        let sql = "SELECT pg_catalog.count(*) AS rows FROM \(changes) AND c.operation = '\(operation)'"
        return try await connection.query(sql, deadline: deadline).only().integer("rows")
    }
}
