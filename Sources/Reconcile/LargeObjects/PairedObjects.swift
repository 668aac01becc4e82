internal import BlockingIO
internal import PostgreSQL

/// Large objects that rows of two archives name.
struct PairedObjects {
    /// By the definitions that pg_dump wrote: of type oid, or of a domain over it.
    let columns: [SQLIdentifier]
    private let backup: ArchiveObjects
    private let live: ArchiveObjects

    /// - Parameter known: the columns that are compared.
    /// - Returns: nil where rows name none, or one of the archives holds no contents.
    init?(_ backup: ArchivePair.Archive, _ live: ArchivePair.Archive, _ names: TableComparison.Names, among known: [SQLIdentifier]) throws {
        let own = try backup.contents.objectColumns(of: names.backup), theirs = try live.contents.objectColumns(of: names.live)
        columns = known.filter { own.contains($0) && theirs.contains($0) }
        (self.backup, self.live) = (backup.objects, live.objects)
        guard !columns.isEmpty, !backup.contents.objectDataIDs.isEmpty, !live.contents.objectDataIDs.isEmpty else { return nil }
    }

    func digests(deadline: Deadline, report: @escaping @Sendable (Narrowing.Progress) -> Void) async throws -> Digests {
        let reading = ObjectReading(report)
        async let own = backup.digests(reading, deadline: deadline)
        async let theirs = live.digests(reading, deadline: deadline)
        return Digests(columns: columns, backup: try await own, live: try await theirs)
    }

    struct Digests {
        let columns: [SQLIdentifier]
        let backup: ObjectDigests
        let live: ObjectDigests

        func rows(_ rows: any RowSource, _ side: Side) -> any RowSource {
            NamedContents.Rows(rows: rows, columns: columns, digests: side == .backup ? backup : live)
        }

        /// The objects that these rows name and that only one of the archives has, or each with another content.
        func differences(_ found: Narrowing.Candidates, _ fields: [SQLIdentifier]) throws -> [DiffRecord] {
            let own = try numbers(found.backup, fields), theirs = try numbers(found.live, fields)
            return try own.union(theirs).sorted().compactMap { number in
                let (digest, other) = (try backup.digest(of: number), try live.digest(of: number))
                return digest == other ? nil : try record(number, digest, other)
            }
        }

        private func numbers(_ lines: RowLines, _ fields: [SQLIdentifier]) throws -> Set<UInt32> {
            var numbers = Set<UInt32>()
            for column in columns {
                try lines.projected(fields, to: [column]).forEachBlock { _, lines in
                    numbers.formUnion(lines.split(separator: UInt8(ascii: "\n")).compactMap { UInt32(String(decoding: $0, as: UTF8.self)) })
                }
            }
            return numbers
        }

        private func record(_ number: UInt32, _ own: [UInt8]?, _ other: [UInt8]?) throws -> DiffRecord {
            let names = [try SQLIdentifier("number"), try SQLIdentifier("sha256")]
            func object(_ digest: [UInt8]) -> String { JSONText.object(names, ["\(number)", String(decoding: HexText.of(digest), as: UTF8.self)]) }
            let kind: TableDiff.Kind = own == nil ? .extra : other == nil ? .missing : .changed
            return DiffRecord(
                kind: kind, verdict: .keep, reason: nil, rows: 1, key: JSONText.object([names[0]], ["\(number)"]), backup: own.map(object),
                live: other.map(object), columns: kind == .changed ? ["sha256"] : [])
        }
    }
}

extension ArchiveTOC {
    /// The columns of type oid or of a domain over it, by the definition that pg_dump wrote, a line each.
    fileprivate func objectColumns(of table: QualifiedName) throws -> Set<SQLIdentifier> {
        let types = objectTypes
        let entry = entries.first { $0.kind == "TABLE" && $0.schema == table.schema.name && $0.tag == table.name.name }
        return try Set((entry?.definition.split(separator: "\n") ?? []).compactMap { line in
            var reader = TableDefinition.Reader(String(line))
            guard reader.skip("    "), let name = reader.identifier(), reader.skip(" "),
                types.contains(String(reader.rest.prefix { !$0.isWhitespace && $0 != "," }))
            else { return nil }
            return try SQLIdentifier(name)
        })
    }

    /// As they are written there. A domain that an extension made is in no archive; there is one such extension.
    private var objectTypes: Set<String> {
        var types: Set<String> = ["oid"], more = true
        for entry in entries where entry.kind == "EXTENSION" && entry.tag == "lo" {
            let words = entry.definition.split(whereSeparator: \.isWhitespace)
            if let place = words.firstIndex(of: "SCHEMA"), place + 1 < words.count { types.insert("\(words[place + 1].prefix { $0 != ";" }).lo") }
        }
        while more {
            let before = types.count
            for entry in entries where entry.kind == "DOMAIN" {
                // CREATE DOMAIN public.picture AS oid …
                let words = entry.definition.split { $0.isWhitespace || $0 == ";" }
                if words.count >= 5, words[3] == "AS", types.contains(String(words[4])) { types.insert(String(words[2])) }
            }
            more = types.count > before
        }
        return types
    }
}
