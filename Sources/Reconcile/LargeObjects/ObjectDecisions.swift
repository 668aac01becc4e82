internal import BlockingIO
internal import PostgreSQL
internal import RunCore

/// Contents that a person decides about: lines as those of rows, of the table that stands for large objects.
extension MergePlan {
    /// Gives contents that wait for a decision theirs. To be called when it is known which differ.
    ///
    /// - Returns: lines that decide nothing that waits.
    /// - Throws: `ReconcileRefused` where a line does not say which object, or decides columns.
    func decideObjects(_ decisions: [Decision], _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> [Int] {
        guard let objects else { return [] }
        let name = try QualifiedName.largeObjects(), number = try SQLIdentifier("number")
        let rows = try decisions.filter { $0.table == name }.map { decision -> JSONValue in
            guard decision.key.count == 1, let object = decision.key[number].flatMap({ UInt32($0) }), decision.columns.isEmpty, let take = decision.take else {
                throw Decision.refused("line \(decision.line): of a large object the key is its `number`, and its content is taken as a whole, by `take`")
            }
            return ["line": .integer(Int64(decision.line)), "number": .integer(Int64(object)), "backup": .bool(take == .backup)]
        }
        guard !rows.isEmpty else { return [] }
        let decided = try await connection.query(
            """
            WITH w AS (SELECT (x ->> 'line')::integer AS line, (x ->> 'number')::pg_catalog.oid AS number, (x ->> 'backup')::boolean AS backup
                       FROM pg_catalog.jsonb_array_elements($1::jsonb) AS x)
            UPDATE \(objects.diff.sql) AS o SET verdict = CASE WHEN w.backup THEN 'update' ELSE 'keep' END, reason = 'by decision'
            FROM w WHERE w.number = o.number AND o.verdict = 'decide' RETURNING w.line
            """, [.text(try sortedJSON(JSONValue.array(rows)))], deadline: deadline
        ).rows.map { try $0.integer("line", as: Int.self) }
        return decisions.filter { $0.table == name && !decided.contains($0.line) }.map(\.line)
    }
}

extension MergePreview {
    /// What is in an object stands there as its digest.
    static func undecided(_ objects: RescuedObjects, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> [Undecided] {
        let number = try SQLIdentifier("number"), digest = try SQLIdentifier("sha256"), name = try QualifiedName.largeObjects()
        return try await connection.query(
            """
            SELECT o.number, pg_catalog.encode(o.backup, 'hex') AS backup, pg_catalog.encode(o.live, 'hex') AS live
            FROM \(objects.diff.sql) AS o WHERE o.verdict = 'decide' ORDER BY o.number LIMIT \(undecidedLimit)
            """, deadline: deadline
        ).rows.enumerated().map { place, row in
            Undecided(
                number: place + 1, table: name, key: [number: try row.string("number")],
                differs: [digest: Undecided.Values(backup: try row.string("backup"), live: try row.string("live"))])
        }
    }
}
