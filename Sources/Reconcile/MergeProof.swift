package import BlockingIO
package import PostgreSQL
internal import RunCore

/// What is left of the differences after a merge, and why.
package struct MergeProof: Sendable, Hashable, Codable {
    package let merge: String
    package let tables: [Table]

    package struct Table: Sendable, Hashable, Codable {
        package let name: QualifiedName
        /// Rows that the merge wrote.
        package var written = 0
        /// Rows that still differ since the policy keeps them, or waits for a decision.
        package var kept = 0
        /// Rows that still differ since something stood in their way.
        package var skipped = 0
        /// Rows that somebody else has written since: over what the merge wrote, or anew.
        package var changedSince = 0
        /// Rows that ought not to differ, by what is wrong with them. Empty where the merge did what was agreed to.
        package var wrong: [String: Int] = [:]
        /// The keys of the first five of each kind in `wrong`, as text; none of a table without a key.
        package var wrongKeys: [String: String] = [:]

        fileprivate var wrongText: String {
            wrong.sorted { $0.key < $1.key }.map { what, count in
                "\(count) \(what)" + (wrongKeys[what].map { " (\($0)\(count > DiffProver.shownKeys ? "; …" : ""))" } ?? "")
            }.joined(separator: ", ")
        }
    }

    package var isProven: Bool { tables.allSatisfy(\.wrong.isEmpty) }

    package var text: String {
        tables.map { table in
            let left = [(table.kept, "kept"), (table.skipped, "skipped"), (table.changedSince, "changed since by others")].filter { $0.0 > 0 }
            return "\(table.name): \(table.written) written"
                + (left.isEmpty ? "" : "; still other than in the backup: \(left.map { "\($0.0) \($0.1)" }.joined(separator: ", "))")
                + (table.wrong.isEmpty ? "" : "; WRONG: \(table.wrongText)")
        }.joined(separator: ". ") + "."
    }
}

extension AuditTrail {
    /// Compares once more after a merge, and holds what still differs against what the merge wrote and left alone. No live table is touched.
    ///
    /// Concurrent writers make nothing wrong: a row whose present version is not the merge's own was written by somebody else.
    /// - Throws: `ReconcileRefused` where the merge is not there or does not stand any more, or the tables it came from are gone.
    package static func prove(_ id: String, _ connection: PostgresConnection, deadline: Deadline) async throws -> MergeProof {
        guard let plan = try await plan(of: id, connection, deadline: deadline) else {
            throw ReconcileRefused("reconcile.no-plan", "merge \(id) was made by an older version, which kept no plan of it in the database")
        }
        guard try await mark(id, connection, deadline: deadline) != .undone else {
            throw ReconcileRefused("reconcile.undone", "merge \(id) was undone: there is nothing to prove")
        }
        return try await connection.transaction("ISOLATION LEVEL REPEATABLE READ", deadline: deadline) { connection in
            var tables: [MergeProof.Table] = []
            // Of the changes of this merge the server expects one, and of what was agreed to it takes as little time to look through all for it as
            // for anything else. Each table is read whole in any case.
            try await connection.forbidNestedLoops(deadline: deadline)
            for diff in plan.diffs {
                let prover = try DiffProver(diff, merge: id, deadline)
                tables.append(try await prover.prove(connection))
            }
            if let objects = try await plan.proveObjects(of: id, connection, deadline: deadline) { tables.append(objects) }
            return MergeProof(merge: id, tables: tables)
        }
    }
}

/// Proves one table's part of a merge, in one snapshot.
private struct DiffProver {
    let diff: TableDiff
    /// The same comparison, made anew.
    let anew: TableDiff
    let merge: String
    let deadline: Deadline

    init(_ diff: TableDiff, merge: String, _ deadline: Deadline) throws {
        self.diff = diff
        self.merge = merge
        self.deadline = deadline
        anew = TableDiff(
            diff.pair, policy: diff.policy, mode: diff.mode, isFollowed: diff.isFollowed,
            into: try QualifiedName(schema: diff.table.schema.name, name: "\(diff.table.name.name) anew"))
    }

    private var pair: TablePair { diff.pair }
    private var agreed: String { "d.verdict IN ('insert', 'update', 'delete')" }

    func prove(_ connection: isolated PostgresConnection) async throws -> MergeProof.Table {
        var table = MergeProof.Table(name: pair.live.name)
        let known = try await connection.query(
            "SELECT num_nulls(pg_catalog.to_regclass($1), pg_catalog.to_regclass($2)) = 0 AS there",
            [.text(diff.table.sql), .text(pair.backup.name.sql)], deadline: deadline)
        guard try known.only().bool("there") else {
            throw ReconcileRefused(
                "reconcile.rescue-gone", "the tables that merge \(merge) came from are gone, and nothing can be compared any more")
        }
        try await anew.make(connection, deadline: deadline)
        table.written = try await count("SELECT pg_catalog.count(*) AS rows FROM \(records("changes", "after"))", connection)
        let rows = try await connection.query(pair.key == nil ? copies : keyed, deadline: deadline).rows
        for row in rows {
            let found = try row.integer("rows", as: Int.self)
            switch try row.string("what") {
            case "kept": table.kept += found
            case "skipped": table.skipped += found
            case "changed since": table.changedSince += found
            case let wrong:
                table.wrong[wrong, default: 0] += found
                if let key = pair.key { table.wrongKeys[wrong] = "\(key.columns.map(\.name).joined(separator: ", ")) \(try row.string("keys"))" }
            }
        }
        try await connection.execute("DROP TABLE \(anew.table.sql)", deadline: deadline)
        return table
    }

