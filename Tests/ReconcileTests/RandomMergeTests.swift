import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@testable import Reconcile

/// Random tables, damage and policies against a model that is too simple to be wrong.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct RandomMergeTests {
    private static let schema = """
        CREATE TABLE parents (id int PRIMARY KEY, u int UNIQUE, a text, v int);
        CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents, a text, v int);
        """

    @Test func resultAndAuditAgreeWithTheModelAndUndoGivesTheLiveTablesBack() async throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        let bench = try await Bench(Self.schema)
        for round in 0..<20 {
            let backup = Model.random(&random), live = backup.damaged(&random)
            try await bench.run("DROP SCHEMA IF EXISTS reprise_audit CASCADE; TRUNCATE parents, children; \(backup.inserts)")
            try await bench.backUp("parents", "children")
            try await bench.run("TRUNCATE parents, children; \(live.inserts)")
            let policies = [ModelPolicy.random(&random), ModelPolicy.random(&random)]
            let before = [try await bench.rows("parents"), try await bench.rows("children")]
            let diffs = [
                try await bench.diff("children", policy: policies[1].policy), try await bench.diff("parents", policy: policies[0].policy),
            ]
            let (plan, _, outcome) = try await bench.merge(diffs, as: "round \(round)")
            let expected = live.merged(with: backup, policies)
            let at = "seed \(seed), round \(round), \(policies)\nbackup \(backup)\nlive \(live)"
            #expect(try await bench.rows("parents") == expected.parents.map(\.text).sorted(), "\(at)")
            #expect(try await bench.rows("children") == expected.children.map(\.text).sorted(), "\(at)")
            #expect(outcome.tables.map(\.inserted) == expected.inserted, "\(at)")
            #expect(outcome.tables.map(\.updated) == expected.updated, "\(at)")
            let undone = try await AuditTrail.undo("round \(round)", of: plan, bench.connection, deadline: soon())
            #expect(undone.tables.allSatisfy { $0.skipped.isEmpty }, "\(at)")
            #expect([try await bench.rows("parents"), try await bench.rows("children")] == before, "\(at)")
        }
    }
}

/// A row of either table: `link` is `u` of a parent and `parent` of a child.
private struct ModelRow: Hashable {
    var id: Int
    var link: Int?
    var a: String?
    var v: Int?

    /// As PostgreSQL writes the row.
    var text: String { "(\(id),\(link.map(String.init) ?? ""),\(a.map { $0.isEmpty ? "\"\"" : $0 } ?? ""),\(v.map(String.init) ?? ""))" }
    var sql: String { "(\(id), \(link.map(String.init) ?? "NULL"), \(a.map { "'\($0)'" } ?? "NULL"), \(v.map(String.init) ?? "NULL"))" }

    static func random(_ id: Int, link: Int?, _ random: inout SeededGenerator) -> ModelRow {
        ModelRow(id: id, link: link, a: random.pick(["x", "y", "", nil]), v: random.pick([1, 2, 3, nil]))
    }
}

private enum ModelPolicy: CaseIterable {
    case missingOnly, evenOnly, takeBackup, newest, fillNulls, onlyV, skipMissing

    static func random(_ random: inout SeededGenerator) -> ModelPolicy { random.pick(allCases) }

    var policy: MergePolicy {
        let v = try! SQLIdentifier("v")
        switch self {
        case .missingOnly: return MergePolicy()
        case .evenOnly: return MergePolicy(.takeBackup, missing: .insert(where: "id % 2 = 0"))
        case .takeBackup: return MergePolicy(.takeBackup)
        case .newest: return MergePolicy(.newest(v))
        case .fillNulls: return MergePolicy(.fillNulls)
        case .skipMissing: return MergePolicy(.takeBackup, missing: .skip)
        case .onlyV:
            var policy = MergePolicy()
            policy.columns[v] = .takeBackup
            return policy
        }
    }

    func inserts(_ row: ModelRow) -> Bool {
        switch self {
        case .evenOnly: row.id % 2 == 0
        case .skipMissing: false
        default: true
        }
    }

    func merged(_ live: ModelRow, _ backup: ModelRow) -> ModelRow {
        var row = live
        switch self {
        case .missingOnly: break
        case .evenOnly, .takeBackup, .skipMissing: row = backup
        case .newest: if live.v == nil ? backup.v != nil : (backup.v ?? .min) > live.v! { row = backup }
        case .fillNulls:
            row.link = live.link ?? backup.link
            row.a = live.a ?? backup.a
            row.v = live.v ?? backup.v
        case .onlyV: row.v = backup.v
        }
        return row
    }
}

private struct Model: Hashable {
    var parents: Set<ModelRow> = []
    var children: Set<ModelRow> = []
    var inserted: [Int] = []
    var updated: [Int] = []

