internal import BlockingIO
internal import Foundation
package import PostgreSQL

/// The differences between a table and its backup in the same database, as a table of their own: one row for each, with what will be done.
///
/// The table lies beside the backup. Made anew it is the same, as long as neither side changes. It outlives a crash of the server, as what
/// somebody has agreed to must.
package struct TableDiff: Sendable, Hashable, Codable {
    package let pair: TablePair
    package let policy: MergePolicy
    package let mode: ComparisonMode
    /// Where the differences are kept.
    package let table: QualifiedName

    package init(_ pair: TablePair, policy: MergePolicy, mode: ComparisonMode = .exact, into table: QualifiedName) {
        self.pair = pair
        self.policy = policy
        self.mode = mode
        self.table = table
    }

    /// How a row differs.
    package enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        case missing, changed, extra
        /// Stored differently, written the same: never merged.
        case representation
    }

    /// What a merge does with it.
    package enum Verdict: String, Sendable, Hashable, Codable, CaseIterable {
        case insert, update, delete
        /// The policy leaves the live row as it is.
        case keep
        /// It would be merged, and something stands in the way; the reason is kept with it.
        case skip
        /// A person has to say.
        case decide
    }

    var sql: RowSQL { RowSQL(pair: pair) }
    /// The typed columns of the key in the table of differences.
    func keyAlias(_ index: Int) -> String { "\"key \(index + 1)\"" }

    /// True where a difference `d` is about the row `row`.
    func isAbout(_ row: String) -> String {
        guard let key = pair.key else { return "false" }
        return key.columns.indices.map { "d.\(keyAlias($0)) \(key.equality[$0]) \(row).\(key.columns[$0].sql)" }.joined(separator: " AND ")
    }

    // MARK: Making it

    /// Compares, and judges each difference by the policy alone. What stands in the way of it is looked for by `MergePlan`.
    func make(_ connection: PostgresConnection, deadline: Deadline) async throws {
        try await connection.execute("DROP TABLE IF EXISTS \(table.sql)", deadline: deadline)
        try await connection.execute(pair.key == nil ? multiset : keyed, deadline: deadline)
        try await connection.execute("ALTER TABLE \(table.sql) ADD PRIMARY KEY (seq)", deadline: deadline)
        try await connection.execute("ANALYZE \(table.sql)", deadline: deadline)
    }

    private var keyed: String {
        let key = pair.key!, there = "\"reprise there\""
        let side = { (from: String) in "(SELECT \(sql.list(sql.columnNames)), true AS \(there) FROM \(from))" }
        let keys = key.columns.enumerated().map { "coalesce(b.\($1.sql), l.\($1.sql)) AS \(keyAlias($0))" }.joined(separator: ", ")
        return """
            CREATE TABLE \(table.sql) AS
            SELECT pg_catalog.row_number() OVER (ORDER BY \(keyOrder("x"))) AS seq, x.*, \(verdict) AS verdict, \(reason) AS reason, 1::bigint AS copies
            FROM (SELECT CASE WHEN l.\(there) IS NULL THEN 'missing' WHEN b.\(there) IS NULL THEN 'extra'
                              WHEN \(sql.image("b")) = \(sql.image("l")) THEN 'representation' ELSE 'changed' END AS kind,
                         \(keys), CASE WHEN b.\(there) THEN \(sql.image("b")) END AS backup, CASE WHEN l.\(there) THEN \(sql.image("l")) END AS live,
                         CASE WHEN l.\(there) IS NULL THEN \(isWanted("b")) END AS wanted,
                         CASE WHEN b.\(there) AND l.\(there) THEN ARRAY[\(takes)]::boolean[] END AS take
                  FROM \(side(pair.backup.from)) AS b FULL JOIN \(side(pair.live.from)) AS l ON \(sql.sameKey("b", "l"))
                  WHERE b.\(there) IS NULL OR l.\(there) IS NULL OR \(sql.differs("b", "l", mode))) AS x
            """
    }

    /// Without a key a row is all that it holds: what counts is how many of it each side has. Only missing ones can be merged.
    private var multiset: String {
        let images = { (from: String, sign: String) in
            "SELECT \(sql.image("t")) AS image, \(isWanted("t")) AS wanted, \(sign)1 AS n FROM \(from) AS t"
        }
        return """
            CREATE TABLE \(table.sql) AS
            SELECT pg_catalog.row_number() OVER (ORDER BY x.image COLLATE "C") AS seq, x.kind, x.backup, x.live, x.wanted, NULL::boolean[] AS take,
                   \(verdict) AS verdict, \(reason) AS reason, x.copies
            FROM (SELECT image, CASE WHEN sum(n) > 0 THEN 'missing' ELSE 'extra' END AS kind, CASE WHEN sum(n) > 0 THEN image END AS backup,
                         CASE WHEN sum(n) < 0 THEN image END AS live, pg_catalog.bool_and(wanted) AS wanted, pg_catalog.abs(sum(n)) AS copies,
                         NULL::boolean[] AS take
                  FROM (\(images(pair.backup.from, "")) UNION ALL \(images(pair.live.from, "-"))) AS both_sides
                  GROUP BY image HAVING sum(n) <> 0) AS x
            """
    }

    func keyOrder(_ alias: String) -> String {
        pair.key!.columns.enumerated().map { sql.ordered($1, "\(alias).\(keyAlias($0))") }.joined(separator: ", ")
    }

    /// Whether a missing row is one that the plan wants back. The plan's own words see the row as it was backed up and nothing else.
    private func isWanted(_ alias: String) -> String {
        guard case .insert(let condition) = policy.missing else { return "false" }
        guard let condition else { return "true" }
        let row = pair.columns.map { "\(alias).\($0.name.sql) AS \($0.name.sql)" }.joined(separator: ", ")
        return "(SELECT coalesce((\(condition)), false) FROM (SELECT \(row)) AS backup)"
    }

    /// For each column whether the backup's value replaces the live one.
    private var takes: String {
        pair.columns.map { column in
            let (b, l) = ("b.\(column.name.sql)", "l.\(column.name.sql)")
            guard !column.isIdentityAlways, let rule = rule(column, b, l) else { return "false" }
            let differs = sql.differs("b", "l", mode, only: column)
            return "(\(rule)) AND \(differs) AND (\(RowSQL.image(of: [b])))[1] IS DISTINCT FROM (\(RowSQL.image(of: [l])))[1]"
        }.joined(separator: ", ")
    }

    private func rule(_ column: TableShape.Column, _ backup: String, _ live: String) -> String? {
        switch policy.columns[column.name] ?? policy.changed {
        case .keepLive, .decide: nil
        case .takeBackup: "true"
        case .fillNulls: "pg_catalog.num_nulls(\(live)) = 1"
        case .newest(let name):
            "coalesce(b.\(name.sql) > l.\(name.sql), pg_catalog.num_nulls(l.\(name.sql)) > pg_catalog.num_nulls(b.\(name.sql)))"
        }
    }

    private var needsDecision: Bool { policy.changed == .decide || policy.columns.values.contains(.decide) }

    private var verdict: String {
        """
        CASE x.kind WHEN 'missing' THEN CASE WHEN x.wanted THEN 'insert' ELSE 'keep' END
                    WHEN 'extra' THEN '\(policy.deletesExtra && pair.key != nil ? "delete" : "keep")'
                    WHEN 'changed' THEN CASE WHEN \(needsDecision) THEN 'decide' WHEN true = ANY (x.take) THEN 'update' ELSE 'keep' END
                    ELSE 'keep' END
        """
    }

    private var reason: String {
        let wish = if case .insert = policy.missing { "outside of `where`" } else { "policy" }
        return "CASE WHEN x.kind = 'missing' AND NOT x.wanted THEN '\(wish)' WHEN x.kind = 'representation' THEN 'written the same' END"
    }
}

extension TableDiff {
    /// What the differences were found and judged by, the same at every time.
    func fingerprint() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
