import BlockingIO
import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@testable import Reconcile

/// Tables of random columns and keys, random damage and random policies, against rules that are written down row by row.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct RandomTableTests {
    @Test func resultAuditAndSkipsAgreeWithTheModelAndUndoGivesEveryByteBack() async throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        let bench = try await Bench("CREATE DOMAIN word AS text CHECK (VALUE <> 'never'); CREATE TYPE mood AS ENUM ('sad', 'glad')")
        for round in 0..<30 {
            let parents = RandomTable("parents", parent: nil, &random), children = RandomTable("children", parent: parents, &random)
            let backup = RandomState.random(parents, children, &random), live = backup.damaged(&random)
            let tables = "DROP SCHEMA IF EXISTS reprise_audit CASCADE; DROP TABLE IF EXISTS children, parents; \(parents.definition); \(children.definition);"
            try await bench.run("\(tables) \(backup.inserts)")
            try await bench.backUp("parents", "children")
            try await bench.run("TRUNCATE children, parents; \(live.inserts)")
            let rules = [parents, children].indices.map { RandomRules($0, backup, live, &random) }, mode = random.pick(ComparisonMode.allCases)
            let at: Comment = "seed \(seed), round \(round), \(mode)\n\(parents.definition)\n\(children.definition)\n\(rules)\nbackup \(backup.inserts)\nlive \(live.inserts)"
            let expected = RandomModel(backup, live, rules, mode), lines = rules.flatMap(\.decisions)
            let decisions = try Decision.read(lines.map(\.json).joined(separator: "\n"), from: "decisions")
            func plan(_ caps: [RandomCaps]) async throws -> MergePlan {
                var diffs: [TableDiff] = []
                for (index, table) in [parents, children].enumerated() {
                    diffs.append(try await bench.diff(table.name, policy: rules[index].policy(caps[index]), mode: mode))
                }
                return try MergePlan(diffs)
            }
            if let tooFew = RandomCaps.tooFew(expected.caps, &random) {
                let refused = await #expect(throws: ReconcileRefused.self, at) {
                    try await plan(tooFew).prepare(bench.connection, decisions: decisions, deadline: soon())
                }
                #expect(refused?.code == "reconcile.too-many", at)
            }
            let merging = try await plan(expected.caps)
            print("AT \(at)")
            let preview = try await merging.prepare(bench.connection, decisions: decisions, deadline: soon())
            #expect(preview.unusedDecisions == lines.indices.filter { !expected.waiting.contains(lines[$0].row) }.map { $0 + 1 }, at)
            let outcome = try await merging.merge(as: "round \(round)", agreed: preview.hash, bench.connection, deadline: soon())
            for (index, table) in [parents, children].enumerated() {
                #expect(try await rows(table, bench) == expected.rows[index].map(\.description).sorted(), at)
                let merged = try #require(outcome.tables.first { $0.name.name.name == table.name })
                #expect(merged.skipped == expected.skips[index], at)
                #expect(try await changes(table, bench) == expected.changes[index].sorted(), at)
                #expect([merged.inserted, merged.updated, merged.deleted].reduce(0, +) == expected.changes[index].count, at)
            }
            #expect(try await AuditTrail.prove("round \(round)", bench.connection, deadline: soon()).isProven, at)
            let undone = try await AuditTrail.undo("round \(round)", of: merging, bench.connection, deadline: soon())
            #expect(undone.tables.allSatisfy { $0.skipped.isEmpty }, at)
            for (index, table) in [parents, children].enumerated() {
                #expect(try await rows(table, bench) == live.rows[index].map(\.description).sorted(), at)
            }
        }
    }

    private func rows(_ table: RandomTable, _ bench: Bench) async throws -> [String] {
        let image = table.columns.map { "CASE WHEN t.\"\($0.name)\" IS NOT NULL THEN format('%s', t.\"\($0.name)\") END" }.joined(separator: ", ")
        return try await bench.connection.query("SELECT ARRAY[\(image)]::text[]::text AS x FROM app.\(table.name) AS t", deadline: soon())
            .rows.map { try $0.string("x") }.sorted()
    }

    private func changes(_ table: RandomTable, _ bench: Bench) async throws -> [String] {
        try await bench.connection.query(
            "SELECT concat_ws(' ', operation, coalesce(before::text, '-'), coalesce(after::text, '-')) AS x FROM reprise_audit.changes WHERE table_name = '\(table.name)'",
            deadline: soon()
        ).rows.map { try $0.string("x") }.sorted()
    }
}

