internal import BlockingIO
internal import Foundation
internal import PostgreSQL
internal import RunCore

/// Large objects that rows name: which of them are gone or hold something else, and what becomes of each.
///
/// They are judged by the rows that name them: one that is gone comes back with a row that needs it, one that was overwritten gets the
/// backup's content where the rule of the column that names it takes the backup.
extension MergePlan {
    var objects: RescuedObjects? { diffs.lazy.compactMap(\.objects).first }

    private var naming: [TableDiff] { diffs.filter { $0.objects != nil } }

    /// Rows `number` of what live rows name.
    var namedByLive: String {
        naming.flatMap { diff in
            diff.objectColumns.map { "SELECT \($0.name.sql)::pg_catalog.oid AS number FROM \(diff.pair.live.from)" }
        }.joined(separator: " UNION ALL ")
    }

    /// The same, each once, to be joined with: beside CASE the server would look through all of them for each object.
    var distinctlyNamedByLive: String { "(SELECT DISTINCT number FROM (\(namedByLive)) AS n)" }

    /// Rows `number` of what rows name that are to be written.
    private var namedByWanted: String { naming.map(\.objectsOfWantedRows).joined(separator: " UNION ALL ") }

    /// Compares the contents, and judges what both sides name. To be called when it is known which rows are somebody else's.
    func findObjects(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard let objects else { return }
        try await connection.execute("DROP TABLE IF EXISTS \(objects.diff.sql)", deadline: deadline)
        // That rows with the same key name the same object most often is more than the server can guess: it expects one.
        try await connection.forbidNestedLoops(deadline: deadline)
        try await connection.execute(
            """
            \(objects.diff.creation) AS
            SELECT x.*, CASE WHEN x.live IS NULL THEN 'missing' ELSE 'changed' END AS kind,
                   CASE WHEN NOT x.held THEN 'skip' WHEN x.live IS NULL THEN 'keep' WHEN x.taken THEN 'update' WHEN x.asked THEN 'decide' ELSE 'keep' END AS verdict,
                   CASE WHEN NOT x.held THEN 'changed while it was compared' END AS reason
            FROM (SELECT o.number, o.digest AS backup, \(ObjectSQL.digest(of: "o.number")) AS live, n.taken, n.asked, n.wanted, pg_catalog.num_nulls(n.number) = 0 AS named,
                         EXISTS (SELECT FROM \(objects.pieces.sql) AS p WHERE p.number = o.number) AS held
                  FROM \(objects.known.sql) AS o LEFT JOIN (
                      SELECT number, pg_catalog.bool_or(taken) AS taken, pg_catalog.bool_or(asked) AS asked, pg_catalog.bool_or(wanted) AS wanted
                      FROM (\(naming.map(\.objectsOfBoth).joined(separator: " UNION ALL "))) AS b GROUP BY number) AS n USING (number) OFFSET 0) AS x
            WHERE x.live IS DISTINCT FROM x.backup
            """, deadline: deadline)
        try await chooseJoins(connection, deadline: deadline)
        try await connection.execute("ALTER TABLE \(objects.diff.sql) ADD PRIMARY KEY (number)", deadline: deadline)
        try await connection.execute("ANALYZE \(objects.diff.sql) (number, kind)", deadline: deadline)
    }

    /// Marks those that are gone and that something needs, and forgets what nobody names. To be called when all rows are judged.
    func keepNeededObjects(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard let objects else { return }
        // One after the other: beside OR all that rows name would be looked through for each.
        for isNeeded in ["o.wanted", "EXISTS (SELECT FROM (\(namedByWanted)) AS n WHERE n.number = o.number)"] {
            try await connection.execute(
                "UPDATE \(objects.diff.sql) AS o SET verdict = 'insert' WHERE o.kind = 'missing' AND o.held AND o.verdict <> 'insert' AND \(isNeeded)",
                deadline: deadline)
        }
        try await connection.execute("DELETE FROM \(objects.diff.sql) WHERE verdict = 'keep' AND NOT named", deadline: deadline)
    }

