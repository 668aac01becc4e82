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
        let bench = try await Bench("")
        for round in 0..<25 {
            let parents = RandomTable("parents", parent: nil, &random), children = RandomTable("children", parent: parents, &random)
            let backup = RandomState.random(parents, children, &random), live = backup.damaged(&random)
            let tables = "DROP SCHEMA IF EXISTS reprise_audit CASCADE; DROP TABLE IF EXISTS children, parents; \(parents.definition); \(children.definition);"
            try await bench.run("\(tables) \(backup.inserts)")
            try await bench.backUp("parents", "children")
            try await bench.run("TRUNCATE children, parents; \(live.inserts)")
            let rules = [RandomRules(parents, &random), RandomRules(children, &random)], mode = random.pick(ComparisonMode.allCases)
            let at: Comment = "seed \(seed), round \(round), \(mode)\n\(parents.definition)\n\(children.definition)\n\(rules)\nbackup \(backup.inserts)\nlive \(live.inserts)"
            let diffs = [
                try await bench.diff("parents", policy: rules[0].policy, mode: mode), try await bench.diff("children", policy: rules[1].policy, mode: mode),
            ]
            let (plan, _, outcome) = try await bench.merge(diffs, as: "round \(round)")
            let expected = RandomModel(backup, live, rules, mode)
            for (index, table) in [parents, children].enumerated() {
                #expect(try await rows(table, bench) == expected.rows[index].map(\.description).sorted(), at)
                let merged = try #require(outcome.tables.first { $0.name.name.name == table.name })
                #expect(merged.skipped == expected.skips[index], at)
                #expect(try await changes(table, bench) == expected.changes[index].sorted(), at)
                #expect([merged.inserted, merged.updated, merged.deleted].reduce(0, +) == expected.changes[index].count, at)
            }
            #expect(try await AuditTrail.prove("round \(round)", bench.connection, deadline: soon()).isProven, at)
            let undone = try await AuditTrail.undo("round \(round)", of: plan, bench.connection, deadline: soon())
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
        [("uuid", (1...8).map { "00000000-0000-0000-0000-00000000000\($0)" })], [("int", ["1", "2", "3"]), ("text", ["x", "y", "x "])], [],
    ]
    private static let types: [(String, [String])] = [
        ("int", ["1", "2"]), ("text", ["x", "x ", "", "NULL", "a,b"]), ("numeric", ["1.0", "1.00", "2"]), ("bool", ["t", "f"]), ("float8", ["-0", "0", "0.1"]),
        ("date", ["2026-01-01", "infinity", "0044-03-15 BC"]), ("jsonb", ["{\"a\": 1}", "{\"a\": 1.0}"]), ("json", ["{\"a\":1}", "{\"a\": 1}"]), ("bytea", ["\\x00", "\\x0000"]),
        ("int[]", ["{1,2}", "{NULL}", "[0:1]={1,2}"]), ("timestamptz", ["2026-01-01 00:00:00+00", "-infinity"]), ("interval", ["1 day", "24:00:00"]),
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

/// A policy, and the same as plain rules.
struct RandomRules: CustomStringConvertible {
    enum Rule: String, CaseIterable { case keepLive, takeBackup, newest, fillNulls }
    enum Missing: String, CaseIterable { case insert, some, skip }
    let changed: Rule
    let column: (place: Int, rule: Rule)?
    let missing: Missing
    let deletesExtra: Bool
    let mergesOtherRows: Bool
    private let table: RandomTable

    init(_ table: RandomTable, _ random: inout SeededGenerator) {
        self.table = table
        changed = random.pick(Rule.allCases + [.takeBackup])
        column = random.chance(40) ? (random.below(table.columns.count), random.pick(Rule.allCases)) : nil
        missing = random.pick(Missing.allCases + [.insert, .insert])
        deletesExtra = random.chance(40)
        mergesOtherRows = random.chance(40)
    }

    var description: String { "\(table.name): \(changed) \(column.map { "\($0)" } ?? "") \(missing), deletes \(deletesExtra), others \(mergesOtherRows)" }

    var policy: MergePolicy {
        func policy(_ rule: Rule) -> MergePolicy.Changed {
            switch rule {
            case .keepLive: .keepLive
            case .takeBackup: .takeBackup
            case .newest: .newest(try! SQLIdentifier("v"))
            case .fillNulls: .fillNulls
            }
        }
        var result = MergePolicy(policy(changed), missing: missing == .skip ? .skip : .insert(where: missing == .some ? "\"v\" > 1" : nil))
        if let column { result.columns[try! SQLIdentifier(table.columns[column.place].name)] = policy(column.rule) }
        (result.deletesExtra, result.mostDeletes, result.mergesOtherRows) = (deletesExtra, 100, mergesOtherRows)
        return result
    }

    func brings(_ row: RandomRow) -> Bool {
        switch missing {
        case .insert: true
        case .skip: false
        case .some: row.values[table.v].map { $0 > "1" } ?? false
        }
    }

    func takes(_ place: Int, _ backup: RandomRow, _ live: RandomRow) -> Bool {
        switch column.flatMap({ $0.place == place ? $0.rule : nil }) ?? changed {
        case .keepLive: return false
        case .takeBackup: return true
        case .fillNulls: return live.values[place] == nil
        case .newest:
            guard let value = backup.values[table.v] else { return false }
            return live.values[table.v].map { value > $0 } ?? true
        }
    }
}

/// What a merge has to come to.
struct RandomModel {
    var rows: [[RandomRow]] = [[], []]
    var changes: [[String]] = [[], []]
    var skips: [[String: Int]] = [[:], [:]]

    private struct Wish {
        let backup: RandomRow
        let live: RandomRow?
        let wanted: RandomRow
    }

    init(_ backup: RandomState, _ live: RandomState, _ rules: [RandomRules], _ mode: ComparisonMode) {
        rows = live.rows
        var wishes: [[Wish]] = [[], []], unwanted: [[RandomRow]] = [[], []]
        for (index, table) in live.tables.enumerated() {
            guard table.keyCount > 0 else {
                addCopies(index, backup.rows[index], rules[index], table, mode)
                continue
            }
            let there = Dictionary(uniqueKeysWithValues: live.rows[index].map { (table.key($0), $0) })
            for row in backup.rows[index] {
                guard let old = there[table.key(row)] else {
                    if rules[index].brings(row) { wishes[index].append(Wish(backup: row, live: nil, wanted: row)) }
                    continue
                }
                var wanted = old
                for (place, column) in table.columns.enumerated() where rules[index].takes(place, row, old) {
                    let meanings = [row, old].map { mode == .exact ? $0.values[place] : RandomTable.meaning($0.values[place], column.type) }
                    if meanings[0] != meanings[1] { wanted.values[place] = row.values[place] }
                }
                if wanted != old { wishes[index].append(Wish(backup: row, live: old, wanted: wanted)) }
            }
            let known = Set(backup.rows[index].map(table.key))
            if rules[index].deletesExtra { unwanted[index] = live.rows[index].filter { !known.contains(table.key($0)) } }
            if let unique = table.unique { skipUniqueValues(index, table, unique, live, rules[index], &wishes[index]) }
        }
        skipChildren(backup, live, rules[0], wishes[0], unwanted[0], &wishes[1])
        for index in 0..<2 {
            for wish in wishes[index] {
                rows[index].removeAll { $0 == wish.live }
                rows[index].append(wish.wanted)
                changes[index].append(wish.live.map { "update \($0) \(wish.wanted)" } ?? "insert - \(wish.wanted)")
            }
        }
        for index in [1, 0] { delete(unwanted[index], index, live.tables) }
    }

    /// Rows that are written the same stand for each other, then those that mean the same: of what is left the first by their values.
    private mutating func addCopies(_ index: Int, _ backup: [RandomRow], _ rules: RandomRules, _ table: RandomTable, _ mode: ComparisonMode) {
        let live = rows[index]
        let meaning = { (row: RandomRow) in mode == .exact ? row.values : zip(row.values, table.columns).map { RandomTable.meaning($0, $1.type) } }
        for alike in Dictionary(grouping: Set(backup + live), by: meaning).values {
            let surplus = alike.map { row in (row: row, count: backup.count { $0 == row } - live.count { $0 == row }) }
            var left = surplus.map(\.count).reduce(0, +)
            for (row, count) in surplus.sorted(by: { $0.row.isBefore($1.row) }) where count > 0 && left > 0 {
                let lost = min(count, left)
                left -= lost
                guard rules.brings(row) else { continue }
                rows[index] += [RandomRow](repeating: row, count: lost)
                changes[index] += [String](repeating: "insert - \(row)", count: lost)
            }
        }
    }

    private mutating func skip(_ reason: String, _ index: Int, _ wishes: inout [Wish], where isHeld: (Wish) -> Bool) {
        let held = wishes.count(where: isHeld)
        wishes.removeAll(where: isHeld)
        if held > 0 { skips[index][reason, default: 0] += held }
    }

    private mutating func skipUniqueValues(
        _ index: Int, _ table: RandomTable, _ unique: Int, _ live: RandomState, _ rules: RandomRules, _ wishes: inout [Wish]
    ) {
        let name = "\(table.name)_u"
        skip("another row under the same key, by \(name)", index, &wishes) { wish in
            guard !rules.mergesOtherRows, let old = wish.live?.values[unique], let saved = wish.backup.values[unique] else { return false }
            return old != saved
        }
        skip("another row has its value of \(name)", index, &wishes) { wish in
            guard let value = wish.wanted.values[unique] else { return false }
            return live.rows[index].contains { $0.values[unique] == value && table.key($0) != table.key(wish.wanted) }
        }
        let all = wishes
        skip("another row of the backup has its value of \(name)", index, &wishes) { wish in
            guard let value = wish.wanted.values[unique] else { return false }
            return all.contains { $0.wanted.values[unique] == value && table.key($0.wanted) != table.key(wish.wanted) }
        }
    }

    private mutating func skipChildren(
        _ backup: RandomState, _ live: RandomState, _ rules: RandomRules, _ parents: [Wish], _ leaving: [RandomRow], _ wishes: inout [Wish]
    ) {
        let (table, child) = (live.tables[0], live.tables[1])
        skip("its parent is another row by now, by children_p", 1, &wishes) { wish in
            guard !rules.mergesOtherRows, let unique = table.unique, let link = child.link(wish.wanted) else { return false }
            if let old = wish.live, old.values[child.link] == wish.wanted.values[child.link] { return false }
            let (old, new) = (backup.rows[0].first { table.key($0) == link }, live.rows[0].first { table.key($0) == link })
            guard let saved = old?.values[unique], let present = new?.values[unique] else { return false }
            return saved != present
        }
        let there = Set(live.rows[0].filter { !leaving.contains($0) }.map(table.key)).union(parents.map { table.key($0.wanted) })
        skip("its parent is not there, by children_p", 1, &wishes) { wish in child.link(wish.wanted).map { !there.contains($0) } ?? false }
    }

    private mutating func delete(_ unwanted: [RandomRow], _ index: Int, _ tables: [RandomTable]) {
        for row in unwanted {
            let isNeeded = index == 0 && rows[1].contains { tables[1].link($0) == tables[0].key(row) }
            guard !isNeeded else {
                skips[0]["other rows hang on it", default: 0] += 1
                continue
            }
            rows[index].removeAll { $0 == row }
            changes[index].append("delete \(row) -")
        }
    }
}
