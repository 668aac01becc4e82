internal import BlockingIO
package import PostgreSQL
internal import RunCore

/// What a merge would do, for a person to judge: a merge does exactly this, or refuses.
package struct MergePreview: Sendable, Hashable, Codable {
    package let tables: [Table]
    /// SHA-256 over every difference with its verdict and both images, all tables, and what they are to be merged by.
    package let hash: String
    /// Lines of the decisions that decide no row that waits for one.
    package var unusedDecisions: [Int] = []
    /// nil: nobody is, but from the rows that are merged.
    package internal(set) var heldBack: HeldBack?
    /// What deleting rows waits for, in this merge or in its undo.
    package internal(set) var slowDeletes: [SlowDeletes] = []

    package struct Table: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package let counts: [Count]
        /// In how many rows that are updated each column changes.
        package let changedColumns: [SQLIdentifier: Int]
        /// What is compared, and what of it tells rows apart; empty: all of it.
        package let columns: [SQLIdentifier]
        package let key: [SQLIdentifier]
        /// The first few of each verdict.
        package let samples: [Sample]
        package let choices: Choices
        /// Rows of which a person has to say something, all of them counted and the first thousand listed.
        package let undecidedRows: Int
        package let undecided: [Undecided]
        /// Live rows that name large objects: which ones is compared, and not what is in them.
        package var largeObjectRows = 0
        /// Nobody named the table: its rows come because others hang on them.
        package let isFollowed: Bool

        package func rows(_ verdict: TableDiff.Verdict) -> Int { counts.filter { $0.verdict == verdict }.map(\.rows).reduce(0, +) }
        package var writtenRows: Int { rows(.insert as TableDiff.Verdict) + rows(.update) + rows(.delete) }
        package func rows(_ kind: TableDiff.Kind) -> Int { counts.filter { $0.kind == kind }.map(\.rows).reduce(0, +) }
    }

    package struct Count: Sendable, Hashable, Codable {
        package let kind: TableDiff.Kind
        package let verdict: TableDiff.Verdict
        package let reason: String?
        package let rows: Int
    }

    /// Rows that both sides have with other values, and in how many of them each rule would change something.
    package struct Choices: Sendable, Hashable, Codable {
        package let changed: Int
        package let takeBackup: Int
        package let fillNulls: Int
        /// nil where no column is known by which a row is newer.
        package var newest: Newest?
    }

    package struct Newest: Sendable, Hashable, Codable {
        package let column: SQLIdentifier
        package let changed: Int
    }

    package struct Sample: Sendable, Hashable, Codable {
        package let kind: TableDiff.Kind
        package let verdict: TableDiff.Verdict
        package let reason: String?
        /// The values of the columns that are compared, in their order, long ones cut off; nil: no such row.
        package let backup: [String?]?
        package let live: [String?]?
    }

    private static let samplesOfEach = 3
    private static let mostCharacters = 200

    /// - Throws: `ReconcileRefused` where there is nothing prepared.
    static func read(_ plan: MergePlan, _ connection: PostgresConnection, deadline: Deadline) async throws -> MergePreview {
        var tables: [Table] = []
        for diff in plan.diffs { tables.append(try await table(diff, connection, deadline)) }
        // After the others, which stand in the order of the plan.
        if let objects = plan.objects { tables.append(try await table(objects, connection, deadline)) }
        return MergePreview(tables: tables, hash: try await hash(plan, connection, deadline: deadline))
    }

    private static func table(_ diff: TableDiff, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> Table {
        let counts = try await counts("sum(copies)::bigint", diff.table, connection, deadline)
        let changed = try await connection.query(
            """
            SELECT u.place, pg_catalog.count(*) AS rows FROM \(diff.table.sql) AS d, pg_catalog.unnest(d.take) WITH ORDINALITY AS u(taken, place)
            WHERE d.verdict = 'update' AND u.taken GROUP BY u.place ORDER BY u.place
            """, deadline: deadline
        ).rows.map { (diff.pair.columns[try $0.integer("place", as: Int.self) - 1].name, try $0.integer("rows", as: Int.self)) }
        return Table(
            name: diff.pair.live.name, counts: counts, changedColumns: Dictionary(uniqueKeysWithValues: changed),
            columns: diff.pair.columns.map(\.name), key: diff.pair.key?.columns ?? [],
            samples: try await samples(diff, connection, deadline), choices: try await choices(diff, connection, deadline),
            undecidedRows: try await undecidedCount(diff, connection, deadline), undecided: try await undecided(diff, connection, deadline),
            largeObjectRows: try await largeObjectRows(diff, connection, deadline), isFollowed: diff.isFollowed)
    }

    /// Large objects, as if they were rows.
    private static func table(_ objects: RescuedObjects, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> Table {
        let counts = try await counts("pg_catalog.count(*)", objects.diff, connection, deadline)
        return Table(
            name: try .largeObjects(), counts: counts, changedColumns: [:], columns: [], key: [], samples: [],
            choices: Choices(changed: 0, takeBackup: 0, fillNulls: 0), undecidedRows: counts.filter { $0.verdict == .decide }.map(\.rows).reduce(0, +),
            undecided: try await undecided(objects, connection, deadline), isFollowed: false)
    }

    private static func counts(
        _ rows: String, _ table: QualifiedName, _ connection: PostgresConnection, _ deadline: Deadline
    ) async throws -> [Count] {
        try await connection.query(
            "SELECT kind, verdict, reason, \(rows) AS rows FROM \(table.sql) GROUP BY kind, verdict, reason ORDER BY kind, verdict, reason", deadline: deadline
        ).rows.map { Count(kind: try kind($0), verdict: try verdict($0), reason: try $0.optionalString("reason"), rows: try $0.integer("rows")) }
    }

    private static func largeObjectRows(_ diff: TableDiff, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> Int {
        let columns = diff.pair.columns.filter(\.refersToLargeObjects).map { "nullif(l.\($0.name.sql)::pg_catalog.oid, 0)" }
        guard !columns.isEmpty, !diff.policy.ignoresLargeObjects, diff.objects == nil else { return 0 }
        let found = try await connection.query(
            "SELECT pg_catalog.count(*) AS rows FROM \(diff.pair.live.from) AS l WHERE pg_catalog.num_nonnulls(\(columns.joined(separator: ", "))) > 0",
            deadline: deadline)
        return try found.only().integer("rows")
    }

    private static func choices(_ diff: TableDiff, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> Choices {
        let newer = diff.newer
        let row = try await connection.query(
            """
            SELECT pg_catalog.count(*) AS changed, pg_catalog.count(*) FILTER (WHERE d.backup <> d.live) AS takes, pg_catalog.count(*) FILTER (WHERE EXISTS (
                SELECT FROM pg_catalog.generate_subscripts(d.live, 1) AS i WHERE d.live[i] IS NULL AND d.backup[i] IS NOT NULL)) AS fills,
                pg_catalog.count(*) FILTER (WHERE d.backup <> d.live AND (\(newer?.condition ?? "false"))) AS newer
            FROM \(diff.table.sql) AS d WHERE d.kind = 'changed'
            """, deadline: deadline
        ).only()
        var choices = Choices(changed: try row.integer("changed"), takeBackup: try row.integer("takes"), fillNulls: try row.integer("fills"))
        if let newer { choices.newest = Newest(column: newer.column, changed: try row.integer("newer")) }
        return choices
    }

    private static func samples(_ diff: TableDiff, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> [Sample] {
        let value = { (side: String, place: Int) in "pg_catalog.left(\(side)[\(place + 1)], \(mostCharacters))" }
        let columns = diff.pair.columns.indices.map { "\(value("backup", $0)) AS \"b \($0)\", \(value("live", $0)) AS \"l \($0)\"" }
        return try await connection.query(
            """
            SELECT kind, verdict, reason, backup IS NULL AS no_backup, live IS NULL AS no_live, \(columns.joined(separator: ", "))
            FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY kind, verdict, reason ORDER BY seq) AS place FROM \(diff.table.sql)) AS d
            WHERE place <= \(samplesOfEach) ORDER BY seq
            """, deadline: deadline
        ).rows.map { row in
            let values = { (side: String) in try diff.pair.columns.indices.map { try row.optionalString("\(side) \($0)") } }
            return Sample(
                kind: try kind(row), verdict: try verdict(row), reason: try row.optionalString("reason"),
                backup: try row.bool("no_backup") ? nil : values("b"), live: try row.bool("no_live") ? nil : values("l"))
        }
    }

    static func kind(_ row: PostgresRow) throws -> TableDiff.Kind {
        guard let kind = TableDiff.Kind(rawValue: try row.string("kind")) else { throw unreadable }
        return kind
    }

    static func verdict(_ row: PostgresRow) throws -> TableDiff.Verdict {
        guard let verdict = TableDiff.Verdict(rawValue: try row.string("verdict")) else { throw unreadable }
        return verdict
    }

    private static var unreadable: ReconcileRefused {
        ReconcileRefused("reconcile.unreadable", "the table of differences was written by somebody else", hints: ["compare again"])
    }

    /// A value ends at 1 GB, and is in memory as a whole: of so many hashes a hash of their own is made first.
    private static let hashedTogether = 10_000

    /// Over the differences as they lie there now.
    static func hash(_ plan: MergePlan, _ connection: PostgresConnection, deadline: Deadline) async throws -> String {
        func hash(of table: QualifiedName, by order: String) async throws -> String {
            try await connection.query(
                """
                SELECT pg_catalog.encode(pg_catalog.sha256(coalesce(pg_catalog.string_agg(g.hash, '' ORDER BY g.part), '')), 'hex') AS hash
                FROM (SELECT x.place / \(hashedTogether) AS part, pg_catalog.sha256(pg_catalog.string_agg(x.hash, '' ORDER BY x.place)) AS hash
                      FROM (SELECT d.\(order)::bigint AS place, pg_catalog.sha256(pg_catalog.textsend(d::text)) AS hash FROM \(table.sql) AS d OFFSET 0) AS x
                      GROUP BY 1) AS g
                """, deadline: deadline
            ).only().string("hash")
        }
        var parts: [String] = []
        for diff in plan.diffs {
            parts += ["\(diff.pair.live.name)", diff.mode.rawValue, try diff.fingerprint(), try await hash(of: diff.table, by: "seq")]
        }
        if let objects = plan.objects { parts.append(try await hash(of: objects.diff, by: "number")) }
        if let disabled = plan.disabled { parts.append(try sortedJSON(disabled)) }
        let all = try await connection.query(
            "SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.textsend($1::text)), 'hex') AS hash", [.text(parts.joined(separator: "\n"))],
            deadline: deadline)
        return try all.only().string("hash")
    }

    /// - Throws: `ReconcileRefused` where more rows would be merged than the policy allows.
    func requireCaps(_ plan: MergePlan) throws {
        for (diff, table) in zip(plan.diffs, tables) {
            let caps: [(TableDiff.Verdict, Int?, String)] = [
                (.insert, diff.policy.mostInserts, "most-inserts"), (.update, diff.policy.mostUpdates, "most-updates"),
                (.delete, diff.policy.mostDeletes, "most-deletes"),
            ]
            for (verdict, most, field) in caps {
                guard let most, table.rows(verdict) > most else { continue }
                throw ReconcileRefused(
                    "reconcile.too-many", "merging \(table.name) would \(verdict.rawValue) \(table.rows(verdict)) rows, more than the \(most) of `\(field)`",
                    hints: ["look at the differences; where they are right, raise `\(field)`"], exitStatus: .verificationMismatch)
            }
        }
    }
}

extension TableDiff.Kind {
    package var words: String {
        switch self {
        case .missing: "missing"
        case .changed: "changed"
        case .extra: "not in the backup"
        case .representation: "stored in another way"
        }
    }
}