    /// Leaves alone what somebody has written since the preview, also where nothing differed then.
    func lookAgainAtObjects(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard let objects else { return }
        let now = ObjectSQL.digest(of: "o.number"), changed = RowSQL.text("changed since the preview")
        try await connection.execute(
            """
            UPDATE \(objects.diff.sql) AS o SET verdict = 'skip', reason = \(changed)
            WHERE o.verdict IN ('insert', 'update') AND \(now) IS DISTINCT FROM o.live
            """, deadline: deadline)
        try await connection.execute(
            """
            INSERT INTO \(objects.diff.sql) (number, backup, live, kind, verdict, reason)
            SELECT x.number, x.backup, x.live, CASE WHEN x.live IS NULL THEN 'missing' ELSE 'changed' END, 'skip', \(changed)
            FROM (SELECT o.number, o.digest AS backup, \(now) AS live FROM \(objects.known.sql) AS o
                  WHERE EXISTS (SELECT FROM (\(namedByWanted)) AS n WHERE n.number = o.number)
                        AND NOT EXISTS (SELECT FROM \(objects.diff.sql) AS d WHERE d.number = o.number) OFFSET 0) AS x
            WHERE x.live IS DISTINCT FROM x.backup
            """, deadline: deadline)
    }

    // MARK: Writing

