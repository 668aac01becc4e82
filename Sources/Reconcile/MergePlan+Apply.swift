package import BlockingIO
package import PostgreSQL
internal import RunCore

/// What a merge or its undoing did, by table.
package struct MergeOutcome: Sendable, Hashable, Codable {
    package var tables: [Table] = []
    /// It had been done before, by a process that did not live to say so.
    package var wasDoneAlready = false

    package struct Table: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package var inserted = 0
        package var updated = 0
        package var deleted = 0
        /// Rows that were left alone although they would have been merged, with the reason of each kind.
        package var skipped: [String: Int] = [:]
    }
}

extension MergePlan {
    /// Merges exactly what was agreed to, in one transaction: all of it is done and marked, or nothing.
    ///
    /// Idempotent by `id`. Rows that somebody has changed since the preview are left alone and listed.
    ///
    /// - Parameters:
    ///   - id: names this merge for ever.
    ///   - preview: the hash of what a person agreed to.
    ///   - lockTimeout: how long to wait for a row or table that somebody holds.
    /// - Throws: `ReconcileRefused` where the differences are not those that were agreed to, or rows came out other than they should.
    package func merge(
        as id: String, agreed preview: String, lockTimeout: Duration = .seconds(10), _ connection: PostgresConnection, deadline: Deadline
    ) async throws -> MergeOutcome {
        switch try await AuditTrail.mark(id, connection, deadline: deadline) {
        case .merged(preview): return try await recorded(id, connection, deadline: deadline)
        case .merged: throw ReconcileRefused("reconcile.id-taken", "a merge \(id) of another preview is in this database already")
        case .undone: throw ReconcileRefused("reconcile.undone", "merge \(id) was undone; it is not done again under this name")
        case .absent: break
        }
        return try await connection.transaction("ISOLATION LEVEL READ COMMITTED", deadline: deadline) { connection in
            try await begin(id, preview, lockTimeout, connection, deadline)
            // Inside of the transaction: what it has read, nobody can replace any more.
            try await requireAgreed(preview, connection, deadline)
            try await requireSameShapes(connection, deadline)
            var outcome = MergeOutcome(), place = 0
            let triggers = try await Triggers.disable(triggersToDisable, connection, deadline: deadline)
            try await chooseJoins(connection, deadline: deadline)
            // Somebody may have taken a value or a parent since the preview.
            try await lookAgainAtObjects(connection, deadline: deadline)
            for diff in diffs { try await diff.skipRefused(connection, deadline: deadline) }
            // All locks first: what is decided after them, with what is then seen, stands until the end.
            for diff in diffs where diff.pair.key != nil { try await diff.lockAndSkipChanged(connection, deadline: deadline) }
            // Whoever was about to hang something on one of them has done so before its lock was had.
            for diff in diffs where diff.pair.key != nil { try await diff.skipReferenced(connection, deadline: deadline) }
            try await skipChildrenOfLost(where: "d.reason = \(TableDiff.changedSince)", connection, deadline: deadline)
            for diff in diffs {
                let writer = DiffWriter(diff: diff, merge: id, deadline: deadline)
                outcome.tables.append(try await writer.write(connection, &place))
            }
            // Children before parents.
            for (index, diff) in diffs.enumerated().reversed() {
                let writer = DiffWriter(diff: diff, merge: id, deadline: deadline)
                try await writer.delete(connection, &place, &outcome.tables[index])
            }
            for diff in diffs { try await DiffWriter(diff: diff, merge: id, deadline: deadline).advanceSequences(connection) }
            if let table = try await writeObjects(id, connection, deadline: deadline) { outcome.tables.append(table) }
            // What was put off happens now: it may write too, and a table with something pending takes no triggers back.
            try await connection.allowNestedLoops(deadline: deadline)
            try await connection.executeWithDatabasePath("SET CONSTRAINTS ALL IMMEDIATE", deadline: deadline)
            for diff in diffs {
                let writer = DiffWriter(diff: diff, merge: id, deadline: deadline)
                try await writer.requireWritten(connection)
                try await writer.noteOthers(connection)
            }
            try await requireObjectsWritten(id, connection, deadline: deadline)
            try await triggers.enable(connection, deadline: deadline)
            return outcome
        }
    }

