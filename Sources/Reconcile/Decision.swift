internal import BlockingIO
internal import Foundation
package import PostgreSQL
internal import RunCore

/// What a person decided about one row that both sides have with other values.
///
/// A line of JSON each: `{"table": "members", "key": {"id": 7}, "take": "backup"}`, with `"columns": {"email": "live"}` for single
/// columns. `take` is empty or not there where only `columns` decide. `number` and `differs`, as rows that wait are listed, are ignored.
package struct Decision: Sendable, Hashable {
    package enum Side: String, Sendable, Hashable, Codable { case backup, live }

    package let line: Int
    package let table: QualifiedName
    package let key: [SQLIdentifier: String]
    package let take: Side?
    package let columns: [SQLIdentifier: Side]

    /// - Parameter file: what the text is called in errors.
    /// - Throws: `ReconcileRefused` with the line that cannot be read, or decides a row a second time.
    package static func read(_ text: String, from file: String) throws -> [Decision] {
        var lines: [[String: String]: Int] = [:]
        return try text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            guard !line.allSatisfy(\.isWhitespace) else { return nil }
            let place = "\(file), line \(index + 1)"
            let decision = try Decision(line: index + 1, String(line), place)
            var row = Dictionary(uniqueKeysWithValues: decision.key.map { ($0.key.name, $0.value) })
            row[""] = "\(decision.table)"
            if let first = lines.updateValue(index + 1, forKey: row) {
                throw refused("\(place) decides the row of line \(first) a second time")
            }
            return decision.take == nil && decision.columns.isEmpty ? nil : decision
        }
    }

    private init(line: Int, _ text: String, _ place: String) throws {
        guard let members = try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)).objectValue else {
            throw Self.refused("\(place) is no JSON object")
        }
        if let odd = members.keys.sorted().first(where: { !["table", "key", "take", "columns", "number", "differs"].contains($0) }) {
            throw Self.refused("\(place) has a member `\(odd)`, which is not understood")
        }
        guard let table = members["table"]?.stringValue, let key = members["key"]?.objectValue, !key.isEmpty else {
            throw Self.refused("\(place) does not say which row: `table` and `key` are needed")
        }
        self.line = line
        self.table = try QualifiedName(asWritten: table)
        self.key = try Dictionary(
            uniqueKeysWithValues: key.map { name, value in
                switch value {
                case .string(let text): return (try SQLIdentifier(name), text)
                case .integer(let number): return (try SQLIdentifier(name), "\(number)")
                default: throw Self.refused("\(place): the key's `\(name)` is neither text nor a whole number; write it as text")
                }
            })
        take = try Self.side(members["take"] ?? .null, place)
        columns = try Dictionary(
            uniqueKeysWithValues: (members["columns"]?.objectValue ?? [:]).compactMap { name, value in
                try Self.side(value, place).map { (try SQLIdentifier(name), $0) }
            })
    }

    private static func side(_ value: JSONValue, _ place: String) throws -> Side? {
        if value == .null || value == "" { return nil }
        guard let side = value.stringValue.flatMap(Side.init) else { throw refused("\(place): a decision is `backup` or `live`") }
        return side
    }

    static func refused(_ message: String) -> ReconcileRefused {
        ReconcileRefused(
            "reconcile.bad-decision", message,
            hints: [
                #"one line a row: {"table": "members", "key": {"id": 7}, "take": "backup"}"#,
                #"with "columns": {"email": "live"} for single columns"#,
            ])
    }
}

extension QualifiedName {
    /// `name`, of schema public, or `schema.name`; both as stored, without quotes.
    ///
    /// - Throws: `InvalidSQLName`.
    package init(asWritten text: String) throws {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        self = try parts.count == 2 ? QualifiedName(schema: parts[0], name: parts[1]) : QualifiedName(schema: "public", name: text)
    }
}