    private func count(_ sql: String, _ connection: isolated PostgresConnection) async throws -> Int {
        try await connection.query(sql, deadline: deadline).only().integer("rows")
    }

    /// What the audit has of this table: its images, and the columns of the key with their types.
    private func records(_ name: String, _ image: String) -> String {
        let other = image == "after" ? "before" : "live"
        let keys = (pair.key?.columns ?? []).map { column in
            let place = pair.columns.firstIndex { $0.name == column }! + 1
            return ", (coalesce(r.\(image), r.\(other)))[\(place)]::\(pair.live.column(column)!.plainType) AS \(column.sql)"
        }
        let name = "reprise_audit.\(name)"
        return """
            (SELECT r.\(image) AS "reprise image"\(keys.joined()) FROM \(name) AS r WHERE r.merge = \(RowSQL.text(merge))
             AND (r.schema_name, r.table_name) = (\(diff.auditedName))) AS r
            """
    }

    static var shownKeys: Int { 5 }

    /// The key of a row, in the columns `names` of `alias`, as people read it.
    private func keyText(_ alias: String, _ names: [String]) -> String {
        "pg_catalog.concat_ws(', ', \(names.map { "\(alias).\($0)" }.joined(separator: ", "))) COLLATE \"C\" AS key"
    }

    private var isOurs: String { AuditTrail.wrote("t", in: merge) }

    /// What was agreed to stands, also where the plan's own words are true of a row only by now, such as those that look at the clock.
    private var wasKept: String { "o.verdict IN ('keep', 'decide') AND o.live IS NOT DISTINCT FROM d.live" }

    private var keyed: String {
        let changed = "EXISTS (SELECT FROM \(records("changes", "after")) WHERE \(diff.isAbout("r")))"
        let skipped = "EXISTS (SELECT FROM \(records("skips", "backup")) WHERE \(diff.isAbout("r")))"
        let same = pair.key!.columns.enumerated().map { pair.key!.equality[$0].holds("t.\($1.sql)", "r.\($1.sql)") }.joined(separator: " AND ")
        let sameKey = pair.key!.equality.enumerated().map {
            $1.holds("d.\(diff.keyAlias($0))", "o.\(diff.keyAlias($0))")
        }.joined(separator: " AND ")
        let ofDifference = keyText("d", pair.key!.columns.indices.map(diff.keyAlias)), ofRecord = keyText("r", pair.key!.columns.map(\.sql))
        return """
            SELECT what, pg_catalog.count(*) AS rows, coalesce(pg_catalog.array_to_string(
                (pg_catalog.array_agg(key ORDER BY key) FILTER (WHERE pg_catalog.starts_with(what, 'that ')))[1:\(Self.shownKeys)], '; '), '') AS keys
            FROM (
                SELECT CASE WHEN NOT \(agreed) OR \(wasKept) THEN 'kept' WHEN \(skipped) THEN 'skipped'
                            WHEN o.seq IS NULL OR o.live IS DISTINCT FROM d.live THEN 'changed since'
                            ELSE 'that the policy would merge and that were neither merged nor listed' END AS what, \(ofDifference)
                FROM \(anew.table.sql) AS d LEFT JOIN \(diff.table.sql) AS o ON \(sameKey) WHERE NOT \(changed)
                UNION ALL
                SELECT CASE WHEN \(isOurs) THEN 'that came out other than they were written' ELSE 'changed since' END, \(ofRecord)
                FROM \(records("changes", "after")) LEFT JOIN (SELECT t.*, t.xmin FROM \(pair.live.from) AS t) AS t ON \(same)
                WHERE CASE WHEN t.xmin IS NOT NULL THEN \(diff.sql.wholeImage("t")) END IS DISTINCT FROM r."reprise image"
                UNION ALL
                SELECT 'that were agreed to and neither merged nor listed', \(ofDifference) FROM \(diff.table.sql) AS d
                WHERE \(agreed) AND NOT \(changed) AND NOT \(skipped)
                UNION ALL
                SELECT 'that were merged and nobody had agreed to', \(ofRecord) FROM \(records("changes", "after"))
                WHERE NOT EXISTS (SELECT FROM \(diff.table.sql) AS d WHERE \(agreed) AND \(diff.isAbout("r")))
            ) AS x GROUP BY what
            """
    }

    private func copies(of name: String, _ image: String) -> String {
        "(SELECT r.\"reprise image\" AS image, pg_catalog.count(*) AS n FROM \(records(name, image)) GROUP BY 1) AS r"
    }

    /// Rows without a key are counted.
    private var copies: String {
        """
        SELECT what, sum(n)::bigint AS rows FROM (
            SELECT CASE d.verdict WHEN 'insert' THEN 'changed since' ELSE 'kept' END AS what, d.copies AS n FROM \(anew.table.sql) AS d
            UNION ALL
            SELECT 'that were agreed to and not merged, or the other way round', pg_catalog.abs(coalesce(d.copies, 0) - coalesce(r.n, 0))
            FROM (SELECT d.backup, d.copies - coalesce(r.n, 0) AS copies FROM \(diff.table.sql) AS d
                  LEFT JOIN \(copies(of: "skips", "backup")) ON r.image = d.backup WHERE d.verdict = 'insert') AS d
                 FULL JOIN \(copies(of: "changes", "after")) ON r.image = d.backup WHERE coalesce(d.copies, 0) <> coalesce(r.n, 0)
            UNION ALL
            SELECT 'that came out other than they were written', 1 FROM \(pair.live.from) AS t
            WHERE \(isOurs) AND NOT EXISTS (SELECT FROM \(records("changes", "after")) WHERE r."reprise image" = \(diff.sql.image("t")))
        ) AS x GROUP BY what
        """
    }
}
