internal import BlockingIO
internal import PostgreSQL

/// What the server would refuse: such rows are left alone and listed, so that the others can be merged.
extension TableDiff {
    /// Rows that the live table's constraints would not take as it is now. Asked in the preview, and again in the merge.
    func skipRefused(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        let unfit = try await skipUnfit(connection, deadline: deadline), referenced = try await skipReferenced(connection, deadline: deadline)
        let taken = try await skipTaken(connection, deadline: deadline)
        try await noteVerdicts(of: unfit + referenced + taken, connection, deadline: deadline)
    }

    /// - Returns: how many were left alone, as of all that follow.
    func skipUnfit(_ connection: isolated PostgresConnection, deadline: Deadline) async throws -> Int {
        guard let sql = skippingUnfit else { return 0 }
        return try await connection.executeBound(.update, sql, deadline: deadline)
    }

    @discardableResult
    func skipReferenced(_ connection: isolated PostgresConnection, deadline: Deadline) async throws -> Int {
        guard let sql = skippingReferenced else { return 0 }
        return try await connection.execute(sql, deadline: deadline)
    }

    func skipTaken(_ connection: isolated PostgresConnection, deadline: Deadline) async throws -> Int {
        let indexes = pair.live.uniqueIndexes.filter { names.isSuperset(of: $0.columns) && ($0.name != pair.key?.index || $0.isExclusion || $0.part != nil) }
        let meetings = indexes.flatMap { index in nullsThatMeet(index).map { (index, $0) } }
        var skipped = 0
        for (index, nulls) in meetings { skipped += try await connection.executeBound(.update, skippingTaken(index, nulls), deadline: deadline) }
        for (index, nulls) in meetings { skipped += try await connection.executeBound(.update, skippingRivals(index, nulls), deadline: deadline) }
        return skipped
    }

    /// True where an update takes the backup's value in one of these columns; nil where none of them is compared.
    func taking(_ columns: [SQLIdentifier]) -> String? {
        let places = columns.compactMap { name in pair.columns.firstIndex { $0.name == name } }
        return places.isEmpty ? nil : "(\(places.map { "d.take[\($0 + 1)]" }.joined(separator: " OR ")))"
    }

    // MARK: By themselves

    /// NULL where none may be, check constraints, no partition, a large object that is gone.
    private var skippingUnfit: String? {
        let rules = nullRules + checkRules + (policy.ignoresLargeObjects ? [] : largeObjectRules)
        guard !rules.isEmpty else { return nil }
        let cases = rules.map { "WHEN \($0.isBroken) THEN \(RowSQL.text($0.reason))" }.joined(separator: " ")
        // Under the table's own name, which its constraints may use.
        return """
            UPDATE \(table.sql) AS d SET verdict = 'skip', reason = w.reason
            FROM (SELECT "reprise seq" AS seq, CASE \(cases) END AS reason FROM \(wantedRows) AS \(pair.live.name.name.sql)) AS w
            WHERE d.seq = w.seq AND pg_catalog.num_nulls(w.reason) = 0
            """
    }

    private typealias Rule = (reason: String, isBroken: String)

    private var nullRules: [Rule] {
        pair.live.columns.filter { column in
            !column.isNullable && names.contains(column.name) && pair.backup.column(column.name)?.isNullable != false
        }.map { ("column \($0.name) takes no NULL", "pg_catalog.num_nulls(\($0.name.sql)) = 1") }
    }

    private var checkRules: [Rule] {
        pair.live.checks.filter { names.isSuperset(of: $0.columns) }.map { ($0.reason, "(\($0.expression)) IS FALSE") }
    }

    private var largeObjectRules: [Rule] {
        pair.columns.enumerated().filter { $1.refersToLargeObjects }.flatMap { place, column -> [Rule] in
            let number = "\(column.name.sql)::pg_catalog.oid"
            let isNeeded = "(\"reprise verdict\" = 'insert' OR \"reprise take\"[\(place + 1)]) AND \(number) <> '0'::pg_catalog.oid"
            let differing = { (which: String) in "EXISTS (SELECT FROM \(objects!.diff.sql) AS o WHERE o.number = \(number) AND \(which))" }
            let isComing = objects == nil ? "" : " AND NOT \(differing("o.kind = 'missing' AND o.verdict <> 'skip'"))"
            let isGone: Rule = (
                "its large object is not there, by column \(column.name)", "\(isNeeded) AND NOT \(ObjectSQL.exists(number))\(isComing)"
            )
            guard objects != nil else { return [isGone] }
            // Overwritten, or the number given out again: what hangs on it now is not what the row meant.
            let isOther = differing("CASE o.kind WHEN 'changed' THEN o.verdict <> 'update' ELSE o.verdict = 'skip' END")
            return [isGone, ("its large object is another one by now, by column \(column.name)", "\(isNeeded) AND \(isOther)")]
        }
    }

