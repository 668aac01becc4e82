/// Chooses entries of an archive, table by table, then what belongs to them and what these need.
struct TableChoice {
    let wish: TableSelection.Wish
    let archive: ArchiveOwnership
    /// Of each part the partitioned table that it is attached to.
    let rootOf: [Int: Int]
    private let targetObjects: Set<StructureDiff.Object>
    private let targetNames: Set<ArchiveName>
    private let parts: [Int: [Int]]

    private(set) var taken: Set<Int> = []
    /// Taken, and made by the server itself.
    private(set) var implied: Set<Int> = []
    private(set) var leftOut: [TableSelection.Omission] = []
    private var decided: Set<Int> = []
    private var excluded: Set<Int> = []
    /// What a chosen table cannot do without and cannot have.
    private var unmet: [(what: String, needs: [String])] = []

    init(_ wish: TableSelection.Wish, archive: ArchiveOwnership, target: ArchiveOwnership) {
        self.wish = wish
        self.archive = archive
        let rootOf = archive.partitionRoots
        self.rootOf = rootOf
        targetObjects = Set(target.entries.map(\.object))
        targetNames = Set(target.entries.compactMap(target.relationName))
        parts = Dictionary(grouping: rootOf.keys, by: { rootOf[$0] ?? 0 })
    }

    // MARK: Tables

    mutating func chooseTables(_ nearest: (String, [String]) -> [String]) throws {
        let tables = archive.entries.filter { $0.kind == "TABLE" }
        excluded = Set(try Self.matching(wish.excluded, tables, archive.entries, nearest))
        var waiting = try Self.matching(wish.tables, tables, archive.entries, nearest).filter { !excluded.contains($0) }
        guard !waiting.isEmpty else {
            throw SelectionRefused("all-excluded", "every table that was asked for is excluded again", hints: ["look at `tables` and `exclude`"])
        }
        // A root comes with its parts; a part brings the root that it cannot be without.
        while let id = waiting.popLast() {
            guard !excluded.contains(id), taken.insert(id).inserted else { continue }
            waiting += parts[id] ?? []
            if let root = rootOf[id], !isInTarget(root) { waiting.append(root) }
        }
    }

    private static func matching(
        _ patterns: [TablePattern], _ tables: [ArchiveEntry], _ entries: [ArchiveEntry], _ nearest: (String, [String]) -> [String]
    ) throws -> [Int] {
        try patterns.flatMap { pattern in
            let found = tables.filter { pattern.matches(schema: $0.schema ?? "public", name: $0.tag) }.map(\.dumpID)
            guard found.isEmpty else { return found }
            let others = entries.filter { ArchiveOwnership.relations.contains($0.kind) && pattern.matches(schema: $0.schema ?? "public", name: $0.tag) }
            throw SelectionRefused.nothing(pattern, others, tables, nearest)
        }
    }

    // MARK: What belongs to them

    /// In the archive's order an owner stands before what belongs to it, but for a few (a comment on what comes later): so again,
    /// until nothing more is found.
    mutating func takeWhatBelongs() {
        for entry in archive.entries where taken.contains(entry.dumpID) { require(entry) }
        var count = -1
        while count != taken.count {
            count = taken.count
            for entry in archive.entries where !decided.contains(entry.dumpID) {
                guard let owner = archive.owner[entry.dumpID], taken.contains(owner) else { continue }
                decided.insert(entry.dumpID)
                decide(entry, owner)
            }
        }
    }

    private mutating func decide(_ entry: ArchiveEntry, _ owner: Int) {
        let table = archive.entry[archive.root(of: entry.dumpID)]
        if entry.kind == "FK CONSTRAINT", !wish.keepsKeysToTarget, let other = outsideTable(entry) {
            leftOut.append(.init(what: entry.spoken(table), reason: "it leads to \(other.spoken(nil)), which is not among the chosen ones"))
            return
        }
        let before = taken, missing = missing(for: entry)
        guard missing.isEmpty else {
            // Nor is made what only this would have needed.
            taken = before
            // A table without one of its policies or keys would be another table; without a trigger it is one that can be named.
            guard ["TRIGGER", "RULE", "FK CONSTRAINT", "STATISTICS"].contains(entry.kind) else { return unmet.append((entry.spoken(table), missing)) }
            let reason = "it needs \(missing.joined(separator: ", ")), neither chosen nor in the target"
            return leftOut.append(.init(what: entry.spoken(table), reason: reason))
        }
        taken.insert(entry.dumpID)
        if entry.kind == "INDEX ATTACH", outsideTable(entry) != nil { implied.insert(entry.dumpID) }
    }

    private mutating func require(_ table: ArchiveEntry) {
        decided.insert(table.dumpID)
        let missing = missing(for: table)
        if !missing.isEmpty { unmet.append((table.spoken(nil), missing)) }
    }

    // MARK: What they need

    /// Names of what the entry needs and cannot have. What it needs and may have is taken.
    private mutating func missing(for entry: ArchiveEntry) -> [String] {
        var result: [String] = []
        for id in entry.dependencies where id != entry.dumpID {
            for name in obtain(id, for: entry) where !result.contains(name) { result.append(name) }
        }
        return result
    }