    private func begin(
        _ id: String, _ preview: String, _ lockTimeout: Duration, _ connection: isolated PostgresConnection, _ deadline: Deadline
    ) async throws {
        try await prepareToWrite(connection, lockTimeout: lockTimeout, deadline: deadline)
        try await AuditTrail.make(connection, deadline: deadline)
        try await connection.execute(
            "INSERT INTO reprise_audit.merges (id, preview, plan, xid) VALUES ($1, $2, $3, pg_catalog.txid_current())",
            [.text(id), .text(preview), .text(try sortedJSON(self))], deadline: deadline)
    }

    /// What a transaction that writes into live tables, to merge or to undo, begins with.
    func prepareToWrite(_ connection: isolated PostgresConnection, lockTimeout: Duration, deadline: Deadline) async throws {
        let (seconds, attoseconds) = lockTimeout.components
        try await connection.execute("SET LOCAL lock_timeout = \(seconds * 1000 + attoseconds / 1_000_000_000_000_000)", deadline: deadline)
        try await TableDiff.preferLookups(connection, deadline: deadline)
        // A policy that would hide rows raises an error instead.
        try await connection.execute("SET LOCAL row_security = off", deadline: deadline)
        if defersConstraints { try await connection.execute("SET CONSTRAINTS ALL DEFERRED", deadline: deadline) }
    }

    /// The outcome of a merge that is in the database already, from its own records.
    private func recorded(_ id: String, _ connection: PostgresConnection, deadline: Deadline) async throws -> MergeOutcome {
        var outcome = MergeOutcome(wasDoneAlready: true)
        for diff in diffs {
            let name = diff.pair.live.name, parameters: [PostgresParameter] = [.text(id), .text(name.schema.name), .text(name.name.name)]
            var table = MergeOutcome.Table(name: name)
            try table.count(
                try await connection.query(
                    """
                    SELECT \(AuditTrail.operationCounts) FROM reprise_audit.changes WHERE merge = $1 AND schema_name = $2 AND table_name = $3
                    """, parameters, deadline: deadline
                ).only())
            let skips = try await connection.query(
                """
                SELECT reason, pg_catalog.count(*) AS rows FROM reprise_audit.skips
                WHERE merge = $1 AND schema_name = $2 AND table_name = $3 GROUP BY reason
                """, parameters, deadline: deadline)
            table.skipped = Dictionary(uniqueKeysWithValues: try skips.rows.map { (try $0.string("reason"), try $0.integer("rows")) })
            outcome.tables.append(table)
        }
        if objects != nil { outcome.tables.append(try await AuditTrail.objects(of: id, connection, deadline: deadline)) }
        return outcome
    }
}

/// Writes one table's part of a merge, inside of the merge's transaction.
private struct DiffWriter {
    let diff: TableDiff
    let merge: String
    let deadline: Deadline

    private var pair: TablePair { diff.pair }
    private var live: String { pair.live.name.sql }
    private var names: String { RowSQL.texts(pair.columns.map(\.name.name)) }
    private var place: String { diff.auditedName }
    private var id: String { RowSQL.text(merge) }

    private func chooseJoins(_ connection: isolated PostgresConnection) async throws {
        try await Lookup.chooseJoins([diff.lookup], connection, deadline: deadline)
    }