    // MARK: Beside others

    /// An update of what other rows lead to: the constraint would refuse it, or change those along.
    private var skippingReferenced: String? {
        let terms = pair.live.children.compactMap { child in
            taking(child.parentColumns).map { "\($0) AND NOT (\(RowSQL.isUnreferenced("l", by: [child])))" }
        }
        guard !terms.isEmpty else { return nil }
        return """
            UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(RowSQL.text(LeavingRows.heldReason)) FROM \(pair.live.from) AS l
            WHERE d.verdict = 'update' AND \(isAbout("l")) AND (\(terms.joined(separator: " OR ")))
            """
    }

    private func values(_ index: TableShape.UniqueIndex) -> String {
        "(SELECT \"reprise seq\" AS seq, \(index.values) FROM \(wantedRows) AS \(pair.live.name.name.sql)\(index.condition))"
    }

    /// Of which of an index's values two rows that meet in it may both have none: asked for one set of them at a time, since beside OR the server
    /// would hold each row against each.
    private func nullsThatMeet(_ index: TableShape.UniqueIndex) -> [Set<Int>] {
        nullable(index).prefix(Self.mostNullsApart).reduce([[]]) { sets, place in sets + sets.map { $0.union([place]) } }
    }

    /// So many values are looked at by themselves: it takes twice as long for each.
    private static let mostNullsApart = 4

    /// The places of an index's values where having none is a value too.
    private func nullable(_ index: TableShape.UniqueIndex) -> [Int] {
        guard index.nullsAreEqual else { return [] }
        let full = Set(pair.live.columns.filter { !$0.isNullable }.map(\.name.sql))
        return index.expressions.indices.filter { place in
            // The server quotes a column's name where it must.
            let name = index.expressions[place]
            return !full.contains(name.hasPrefix("\"") ? name : "\"\(name)\"")
        }
    }

    private func meet(_ index: TableShape.UniqueIndex, _ nulls: Set<Int>, _ left: String, _ right: String) -> String {
        let together = Set(nullable(index).dropFirst(Self.mostNullsApart))
        return index.equality.enumerated().map { place, equals in
            let (a, b) = ("\(left).\"e \(place)\"", "\(right).\"e \(place)\"")
            // Not by what it equals: of that the server expects so few that it would hold each against each.
            if nulls.contains(place) { return "pg_catalog.num_nulls(\(a)) <> 0 AND pg_catalog.num_nulls(\(b)) <> 0" }
            return together.contains(place) ? "(\(equals.holds(a, b)) OR pg_catalog.num_nulls(\(a), \(b)) = 2)" : equals.holds(a, b)
        }.joined(separator: " AND ")
    }

    /// A value that must not repeat and that another live row has by now.
    private func skippingTaken(_ index: TableShape.UniqueIndex, _ nulls: Set<Int>) -> String {
        let keys = (pair.key?.columns ?? []).enumerated().map { "\($1.sql) AS \(keyAlias($0)), " }.joined()
        let isSame = pair.key.map { key in
            key.columns.indices.map { key.equality[$0].holds("d.\(keyAlias($0))", "l.\(keyAlias($0))") }.joined(separator: " AND ")
        } ?? "false"
        return """
            UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(RowSQL.text("another row has its value of \(index.title)"))
            FROM \(values(index)) AS w JOIN (SELECT \(keys)\(index.values) FROM \(pair.live.from)\(index.condition)) AS l
                 ON \(meet(index, nulls, "w", "l"))
            WHERE d.seq = w.seq AND NOT (\(isSame))
            """
    }

    /// Two that would both be written and cannot stand beside each other: which of them is right, a person has to say.
    private func skippingRivals(_ index: TableShape.UniqueIndex, _ nulls: Set<Int>) -> String {
        """
        UPDATE \(table.sql) AS d SET verdict = 'skip', reason = \(RowSQL.text("another row of the backup has its value of \(index.title)"))
        FROM \(values(index)) AS w
        WHERE d.seq = w.seq AND EXISTS (SELECT FROM \(values(index)) AS o WHERE \(meet(index, nulls, "w", "o")) AND (w.seq <> o.seq OR d.copies > 1))
        """
    }
}