    /// Brings back and overwrites. To be called when all rows are written: what came back for a row that did not is not needed.
    ///
    /// - Returns: nil where no large objects are looked at.
    func writeObjects(_ merge: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> MergeOutcome.Table? {
        guard let objects else { return nil }
        let id = RowSQL.text(merge), diff = objects.diff.sql
        let ours = { (verdicts: String) in "(SELECT * FROM \(diff) WHERE verdict IN (\(verdicts)))" }
        func run(_ sql: String) async throws { try await connection.execute(sql, deadline: deadline) }
        try await run(
            """
            UPDATE \(diff) AS o SET verdict = 'keep', reason = 'no row needs it' WHERE o.verdict = 'insert'
            AND NOT EXISTS (SELECT FROM (\(namedByLive)) AS n WHERE n.number = o.number)
            """)
        try await run("INSERT INTO reprise_audit.objects SELECT \(id), number, verdict, live, backup FROM \(ours("'insert', 'update'")) AS o")
        try await run(
            """
            INSERT INTO reprise_audit.object_pieces
            SELECT \(id), o.number, p.place, pg_catalog.lo_get(o.number, p.place * \(ObjectSQL.pieceBytes)::bigint, \(ObjectSQL.pieceBytes))
            FROM \(ours("'update'")) AS o, LATERAL \(ObjectSQL.pieces(of: "o.number")) AS p
            """)
        try await AuditTrail.requireKept(merge, connection, deadline: deadline)
        let rights = try await createObjects(objects, connection, deadline)
        try await run(ObjectSQL.emptying(ours("'update'")))
        try await run(ObjectSQL.writing("(SELECT p.* FROM \(objects.pieces.sql) AS p JOIN \(ours("'insert', 'update'")) AS o USING (number))"))
        for statement in rights { try await run(statement) }
        try await run(
            """
            INSERT INTO reprise_audit.skips SELECT \(id), 'pg_catalog', 'pg_largeobject', o.reason, ARRAY['number'], ARRAY[o.number::text], ARRAY[o.number::text]
            FROM \(ours("'skip'")) AS o
            """)
        return try await AuditTrail.objects(of: merge, connection, deadline: deadline)
    }

    /// Makes the objects that come back, empty, each as the role that owned it, where there is such a role and who merges may act as it.
    /// To give them away afterwards would take a lock for each, of which a server has a few thousand.
    ///
    /// - Returns: statements that give others the rights that they had, as far as there are such roles.
    private func createObjects(
        _ objects: RescuedObjects, _ connection: isolated PostgresConnection, _ deadline: Deadline
    ) async throws -> [String] {
        let rows = try await connection.query(
            "SELECT o.number, k.rights FROM \(objects.diff.sql) AS o JOIN \(objects.known.sql) AS k USING (number) WHERE o.verdict = 'insert' ORDER BY o.number",
            deadline: deadline
        ).rows.map { (number: try $0.string("number"), rights: try $0.optionalString("rights").map { try ObjectRights(json: $0) } ?? ObjectRights()) }
        guard !rows.isEmpty else { return [] }
        let roles = try await connection.query(
            "SELECT rolname, rolname <> current_user AND pg_catalog.pg_has_role(oid, 'USAGE') AS usable FROM pg_catalog.pg_roles", deadline: deadline
        ).rows
        let there = Set(try roles.map { try $0.string("rolname") }), usable = Set(try roles.filter { try $0.bool("usable") }.map { try $0.string("rolname") })
        let byOwner = Dictionary(grouping: rows) { row in row.rights.owner.flatMap { usable.contains($0) ? $0 : nil } }
        for (owner, owned) in byOwner {
            if let owner { try await connection.execute("SET LOCAL ROLE \(try SQLIdentifier(owner).sql)", deadline: deadline) }
            try await connection.execute(
                "SELECT pg_catalog.count(pg_catalog.lo_create(n::pg_catalog.oid)) FROM pg_catalog.unnest($1::text[]) AS n", [.array(owned.map(\.number))],
                deadline: deadline)
            if owner != nil { try await connection.execute("SET LOCAL ROLE NONE", deadline: deadline) }
        }
        return try rows.flatMap { try $0.rights.statements(of: $0.number, roles: there) }
    }

    /// What was written holds what it was to hold, and is there.
    func requireObjectsWritten(_ merge: String, _ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard objects != nil else { return }
        let found = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS objects FROM reprise_audit.objects AS o
            WHERE o.merge = $1 AND \(ObjectSQL.digest(of: "o.number")) IS DISTINCT FROM o.after
            """, [.text(merge)], deadline: deadline)
        let wrong = try found.only().integer("objects", as: Int.self)
        guard wrong == 0 else {
            throw ReconcileRefused(
                "reconcile.rewritten", "\(wrong) large objects came out other than they were written: a trigger changes them; nothing was merged",
                hints: ["name the triggers of the tables that name them under `disable-triggers`"], exitStatus: .verificationMismatch)
        }
    }
}

extension TableDiff {
    var objectColumns: [TableShape.Column] { pair.columns.filter(\.refersToLargeObjects) }

    /// Rows `number`, `taken`, `asked`, `wanted`: which objects a row of the backup and its live row name both, whether the backup's
    /// content may replace the live one, whether a person has to say so, and whether one that is gone is to come back.
    fileprivate var objectsOfBoth: String {
        let wanted = if case .insert = policy.missing { "true" } else { "false" }
        guard !isFollowed else { return "SELECT 0::pg_catalog.oid AS number, false AS taken, false AS asked, false AS wanted WHERE false" }
        return objectColumns.map { column -> String in
            let (b, l) = ("b.\(column.name.sql)::pg_catalog.oid", "l.\(column.name.sql)::pg_catalog.oid")
            guard pair.key != nil else {
                return """
                    SELECT \(b) AS number, false AS taken, false AS asked, \(wanted) AS wanted FROM \(pair.backup.from) AS b
                    WHERE \(b) <> 0 AND \(b) IN (SELECT \(l) FROM \(pair.live.from) AS l)
                    """
            }
            return """
                SELECT \(b) AS number, \(takesContent(of: column)) AS taken, \(asksForContent(of: column)) AS asked, \(wanted) AS wanted
                FROM \(pair.backup.from) AS b JOIN \(pair.live.from) AS l ON \(sql.sameKey("b", "l"))
                WHERE \(b) <> 0 AND \(b) = \(l) AND NOT EXISTS (SELECT FROM \(table.sql) AS d WHERE d.verdict = 'skip' AND \(isAbout("b")))
                """
        }.joined(separator: " UNION ALL ")
    }

    fileprivate var objectsOfWantedRows: String {
        objectColumns.map { column in
            let place = pair.columns.firstIndex(of: column)! + 1
            return """
                SELECT w.\(column.name.sql)::pg_catalog.oid AS number FROM \(wantedRows) AS w
                WHERE w."reprise verdict" = 'insert' OR w."reprise take"[\(place)]
                """
        }.joined(separator: " UNION ALL ")
    }
}

extension ObjectRights {
    fileprivate init(json: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(json.utf8)) }

    /// - Parameter roles: that there are.
    fileprivate func statements(of number: String, roles: Set<String>) throws -> [String] {
        try grants.filter { $0.role.map(roles.contains) ?? true }.map { grant in
            let role = try grant.role.map { try SQLIdentifier($0).sql } ?? "PUBLIC", what = "\(grant.privileges.joined(separator: ", ")) ON LARGE OBJECT \(number)"
            return grant.isGiven ? "GRANT \(what) TO \(role)\(grant.withGrantOption ? " WITH GRANT OPTION" : "")" : "REVOKE \(what) FROM \(role)"
        }
    }
}