/// A row as the texts of its values.
struct RandomRow: Hashable, CustomStringConvertible {
    var values: [String?]

    /// By bytes, NULL last: as a server orders arrays of text.
    func isBefore(_ other: RandomRow) -> Bool {
        for (mine, theirs) in zip(values, other.values) where mine != theirs {
            guard let mine, let theirs else { return mine != nil }
            return mine.utf8.lexicographicallyPrecedes(theirs.utf8)
        }
        return false
    }

    /// As PostgreSQL writes an array of them.
    var description: String {
        "{" + values.map { value in
            guard let value else { return "NULL" }
            let isPlain = !value.isEmpty && value.uppercased() != "NULL" && !value.contains { " {},\"\\".contains($0) }
            return isPlain ? value : "\"\(value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
        }.joined(separator: ",") + "}"
    }
}

struct RandomTable {
    struct Column {
        let name: String
        let type: String
        let values: [String]
    }

    let name: String
    var columns: [Column] = []
    /// So many of the first columns are the key.
    var keyCount = 0
    /// The place of a column that must not repeat.
    var unique: Int?
    /// The places of the columns that lead to a parent, and its table's name.
    var link: Range<Int> = 0..<0
    var parent = ""

    private static let keys: [[(String, [String])]] = [
        [("int", (1...9).map(String.init))], [("text", ["a", "A", "ä", "", "b c", "'", "\"", "\\"])],
        [("uuid", (1...8).map { "00000000-0000-0000-0000-00000000000\($0)" })], [("int", ["1", "2", "3"]), ("text", ["x", "y", "x "])],
        [("word", ["a", "A", "b c"])], [],
    ]
    private static let types: [(String, [String])] = [
        ("int", ["1", "2"]), ("text", ["x", "x ", "", "NULL", "a,b"]), ("numeric", ["1.0", "1.00", "2"]), ("bool", ["t", "f"]), ("float8", ["-0", "0", "0.1"]),
        ("date", ["2026-01-01", "infinity", "0044-03-15 BC"]), ("jsonb", ["{\"a\": 1}", "{\"a\": 1.0}"]), ("json", ["{\"a\":1}", "{\"a\": 1}"]), ("bytea", ["\\x00", "\\x0000"]),
        ("int[]", ["{1,2}", "{NULL}", "[0:1]={1,2}"]), ("timestamptz", ["2026-01-01 00:00:00+00", "-infinity"]), ("interval", ["1 day", "24:00:00"]),
        ("word", ["x", ""]), ("mood", ["sad", "glad"]), ("mood[]", ["{sad}", "{glad,sad}"]), ("numeric[]", ["{1.0}", "{1.00}"]), ("int4range", ["[1,3)", "empty"]), ("point", ["(1,2)", "(2,1)"]),
    ]

    init(_ name: String, parent: RandomTable?, _ random: inout SeededGenerator) {
        self.name = name
        for (index, part) in random.pick(Self.keys).enumerated() { columns.append(Column(name: "k \(index)", type: part.0, values: part.1)) }
        keyCount = columns.count
        if keyCount > 0, let parent, parent.keyCount > 0 {
            link = keyCount..<keyCount + parent.keyCount
            self.parent = parent.name
            columns += parent.columns.prefix(parent.keyCount).map { Column(name: "p \($0.name)", type: $0.type, values: $0.values) }
        }
        columns.append(Column(name: "v", type: "int", values: ["1", "2", "3"]))
        if keyCount > 0, random.chance(60) {
            unique = columns.count
            columns.append(Column(name: "u", type: "int", values: (1...12).map(String.init)))
        }
        for index in 0..<random.below(4) {
            let (type, values) = random.pick(Self.types)
            columns.append(Column(name: "c \(index)", type: type, values: values))
        }
    }

