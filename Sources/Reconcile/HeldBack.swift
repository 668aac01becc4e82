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
    /// Whom a merge holds back from beginning to end, and for about how long.
    package struct HeldBack: Sendable, Hashable, Codable {
        package let tables: [DisabledTriggers]
        /// Rows that it writes, of all tables.
        package let rows: Int
        /// What looking for obstacles took for the preview; the merge looks once more.
        package let lookingSeconds: Double
        /// An estimate: looking, and writing at `rowsPerSecond`.
        package let estimatedSeconds: Int

        /// Written rows, with their audit, on a small machine: half of what is measured there (docs/benchmarks.md).
        package static let rowsPerSecond = 10_000

        init(_ tables: [DisabledTriggers], rows: Int, looking: Duration) {
            self.tables = tables
            self.rows = rows
            lookingSeconds = (looking / .milliseconds(100)).rounded(.up) / 10
            estimatedSeconds = Int((lookingSeconds + Double(rows) / Double(Self.rowsPerSecond)).rounded(.up))
        }

        var text: String {
            let off = tables.map { "\($0.triggers.map(\.description).joined(separator: ", ")) of \($0.table)" }.joined(separator: ", ")
            let held = tables.map { "\($0.table)" }.joined(separator: ", ")
            return "Off while it is merged: \(tables.flatMap(\.triggers).count == 1 ? "trigger" : "triggers") \(off). Whoever writes \(held) waits for all of "
                + "the merge, about \(estimatedSeconds) s: an estimate, by \(lookingSeconds) s of looking once more and \(counted(rows, "row")) at "
                + "\(countText(Self.rowsPerSecond)) a second; longer where the merge itself waits for somebody"
        }
    }
}
