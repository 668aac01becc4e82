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

/// What was expected of a table and what is there.
///
/// Read from a list `tables` in the evidence of a step, also of a failed one, whose objects are `ContentComparison.Table` of module
/// PostgreSQL: `name`, `expectedRows`, `actualRows`, `verdict`.
package struct TableProof: Codable, Hashable, Sendable {
    package var step: String
    package var table: String
    /// Nil where the backup has no such table.
    package var expectedRows: Int64?
    /// Nil where the table is missing.
    package var actualRows: Int64?
    /// `equal`, `content-differs`, `count-differs`, `missing` or `extra`.
    package var verdict: String

    package var isEqual: Bool { verdict == "equal" && expectedRows == actualRows }

    /// Row counts and content hash in words.
    package var verdictText: String {
        switch verdict {
        case "equal": "equal"
        case "content-differs": "DIFFERENT CONTENT"
        case "count-differs": "DIFFERENT COUNT"
        case "missing": "MISSING"
        case "extra": "NOT IN THE BACKUP"
        default: verdict
        }
    }

    static func proofs(_ step: RunReport.Step) -> [TableProof] {
        // The last verdict counts: a failure's evidence is there only while the step stands failed.
        let evidence = step.failure.map(\.evidence) ?? .null
        let list = tables(in: evidence, depth: 3) ?? tables(in: step.evidence, depth: 3) ?? []
        return list.compactMap { TableProof(step: step.id, $0) }
    }

    private static func tables(in value: JSONValue, depth: Int) -> [JSONValue]? {
        guard depth > 0, let members = value.objectValue else { return nil }
        if let list = members["tables"]?.arrayValue, list.contains(where: { $0["verdict"] != nil }) { return list }
        return members.sorted { $0.key < $1.key }.lazy.compactMap { tables(in: $0.value, depth: depth - 1) }.first
    }

    private init?(step: String, _ value: JSONValue) {
        guard let table = value["name"]?.stringValue, let verdict = value["verdict"]?.stringValue else { return nil }
        self.step = step
        self.table = table
        self.verdict = verdict
        expectedRows = value["expectedRows"]?.integerValue
        actualRows = value["actualRows"]?.integerValue
    }
}
