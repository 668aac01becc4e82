package import BlockingIO
package import PostgreSQL
internal import RunCore

/// Tables of an archive, laid beside the live ones in a schema of their own: how they are made there, and which data goes into them.
package struct RescueTables: Sendable, Hashable, Codable {
    package let schema: SQLIdentifier
    package var tables: [Table]
    package let followsParents: Bool
    /// The large objects that these rows name; nil where none are looked at.
    package var objects: RescuedObjects?

    package struct Table: Sendable, Hashable, Codable {
        package let live: QualifiedName
        package let rescue: QualifiedName
        /// Makes the empty table, with the columns that it had when it was backed up, without keys and without partitions. Not unlogged: a
        /// crash of the server would empty it, and an empty backup has no rows that are missing.
        package let definition: String
        /// Of a table that inherits: statements that make those from which it has columns, before it. They stay empty. nil: it does not.
        package var ancestors: [String]?
        /// The archive's entries whose data goes into it: of a partitioned table those of all its parts.
        package let dataIDs: [Int]
        /// The tables that these entries name in their COPY statements.
        package let sources: [QualifiedName]
        /// Nobody named it: it is there for the parents of rows of others.
        package let isFollowed: Bool
        /// What was loaded; nil before that.
        package var rows: Int64?

        /// The statements that make the empty table, in their order.
        package var definitions: [String] { (ancestors ?? []) + [definition] }
    }

    /// - Parameters:
    ///   - names: live tables. A part of a partitioned table is restored with its root.
    ///   - schema: exists for nothing else.
    ///   - followsParents: the tables, too, to which foreign keys of these lead, and theirs.
    /// - Throws: `ReconcileRefused` where the archive has no such table or its rows cannot be laid beside the live ones.
    package init(
        _ names: [QualifiedName], from archive: ArchiveTOC, into schema: SQLIdentifier, followingParents followsParents: Bool = false
    ) throws {
        self.schema = schema
        self.followsParents = followsParents
        let parents = followsParents ? Self.parents(of: names, archive, Self.parts(archive)) : []
        tables = try (names.map { ($0, false) } + parents.map { ($0, true) }).map { name, isFollowed in
            try Self.table(name, as: QualifiedName(schema: schema.name, name: name.name.name), archive, isFollowed: isFollowed)
        }
        let rescues = tables.map(\.rescue)
        guard Set(rescues).count == rescues.count else {
            throw ReconcileRefused("reconcile.table-twice", "two of the tables have the same name", hints: ["merge them in two steps"])
        }
    }

    /// - Parameter rescue: what it is called beside the live tables.
    static func table(_ name: QualifiedName, as rescue: QualifiedName, _ archive: ArchiveTOC, isFollowed: Bool = false) throws -> Table {
        guard archive.format != .plain else {
            throw ReconcileRefused(
                "reconcile.plain-dump", "single tables cannot be taken out of a plain SQL dump", hints: ["take a backup in pg_dump's custom format (-Fc)"])
        }
        let parts = Self.parts(archive)
        let statements = try definitions(of: name, as: rescue, archive)
        // A root's own data is none; that of its parts stands under their names.
        var sources = [name], at = 0
        while at < sources.count {
            sources += (parts[sources[at]] ?? []).filter { !sources.contains($0) }
            at += 1
        }
        let data = archive.entries.filter { entry in
            entry.kind == "TABLE DATA" && sources.contains { $0.schema.name == entry.schema && $0.name.name == entry.tag }
        }
        for entry in data { _ = try DataLoad(entry, into: rescue, archive) }
        return Table(
            live: name, rescue: rescue, definition: statements.last!, ancestors: statements.count > 1 ? statements.dropLast() : nil, dataIDs: data.map(\.dumpID),
            sources: sources, isFollowed: isFollowed)
    }

    private static func entry(of name: QualifiedName, _ archive: ArchiveTOC) throws -> ArchiveEntry {
        if let entry = archive.entries.first(where: { $0.kind == "TABLE" && $0.schema == name.schema.name && $0.tag == name.name.name }) { return entry }
        let near = archive.entries.filter { $0.kind == "TABLE" && $0.tag == name.name.name }.compactMap(\.schema)
        throw ReconcileRefused(
            "reconcile.not-in-backup", "the backup has no table \(name)",
            hints: near.isEmpty ? ["see what it has: reprise backup show"] : ["it has one in schema \(near.joined(separator: ", "))"])
    }

    /// Statements that make a table under another name, and before it all from which it inherits columns.
    ///
    /// The backup's definition of such a table has its own columns alone: those of the others stand in theirs.
    ///
    /// - Parameter heirs: the tables for which these columns are looked for.
    private static func definitions(
        of name: QualifiedName, as rescue: QualifiedName, _ archive: ArchiveTOC, heirs: [QualifiedName] = []
    ) throws -> [String] {
        guard !heirs.contains(name) else { throw ReconcileRefused("reconcile.odd-table", "in the backup \(name) inherits from itself") }
        let parts = try TableDefinition(entry(of: name, archive).definition).parts(of: name)
        let parents = try parts.parents.map { parent in
            (parent, try QualifiedName(schema: rescue.schema.name, name: "reprise ancestor \(entry(of: parent, archive).dumpID)"))
        }
        let made = try parents.flatMap { parent, rescue in try definitions(of: parent, as: rescue, archive, heirs: heirs + [name]) }
        let inherits = parents.isEmpty ? "" : " INHERITS (\(parents.map(\.1.sql).joined(separator: ", ")))"
        // Two tables may inherit from the same one.
        let creation = heirs.isEmpty ? rescue.creation : "CREATE TABLE IF NOT EXISTS \(rescue.sql)"
        return made + ["\(creation) (\(parts.columns.joined(separator: ", ")))\(inherits)"]
    }

    /// The tables of the archive to which foreign keys of these lead, and theirs; not the tables themselves. Sorted.
    private static func parents(
        of names: [QualifiedName], _ archive: ArchiveTOC, _ parts: [QualifiedName: [QualifiedName]]
    ) -> [QualifiedName] {
        var leads: [QualifiedName: [QualifiedName]] = [:]
        for entry in archive.entries where entry.kind == "FK CONSTRAINT" {
            // ALTER TABLE [ONLY] child ADD CONSTRAINT name FOREIGN KEY (…) REFERENCES parent(…) …
            var reader = TableDefinition.Reader(entry.definition)
            guard reader.skip("ALTER TABLE ONLY ") || reader.skip("ALTER TABLE "), let child = reader.name(), reader.skip("\n    ADD CONSTRAINT "),
                reader.identifier() != nil, reader.skip(" FOREIGN KEY ("), reader.parenthesised() != nil, reader.skip(" REFERENCES "),
                let parent = reader.name()
            else { continue }
            leads[child, default: []].append(parent)
        }
        let known = Set(archive.entries.filter { $0.kind == "TABLE" }.compactMap { try? QualifiedName(schema: $0.schema ?? "", name: $0.tag) })
        var seen = Set(names), left = names
        while let next = left.popLast() {
            // Constraints of single parts lead somewhere too.
            for parent in (leads[next] ?? []) where known.contains(parent) && seen.insert(parent).inserted { left.append(parent) }
            for part in parts[next] ?? [] {
                for parent in leads[part] ?? [] where known.contains(parent) && seen.insert(parent).inserted { left.append(parent) }
            }
        }
        return seen.subtracting(names).sorted()
    }

    /// The direct parts of each partitioned table.
    private static func parts(_ archive: ArchiveTOC) -> [QualifiedName: [QualifiedName]] {
        var parts: [QualifiedName: [QualifiedName]] = [:]
        for entry in archive.entries where entry.kind == "TABLE ATTACH" {
            // ALTER TABLE ONLY root ATTACH PARTITION part FOR VALUES …
            var reader = TableDefinition.Reader(entry.definition)
            guard reader.skip("ALTER TABLE ONLY "), let root = reader.name(), reader.skip(" ATTACH PARTITION "), let part = reader.name() else { continue }
            parts[root, default: []].append(part)
        }
        return parts
    }
}

extension RescueTables {
    /// Rows that somebody took out of these tables since would look as if the backup had never had them.
    ///
    /// - Throws: `ReconcileRefused` where a table holds other rows than were loaded.
    package func requireWhole(_ connection: PostgresConnection, deadline: Deadline) async throws {
        let all = tables.map { ("rows of \($0.live)", $0.rescue, $0.rows) } + [objects].compactMap { $0 }.map { ("large objects", $0.known, $0.count) }
        for (what, rescue, loaded) in all {
            guard let loaded else { continue }
            let found = try await connection.query("SELECT pg_catalog.count(*) AS rows FROM \(rescue.sql)", deadline: deadline)
            let rows = try found.only().integer("rows", as: Int64.self)
            guard rows == loaded else {
                throw ReconcileRefused(
                    "reconcile.rescue-changed", "\(loaded) \(what) were loaded into \(rescue), and \(rows) are there now",
                    hints: ["somebody else has written there; load them again: cancel this run and start a new one"],
                    exitStatus: .verificationMismatch)
            }
        }
    }
}