    static func random(_ random: inout SeededGenerator) -> Model {
        var model = Model()
        for id in 1...8 where random.chance(80) { model.addParent(id, &random) }
        for id in 1...10 where random.chance(80) { model.addChild(id, &random) }
        return model
    }

    private mutating func addParent(_ id: Int, _ random: inout SeededGenerator) {
        let taken = Set(parents.compactMap(\.link))
        let free = (1...9).filter { !taken.contains($0) }
        parents.insert(.random(id, link: random.chance(70) && !free.isEmpty ? random.pick(free) : nil, &random))
    }

    private mutating func addChild(_ id: Int, _ random: inout SeededGenerator) {
        let there = parents.map(\.id).sorted()
        children.insert(.random(id, link: random.chance(80) && !there.isEmpty ? random.pick(there) : nil, &random))
    }

    func damaged(_ random: inout SeededGenerator) -> Model {
        var model = self
        for row in children.sorted(by: { $0.id < $1.id }) where random.chance(40) {
            model.children.remove(row)
            if random.chance(50) { model.addChild(row.id, &random) }
        }
        let referenced = { (model: Model) in Set(model.children.compactMap(\.link)) }
        for row in parents.sorted(by: { $0.id < $1.id }) where random.chance(40) {
            if referenced(model).contains(row.id), random.chance(70) {
                model.parents.remove(row)
                model.addParent(row.id, &random)
                continue
            }
            model.parents.remove(row)
            model.children = model.children.filter { $0.link != row.id }
            if random.chance(30) { model.addParent(row.id, &random) }
        }
        for id in 9...10 where random.chance(50) { model.addParent(id, &random) }
        for id in 11...12 where random.chance(50) { model.addChild(id, &random) }
        return model
    }

    var inserts: String {
        func statement(_ table: String, _ rows: Set<ModelRow>) -> String {
            rows.isEmpty ? "" : "INSERT INTO \(table) VALUES \(rows.sorted { $0.id < $1.id }.map(\.sql).joined(separator: ", "));"
        }
        return statement("parents", parents) + statement("children", children)
    }

    /// The rule book, row by row.
    func merged(with backup: Model, _ policies: [ModelPolicy]) -> Model {
        var (newParents, changedParents) = Self.candidates(parents, backup.parents, policies[0])
        let live = Dictionary(uniqueKeysWithValues: parents.map { ($0.id, $0) })
        changedParents = changedParents.filter { row in
            // Another number beside the key: somebody else's row.
            guard let old = live[row.id]?.link, let saved = backup.parents.first(where: { $0.id == row.id })?.link else { return true }
            return old == saved
        }
        let isFree = { (row: ModelRow) in row.link == nil || !parents.contains { $0.id != row.id && $0.link == row.link } }
        newParents = newParents.filter(isFree)
        changedParents = changedParents.filter(isFree)
        let (candidates, changedCandidates) = Self.candidates(children, backup.children, policies[1])
        let there = Set(parents.map(\.id)).union(newParents.map(\.id))
        let hasParent = { (row: ModelRow) in row.link.map(there.contains) ?? true }
        let links = Dictionary(uniqueKeysWithValues: children.map { ($0.id, $0.link) })
        let hasTheSame = { (row: ModelRow) in
            guard let link = row.link, links[row.id] != .some(link), let there = live[link]?.link else { return true }
            return backup.parents.first { $0.id == link }?.link.map { $0 == there } ?? true
        }
        let mayCome = { (row: ModelRow) in hasParent(row) && hasTheSame(row) }
        let newChildren = candidates.filter(mayCome), changedChildren = changedCandidates.filter(mayCome)
        return Model(
            parents: Self.apply(parents, newParents, changedParents), children: Self.apply(children, newChildren, changedChildren),
            inserted: [newParents.count, newChildren.count], updated: [changedParents.count, changedChildren.count])
    }

    private static func candidates(_ live: Set<ModelRow>, _ backup: Set<ModelRow>, _ policy: ModelPolicy) -> ([ModelRow], [ModelRow]) {
        let there = Dictionary(uniqueKeysWithValues: live.map { ($0.id, $0) })
        let missing = backup.filter { there[$0.id] == nil && policy.inserts($0) }
        let changed = backup.compactMap { row in there[row.id].flatMap { old in policy.merged(old, row) == old ? nil : policy.merged(old, row) } }
        return (Array(missing), changed)
    }

    private static func apply(_ live: Set<ModelRow>, _ inserted: [ModelRow], _ updated: [ModelRow]) -> Set<ModelRow> {
        let changed = Set(updated.map(\.id))
        return live.filter { !changed.contains($0.id) }.union(updated).union(inserted)
    }
}