extension MergePlan {
    /// Gives rows that wait for a decision theirs.
    ///
    /// - Returns: lines that decide no row that waits.
    func decide(_ decisions: [Decision], _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> [Int] {
        var known = diffs.map(\.pair.live.name)
        if objects != nil { known.append(try .largeObjects()) }
        if let other = decisions.first(where: { !known.contains($0.table) }) {
            throw Decision.refused("line \(other.line) decides a row of \(other.table), which is not compared")
        }
        var unused: [Int] = []
        for diff in diffs {
            let own = decisions.filter { $0.table == diff.pair.live.name }
            if !own.isEmpty { unused += try await diff.decide(own, connection, deadline: deadline) }
        }
        return unused
    }
}

extension TableDiff {
    fileprivate func decide(_ decisions: [Decision], _ connection: isolated PostgresConnection, deadline: Deadline) async throws -> [Int] {
        guard let key = pair.key else { throw Decision.refused("\(pair.live.name) has no key by which rows could be decided") }
        let rows = try decisions.map { decision -> JSONValue in
            guard Set(decision.key.keys) == Set(key.columns) else {
                throw Decision.refused("line \(decision.line): the key of \(pair.live.name) is \(sql.list(key.columns))")
            }
            if let odd = decision.columns.keys.sorted().first(where: { name in !pair.columns.contains { $0.name == name } }) {
                throw Decision.refused("line \(decision.line): \(pair.live.name) has no column \(odd) that is compared")
            }
            let take = pair.columns.map { decision.columns[$0.name] ?? decision.take }
            return [
                "line": .integer(Int64(decision.line)), "key": .array(key.columns.map { .string(decision.key[$0] ?? "") }),
                "take": .array(take.map { $0.map { .bool($0 == .backup) } ?? .null }),
            ]
        }
        let written = PostgresParameter.text(try sortedJSON(JSONValue.array(rows)))
        let typed = key.columns.enumerated().map { "(x -> 'key' ->> \($0))::\(pair.live.column($1)!.plainType) AS \($1.sql)" }.joined(separator: ", ")
        let decided = """
            (SELECT (x ->> 'line')::integer AS "reprise line", \(typed),
                    ARRAY(SELECT e::boolean FROM pg_catalog.jsonb_array_elements_text(x -> 'take') WITH ORDINALITY AS t(e, n)
                          ORDER BY n) AS "reprise take"
             FROM pg_catalog.jsonb_array_elements($1::jsonb) AS x) AS w
            """
        let waiting = "d.kind = 'changed' AND d.verdict IN ('decide', 'update') AND pg_catalog.array_position(d.take, NULL) IS NOT NULL"
        let found = try await connection.query(
            "SELECT \"reprise line\" AS line, d.seq FROM \(decided) LEFT JOIN \(table.sql) AS d ON \(isAbout("w")) AND \(waiting) ORDER BY 1",
            [written], deadline: deadline
        ).rows.map { (line: try $0.integer("line", as: Int.self), seq: try $0.optionalInteger("seq", as: Int.self)) }
        let bySeq = Dictionary(grouping: found.filter { $0.seq != nil }) { $0.seq! }
        if let twice = bySeq.values.first(where: { $0.count > 1 }) {
            throw Decision.refused("lines \(twice.map { "\($0.line)" }.joined(separator: " and ")) decide the same row")
        }
        try await connection.execute(
            """
            UPDATE \(table.sql) AS d SET reason = 'by decision', take =
                ARRAY(SELECT coalesce(d.take[i], w."reprise take"[i]) FROM pg_catalog.generate_subscripts(d.take, 1) AS i ORDER BY i)
            FROM \(decided) WHERE \(isAbout("w")) AND \(waiting)
            """, [written], deadline: deadline)
        let decidedRows = try await connection.execute(
            "UPDATE \(table.sql) AS x SET verdict = \(changedVerdict) WHERE kind = 'changed' AND reason = 'by decision'", deadline: deadline)
        try await noteVerdicts(of: decidedRows, connection, deadline: deadline)
        return found.filter { $0.seq == nil }.map(\.line)
    }
}
