/// Expected against actual content, table by table.
package struct ContentComparison: Codable, Hashable, Sendable {
    package struct Table: Codable, Hashable, Sendable {
        package enum Verdict: String, Codable, Hashable, Sendable {
            case equal
            /// As many rows, and at least one of them is another.
            case contentDiffers = "content-differs"
            case countDiffers = "count-differs"
            case missing
            /// Not in the backup, and not empty.
            case extra
        }
        package var name: String
        package var expectedRows: Int64?
        package var actualRows: Int64?
        package var verdict: Verdict
    }

    package struct Sequence: Codable, Hashable, Sendable {
        package var name: String
        package var expected: Int64
        package var actual: Int64?
    }

    package var tables: [Table]
    /// Sequences that are behind where the backup has them, or missing.
    package var laggingSequences: [Sequence]
    package var sequencesChecked: Int
    package var largeObjectsAreEqual: Bool
    package var expectedLargeObjects: Int64

    package init(expected: ContentManifest, actual: ContentManifest) {
        let found = Dictionary(actual.tables.map { ($0.qualifiedName, $0) }, uniquingKeysWith: { first, _ in first })
        tables = expected.tables.map { table in
            let other = found[table.qualifiedName]
            return Table(name: table.qualifiedName, expectedRows: table.rows, actualRows: other?.rows, verdict: Self.verdict(table, other))
        }
        tables += actual.extraTables.filter { $0.rows > 0 }.map {
            Table(name: $0.qualifiedName, expectedRows: nil, actualRows: $0.rows, verdict: .extra)
        }
        let positions = Dictionary(actual.sequences.map { ($0.qualifiedName, $0) }, uniquingKeysWith: { first, _ in first })
        laggingSequences = expected.sequences.compactMap { sequence in
            let other = positions[sequence.qualifiedName]
            if let other, Self.next(other) >= Self.next(sequence) { return nil }
            return Sequence(name: sequence.qualifiedName, expected: sequence.lastValue, actual: other?.lastValue)
        }
        sequencesChecked = expected.sequences.count
        largeObjectsAreEqual = expected.largeObjects == actual.largeObjects
        expectedLargeObjects = expected.largeObjects.count
    }

    private static func verdict(_ expected: TableContent, _ actual: TableContent?) -> Table.Verdict {
        guard let actual else { return .missing }
        guard actual.rows == expected.rows else { return .countDiffers }
        return actual.hash == expected.hash ? .equal : .contentDiffers
    }

    /// The value that the sequence hands out next, counting up by one.
    private static func next(_ sequence: SequenceContent) -> Int64 { sequence.lastValue &+ (sequence.isCalled ? 1 : 0) }

    package var isEqual: Bool { tables.allSatisfy { $0.verdict == .equal } && laggingSequences.isEmpty && largeObjectsAreEqual }

    /// What is wrong, one line each.
    package var findings: [String] {
        var lines = tables.filter { $0.verdict != .equal }.map { table in
            switch table.verdict {
            case .missing: "\(table.name): missing, the backup has \(table.expectedRows ?? 0) rows"
            case .extra: "\(table.name): \(table.actualRows ?? 0) rows, and the backup has no such table"
            case .countDiffers: "\(table.name): \(table.actualRows ?? 0) rows, expected \(table.expectedRows ?? 0)"
            case .contentDiffers, .equal: "\(table.name): \(table.actualRows ?? 0) rows as expected, and at least one of them has other content"
            }
        }
        lines += laggingSequences.map { "sequence \($0.name): stands at \($0.actual.map(String.init) ?? "nothing"), expected at least \($0.expected)" }
        if !largeObjectsAreEqual { lines.append("large objects: not the \(expectedLargeObjects) that the backup has") }
        return lines
    }
}
