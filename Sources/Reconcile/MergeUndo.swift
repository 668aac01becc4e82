package import BlockingIO
package import PostgreSQL
internal import RunCore

extension AuditTrail {
    /// Takes a merge back, in one transaction: inserted rows are deleted, updated ones get their former values, deleted ones come back.
    ///
    /// Rows that somebody has changed since the merge, and those that cannot be as they were any more, are left alone and listed.
    /// Idempotent. Needs nothing but the database.
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
        return try await connection.transaction("ISOLATION LEVEL READ COMMITTED", deadline: deadline) { connection in
            try await plan.prepareToWrite(connection, lockTimeout: lockTimeout, deadline: deadline)
            // Of two that undo at once the second waits here, and then finds it done.
            let mine = try await connection.execute(
                "UPDATE reprise_audit.merges SET undone_at = pg_catalog.now() WHERE id = $1 AND undone_at IS NULL", [.text(id)], deadline: deadline)
            guard mine == 1 else { return MergeOutcome(wasDoneAlready: true) }
            let triggers = try await Triggers.disable(disabling, connection, deadline: deadline)
            let reversed = try await plan.reversed(id, connection, deadline: deadline)
            try await reversed.chooseJoins(connection, deadline: deadline)
            let writers = reversed.diffs.map { UndoWriter(diff: $0, merge: id, deadline: deadline) }
            // All locks first: what is decided after them, with what is then seen, stands until the end.
            for writer in writers { try await writer.lock(connection) }
            try await skipRefused(reversed, connection, deadline)
            var tables = try await takeBack(writers, connection)
            if let objects = try await plan.takeBackObjects(of: id, connection, deadline: deadline) { tables.append(objects) }
            try await connection.allowNestedLoops(deadline: deadline)
            try await connection.executeWithDatabasePath("SET CONSTRAINTS ALL IMMEDIATE", deadline: deadline)
            try await reversed.chooseJoins(connection, deadline: deadline)
            for writer in writers { try await writer.requireFormer(connection) }
            try await triggers.enable(connection, deadline: deadline)
            return MergeOutcome(tables: tables)
        }
    }

    /// Former rows and values that the live tables would not take any more.
    private static func skipRefused(_ reversed: MergePlan, _ connection: isolated PostgresConnection, _ deadline: Deadline) async throws {
        for diff in reversed.diffs {
            let unfit = try await diff.skipUnfit(connection, deadline: deadline), taken = try await diff.skipTaken(connection, deadline: deadline)
            try await diff.noteVerdicts(of: unfit + taken, connection, deadline: deadline)
        }
        try await reversed.skipChildrenOfLost(connection, deadline: deadline)
    }

    /// The merge's own steps, backwards: each finds what that one left. So deleted parents come back before their children, and children
    /// that were inserted go before their parents.
    private static func takeBack(
        _ writers: [UndoWriter], _ connection: isolated PostgresConnection
    ) async throws -> [MergeOutcome.Table] {
        var tables = writers.map { MergeOutcome.Table(name: $0.diff.pair.live.name) }
        for (index, writer) in writers.enumerated() { tables[index].inserted = try await writer.insert(connection) }
        for (index, writer) in writers.enumerated().reversed() {
            try await Lookup.chooseJoins([writer.diff.lookup], connection, deadline: writer.deadline)
            tables[index].updated = try await writer.update(connection)
            tables[index].deleted = try await writer.delete(connection)
        }
        for (index, writer) in writers.enumerated() {
            try await writer.requireAll(tables[index], connection)
            tables[index].skipped = try await writer.list(connection)
        }
        return tables
    }
}

/// Takes one table's part of a merge back, inside of the undo's transaction.
private struct UndoWriter {
    /// The merge's, the other way round.
    let diff: TableDiff
    let merge: String
    let deadline: Deadline

    private static let changed = "changed since the merge", isHeld = LeavingRows.heldReason

