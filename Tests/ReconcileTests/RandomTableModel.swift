import Foundation
import PostgreSQL
import TestSupport

@testable import Reconcile

/// How many rows of a table may be inserted, changed and deleted: as many as have to be, or one fewer of one of them.
struct RandomCaps {
    var inserts: Int
    var updates: Int
    var deletes: Int

    /// - Returns: now and then the same with one row too few allowed.
    static func tooFew(_ caps: [RandomCaps], _ random: inout SeededGenerator) -> [RandomCaps]? {
        let kinds: [WritableKeyPath<RandomCaps, Int>] = [\.inserts, \.updates, \.deletes]
        let some = caps.indices.flatMap { index in kinds.filter { caps[index][keyPath: $0] > 0 }.map { (index, $0) } }
        guard random.chance(30), !some.isEmpty else { return nil }
        let (index, kind) = random.pick(some)
        var caps = caps
        caps[index][keyPath: kind] -= 1
        return caps
    }
}

/// What somebody decides about a row that both sides have, whether anything waits there or not.
struct RandomDecision {
    /// The table's name and the row's key.
    let row: [String?]
    let json: String
    private let take: Bool?
    private let columns: [Int: Bool]

    init(_ table: RandomTable, _ key: [String?], _ random: inout SeededGenerator) {
        row = [table.name] + key
        let place = random.below(table.columns.count), column = random.pick([nil, nil, true, false])
        columns = column.map { [place: $0] } ?? [:]
        take = random.pick([true, false, columns.isEmpty ? true : nil])
        func object(_ members: [String: String]) -> String { String(decoding: try! JSONEncoder().encode(members), as: UTF8.self) }
        let side = { (isBackup: Bool) in isBackup ? "backup" : "live" }
        let keys = object(Dictionary(uniqueKeysWithValues: zip(table.columns, key).map { ($0.name, $1!) }))
        let single = object(Dictionary(uniqueKeysWithValues: columns.map { (table.columns[$0].name, side($1)) }))
        json = "{\"table\": \"app.\(table.name)\", \"key\": \(keys), \"take\": \"\(take.map(side) ?? "")\", \"columns\": \(single)}"
    }

    func takes(_ place: Int) -> Bool? { columns[place] ?? take }
}

/// A policy, and the same as plain rules.
struct RandomRules: CustomStringConvertible {
    enum Rule: String, CaseIterable { case keepLive, takeBackup, newest, fillNulls, decide }
    enum Missing: String, CaseIterable { case insert, some, skip }
    let changed: Rule
    let column: (place: Int, rule: Rule)?
    let missing: Missing
    /// Values of `v` that missing rows may have.
    let since: Range<Int>?
    let deletesExtra: Bool
    let mergesOtherRows: Bool
    private(set) var decisions: [RandomDecision] = []
    private let table: RandomTable

    init(_ index: Int, _ backup: RandomState, _ live: RandomState, _ random: inout SeededGenerator) {
        table = live.tables[index]
        changed = random.pick(Rule.allCases + [.takeBackup])
        column = random.chance(40) ? (random.below(table.columns.count), random.pick(Rule.allCases)) : nil
        missing = random.pick(Missing.allCases + [.insert, .insert])
        since = random.chance(25) ? random.pick([2..<Int.max, Int.min..<3, 2..<3]) : nil
        deletesExtra = random.chance(40)
        mergesOtherRows = random.chance(40)
        guard table.keyCount > 0 else { return }
        let there = Set(live.rows[index].map(table.key))
        for key in backup.rows[index].map(table.key) where there.contains(key) && random.chance(60) { decisions.append(RandomDecision(table, key, &random)) }
    }

    var description: String { "\(table.name): \(changed) \(column.map { "\($0)" } ?? "") \(missing) \(since.map { "\($0)" } ?? ""), deletes \(deletesExtra), others \(mergesOtherRows), \(decisions.map(\.json))" }

    func policy(_ caps: RandomCaps) -> MergePolicy {
        func policy(_ rule: Rule) -> MergePolicy.Changed {
            switch rule {
            case .keepLive: .keepLive
            case .takeBackup: .takeBackup
            case .newest: .newest(try! SQLIdentifier("v"))
            case .fillNulls: .fillNulls
            case .decide: .decide
            }
        }
        var result = MergePolicy(policy(changed), missing: missing == .skip ? .skip : .insert(where: missing == .some ? "\"v\" > 1" : nil))
        if let column { result.columns[try! SQLIdentifier(table.columns[column.place].name)] = policy(column.rule) }
        result.since = since.map { window in
            TimeWindow(
                column: try! SQLIdentifier("v"), from: window.lowerBound == .min ? nil : "\(window.lowerBound)", to: window.upperBound == .max ? nil : "\(window.upperBound)")
        }
        (result.deletesExtra, result.mergesOtherRows) = (deletesExtra, mergesOtherRows)
        (result.mostInserts, result.mostUpdates, result.mostDeletes) = (caps.inserts, caps.updates, caps.deletes)
        return result
    }

