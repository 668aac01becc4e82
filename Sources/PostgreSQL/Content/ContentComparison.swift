package import RunCore

/// Expected content against actual, table by table: the evidence that what came back is what was backed up.
package struct ContentComparison: Sendable, Hashable, Codable {
    package struct TableResult: Sendable, Hashable, Codable {
        package let table: QualifiedName
        package let expectedRows: Int
        /// nil where the table could not be compared.
        package let actualRows: Int?
        package let isContentEqual: Bool
        /// Of the rows one by one; nil where equal text of the whole table had already decided.
        package let expectedHash: String?
        package let actualHash: String?
        package let note: String?
        /// MD5 of the table's text, where it is what shows that the content is equal.
        package var equalStream: String?
        package var isEqual: Bool { expectedRows == actualRows && isContentEqual }
    }

    package struct SequenceResult: Sendable, Hashable, Codable {
        package let sequence: QualifiedName
        package let expected: Int64
        package let actual: Int64?
        /// Not behind: a number that was handed out before the backup is not handed out again.
        package let isSufficient: Bool
    }

    package let tables: [TableResult]
    package let sequences: [SequenceResult]
    /// Tables that the archive holds no data of. Rows in them are a mismatch.
    package let extra: [ContentSummary.Extra]
    package let expectedLargeObjects: ContentSummary.LargeObjects
    package let actualLargeObjects: ContentSummary.LargeObjects

    package init(expected: ContentSummary, actual: ContentSummary) {
        let found = Dictionary(actual.tables.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let reasons = Dictionary(actual.missing.map { ($0.name, $0.reason) }, uniquingKeysWith: { first, _ in first })
        tables = expected.tables.map { table in
            let other = found[table.name]
            let sameColumns = other?.columns == table.columns
            let equalStream = sameColumns && other?.stream == table.stream ? table.stream : nil
            let equalHash = sameColumns && other?.hash == table.hash ? table.hash : nil
            return TableResult(
                table: table.name, expectedRows: table.rows, actualRows: other?.rows,
                isContentEqual: (equalStream ?? equalHash) != nil, expectedHash: table.hash, actualHash: other?.hash,
                note: reasons[table.name] ?? (other == nil ? "was not compared" : sameColumns ? nil : "has other columns"),
                equalStream: equalStream)
        }
        let positions = Dictionary(actual.sequences.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        sequences = expected.sequences.map { sequence in
            let other = positions[sequence.name]
            let enough = other.map { $0.value > sequence.value || ($0.value == sequence.value && ($0.isCalled || !sequence.isCalled)) }
            return SequenceResult(sequence: sequence.name, expected: sequence.value, actual: other?.value, isSufficient: enough ?? false)
        }
        extra = actual.extra
        expectedLargeObjects = expected.largeObjects
        actualLargeObjects = actual.largeObjects
    }

    /// Tables of equal count whose texts differ and whose rows were not hashed yet: nothing is known of their content so far.
    package var undecided: [QualifiedName] {
        tables.filter {
            $0.note == nil && $0.actualRows == $0.expectedRows && !$0.isContentEqual && ($0.expectedHash == nil || $0.actualHash == nil)
        }.map(\.table)
    }

    package var areLargeObjectsEqual: Bool { expectedLargeObjects == actualLargeObjects }

    package var isMatch: Bool {
        tables.allSatisfy(\.isEqual) && sequences.allSatisfy(\.isSufficient) && areLargeObjectsEqual && extra.allSatisfy { $0.rows == 0 }
    }

    /// - Throws: `ContentMismatch` unless everything agrees.
    package func requireMatch() throws {
        if !isMatch { throw ContentMismatch(self) }
    }

    /// A line for each finding, none where everything agrees.
    package var findings: [String] {
        var lines: [String] = []
        for table in tables where !table.isEqual {
            let actual = table.actualRows.map { countText($0) } ?? "none"
            let why = table.note ?? (table.actualRows == table.expectedRows ? "same count, different content" : "different count")
            lines.append("\(table.table): expected \(counted(table.expectedRows, "row")), found \(actual): \(why)")
        }
        for sequence in sequences where !sequence.isSufficient {
            lines.append("\(sequence.sequence): expected at least \(sequence.expected), found \(sequence.actual.map(String.init) ?? "none")")
        }
        for table in extra where table.rows > 0 { lines.append("\(table.name): \(counted(table.rows, "row")), of which the archive holds none") }
        if !areLargeObjectsEqual {
            lines.append(
                "large objects: expected \(countText(expectedLargeObjects.count)) (\(countText(expectedLargeObjects.bytes)) bytes), found "
                    + "\(countText(actualLargeObjects.count)) (\(countText(actualLargeObjects.bytes)) bytes)"
                    + (expectedLargeObjects.count == actualLargeObjects.count ? " with different content" : ""))
        }
        return lines
    }

    /// A table for people; mismatches first. Names come from the archive: control characters are shown escaped.
    package var text: String {
        let ordered = tables.filter { !$0.isEqual } + tables.filter(\.isEqual)
        var rows = [["table", "expected", "actual", "content"]]
        rows += ordered.map {
            [visible("\($0.table)"), countText($0.expectedRows), $0.actualRows.map { countText($0) } ?? "-", $0.isEqual ? "equal" : "DIFFERENT"]
        }
        let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            let numbers = (1...2).map { String(repeating: " ", count: widths[$0] - row[$0].count) + row[$0] }
            let name = row[0] + String(repeating: " ", count: widths[0] - row[0].count)
            return ([name] + numbers + [row[3]]).joined(separator: "  ")
        }
        let total = tables.reduce(0) { $0 + $1.expectedRows }
        let verdict = isMatch
            ? "\(counted(tables.count, "table")), \(counted(total, "row")), \(counted(sequences.count, "sequence")), \(counted(actualLargeObjects.count, "large object")): all equal"
            : "MISMATCH: \(counted(findings.count, "finding"))"
        return (lines + [verdict] + findings.map { "  " + visible($0) }).joined(separator: "\n")
    }
}

/// What came back is not what was backed up.
package struct ContentMismatch: RepriseError {
    package let code = "postgresql.content-mismatch"
    package let comparison: ContentComparison

    init(_ comparison: ContentComparison) { self.comparison = comparison }

    package var message: String {
        let findings = comparison.findings
        let shown = findings.prefix(3).map(visible).joined(separator: "; ")
        return "the restored content is not the archive's: \(shown)\(findings.count > 3 ? "; and \(findings.count - 3) more" : "")"
    }

    package var hints: [String] { ["nothing was swapped; restore again into a new scratch database, or choose another backup"] }
    package var exitStatus: ExitStatus { .verificationMismatch }
}

/// With control characters as escapes, so that a name cannot drive a terminal.
func visible(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
        scalar.properties.generalCategory == .control ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
    }.joined()
}
