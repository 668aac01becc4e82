internal import RunCore

/// Tables that are to come out of an archive with everything that belongs to them, and what is and is not part of that.
///
/// Chosen from two tables of contents alone: the archive's, and one of the database that they are to come into, as
/// `pg_dump --schema-only` of it writes it. Nothing that is in the target already is made anew, and a chosen table that is there
/// already is refused.
package struct TableSelection: Sendable, Hashable, Codable {
    /// What is asked for.
    package struct Wish: Sendable, Hashable {
        package var tables: [TablePattern]
        package var excluded: [TablePattern] = []
        /// Types, domains, collations, extensions and sequences that chosen tables need and the target lacks are made.
        package var createsTypes = true
        /// Functions and operators likewise. Without it a trigger whose function the target lacks is left out.
        package var createsFunctions = false
        /// Foreign keys to tables of the target come as well; without it only those among the chosen ones do.
        package var keepsKeysToTarget = true

        package init(tables: [TablePattern]) { self.tables = tables }
    }

    /// Something that belongs to a chosen table and does not come.
    package struct Omission: Sendable, Hashable, Codable {
        /// For example `trigger touch of app.members`.
        package let what: String
        package let reason: String
        package var text: String { "\(what): \(reason)" }
    }

    /// The chosen tables, parts of partitioned ones included, in the archive's order.
    package let tables: [QualifiedName]
    /// Dump ids of what is restored before the counts are looked at, in that order.
    package let entryIDs: [Int]
    /// What ties the new tables to those of the target: foreign keys to them, and attaching parts to a root that is there. It
    /// takes locks on tables that people use, and so comes last.
    package let linkIDs: [Int]
    /// Dump ids of objects that the server makes by itself when a part is attached.
    package let impliedIDs: [Int]
    package let leftOut: [Omission]
    /// Objects that stand on chosen tables, are not in the target, and are not among what was asked for: views, foreign keys of
    /// other tables, children.
    package let notTaken: [String]
    /// Objects other than the tables that are made anew, for example `type app.mood`, in the archive's order.
    package let alsoMade: [String]
    /// Drops what stands under `alsoMade`, in the order in which that works.
    package let dropStatements: [String]
    /// For each chosen table with data of its own in the archive the outermost partitioned table that it is a part of, or itself.
    package let dataTables: [DataTable]

    package struct DataTable: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package let root: QualifiedName
    }

    /// - Parameters:
    ///   - target: the database that the tables come into; one without entries for a new database.
    ///   - nearest: names of the second argument that resemble the first, for messages.
    /// - Throws: `SelectionRefused` where the tables cannot come whole.
    package init(_ wish: Wish, from archive: ArchiveTOC, into target: ArchiveTOC, nearest: (String, [String]) -> [String] = { _, _ in [] }) throws {
        guard archive.format != .plain else {
            throw SelectionRefused(
                "plain-dump", "single tables cannot be taken out of a plain SQL dump", hints: ["take a backup in pg_dump's custom format (-Fc)"])
        }
        var choice = TableChoice(wish, archive: ArchiveOwnership(archive), target: ArchiveOwnership(target))
        try choice.chooseTables(nearest)
        choice.takeWhatBelongs()
        try choice.refuse()
        let taken = archive.entries.filter { choice.taken.contains($0.dumpID) }
        func name(_ entry: ArchiveEntry) throws -> QualifiedName { try QualifiedName(schema: entry.schema ?? "public", name: entry.tag) }
        tables = try taken.filter { $0.kind == "TABLE" }.map(name)
        entryIDs = taken.map(\.dumpID).filter { !choice.isLink($0) && !choice.implied.contains($0) }
        // A part is attached once it is whole: its keys and indexes then become the root's, and none is made a second time.
        let links = taken.filter { choice.isLink($0.dumpID) && !choice.implied.contains($0.dumpID) }
        linkIDs = (links.filter { $0.kind == "TABLE ATTACH" } + links.filter { $0.kind != "TABLE ATTACH" }).map(\.dumpID)
        impliedIDs = taken.map(\.dumpID).filter(choice.implied.contains)
        leftOut = choice.leftOut
        notTaken = choice.notTaken
        let made = taken.filter { $0.kind != "TABLE" && choice.archive.owner[$0.dumpID] == nil }
        alsoMade = made.map { $0.spoken(nil) }
        dropStatements = made.reversed().map(\.dropStatement).filter { !$0.isEmpty }
        dataTables = try taken.filter { $0.kind == "TABLE DATA" }.map { entry in
            var root = choice.archive.owner[entry.dumpID] ?? entry.dumpID
            while let next = choice.rootOf[root], choice.taken.contains(next) { root = next }
            return DataTable(name: try name(entry), root: try choice.archive.entry[root].map(name) ?? name(entry))
        }
    }

    /// The archive's entries of all that must be in the target afterwards.
    package func expected(of archive: ArchiveTOC) -> ArchiveTOC {
        let ids = Set(entryIDs + linkIDs + impliedIDs)
        return archive.keeping { ids.contains($0.dumpID) }
    }

    /// The target's entries of the same objects and of all that belongs to the tables, asked for or not.
    package func found(in target: ArchiveTOC, of archive: ArchiveTOC) -> ArchiveTOC {
        let wanted = Set(expected(of: archive).entries.map(\.object)), ownership = ArchiveOwnership(target), names = Set(tables)
        return target.keeping { entry in
            if wanted.contains(entry.object) { return true }
            guard let root = ownership.entry[ownership.root(of: entry.dumpID)], root.kind == "TABLE" else { return false }
            return (try? QualifiedName(schema: root.schema ?? "public", name: root.tag)).map(names.contains) ?? false
        }
    }
}
