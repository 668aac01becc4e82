internal import BlockingIO
internal import PostgreSQL
internal import RunCore

/// What a merge did to large objects, how it is proven, and how it is taken back.
extension AuditTrail {
    /// What a merge did to large objects, from its own records.
    static func objects(of merge: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> MergeOutcome.Table {
        var table = MergeOutcome.Table(name: try .largeObjects())
        let done = try await connection.query(
            """
            SELECT \(AuditTrail.operationCounts) FROM (SELECT operation FROM reprise_audit.objects WHERE merge = $1) AS o
            """, [.text(merge)], deadline: deadline)
        try table.count(try done.only())
        let skips = try await connection.query(
            """
            SELECT reason, pg_catalog.count(*) AS rows FROM reprise_audit.skips
            WHERE merge = $1 AND (schema_name, table_name) = ('pg_catalog', 'pg_largeobject') GROUP BY reason
            """, [.text(merge)], deadline: deadline)
        for row in skips.rows { table.skipped[try row.string("reason")] = try row.integer("rows") }
        return table
    }

    /// Former contents are kept whole. Nobody can lock a large object: one that was written while it was read is noticed here.
    static func requireKept(_ merge: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        let found = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS objects FROM reprise_audit.objects AS o WHERE o.merge = $1 AND o.operation = 'update' AND o.before IS DISTINCT FROM
                (SELECT \(ObjectSQL.digestOfRows) FROM reprise_audit.object_pieces AS p WHERE p.merge = o.merge AND p.number = o.number)
            """, [.text(merge)], deadline: deadline)
        let wrong = try found.only().integer("objects", as: Int.self)
        guard wrong == 0 else {
            throw ReconcileRefused(
                "reconcile.objects-written", "somebody wrote \(wrong) large objects while they were to be merged; nothing was merged",
                hints: ["try again: what was written since the preview is left alone then"])
        }
    }
}

extension MergePlan {
    /// Gives overwritten objects their former contents, and removes those that were brought back and that no row of these tables names any
    /// more. What somebody has written since stays. To be called when the rows are as they were.
    ///
    /// - Returns: nil where the merge had nothing to do with large objects.
    func takeBackObjects(of merge: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> MergeOutcome.Table? {
        guard objects != nil else { return nil }
        var table = MergeOutcome.Table(name: try .largeObjects())
        func run(_ sql: String) async throws { try await connection.execute(sql, deadline: deadline) }
        try await run("DROP TABLE IF EXISTS pg_temp.reprise_objects")
        try await run(
            """
            CREATE TEMP TABLE reprise_objects ON COMMIT DROP AS
            SELECT x.number, x.operation, x.before, CASE
                WHEN x.operation = 'insert' AND x.now IS NULL THEN 'gone' WHEN x.now IS DISTINCT FROM x.after THEN 'changed since the merge'
                WHEN x.operation = 'insert' AND n.number IS NOT NULL THEN 'a row names it' ELSE '' END AS obstacle
            FROM (SELECT o.*, \(ObjectSQL.digest(of: "o.number")) AS now FROM reprise_audit.objects AS o WHERE o.merge = \(RowSQL.text(merge)) OFFSET 0) AS x
                 LEFT JOIN \(distinctlyNamedByLive) AS n USING (number)
            """)
        let updated = "(SELECT * FROM pg_temp.reprise_objects WHERE operation = 'update' AND obstacle = '')"
        try await run(ObjectSQL.emptying(updated))
        try await run(
            ObjectSQL.writing("(SELECT p.* FROM reprise_audit.object_pieces AS p JOIN \(updated) AS u USING (number) WHERE p.merge = \(RowSQL.text(merge)))"))
        try await run("SELECT pg_catalog.count(pg_catalog.lo_unlink(number)) FROM pg_temp.reprise_objects WHERE operation = 'insert' AND obstacle = ''")
        let former = try await connection.query(
            "SELECT pg_catalog.count(*) AS objects FROM \(updated) AS u WHERE \(ObjectSQL.digest(of: "u.number")) IS DISTINCT FROM u.before", deadline: deadline)
        guard try former.only().integer("objects", as: Int.self) == 0 else {
            throw ReconcileRefused(
                "reconcile.rewritten", "large objects did not come out as they were before the merge; nothing was undone", hints: ["try again"],
                exitStatus: .verificationMismatch)
        }
        let rows = try await connection.query(
            "SELECT operation, obstacle, pg_catalog.count(*) AS objects FROM pg_temp.reprise_objects GROUP BY operation, obstacle", deadline: deadline
        ).rows
        for row in rows {
            let count = try row.integer("objects", as: Int.self), obstacle = try row.string("obstacle")
            switch (try row.string("operation"), obstacle) {
            case ("update", ""): table.updated += count
            // A trigger of the rows may have been before us.
            case (_, ""), (_, "gone"): table.deleted += count
            default: table.skipped[obstacle, default: 0] += count
            }
        }
        return table
    }

    /// Compares the objects once more.
    ///
    /// - Returns: nil where the merge had nothing to do with large objects.
    func proveObjects(of merge: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> MergeProof.Table? {
        guard let objects else { return nil }
        var table = MergeProof.Table(name: try .largeObjects())
        let isSkipped = """
            EXISTS (SELECT FROM reprise_audit.skips AS s WHERE s.merge = $1 AND (s.schema_name, s.table_name) = ('pg_catalog', 'pg_largeobject')
                    AND s.backup = ARRAY[k.number::text])
            """
        // Before its commit the merge has seen that each holds what it was to hold: what differs now was written since.
        let rows = try await connection.query(
            """
            SELECT x.what, pg_catalog.count(*) AS objects FROM (
                SELECT CASE WHEN o.number IS NOT NULL AND k.now IS NOT DISTINCT FROM k.digest THEN 'written'
                            WHEN o.number IS NOT NULL THEN 'written since'
                            WHEN d.verdict IN ('insert', 'update') THEN 'that were agreed to and neither merged nor listed'
                            WHEN k.now IS NOT DISTINCT FROM k.digest THEN 'same'
                            WHEN \(isSkipped) THEN 'skipped' WHEN d.verdict IN ('keep', 'decide') THEN 'kept'
                            WHEN n.number IS NOT NULL THEN 'changed since' ELSE 'not named' END AS what
                FROM (SELECT k.number, k.digest, \(ObjectSQL.digest(of: "k.number")) AS now FROM \(objects.known.sql) AS k OFFSET 0) AS k
                     LEFT JOIN reprise_audit.objects AS o ON o.merge = $1 AND o.number = k.number LEFT JOIN \(objects.diff.sql) AS d ON d.number = k.number
                     LEFT JOIN \(distinctlyNamedByLive) AS n ON n.number = k.number) AS x
            GROUP BY x.what
            """, [.text(merge)], deadline: deadline
        ).rows
        for row in rows {
            let found = try row.integer("objects", as: Int.self)
            switch try row.string("what") {
            case "written": table.written += found
            case "written since": (table.written, table.changedSince) = (table.written + found, table.changedSince + found)
            case "changed since": table.changedSince += found
            case "kept": table.kept += found
            case "skipped": table.skipped += found
            case "same", "not named": break
            case let wrong: table.wrong[wrong, default: 0] += found
            }
        }
        return table
    }
}