    /// Inserts and updates what was locked, or is counted once more.
    func write(_ connection: isolated PostgresConnection, _ place: inout Int) async throws -> MergeOutcome.Table {
        var table = MergeOutcome.Table(name: pair.live.name)
        try await chooseJoins(connection)
        if pair.key == nil {
            try await diff.recountCopies(connection, deadline: deadline)
        } else if place > 0 {
            // No trigger fires before something is written.
            try await requireNotMade(connection)
        }
        // A row that is updated may lead to one that is inserted.
        table.inserted = try await insert(connection, &place)
        try await chooseJoins(connection)
        if pair.key != nil { table.updated = try await update(connection, &place) }
        try await connection.execute(
            """
            INSERT INTO reprise_audit.skips
            SELECT \(id), \(self.place), CASE d.verdict WHEN 'skip' THEN d.reason WHEN 'decide' THEN 'not decided' ELSE 'columns not decided' END,
                   \(names), d.backup, d.live
            FROM \(diff.table.sql) AS d\(each("d.copies"))
            WHERE d.verdict IN ('skip', 'decide') OR (d.verdict = 'update' AND pg_catalog.array_position(d.take, NULL) IS NOT NULL)
            """, deadline: deadline)
        if pair.key == nil {
            try await connection.execute(
                """
                INSERT INTO reprise_audit.skips SELECT \(id), \(self.place), \(TableDiff.changedSince), \(names), d.backup, d.live
                FROM pg_temp.reprise_step AS s JOIN \(diff.table.sql) AS d USING (seq)\(each("d.copies - s.copies")) WHERE s.copies < d.copies
                """, deadline: deadline)
        }
        let skips = try await connection.query(
            """
            SELECT reason, pg_catalog.count(*) AS rows FROM reprise_audit.skips
            WHERE merge = $1 AND (schema_name, table_name) = (\(self.place)) GROUP BY reason
            """, [.text(merge)], deadline: deadline)
        for row in skips.rows { table.skipped[try row.string("reason")] = try row.integer("rows") }
        return table
    }