    func brings(_ row: RandomRow) -> Bool {
        if let since, !(row.values[table.v].flatMap { Int($0) }.map(since.contains) ?? false) { return false }
        switch missing {
        case .insert: return true
        case .skip: return false
        case .some: return row.values[table.v].map { $0 > "1" } ?? false
        }
    }

    /// nil: somebody has to decide.
    func takes(_ place: Int, _ backup: RandomRow, _ live: RandomRow) -> Bool? {
        switch column.flatMap({ $0.place == place ? $0.rule : nil }) ?? changed {
        case .keepLive: return false
        case .takeBackup: return true
        case .decide: return nil
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

    /// Rows of which something waits for a decision, as `RandomDecision.row` names them.
    var waiting: Set<[String?]> = []

    private struct Wish {
        let backup: RandomRow
        let live: RandomRow?
        let wanted: RandomRow
        var isDecidedInPart = false
    }

    var caps: [RandomCaps] {
        changes.map { changes in
            let count = { (operation: String) in changes.count { $0.hasPrefix(operation) } }
            return RandomCaps(inserts: count("insert"), updates: count("update"), deletes: count("delete"))
        }
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
                let differs = table.columns.indices.map { place in
                    let meanings = [row, old].map { mode == .exact ? $0.values[place] : RandomTable.meaning($0.values[place], table.columns[place].type) }
                    return meanings[0] != meanings[1]
                }
                let taken = table.columns.indices.map { differs[$0] ? rules[index].takes($0, row, old) : false }
                if let wish = update(index, row, old, taken, rules[index], table) { wishes[index].append(wish) }
            }
            let known = Set(backup.rows[index].map(table.key))
            if rules[index].deletesExtra { unwanted[index] = live.rows[index].filter { !known.contains(table.key($0)) } }
            if let unique = table.unique { skipUniqueValues(index, table, unique, live, &wishes[index]) }
        }
        skipChildren(backup, live, rules[0], wishes[0], unwanted[0], &wishes[1])
        for index in 0..<2 {
            for wish in wishes[index] {
                rows[index].removeAll { $0 == wish.live }
                rows[index].append(wish.wanted)
                if wish.isDecidedInPart { skips[index]["columns not decided", default: 0] += 1 }
                changes[index].append(wish.live.map { "update \($0) \(wish.wanted)" } ?? "insert - \(wish.wanted)")
            }
        }
        for index in [1, 0] { delete(unwanted[index], index, live.tables) }
    }

    /// - Parameter taken: for each column whether the backup's value replaces the live one; nil where a person has to say.
    private mutating func update(
        _ index: Int, _ backup: RandomRow, _ live: RandomRow, _ taken: [Bool?], _ rules: RandomRules, _ table: RandomTable
    ) -> Wish? {
        var taken = taken
        if taken.contains(true), !rules.mergesOtherRows, let unique = table.unique, let old = live.values[unique], let saved = backup.values[unique], old != saved {
            skips[index]["another row under the same key, by \(table.name)_u", default: 0] += 1
            return nil
        }
        if taken.contains(nil) {
            // Whoever decides about a row has looked at whose it is.
            let row = [table.name] + table.key(backup)
            waiting.insert(row)
            if let decision = rules.decisions.first(where: { $0.row == row }) { for place in taken.indices { taken[place] = taken[place] ?? decision.takes(place) } }
        }
        guard taken.contains(true) else {
            if taken.contains(nil) { skips[index]["not decided", default: 0] += 1 }
            return nil
        }
        let values = taken.indices.map { taken[$0] == true ? backup.values[$0] : live.values[$0] }
        return Wish(backup: backup, live: live, wanted: RandomRow(values: values), isDecidedInPart: taken.contains(nil))
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
        _ index: Int, _ table: RandomTable, _ unique: Int, _ live: RandomState, _ wishes: inout [Wish]
    ) {
        let name = "\(table.name)_u"
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