    var v: Int { columns.firstIndex { $0.name == "v" }! }
    func key(_ row: RandomRow) -> [String?] { Array(row.values.prefix(keyCount)) }
    /// nil where it leads nowhere.
    func link(_ row: RandomRow) -> [String?]? { link.isEmpty || row.values[link].contains(nil) ? nil : Array(row.values[link]) }

    private func list(_ places: Range<Int>) -> String { places.map { "\"\(columns[$0].name)\"" }.joined(separator: ", ") }

    var definition: String {
        var parts = columns.indices.map { "\"\(columns[$0].name)\" \(columns[$0].type)\($0 == unique ? " CONSTRAINT \(name)_u UNIQUE" : "")" }
        if keyCount > 0 { parts.append("PRIMARY KEY (\(list(0..<keyCount)))") }
        if !link.isEmpty { parts.append("CONSTRAINT \(name)_p FOREIGN KEY (\(list(link))) REFERENCES \(parent)") }
        return "CREATE TABLE \(name) (\(parts.joined(separator: ", ")))"
    }

    func value(_ place: Int, _ random: inout SeededGenerator) -> String? {
        place >= keyCount && random.chance(25) ? nil : random.pick(columns[place].values)
    }

    /// Puts in what is not in its way.
    func add(_ row: RandomRow, to rows: inout [RandomRow]) {
        if keyCount > 0, rows.contains(where: { key($0) == key(row) }) { return }
        if let unique, let value = row.values[unique], rows.contains(where: { $0.values[unique] == value }) { return }
        rows.append(row)
    }

    /// What the type's own equality holds for the same.
    static func meaning(_ text: String?, _ type: String) -> String? {
        switch type {
        case "numeric": text == "1.00" ? "1.0" : text
        case "numeric[]": text == "{1.00}" ? "{1.0}" : text
        case "float8": text == "-0" ? "0" : text
        case "jsonb": text == "{\"a\": 1.0}" ? "{\"a\": 1}" : text
        case "interval": text == "24:00:00" ? "1 day" : text
        default: text
        }
    }
}

struct RandomState {
    let tables: [RandomTable]
    var rows: [[RandomRow]] = [[], []]

    static func random(_ parents: RandomTable, _ children: RandomTable, _ random: inout SeededGenerator) -> RandomState {
        var state = RandomState(tables: [parents, children])
        for index in 0..<2 { for _ in 0..<random.below(12) { state.add(index, &random) } }
        return state
    }

    private mutating func add(_ index: Int, _ random: inout SeededGenerator) {
        let table = tables[index]
        put(RandomRow(values: table.columns.indices.map { table.value($0, &random) }), index, &random)
    }

    /// With a parent that there is, or none.
    private mutating func put(_ row: RandomRow, _ index: Int, _ random: inout SeededGenerator) {
        var row = row
        let table = tables[index]
        if let link = table.link(row), !rows[0].contains(where: { tables[0].key($0) == link }) {
            let parent = rows[0].isEmpty || random.chance(20) ? nil : random.pick(rows[0])
            for (place, column) in table.link.enumerated() { row.values[column] = parent?.values[place] }
        }
        table.add(row, to: &rows[index])
    }

    func damaged(_ random: inout SeededGenerator) -> RandomState {
        var state = RandomState(tables: tables)
        for (index, table) in tables.enumerated() {
            for row in rows[index] where !random.chance(30) {
                var row = row
                if random.chance(50) {
                    for place in table.keyCount..<table.columns.count where random.chance(40) { row.values[place] = table.value(place, &random) }
                }
                state.put(row, index, &random)
            }
            for _ in 0..<random.below(5) { state.add(index, &random) }
        }
        return state
    }

    var inserts: String {
        zip(tables, rows).filter { !$1.isEmpty }.map { table, rows in
            let values = rows.map { row in
                "(" + zip(row.values, table.columns).map { value, column in value.map { "'\($0.replacing("'", with: "''"))'::\(column.type)" } ?? "NULL" }
                    .joined(separator: ", ") + ")"
            }
            return "INSERT INTO \(table.name) VALUES \(values.joined(separator: ", "));"
        }.joined(separator: " ")
    }
}
