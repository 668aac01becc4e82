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
    /// Nobody named the table: only those of its rows come back on which others hang that do.
    package let isFollowed: Bool
    /// Where the backup holds nothing but candidates for differences: a table of the keys to which live rows are looked at, or, where
    /// there is no key, of those live rows themselves. nil: both sides are whole.
    package let scope: QualifiedName?
    /// Where rows were streamed that no key tells apart: how many of each the live table had then.
    package var streamedCopies: QualifiedName?
    /// The backup's large objects that its rows name; nil where the contents are not looked at.
    package var objects: RescuedObjects?

    package init(
        _ pair: TablePair, policy: MergePolicy, mode: ComparisonMode = .exact, isFollowed: Bool = false, into table: QualifiedName,
        scope: QualifiedName? = nil
    ) {
        self.isFollowed = isFollowed
        self.scope = scope
        self.pair = pair
        self.policy = policy
        self.mode = mode
        self.table = table
    }

    /// The same, where that was counted as the rows were streamed.
    func counting(in copies: QualifiedName?) -> TableDiff {
        var diff = self
        diff.streamedCopies = copies
        return diff
    }

    /// The same, where contents of large objects are looked at too.
    func looking(into objects: RescuedObjects?) -> TableDiff {
        var diff = self
        diff.objects = objects
        return diff
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
    /// Of a difference `d`: what its live row held, all of it.
    var wholeLiveImage: String { withOthers("d.live") }
    /// Of a difference `d`: an image of its columns, and after it what only the live row held.
    func withOthers(_ image: String) -> String { pair.others == nil ? image : "\(image) || d.others" }
    /// The names of what stands in a whole image.
    var wholeNames: String { RowSQL.texts(pair.whole.map(\.name.name)) }
    /// The schema and the name of the live table, as two texts: by these it stands in the audit.
    var auditedName: String { "\(RowSQL.text(pair.live.name.schema.name)), \(RowSQL.text(pair.live.name.name.name))" }
    /// The typed columns of the key in the table of differences.
    func keyAlias(_ index: Int) -> String { "\"key \(index + 1)\"" }

    /// True where a difference `d` is about the row `row`.
    func isAbout(_ row: String) -> String {
        guard let key = pair.key else { return "false" }
        return key.columns.indices.map { key.equality[$0].holds("d.\(keyAlias($0))", "\(row).\(key.columns[$0].sql)") }.joined(separator: " AND ")
    }

    /// Differences `d` with their rows of the backup, `b`, where it has one. Without a key such a row is read out of its image: under another
    /// search path than the images were made its text might be another one.
    var withBackup: String {
        guard pair.key == nil else { return "\(table.sql) AS d JOIN \(pair.backup.from) AS b ON \(isAbout("b"))" }
        let values = pair.columns.enumerated().map { place, column in
            // The image's own would be taken over.
            let collation = column.collation.map { " COLLATE \($0)" } ?? ""
            return "d.backup[\(place + 1)]::\(column.type)\(collation) AS \(column.name.sql)"
        }
        return "\(table.sql) AS d CROSS JOIN LATERAL (SELECT \(values.joined(separator: ", "))) AS b"
    }

    // MARK: Making it

    /// Compares, and judges each difference by the policy alone. What stands in the way of it is looked for by `MergePlan`.
    func make(_ connection: PostgresConnection, deadline: Deadline) async throws {
        try await connection.execute("DROP TABLE IF EXISTS \(table.sql)", deadline: deadline)
        if let scope {
            try await Self.preferLookups(connection, deadline: deadline)
            try await Lookup.chooseJoins([Lookup(rows: scope, tables: [pair.live.name])], connection, deadline: deadline)
        }
        try await connection.execute(pair.key == nil ? multiset : keyed, deadline: deadline)
        try await connection.execute("ALTER TABLE \(table.sql) ADD PRIMARY KEY (seq)", deadline: deadline)
        // By what it is looked into: to look at the images would take longer than all that is asked of them.
        let asked = ["seq", "kind", "verdict", "reason"] + (pair.key?.columns.indices.map(keyAlias) ?? [])
        try await connection.execute("ANALYZE \(table.sql) (\(asked.joined(separator: ", ")))", deadline: deadline)
        if let sql = keepingUnwanted { try await connection.executeWithDatabasePath(sql, deadline: deadline) }
    }

    /// Few rows are looked for in a large table, of which most lies in memory: it was streamed a moment ago, or its differences were.
    static func preferLookups(_ connection: PostgresConnection, deadline: Deadline) async throws {
        try await connection.execute("SET LOCAL random_page_cost = 1.1", deadline: deadline)
    }

    private var keyed: String {
        let key = pair.key!, there = "\"reprise there\"", others = pair.others?.map(\.name) ?? []
        let side = { (from: String, more: [SQLIdentifier]) in "(SELECT \(sql.list(sql.columnNames + more)), true AS \(there) FROM \(from))" }
        let isInScope = scope.map { " AS t WHERE EXISTS (SELECT FROM \($0.sql) AS s WHERE \(sql.sameKey("s", "t")))" } ?? ""
        // The backup's column may have had another collation.
        let keys = key.columns.enumerated().map { place, name in
            let collation = pair.live.column(name)?.collation.map { " COLLATE \($0)" } ?? ""
            return "coalesce(b.\(name.sql), l.\(name.sql))\(collation) AS \(keyAlias(place))"
        }.joined(separator: ", ")
        // OFFSET 0: what is worked out in there is worked out once, however often it is looked at outside.
        return """
            \(table.creation) AS
            SELECT pg_catalog.row_number() OVER (ORDER BY \(keyOrder("x"))) AS seq, x.*, \(verdict) AS verdict, \(reason) AS reason, 1::bigint AS copies
            FROM (SELECT i.*, CASE WHEN i.live IS NULL THEN 'missing' WHEN i.backup IS NULL THEN 'extra' WHEN i.backup = i.live THEN 'representation'
                                   ELSE 'changed' END AS kind,
                         CASE WHEN pg_catalog.num_nulls(i.backup, i.live) = 0 THEN ARRAY[\(takes)]::boolean[] END AS take
                  FROM (SELECT \(keys), CASE WHEN b.\(there) THEN \(sql.image("b")) END AS backup, CASE WHEN l.\(there) THEN \(sql.image("l")) END AS live,
                               \(others.isEmpty ? "" : "CASE WHEN l.\(there) THEN \(sql.imageOfOthers("l")) END AS others,")
                               CASE WHEN b.\(there) AND l.\(there) THEN ARRAY[\(rules)]::boolean[] END AS ruled
                        FROM \(side(pair.backup.from, [])) AS b \(isFollowed ? "LEFT" : "FULL") JOIN \(side(pair.live.from + isInScope, others)) AS l ON \(sql.sameKey("b", "l"))
                        WHERE \(isFollowed ? "" : "b.\(there) IS NULL OR \(sql.differs("b", "l", mode)) OR ")l.\(there) IS NULL OFFSET 0) AS i OFFSET 0) AS x
            """
    }

    /// Without a key a row is all that it holds: what counts is how many of it each side has. Only missing ones can be merged.
    private var multiset: String {
        """
        \(table.creation) AS
        SELECT pg_catalog.row_number() OVER (ORDER BY x.image COLLATE "C") AS seq, x.kind, x.backup, x.live, NULL::boolean[] AS take,
               \(verdict) AS verdict, \(reason) AS reason, x.copies
        FROM (SELECT image, CASE WHEN n > 0 THEN 'missing' ELSE 'extra' END AS kind, CASE WHEN n > 0 THEN image END AS backup,
                     CASE WHEN n < 0 THEN image END AS live, pg_catalog.abs(n) AS copies, NULL::boolean[] AS take
              FROM \(mode == .exact ? imbalance : meantImbalance) AS i WHERE n <> 0) AS x
        """
    }

    /// All rows of both sides, each with its image and what `column` adds, those of the backup counted as 1 and live ones as -1.
    private func bothSides(_ column: String = "") -> String {
        let rows = { (from: String, sign: String) in
            "SELECT \(sql.image("t")) AS image, \(sign)1 AS n\(column) FROM \(from) AS t"
        }
        return "(\(rows(pair.backup.from, "")) UNION ALL \(rows(scope?.sql ?? pair.live.from, "-"))) AS both_sides"
    }

    /// For each image how many more of it the backup has than the live table: `image`, `n`.
    private var imbalance: String { "(SELECT image, sum(n) AS n FROM \(bothSides()) GROUP BY image)" }

    /// The same where rows that mean the same stand for each other: first those that are written the same, then, by their images, as many as there are.
    private var meantImbalance: String {
        let same = "PARTITION BY meaning", isLeft = "n * total > 0"
        return """
            (SELECT image, pg_catalog.sign(n)::bigint * greatest(0, CASE WHEN \(isLeft) THEN least(pg_catalog.abs(n), pg_catalog.abs(total) - coalesce(
                    sum(pg_catalog.abs(n)) FILTER (WHERE \(isLeft)) OVER (\(same) ORDER BY image COLLATE "C" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))
                    END)::bigint AS n
             FROM (SELECT i.*, sum(n) OVER (\(same)) AS total
                   FROM (SELECT DISTINCT ON (image) image, meaning, sum(n) OVER (PARTITION BY image) AS n
                         FROM \(bothSides(", \(sql.meaning("t")) AS meaning"))) AS i) AS i)
            """
    }

    func keyOrder(_ alias: String) -> String {
        pair.key!.columns.enumerated().map { sql.ordered($1, "\(alias).\(keyAlias($0))") }.joined(separator: ", ")
    }

    /// Leaves missing rows alone that the plan does not want back; nil where it wants all of them, or none. Its own words see the row as it
    /// was backed up and nothing else, and mean what they mean in any session of that database.
    private var keepingUnwanted: String? {
        guard insertsMissing, case .insert(let condition) = policy.missing else { return nil }
        let terms = [condition.map { "(\($0)\n)" }, window].compactMap { $0 }
        guard !terms.isEmpty else { return nil }
        // OFFSET 0: no other row is asked.
        return """
            UPDATE \(table.sql) AS d SET verdict = 'keep', reason = \(RowSQL.text(unwantedReason))
            FROM (SELECT "reprise seq", coalesce(\(terms.joined(separator: " AND ")), false) AS "reprise wanted"
                  FROM (SELECT d.seq AS "reprise seq", \(sql.list(sql.columnNames, of: "b")) FROM \(withBackup) WHERE d.kind = 'missing' OFFSET 0) AS backup) AS w
            WHERE d.seq = w."reprise seq" AND NOT w."reprise wanted"
            """
    }

    private var window: String? {
        guard let since = policy.since, let column = pair.live.column(since.column) else { return nil }
        let value = "backup.\(column.name.sql)"
        func literal(_ text: String) -> String { "\(RowSQL.text(text))::\(column.type)" }
        return ([since.from.map { Self.order(column, value, "ge", literal($0)) }, since.to.map { Self.order(column, value, "lt", literal($0)) }]
            .compactMap { $0 } + ["pg_catalog.num_nulls(\(value)) = 0"]).joined(separator: " AND ")
    }

    /// For each column whether the backup's value may replace the live one; NULL: a person has to say.
    private var rules: String {
        pair.columns.map { column in
            let (b, l) = ("b.\(column.name.sql)", "l.\(column.name.sql)")
            guard !column.isIdentityAlways, let rule = rule(column, b, l) else { return "false" }
            // Byte by byte nothing is to be asked: what is written differently is different.
            let differs = mode == .exact || column.equality == nil ? nil : sql.differs("b", "l", mode, only: column)
            if rule == Self.undecided { return differs.map { "CASE WHEN \($0) THEN NULL ELSE false END" } ?? "NULL" }
            return "coalesce(\(["(\(rule))", differs].compactMap { $0 }.joined(separator: " AND ")), false)"
        }.joined(separator: ", ")
    }

    /// For each column whether it does: also what compares as different is only taken where it is written differently.
    private var takes: String {
        pair.columns.indices.map { "CASE WHEN i.backup[\($0 + 1)] IS DISTINCT FROM i.live[\($0 + 1)] THEN i.ruled[\($0 + 1)] ELSE false END" }.joined(separator: ", ")
    }

    private func rule(_ column: TableShape.Column, _ backup: String, _ live: String) -> String? {
        switch policy.columns[column.name] ?? policy.changed {
        case .keepLive: nil
        case .decide: Self.undecided
        case .takeBackup: "true"
        case .fillNulls: "pg_catalog.num_nulls(\(live)) = 1"
        case .newest(let name): isNewer(by: name, "b.\(name.sql)", "l.\(name.sql)")
        }
    }

    /// Whether the first of two values of that column is the later one; no value is earlier than any.
    func isNewer(by name: SQLIdentifier, _ backup: String, _ live: String) -> String {
        """
        CASE pg_catalog.num_nulls(\(backup), \(live)) WHEN 0 THEN \(Self.order(pair.live.column(name), backup, "gt", live))
        ELSE pg_catalog.num_nulls(\(live)) > pg_catalog.num_nulls(\(backup)) END
        """
    }

    /// Two values by the order of the column's own type. As rows: the operators that a search path finds know no domains over enumerations.
    private static func order(_ column: TableShape.Column?, _ left: String, _ how: String, _ right: String) -> String {
        let collation = column?.collation.map { " COLLATE \($0)" } ?? ""
        return "pg_catalog.record_\(how)(ROW(\(left)\(collation)), ROW(\(right)\(collation)))"
    }

    private static let undecided = "NULL"

    /// Whether the backup's content may replace the one of an object that both rows, `b` and `l`, name in this column.
    func takesContent(of column: TableShape.Column) -> String {
        guard let rule = rule(column, "b.\(column.name.sql)", "l.\(column.name.sql)"), rule != Self.undecided else { return "false" }
        return "coalesce(\(rule), false)"
    }

    /// Whether a person has to say so.
    func asksForContent(of column: TableShape.Column) -> Bool { (policy.columns[column.name] ?? policy.changed) == .decide }

    /// What becomes of a row `x` that both have. Columns that wait for a decision keep the others from nothing.
    var changedVerdict: String {
        """
        CASE WHEN true = ANY (x.take) THEN 'update' WHEN pg_catalog.array_position(x.take, NULL) IS NOT NULL THEN 'decide' ELSE 'keep' END
        """
    }

    private var insertsMissing: Bool { if case .insert = policy.missing { !isFollowed } else { false } }

    private var verdict: String {
        """
        CASE x.kind WHEN 'missing' THEN '\(insertsMissing ? "insert" : "keep")'
                    WHEN 'extra' THEN '\(policy.deletesExtra && pair.key != nil ? "delete" : "keep")'
                    WHEN 'changed' THEN \(changedVerdict)
                    ELSE 'keep' END
        """
    }

    private var reason: String {
        "CASE x.kind \(insertsMissing ? "" : "WHEN 'missing' THEN \(RowSQL.text(unwantedReason)) ")WHEN 'representation' THEN 'written the same' END"
    }

    /// Why a missing row stays away.
    var unwantedReason: String {
        guard case .insert(let condition) = policy.missing else { return "policy" }
        if isFollowed { return "not needed" }
        return "outside of " + [condition.map { _ in "`where`" }, policy.since.map { _ in "`since`" }].compactMap { $0 }.joined(separator: " or ")
    }
}

extension TableDiff {
    /// By which column a row is newer, and what is true of a difference `d` where the backup's row is; nil where none is known that has an order.
    var newer: (column: SQLIdentifier, condition: String)? {
        guard let name = policy.newestBy, let place = pair.columns.firstIndex(where: { $0.name == name }) else { return nil }
        let column = pair.columns[place]
        guard column.equality != nil, column.hasNoOrder != true else { return nil }
        let value = { (side: String) in "(d.\(side)[\(place + 1)])::\(column.plainType)" }
        return (name, isNewer(by: name, value("backup"), value("live")))
    }

    /// What the differences were found and judged by, the same at every time.
    func fingerprint() throws -> String { try sortedJSON(self) }
}

/// The same text for the same value, at every time.
func sortedJSON(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}
