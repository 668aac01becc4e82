package import BlockingIO
internal import Foundation
package import PostgreSQL

/// A table in two archives, compared without any server: by what is written in them, moments in UTC.
///
/// What a server would know is not known here: a value that is stored differently and written the same is the same, and one that is
/// written differently and means the same is not.
package struct ArchivePair: Sendable {
    private let columns: [SQLIdentifier]
    private let key: [SQLIdentifier]?
    private let moments: Set<SQLIdentifier>
    private let backup: ArchiveRows
    private let live: ArchiveRows
    private let objects: PairedObjects?
    /// Of how many rows of one archive that differ the places are held in memory at a time.
    package var partRows = 500_000

    package struct Archive: Sendable {
        let path: String
        let contents: ArchiveTOC
        var objects: ArchiveObjects { ArchiveObjects(at: path, contents.objectDataIDs) }

        package init(path: String, contents: ArchiveTOC) { (self.path, self.contents) = (path, contents) }

        fileprivate func table(_ name: QualifiedName) throws -> RescueTables.Table {
            try contents.requireUTF8()
            return try RescueTables.table(name, as: name, contents)
        }
    }

    /// - Throws: `ReconcileRefused` where a table is not there, has other columns and nobody said that it may, or rows that mean the same are to be the same.
    package init(_ backup: Archive, _ live: Archive, _ names: TableComparison.Names, by rules: MergeRules) throws {
        guard rules.compare != .semantic else {
            throw ReconcileRefused(
                "reconcile.archives-as-written", "two archives are compared by what is written in them; what means the same only a server knows",
                hints: ["leave out --compare semantic", "or restore one of them into a database, and compare the other with that"])
        }
        self.backup = ArchiveRows(at: backup.path, of: try backup.table(names.backup))
        self.live = ArchiveRows(at: live.path, of: try live.table(names.live))
        let own = backup.contents.copiedColumns(of: try backup.table(names.backup)), theirs = live.contents.copiedColumns(of: try live.table(names.live))
        let columns = theirs.filter(own.contains)
        self.columns = columns
        guard rules.drift == .commonColumns || Set(own) == Set(theirs) else {
            let differ = Set(own).symmetricDifference(theirs).sorted()
            throw ReconcileRefused(
                "reconcile.drift", "table \(names.live) has other columns in the two archives: \(differ.map(\.description).joined(separator: ", "))",
                hints: ["to compare what both have: --common-columns"])
        }
        let ownKey = try backup.contents.primaryKey(of: names.backup), theirKey = try live.contents.primaryKey(of: names.live)
        key = rules.key ?? (ownKey == theirKey ? ownKey : nil)
        if let missing = key?.first(where: { !columns.contains($0) }) {
            throw ReconcileRefused("reconcile.no-key", "there is no column \(missing) in both archives' \(names.live)")
        }
        moments = try backup.contents.moments(of: names.backup)
        objects = rules.largeObjects == .ignore ? nil : try PairedObjects(backup, live, names, among: columns)
    }

    /// Hands on every difference: those of the backup first, where they are not so many that they are looked at in parts.
    ///
    /// - Returns: how many there are of each kind, how many rows were read, and large objects that rows name whose contents differ.
    package func compare(
        deadline: Deadline, report: @escaping @Sendable (Narrowing.Progress) -> Void = { _ in }, _ body: (DiffRecord) throws -> Void
    ) async throws -> (counts: DiffCounts, rows: Narrowing.Progress, objects: [DiffRecord]) {
        let digests = try await objects?.digests(deadline: deadline, report: report)
        let fields = columns + NamedContents.fields(objects?.columns ?? [])
        let (own, theirs) = (digests?.rows(backup, .backup) ?? backup, digests?.rows(live, .live) ?? live)
        let found = try await Narrowing(columns: fields, key: key, moments: moments).run(backup: own, live: theirs, deadline: deadline, report: report)
        let pairs = CandidatePairs(reader: try RowReader(columns: columns, compared: columns, key: key), hasPairs: key != nil || objects != nil, limit: partRows)
        var counts = DiffCounts()
        try pairs.forEach(try found.backup.projected(fields, to: columns), try found.live.projected(fields, to: columns)) { backup, live in
            // What differs in contents alone is no difference of the row.
            if objects != nil, let backup, backup == live { return }
            let record = self.record(backup, live)
            counts.rows[record.kind, default: 0] += 1
            try body(record)
        }
        let rows = Narrowing.Progress(backupRows: found.backupRows, liveRows: found.liveRows, candidates: found.backup.count + found.live.count)
        return (counts, rows, try digests?.differences(found, fields) ?? [])
    }

    /// - Parameters: a row's line in either archive; nil: it has none.
    private func record(_ backup: ArraySlice<UInt8>?, _ live: ArraySlice<UInt8>?) -> DiffRecord {
        let own = backup.map(CopyText.values), theirs = live.map(CopyText.values)
        let differing = if let own, let theirs { columns.indices.filter { own[$0] != theirs[$0] }.map { columns[$0].name } } else { [String]() }
        let key = key.flatMap { key in
            (own ?? theirs).map { values in JSONText.object(key, key.map { name in values[columns.firstIndex(of: name)!] }) }
        }
        return DiffRecord(
            kind: backup == nil ? .extra : live == nil ? .missing : .changed, verdict: .keep, reason: nil, rows: 1, key: key,
            backup: own.map { JSONText.object(columns, $0) }, live: theirs.map { JSONText.object(columns, $0) }, columns: differing)
    }
}

enum JSONText {
    /// An object in the order of its columns.
    static func object(_ columns: [SQLIdentifier], _ values: [String?]) -> String {
        "{" + zip(columns, values).map { "\(text($0.name)) : \($1.map(text) ?? "null")" }.joined(separator: ", ") + "}"
    }

    static func text(_ value: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    }
}

extension ArchiveTOC {
    /// The columns of a table's rows, by its COPY statement; of a partitioned table, by that of its first part.
    fileprivate func copiedColumns(of table: RescueTables.Table) -> [SQLIdentifier] {
        guard let entry = entries.first(where: { table.dataIDs.contains($0.dumpID) }) else { return [] }
        var reader = TableDefinition.Reader(entry.copyStatement)
        guard reader.skip("COPY "), reader.name() != nil else { return [] }
        return reader.columns() ?? []
    }

    fileprivate func primaryKey(of table: QualifiedName) throws -> [SQLIdentifier]? {
        let found = entries.first { $0.kind == "CONSTRAINT" && $0.schema == table.schema.name && $0.definition.contains(" PRIMARY KEY ")
            && UniqueColumns($0.definition, of: table).columns != nil }
        return try found.flatMap { UniqueColumns($0.definition, of: table).columns?.sorted() }?.map(SQLIdentifier.init)
    }

    /// The columns of the type timestamptz, by the definition that pg_dump wrote, a line each.
    fileprivate func moments(of table: QualifiedName) throws -> Set<SQLIdentifier> {
        let entry = entries.first { $0.kind == "TABLE" && $0.schema == table.schema.name && $0.tag == table.name.name }
        let lines = entry?.definition.split(separator: "\n") ?? []
        return try Set(lines.compactMap { line in
            var reader = TableDefinition.Reader(String(line))
            guard reader.skip("    "), let name = reader.identifier(), reader.rest.hasPrefix(" timestamp"), reader.rest.contains(" with time zone") else {
                return nil
            }
            return try SQLIdentifier(name)
        })
    }
}
