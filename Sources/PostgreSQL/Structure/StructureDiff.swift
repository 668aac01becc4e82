package import RunCore

/// The structure that an archive promises against the one that a database has.
///
/// The database's side is the table of contents of `pg_dump -Fc --schema-only` of it. Keys, constraints, foreign keys, indexes,
/// triggers, sequences, defaults, views, functions, types, extensions, policies, comments, owners and grants are entries there.
package struct StructureDiff: Sendable, Hashable, Codable {
    package struct Object: Sendable, Hashable, Codable, Comparable, CustomStringConvertible {
        package let kind: String
        package let schema: String?
        package let tag: String
        package var description: String { "\(kind) \(schema.map { "\($0)." } ?? "")\(tag)" }
        package static func < (left: Self, right: Self) -> Bool {
            (left.kind, left.schema ?? "", left.tag) < (right.kind, right.schema ?? "", right.tag)
        }
    }

    package enum Difference: String, Sendable, Hashable, Codable { case missing, extra, owner, definition, accessMethod = "access-method" }

    package struct Finding: Sendable, Hashable, Codable {
        package let object: Object
        package let difference: Difference
        package let expected: String?
        package let actual: String?
        package var text: String {
            switch difference {
            case .missing: "\(object) is missing"
            case .extra: "\(object) is not in the archive"
            case .owner: "\(object) belongs to \(actual ?? "nobody") instead of \(expected ?? "nobody")"
            case .definition: "\(object) is defined differently"
            case .accessMethod: "\(object) uses \(actual ?? "the default") instead of \(expected ?? "the default")"
            }
        }
    }

    package let findings: [Finding]
    package let comparedObjects: Int
    /// False where the two tables of contents come from different major versions of pg_dump, which write the same thing in
    /// different words: then only presence and owner were compared.
    package let comparesDefinitions: Bool
    package var isMatch: Bool { findings.isEmpty }

    package init(archive: ArchiveTOC, database: ArchiveTOC) {
        let comparesDefinitions = archive.dumpMajorVersion != nil && archive.dumpMajorVersion == database.dumpMajorVersion
            && archive.serverMajorVersion == database.serverMajorVersion && (archive.format == .plain) == (database.format == .plain)
        let expected = Self.objects(archive)
        let actual = Self.objects(database)
        var findings: [Finding] = []
        for object in Set(expected.keys).union(actual.keys).sorted() {
            findings += Self.compare(
                object, expected[object] ?? [], actual[object] ?? [], definitions: comparesDefinitions)
        }
        self.findings = findings
        self.comparesDefinitions = comparesDefinitions
        comparedObjects = expected.values.reduce(0) { $0 + $1.count }
    }

    /// - Throws: `StructureMismatch` unless nothing differs, but for findings that `tolerates` names.
    package func requireMatch(tolerating tolerates: (Finding) -> Bool = { _ in false }) throws {
        let remaining = findings.filter { !tolerates($0) }
        if !remaining.isEmpty { throw StructureMismatch(findings: remaining) }
    }

    /// For people; a line for each finding and one that says what was compared.
    package var text: String {
        let what = comparesDefinitions ? "presence, owner and definition" : "presence and owner only: the versions of pg_dump or of the servers differ"
        let verdict = isMatch ? "all equal" : "\(findings.count) differences"
        return (["\(counted(comparedObjects, "object")) compared (\(what)): \(verdict)"] + findings.map { "  " + visible($0.text) }).joined(separator: "\n")
    }

    private static func compare(_ object: Object, _ expected: [ArchiveEntry], _ actual: [ArchiveEntry], definitions: Bool) -> [Finding] {
        var findings: [Finding] = []
        for index in 0..<max(expected.count, actual.count) {
            guard index < actual.count else {
                findings.append(Finding(object: object, difference: .missing, expected: nil, actual: nil))
                continue
            }
            guard index < expected.count else {
                findings.append(Finding(object: object, difference: .extra, expected: nil, actual: nil))
                continue
            }
            let (left, right) = (expected[index], actual[index])
            if left.owner != right.owner {
                findings.append(Finding(object: object, difference: .owner, expected: left.owner, actual: right.owner))
            }
            guard definitions else { continue }
            let texts = (normalised(left), normalised(right))
            if texts.0 != texts.1 {
                findings.append(Finding(object: object, difference: .definition, expected: texts.0, actual: texts.1))
            }
            if left.accessMethod != right.accessMethod || left.tablespace != right.tablespace {
                findings.append(
                    Finding(
                        object: object, difference: .accessMethod, expected: left.accessMethod ?? left.tablespace,
                        actual: right.accessMethod ?? right.tablespace))
            }
        }
        return findings
    }

    /// Content is compared elsewhere, and what belongs to the database as such is carried over by the swap.
    private static func objects(_ contents: ArchiveTOC) -> [Object: [ArchiveEntry]] {
        let content: Set<String> = [
            "TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA", "BLOB COMMENTS", "MATERIALIZED VIEW DATA", "ENCODING",
            "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "STATISTICS DATA",
        ]
        let attached: Set<String> = ["ACL", "COMMENT", "SECURITY LABEL"]
        var result: [Object: [ArchiveEntry]] = [:]
        for entry in contents.entries where !content.contains(entry.kind) {
            if attached.contains(entry.kind), entry.tag.hasPrefix("LARGE OBJECT") || entry.tag.hasPrefix("DATABASE ") { continue }
            // Default privileges of several roles share one tag.
            let tag = entry.kind == "DEFAULT ACL" ? "\(entry.tag) of \(entry.owner ?? "nobody")" : entry.tag
            result[Object(kind: entry.kind, schema: entry.schema, tag: tag), default: []].append(entry)
        }
        return result.mapValues { $0.sorted { ($0.owner ?? "", $0.definition) < ($1.owner ?? "", $1.definition) } }
    }

    /// Moments in UTC; grants in any order; otherwise white space outside quotes counts as one space.
    private static func normalised(_ entry: ArchiveEntry) -> String {
        let text = SQLMoments.inUTC(entry.definition)
        if ["ACL", "DEFAULT ACL"].contains(entry.kind) {
            return text.split(separator: "\n").map(SQLSpacing.collapsed).filter { !$0.isEmpty }.sorted().joined(separator: "\n")
        }
        return SQLSpacing.collapsed(text[...])
    }
}

enum SQLSpacing {
    /// One space for each run of white space outside quotes; text with dollar quotes only loses its ends.
    static func collapsed(_ text: Substring) -> String {
        let trimmed = text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()
        if trimmed.contains("$") { return String(trimmed) }
        var result = ""
        var quote: Character?
        for character in trimmed {
            if let open = quote {
                if character == open { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
            } else if character.isWhitespace {
                if result.last != " " { result.append(" ") }
                continue
            }
            result.append(character)
        }
        return result
    }
}

/// The restored structure is not the archive's.
package struct StructureMismatch: RepriseError {
    package let code = "postgresql.structure-mismatch"
    package let findings: [StructureDiff.Finding]
    package var message: String {
        let shown = findings.prefix(5).map { visible($0.text) }.joined(separator: "; ")
        return "the restored structure is not the archive's: \(shown)\(findings.count > 5 ? "; and \(findings.count - 5) more" : "")"
    }
    package var hints: [String] { ["look for the errors of pg_restore in the log of the restore step: each names what it could not make"] }
    package var exitStatus: ExitStatus { .verificationMismatch }
}
