internal import Engine
internal import PostgreSQL
internal import RunCore

/// A backup that a step of kind `fetch-backup` brought.
///
/// Read from the step's outputs: `key`, `store`, `kind`, `time` (ISO 8601), `bytes`, `sha256`.
package struct BackupFact: Codable, Hashable, Sendable {
    package var step: String
    package var kind: String
    package var store: String?
    package var key: String
    /// When it was made, ISO 8601.
    package var time: String?
    /// Its age when the run started.
    package var ageSeconds: Double?
    package var sizeBytes: Int64?
    package var sha256: String?

    init?(_ step: RunReport.Step, runStart: Int64) {
        func value(_ names: String...) -> JSONValue? {
            names.lazy.compactMap { step.outputs[$0] ?? step.evidence[$0] }.first
        }
        guard step.kind == "fetch-backup", let key = value("key")?.stringValue else { return nil }
        self.step = step.id
        self.key = key
        kind = value("kind")?.stringValue ?? "database"
        store = value("store")?.stringValue
        time = value("time")?.stringValue
        ageSeconds = time.flatMap(milliseconds(ofTimestamp:)).map { Double(runStart - $0) / 1000 }
        sizeBytes = value("bytes")?.integerValue
        sha256 = value("sha256")?.stringValue
    }
}

/// What a step that loads, compares, merges or restores single tables did, in words. Read from its output `summary`.
package struct TableStepFact: Codable, Hashable, Sendable {
    package var step: String
    package var kind: String
    package var summary: String

    private static let kinds: Set = [
        "table-restore", "table-diff", "table-merge", "table-proof", "table-undo", "table-cleanup", "postgres-restore-tables",
    ]

    init?(_ step: RunReport.Step) {
        guard Self.kinds.contains(step.kind), let summary = step.outputs["summary"]?.stringValue else { return nil }
        self.step = step.id
        kind = step.kind
        self.summary = summary
    }
}

/// What was expected of a table and what is there.
///
/// Read from a `ContentComparison` anywhere in the evidence of a step, also of a failed one.
package struct TableProof: Codable, Hashable, Sendable {
    package var step: String
    package var table: String
    package var expectedRows: Int
    /// Nil where the table could not be compared.
    package var actualRows: Int?
    package var isContentEqual: Bool
    package var note: String?

    package var isEqual: Bool { expectedRows == actualRows && isContentEqual }

    /// Row counts and content hash in words.
    package var verdict: String {
        if let note { return note }
        if isEqual { return "equal" }
        return expectedRows == actualRows ? "DIFFERENT CONTENT" : "DIFFERENT COUNT"
    }
}

/// The comparison of a database's content with a backup that a step made.
struct ContentProof {
    let tables: [TableProof]
    let findings: [String]

    /// - Returns: nil where the step has compared nothing.
    init?(_ step: RunReport.Step) {
        // A failure's evidence is there only while the step stands failed; then it is the newer one.
        let sources = [step.failure?.evidence, step.evidence].compactMap { $0 }
        guard let comparison = sources.lazy.compactMap({ Self.comparison(in: $0, depth: 3) }).first else { return nil }
        tables = comparison.tables.map {
            TableProof(
                step: step.id, table: "\($0.table)", expectedRows: $0.expectedRows, actualRows: $0.actualRows,
                isContentEqual: $0.isContentEqual, note: $0.note)
        }
        findings = comparison.findings.map { "\(step.id): \($0)" }
    }

    private static func comparison(in value: JSONValue, depth: Int) -> ContentComparison? {
        guard depth > 0, let members = value.objectValue else { return nil }
        if members["tables"] != nil, let found = try? EventCodec.decode(ContentComparison.self, from: value) { return found }
        return members.sorted { $0.key < $1.key }.lazy.compactMap { comparison(in: $0.value, depth: depth - 1) }.first
    }
}
