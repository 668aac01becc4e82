package import PostgreSQL
internal import RunCore

/// Triggers of a table that are off during a merge: whoever writes the table waits meanwhile.
package struct DisabledTriggers: Sendable, Hashable, Codable {
    package let table: QualifiedName
    package let triggers: [SQLIdentifier]
}

extension MergePlan {
    /// The same merge with these triggers off, which holds back every writer of their tables until its end. They are part of what a
    /// person agrees to.
    package func disabling(_ triggers: [QualifiedName: [SQLIdentifier]]) -> MergePlan {
        var plan = self
        let named = triggers.filter { !$0.value.isEmpty }
        plan.disabled = named.isEmpty ? nil : named.sorted { $0.key < $1.key }.map { DisabledTriggers(table: $0.key, triggers: $0.value.sorted()) }
        return plan
    }

    package var triggersToDisable: [QualifiedName: [SQLIdentifier]] {
        Dictionary((disabled ?? []).map { ($0.table, $0.triggers) }, uniquingKeysWith: +)
    }
}

extension MergePreview {
    /// Whom a merge holds back, and for about how long.
    package struct HeldBack: Sendable, Hashable, Codable {
        /// From beginning to end.
        package let tables: [DisabledTriggers]
        /// From their turn to the end: tables without a key into which rows come back.
        package let countedAgain: [QualifiedName]
        /// Rows that it writes, of all tables.
        package let rows: Int
        /// What looking for obstacles took for the preview; the merge looks once more.
        package let lookingSeconds: Double
        /// An estimate: looking, and writing at `rowsPerSecond`.
        package let estimatedSeconds: Int

        /// Written rows, with their audit, on a small machine: half of what is measured there (docs/benchmarks.md).
        package static let rowsPerSecond = 10_000

        /// - Returns: nil where nobody is held back, but from the rows that are merged.
        init?(_ disabled: [DisabledTriggers], by merged: [Table], looking: Duration) {
            tables = disabled
            countedAgain = merged.filter { $0.key.isEmpty && !$0.columns.isEmpty && $0.rows(.insert as TableDiff.Verdict) > 0 }.map(\.name)
            guard !tables.isEmpty || !countedAgain.isEmpty else { return nil }
            rows = merged.map(\.writtenRows).reduce(0, +)
            lookingSeconds = (looking / .milliseconds(100)).rounded(.up) / 10
            estimatedSeconds = Int((lookingSeconds + Double(rows) / Double(Self.rowsPerSecond)).rounded(.up))
        }

        var text: String { [offText, countedText].compactMap { $0 }.joined(separator: ". ") }

        private var countedText: String? {
            guard !countedAgain.isEmpty else { return nil }
            let (have, their) = countedAgain.count == 1 ? ("it has", "its") : ("they have", "their")
            return "Whoever writes \(countedAgain.map(\.description).joined(separator: ", ")) waits from \(their) turn in the merge to the end: "
                + "\(have) no key, and \(their) rows are counted once more"
        }

        private var offText: String? {
            guard !tables.isEmpty else { return nil }
            let off = tables.map { "\($0.triggers.map(\.description).joined(separator: ", ")) of \($0.table)" }.joined(separator: ", ")
            let held = tables.map { "\($0.table)" }.joined(separator: ", ")
            return "Off while it is merged: \(tables.flatMap(\.triggers).count == 1 ? "trigger" : "triggers") \(off). Whoever writes \(held) waits for all of "
                + "the merge, about \(estimatedSeconds) s: an estimate, by \(lookingSeconds) s of looking once more and \(counted(rows, "row")) at "
                + "\(countText(Self.rowsPerSecond)) a second; longer where the merge itself waits for somebody"
        }
    }
}
