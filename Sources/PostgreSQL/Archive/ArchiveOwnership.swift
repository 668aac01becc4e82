/// Which object each entry of an archive belongs to: an index to its table, a comment to what it is about.
///
/// pg_dump writes dependencies without saying of which sort they are. An entry's kind, and the table before its own name in the tag
/// (`members members_pkey`), tell which one is its owner; the others are what it needs.
struct ArchiveOwnership {
    let entries: [ArchiveEntry]
    /// By dump id; the first of two that claim the same.
    let entry: [Int: ArchiveEntry]
    /// The owner's dump id, by dump id.
    let owner: [Int: Int]

    init(_ contents: ArchiveTOC) {
        entries = contents.entries
        let entry = Dictionary(entries.map { ($0.dumpID, $0) }, uniquingKeysWith: { first, _ in first })
        self.entry = entry
        owner = Dictionary(
            entries.compactMap { each in Self.owner(of: each, entry).map { (each.dumpID, $0) } }, uniquingKeysWith: { first, _ in first })
    }

    static let relations: Set<String> = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"]

    private static func owner(of one: ArchiveEntry, _ entry: [Int: ArchiveEntry]) -> Int? {
        let dependencies = one.dependencies.compactMap { entry[$0] }.filter { $0.dumpID != one.dumpID }
        func first(_ isOwner: (ArchiveEntry) -> Bool) -> Int? { dependencies.first(where: isOwner)?.dumpID }
        switch one.kind {
        case "TABLE DATA", "MATERIALIZED VIEW DATA", "ROW SECURITY", "TABLE ATTACH":
            return first { relations.contains($0.kind) && $0.schema == one.schema && $0.tag == one.tag }
        case "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "TRIGGER", "POLICY", "RULE":
            // Of two that fit, `a` and `a b`, the longer name.
            return dependencies.filter {
                (relations.contains($0.kind) || $0.kind == "DOMAIN") && $0.schema == one.schema && one.tag.hasPrefix($0.tag + " ")
            }.max { $0.tag.utf8.count < $1.tag.utf8.count }?.dumpID
        case "INDEX", "STATISTICS", "SEQUENCE":
            return first { relations.contains($0.kind) }
        case "INDEX ATTACH":
            return first { $0.schema == one.schema && ($0.kind == "INDEX" && $0.tag == one.tag || $0.kind == "CONSTRAINT" && $0.tag.hasSuffix(" " + one.tag)) }
        case "SEQUENCE OWNED BY", "SEQUENCE SET":
            return first { $0.kind == "SEQUENCE" }
        case "ACL", "COMMENT", "SECURITY LABEL", "STATISTICS DATA":
            return dependencies.first?.dumpID
        default:
            return nil
        }
    }

    /// The outermost owner: of a comment on an index, the table.
    func root(of id: Int) -> Int {
        var id = id, steps = 0
        while let next = owner[id], steps < 8 { (id, steps) = (next, steps + 1) }
        return id
    }

    /// The partitioned table that each part is attached to, by dump ids.
    var partitionRoots: [Int: Int] {
        var result: [Int: Int] = [:]
        for attach in entries where attach.kind == "TABLE ATTACH" {
            guard let part = owner[attach.dumpID] else { continue }
            result[part] = attach.dependencies.first { $0 != part && entry[$0]?.kind == "TABLE" }
        }
        return result
    }

    /// The name that the entry's object has among the relations of its schema; a table's own type included.
    func relationName(_ one: ArchiveEntry) -> ArchiveName? {
        switch one.kind {
        case "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "INDEX", "TYPE", "DOMAIN":
            return ArchiveName(schema: one.schema ?? "", name: one.tag)
        case "CONSTRAINT":
            guard let table = owner[one.dumpID].flatMap({ entry[$0] }) else { return nil }
            return ArchiveName(schema: one.schema ?? "", name: String(one.tag.dropFirst(table.tag.count + 1)))
        default: return nil
        }
    }
}

struct ArchiveName: Hashable {
    let schema: String
    let name: String
}

extension ArchiveEntry {
    /// What tells an object from others in archives of whatever database.
    var object: StructureDiff.Object { .init(kind: kind, schema: schema, tag: tag) }

    /// For people: `index app.members_born`, `trigger touch of app.members`.
    func spoken(_ table: ArchiveEntry?) -> String {
        func qualified(_ entry: ArchiveEntry, _ name: String) -> String { (entry.schema.map { visible($0) + "." } ?? "") + visible(name) }
        let kind = self.kind == "FK CONSTRAINT" ? "foreign key" : self.kind.lowercased()
        guard let table, tag.hasPrefix(table.tag + " ") else { return "\(kind) \(qualified(self, tag))" }
        return "\(kind) \(visible(String(tag.dropFirst(table.tag.count + 1)))) of \(qualified(table, table.tag))"
    }
}

extension ArchiveTOC {
    /// The same table of contents with only these entries.
    package func keeping(_ isKept: (ArchiveEntry) -> Bool) -> ArchiveTOC {
        ArchiveTOC(
            format: format, formatVersion: formatVersion, compression: compression, serverVersion: serverVersion, dumpVersion: dumpVersion,
            databaseName: databaseName, createdLocalTime: createdLocalTime, entries: entries.filter(isKept), storedBytes: storedBytes)
    }
}