    private var pair: TablePair { diff.pair }
    private var differences: String { "\(diff.table.sql) AS d" }
    /// The row `t` is the one of the difference `d`: by its key, or without one by its place, which stays while it is locked.
    private var isRow: String { pair.key == nil ? "t.tableoid = d.part AND t.ctid = d.spot" : diff.isAbout("t") }
    private var isInserted: String { "d.verdict = 'delete' AND \(isRow) AND \(diff.sql.image("t")) = d.live" }

    private var isTheMerges: String { AuditTrail.wrote("t", in: merge) }
    /// Live rows hold what no image of the merge covers. Whether somebody has written that since, only the version of a row tells; where
    /// that says too little, the row stays.
    private var holdsMore: Bool { pair.live.columns.contains { column in !column.isGenerated && !pair.columns.contains { $0.name == column.name } } }

    private func run(_ sql: String, _ connection: isolated PostgresConnection) async throws -> Int {
        try await connection.execute(sql, deadline: deadline)
    }

    /// Writes the live table: its triggers run.
    private func write(_ kind: BoundStatement, _ sql: String, _ connection: isolated PostgresConnection) async throws -> Int {
        try await connection.executeBound(kind, sql, deadline: deadline)
    }

    /// Locks the rows that the merge wrote, and leaves alone those that are not as it wrote them.
    func lock(_ connection: isolated PostgresConnection) async throws {
        guard let key = pair.key else {
            _ = try await run(lockingCopies, connection)
            _ = try await run("\(skippingChanged) WHERE d.spot IS NULL", connection)
            return
        }
        let taken = RowSQL.text("another row has its key (\(key.columns.map(\.description).joined(separator: ", ")))")
        let skipped = try await run(
            diff.skippingChanged("d.live", "CASE d.kind WHEN 'missing' THEN \(taken) ELSE \(RowSQL.text(Self.changed)) END"), connection)
        try await diff.noteVerdicts(of: skipped, connection, deadline: deadline)
        if holdsMore { _ = try await run("\(skippingChanged) FROM \(pair.live.from) AS t WHERE \(isInserted) AND NOT \(isTheMerges)", connection) }
    }

    private var skippingChanged: String { "UPDATE \(differences) SET verdict = 'skip', reason = \(RowSQL.text(Self.changed))" }

    /// Of rows that look the same as many as were inserted, the merge's own first and then the newest; a place for each.
    private var lockingCopies: String {
        let image = diff.sql.image("t")
        return """
            WITH l AS MATERIALIZED (
                SELECT t.tableoid AS part, t.ctid AS spot, \(image) AS image FROM \(pair.live.from) AS t
                WHERE (t.tableoid, t.ctid) IN (
                    SELECT x.part, x.spot FROM (
                        SELECT t.tableoid AS part, t.ctid AS spot, \(image) AS image,
                               pg_catalog.row_number() OVER (PARTITION BY \(image) ORDER BY \(isTheMerges) DESC, t.ctid DESC) AS copy
                        FROM \(pair.live.from) AS t\(holdsMore ? " WHERE \(isTheMerges)" : "")) AS x
                    JOIN (SELECT live, pg_catalog.count(*) AS copies FROM \(differences) GROUP BY live) AS d ON d.live = x.image
                    WHERE x.copy <= d.copies)
                ORDER BY image, part, spot FOR UPDATE OF t)
            UPDATE \(differences) SET part = x.part, spot = x.spot
            FROM (SELECT d.seq, l.part, l.spot
                  FROM (SELECT seq, live, pg_catalog.row_number() OVER (PARTITION BY live ORDER BY seq) AS copy FROM \(differences)) AS d
                  JOIN (SELECT l.*, pg_catalog.row_number() OVER (PARTITION BY image ORDER BY part, spot) AS copy FROM l) AS l
                  ON l.image = d.live AND l.copy = d.copy) AS x
            WHERE d.seq = x.seq
            """
    }