    /// That a row is not there was seen under the locks. Whoever has made it since is this transaction itself, by a trigger.
    private func requireNotMade(_ connection: isolated PostgresConnection) async throws {
        let made = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS rows FROM \(diff.table.sql) AS d JOIN \(pair.live.from) AS t ON \(diff.isAbout("t"))
            WHERE d.verdict = 'insert' AND \(AuditTrail.wrote("t", in: merge))
            """, deadline: deadline
        ).only().integer("rows", as: Int.self)
        guard made == 0 else {
            throw ReconcileRefused(
                "reconcile.made-meanwhile",
                "\(counted(made, "row")) of \(pair.live.name) that \(made == 1 ? "was" : "were") to come back \(made == 1 ? "was" : "were") made by a trigger of a table that was merged before it; nothing was merged",
                hints: ["name that trigger under `disable-triggers`, or with --disable-trigger", "or merge \(pair.live.name) by itself, afterwards"], exitStatus: .verificationMismatch)
        }
    }

    /// Rows of a table without a key that look the same are one difference.
    private func each(_ copies: String) -> String { pair.key == nil ? ", pg_catalog.generate_series(1, \(copies))" : "" }

    private func update(_ connection: isolated PostgresConnection, _ place: inout Int) async throws -> Int {
        guard let updating = diff.updating else { return 0 }
        let wanted = diff.withOthers(
            "ARRAY(SELECT CASE WHEN d.take[i] THEN d.backup[i] ELSE d.live[i] END FROM pg_catalog.generate_subscripts(d.live, 1) AS i ORDER BY i)")
        let count = try await connection.execute(
            """
            INSERT INTO reprise_audit.changes
            SELECT \(id), \(place) + pg_catalog.row_number() OVER (ORDER BY d.seq), \(self.place), 'update', \(diff.wholeNames), \(diff.wholeLiveImage), \(wanted)
            FROM \(diff.table.sql) AS d WHERE d.verdict = 'update'
            """, deadline: deadline)
        // An UPDATE of nothing fires triggers too.
        guard count > 0 else { return 0 }
        let done = try await connection.executeBound(.update, updating, deadline: deadline)
        place += count
        try requireEqual(done, count, "updated")
        return count
    }

    private func insert(_ connection: isolated PostgresConnection, _ place: inout Int) async throws -> Int {
        let counted = pair.key == nil ? " JOIN pg_temp.reprise_step AS s USING (seq)\(each("s.copies"))" : ""
        let count = try await connection.execute(
            """
            INSERT INTO reprise_audit.changes
            SELECT \(id), \(place) + pg_catalog.row_number() OVER (ORDER BY d.seq), \(self.place), 'insert', \(names), NULL, d.backup
            FROM \(diff.table.sql) AS d\(counted) WHERE d.verdict = 'insert'
            """, deadline: deadline)
        // Its columns have names of their own, `seq` may be one.
        let source = pair.key == nil ? "\(diff.withBackup) JOIN pg_temp.reprise_step AS s ON s.seq = d.seq\(each("s.copies"))" : diff.withBackup
        try await connection.allowNestedLoops(deadline: deadline)
        let done = try await connection.executeBound(.insert, diff.inserting(from: source), deadline: deadline)
        place += count
        try requireEqual(done, count, "inserted")
        return count
    }

    /// Rows on which others hang stay: a constraint might take those along.
    func delete(_ connection: isolated PostgresConnection, _ place: inout Int, _ table: inout MergeOutcome.Table) async throws {
        guard diff.policy.deletesExtra, pair.key != nil else { return }
        try await chooseJoins(connection)
        // The rows were locked before anything was written; what another table's part did to them since is ours.
        let source = "\(diff.table.sql) AS d"
        let isLeaving = "d.verdict = 'delete' AND \(diff.isAbout("t")) AND \(diff.sql.wholeImage("t")) = (\(diff.wholeLiveImage))"
        table.deleted = try await diff.deleteUnreferenced(where: isLeaving, connection, deadline: deadline) { connection, isNext in
            let count = try await connection.execute(
                """
                INSERT INTO reprise_audit.changes
                SELECT \(id), \(place) + pg_catalog.row_number() OVER (ORDER BY d.seq), \(self.place), 'delete', \(diff.wholeNames), \(diff.wholeLiveImage), NULL
                FROM \(pair.live.from) AS t, \(source) WHERE \(isNext)
                """, deadline: deadline)
            let done = try await connection.executeBound(
                .delete, "DELETE FROM \(pair.live.from) AS t USING \(source) WHERE \(isNext)", deadline: deadline)
            place += count
            try requireEqual(done, count, "deleted")
            return count
        }
        let left = try await connection.execute(
            """
            INSERT INTO reprise_audit.skips
            SELECT \(id), \(self.place), \(RowSQL.text(LeavingRows.heldReason)), \(names), NULL, d.live
            FROM \(pair.live.from) AS t, \(source) WHERE \(isLeaving) AND \(TableDiff.isHeld)
            """, deadline: deadline)
        // Others that stay for the same reason are counted already.
        if left > 0 { table.skipped[LeavingRows.heldReason, default: 0] += left }
    }

    /// A number that was given out again would be met by the next row that is made. So each sequence moves past what this merge inserted, in
    /// steps of its own. A number at the end of what it or its column can hold was not given out: it stands for something.
    func advanceSequences(_ connection: isolated PostgresConnection) async throws {
        for (index, column) in pair.columns.enumerated() {
            let owned = try await connection.query(
                """
                SELECT pg_catalog.pg_get_serial_sequence($1, a.attname) AS sequence, CASE t.typlen WHEN 2 THEN 32767 WHEN 4 THEN 2147483647 END AS most
                FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = \(ShapeReader.baseType("a.atttypid"))
                WHERE a.attrelid = $1::text::pg_catalog.regclass AND a.attname = $2 AND t.oid = ANY ('{int2,int4,int8,numeric}'::pg_catalog.regtype[])
                """, [.text(live), .text(column.name.name)], deadline: deadline)
            guard let row = owned.rows.first, let sequence = try row.optionalString("sequence") else { continue }
            try await connection.execute(advancing(sequence, to: index, below: try row.optionalInteger("most")), deadline: deadline)
        }
    }

    private func advancing(_ sequence: String, to column: Int, below most: Int64?) -> String {
        let (top, bottom) = most.map { ("least(s.seqmax, \($0))", "greatest(s.seqmin, \(-$0 - 1))") } ?? ("s.seqmax", "s.seqmin")
        return """
            SELECT pg_catalog.setval(s.seqrelid, (q.last_value + pg_catalog.div(m.number - q.last_value, s.seqincrement) * s.seqincrement)::bigint)
            FROM \(sequence) AS q, pg_catalog.pg_sequence AS s, LATERAL (
                SELECT CASE WHEN s.seqincrement > 0 THEN pg_catalog.max(n.number) FILTER (WHERE n.number >= s.seqmin AND n.number < \(top))
                            ELSE pg_catalog.min(n.number) FILTER (WHERE n.number <= s.seqmax AND n.number > \(bottom)) END AS number
                FROM (SELECT c.after[\(column + 1)]::numeric AS number FROM reprise_audit.changes AS c
                      WHERE c.merge = \(id) AND (c.schema_name, c.table_name) = (\(place)) AND c.operation = 'insert') AS n) AS m
            WHERE s.seqrelid = \(RowSQL.text(sequence))::pg_catalog.regclass AND (m.number - q.last_value) * s.seqincrement >= 0
                  AND (m.number <> q.last_value OR NOT q.is_called)
            """
    }

    // MARK: Looking again before the commit

    private func requireEqual(_ done: Int, _ planned: Int, _ what: String) throws {
        try diff.requireEqual(done, planned, what, orNothingWas: "merged")
    }

    /// Each row that was written holds what it was to hold, and none that was deleted is there. Asked when all tables are written: a trigger
    /// of one may change another.
    func requireWritten(_ connection: isolated PostgresConnection) async throws {
        let wrong: Int
        if let key = pair.key {
            // Autovacuum may have looked meanwhile, to which what is written here is not there yet.
            try await chooseJoins(connection)
            wrong = try await rewritten(key, connection)
        } else {
            // Of the changes of this merge the server expects one. The table is read whole in any case.
            try await connection.forbidNestedLoops(deadline: deadline)
            wrong = try await diff.miscountedCopies(insertedCopies, connection, deadline: deadline)
        }
        guard wrong == 0 else {
            throw ReconcileRefused(
                "reconcile.rewritten",
                "\(counted(wrong, "row")) of \(pair.live.name) came out other than they were written: a trigger changes them; nothing was merged",
                hints: diff.triggerHints, exitStatus: .verificationMismatch)
        }
    }

    private var insertedCopies: String {
        """
        SELECT c.after AS image, pg_catalog.count(*) AS copies FROM reprise_audit.changes AS c
        WHERE c.merge = \(id) AND (c.schema_name, c.table_name) = (\(place)) AND c.operation = 'insert' GROUP BY c.after
        """
    }

    /// The live row `t` is the one that a change `c` left behind, or that it deleted.
    private func isAfter(_ key: TableShape.Key) -> String {
        zip(key.columns, key.equality).map { name, equality in
            let place = pair.columns.firstIndex { $0.name == name }! + 1
            return equality.holds("t.\(name.sql)", "(coalesce(c.after, c.before))[\(place)]::\(pair.live.column(name)!.plainType)")
        }.joined(separator: " AND ")
    }

    private func rewritten(_ key: TableShape.Key, _ connection: isolated PostgresConnection) async throws -> Int {
        try await connection.query(
            """
            SELECT pg_catalog.count(*) AS rows FROM reprise_audit.changes AS c LEFT JOIN \(pair.live.from) AS t ON \(isAfter(key))
            WHERE c.merge = $1 AND (c.schema_name, c.table_name) = (\(place)) AND CASE c.operation WHEN 'delete' THEN pg_catalog.num_nulls(t.tableoid) = 0
                  ELSE (\(diff.sql.wholeImage("t")))[1:pg_catalog.cardinality(c.after)] IS DISTINCT FROM c.after END
            """, [.text(merge)], deadline: deadline
        ).only().integer("rows")
    }

    /// What a new row holds that the backup knows nothing of: by that too it is known whether somebody has changed it since.
    func noteOthers(_ connection: isolated PostgresConnection) async throws {
        guard let key = pair.key, pair.others != nil else { return }
        try await connection.execute(
            """
            UPDATE reprise_audit.changes AS c SET columns = \(diff.wholeNames), after = \(diff.sql.wholeImage("t")) FROM \(pair.live.from) AS t
            WHERE c.merge = \(id) AND (c.schema_name, c.table_name) = (\(place)) AND c.operation = 'insert' AND \(isAfter(key))
            """, deadline: deadline)
    }
}