    private mutating func obtain(_ id: Int, for user: ArchiveEntry) -> [String] {
        guard !taken.contains(id), let needed = archive.entry[id], !isInTarget(id) else { return [] }
        if let owner = archive.owner[id] {
            // The key that a foreign key leads to may have another name in the target: its table is what counts.
            if taken.contains(owner) || isInTarget(owner) && needed.kind != "SEQUENCE" { return [] }
            return [archive.entry[archive.root(of: id)]?.spoken(nil) ?? needed.spoken(nil)]
        }
        guard mayMake(needed) else { return [needed.spoken(nil)] }
        // Taken before what it needs: two that need each other (a range type and its function) end here.
        let before = taken
        taken.insert(id)
        let missing = missing(for: needed)
        if !missing.isEmpty { taken = before }
        return missing
    }

    private func mayMake(_ entry: ArchiveEntry) -> Bool {
        switch entry.kind {
        case "SCHEMA": true
        case "TYPE", "SHELL TYPE", "DOMAIN", "COLLATION", "EXTENSION", "SEQUENCE": wish.createsTypes
        case "FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "CAST", "PROCEDURAL LANGUAGE": wish.createsFunctions
        default: false
        }
    }

    private func isInTarget(_ id: Int) -> Bool {
        guard let entry = archive.entry[id] else { return false }
        // The schema that every database has, and that pg_dump therefore mostly does not list.
        if entry.kind == "SCHEMA", entry.tag == "public" { return true }
        return targetObjects.contains(entry.object)
    }

    // MARK: What reaches out of the chosen

    /// A table that is not chosen and that the entry leads to.
    private func outsideTable(_ entry: ArchiveEntry) -> ArchiveEntry? {
        entry.dependencies.map { archive.root(of: $0) }.compactMap { archive.entry[$0] }
            .first { ArchiveOwnership.relations.contains($0.kind) && !taken.contains($0.dumpID) }
    }

    /// Whether the entry, or what it belongs to, ties a new table to one of the target.
    func isLink(_ id: Int) -> Bool {
        guard let entry = archive.entry[id] else { return false }
        if ["FK CONSTRAINT", "TABLE ATTACH"].contains(entry.kind) { return outsideTable(entry) != nil }
        guard let owner = archive.owner[id], archive.entry[owner]?.kind == "FK CONSTRAINT" else { return false }
        return isLink(owner)
    }

    /// What stands on chosen tables and does not come, unless the target has it.
    var notTaken: [String] {
        archive.entries.filter { entry in
            let isReached = entry.dependencies.contains { taken.contains($0) && ArchiveOwnership.relations.contains(archive.entry[$0]?.kind ?? "") }
            guard isReached, !taken.contains(entry.dumpID), !isInTarget(entry.dumpID) else { return false }
            // What belongs to a chosen table and was left out stands elsewhere; what belongs to a view goes without saying.
            guard let owner = archive.owner[entry.dumpID] else { return true }
            return !taken.contains(owner) && archive.entry[owner]?.kind == "TABLE" && entry.kind == "FK CONSTRAINT" && isInTarget(owner)
        }.map { entry in entry.spoken(archive.owner[entry.dumpID].flatMap { archive.entry[$0] }) }
    }

    // MARK: Refusals

    func refuse() throws {
        let there = archive.entries.filter { entry in
            taken.contains(entry.dumpID) && !implied.contains(entry.dumpID) && (archive.relationName(entry).map(targetNames.contains) ?? false)
        }
        guard there.isEmpty else { throw SelectionRefused.taken(there.map { $0.spoken(archive.owner[$0.dumpID].flatMap { archive.entry[$0] }) }) }
        guard unmet.isEmpty else { throw SelectionRefused.unmet(unmet) }
    }
}

extension SelectionRefused {
    static func nothing(_ pattern: TablePattern, _ others: [ArchiveEntry], _ tables: [ArchiveEntry], _ nearest: (String, [String]) -> [String]) -> Self {
        if let other = others.first {
            return .init(
                "no-table", "`\(pattern)` names no table of the backup, but the \(other.spoken(nil))",
                hints: ["only tables are restored; make the view anew from the application's migrations, or out of the archive's text: pg_restore -l"])
        }
        let names = tables.map { "\($0.schema ?? "public").\($0.tag)" }
        let text = pattern.description.contains(".") ? pattern.description : "public.\(pattern)"
        let sameName = tables.filter { $0.tag == text.split(separator: ".", maxSplits: 1).last.map(String.init) }.map { "\($0.schema ?? "public").\($0.tag)" }
        let near = sameName.isEmpty ? nearest(text, names) : sameName
        return .init(
            "matches-nothing", "`\(pattern)` matches no table of the backup",
            hints: near.isEmpty ? ["see what it has: reprise backup show"] : ["did you mean \(near.map { "`\(visible($0))`" }.joined(separator: ", "))?"])
    }

    static func taken(_ names: [String]) -> Self {
        .init(
            "target-has-it", "the target has these already, and nothing is overwritten: \(Self.list(names))",
            hints: ["to bring back rows of a table that is there: plans/table-restore.yaml", "or restore into another database, such as a new one: `into`"])
    }

    static func unmet(_ unmet: [(what: String, needs: [String])]) -> Self {
        .init(
            "unmet", "the tables cannot come whole: \(Self.list(unmet.map { "\($0.what) needs \($0.needs.joined(separator: ", "))" }))",
            hints: [
                "choose the tables that are needed as well",
                "types, domains and extensions that the target lacks are made with `types: create`, functions with `functions: create`",
            ])
    }

    private static func list(_ names: [String]) -> String {
        names.prefix(8).joined(separator: "; ") + (names.count > 8 ? "; and \(names.count - 8) more" : "")
    }
}
