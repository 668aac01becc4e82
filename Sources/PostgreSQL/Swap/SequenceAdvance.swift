package import BlockingIO

/// Moves a restored database's sequences past what the damaged one had handed out since the backup, so that no number (a
/// receipt, a QR code) is given twice.
package struct SequenceAdvance: Sendable, Hashable, Codable {
    package let sequence: QualifiedName
    package let from: Int64
    package let to: Int64

    /// - Parameters:
    ///   - damaged: as `Catalog.sequences()` read them, where the damaged database can still be read.
    ///   - restored: the same of the restored one.
    ///   - margin: numbers to leave out beyond the damaged database's last one.
    /// - Returns: only sequences that must move. Applying them again finds nothing to move.
    package static func plan(
        damaged: [Catalog.SequencePosition], restored: [Catalog.SequencePosition], margin: Int64
    ) -> [SequenceAdvance] {
        let present = Dictionary(restored.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        return damaged.compactMap { old in
            guard let new = present[old.name], old.isCalled else { return nil }
            let isUp = new.increment > 0
            let step = margin.multipliedReportingOverflow(by: new.increment)
            let moved = old.lastValue.addingReportingOverflow(step.partialValue)
            let isOutOfRange = step.overflow || moved.overflow
            let wanted = isUp
                ? min(isOutOfRange ? .max : moved.partialValue, new.maximum) : max(isOutOfRange ? .min : moved.partialValue, new.minimum)
            let isBehind = isUp ? new.lastValue < wanted : new.lastValue > wanted
            guard isBehind || (new.lastValue == wanted && !new.isCalled) else { return nil }
            return SequenceAdvance(sequence: new.name, from: new.lastValue, to: wanted)
        }
    }

    /// Applies the moves in the connected (restored) database; never backwards.
    package static func apply(_ advances: [SequenceAdvance], connection: PostgresConnection, deadline: Deadline) async throws {
        for advance in advances {
            let comparison = advance.to >= advance.from ? "<" : ">"
            _ = try await connection.query(
                "SELECT pg_catalog.setval($1::pg_catalog.regclass, $2::pg_catalog.int8, true) FROM \(advance.sequence.sql) WHERE last_value \(comparison) $2::pg_catalog.int8",
                [.text(advance.sequence.sql), .integer(advance.to)], deadline: deadline)
        }
    }
}