    func insert(_ connection: isolated PostgresConnection) async throws -> Int {
        guard pair.key != nil else { return 0 }
        try await connection.allowNestedLoops(deadline: deadline)
        return try await write(.insert, diff.inserting(from: diff.withBackup), connection)
    }

    /// A row to which others lead by what would change stays as it is. Asked late: of those some were written by the merge, and are gone.
    func update(_ connection: isolated PostgresConnection) async throws -> Int {
        guard pair.key != nil, let updating = diff.updating, try await diff.has(.update, connection, deadline: deadline) else { return 0 }
        try await diff.skipReferenced(connection, deadline: deadline)
        return try await write(.update, updating, connection)
    }

    /// Rows on which something hangs that was written since the merge stay: a constraint might take that along.
    func delete(_ connection: isolated PostgresConnection) async throws -> Int {
        let deleted = try await diff.deleteUnreferenced(where: isInserted, connection, deadline: deadline) { connection, isNext in
            try await write(.delete, "DELETE FROM \(pair.live.from) AS t USING \(differences) WHERE \(isNext)", connection)
        }
        _ = try await run(
            """
            UPDATE \(differences) SET verdict = 'skip', reason = \(RowSQL.text(Self.isHeld)) FROM \(pair.live.from) AS t
            WHERE \(isInserted) AND \(TableDiff.isHeld)
            """, connection)
        return deleted
    }

    /// - Returns: how many rows were left alone, by reason. The rows themselves are beside those that the merge skipped.
    func list(_ connection: isolated PostgresConnection) async throws -> [String: Int] {
        _ = try await run(
            """
            INSERT INTO reprise_audit.skips
            SELECT \(RowSQL.text(merge)), \(diff.auditedName), pg_catalog.concat('not undone: ', d.reason), \(RowSQL.texts(pair.columns.map(\.name.name))), d.backup, d.live
            FROM \(differences) WHERE d.verdict = 'skip'
            """, connection)
        let rows = try await connection.query(
            "SELECT reason, pg_catalog.count(*) AS rows FROM \(differences) WHERE verdict = 'skip' GROUP BY reason", deadline: deadline
        ).rows
        return Dictionary(uniqueKeysWithValues: try rows.map { (try $0.string("reason"), try $0.integer("rows")) })
    }

    /// What a trigger or a rule has kept from being written is in no number.
    func requireAll(_ done: MergeOutcome.Table, _ connection: isolated PostgresConnection) async throws {
        let count = { (verdict: TableDiff.Verdict) in "pg_catalog.count(*) FILTER (WHERE d.verdict = '\(verdict)') AS \(verdict)" }
        let planned = try await connection.query(
            "SELECT \(count(.insert)), \(count(.update)), \(count(.delete)) FROM \(differences)", deadline: deadline
        ).only()
        try diff.requireEqual(done.inserted, planned.integer("insert"), "inserted", orNothingWas: "undone")
        try diff.requireEqual(done.updated, planned.integer("update"), "updated", orNothingWas: "undone")
        try diff.requireEqual(done.deleted, planned.integer("delete"), "deleted", orNothingWas: "undone")
    }

    /// Each row that came back or got its former values is as it was before the merge, and none that went is there again.
    func requireFormer(_ connection: isolated PostgresConnection) async throws {
        guard pair.key != nil else { return }
        let found = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS rows FROM \(differences) LEFT JOIN \(pair.live.from) AS t ON \(isRow)
            WHERE d.verdict IN ('insert', 'update') AND \(diff.sql.image("t")) IS DISTINCT FROM d.backup
                  OR d.verdict = 'delete' AND pg_catalog.num_nulls(t.tableoid) = 0
            """, deadline: deadline)
        let wrong = try found.only().integer("rows", as: Int.self)
        guard wrong == 0 else {
            throw ReconcileRefused(
                "reconcile.rewritten",
                "\(counted(wrong, "row")) of \(pair.live.name) did not come out as they were before the merge: a trigger changes them; "
                    + "nothing was undone",
                hints: diff.triggerHints, exitStatus: .verificationMismatch)
        }
    }
}
