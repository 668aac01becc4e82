package import PostgreSQL

/// A table as it was backed up beside the live one: what they have in common, what differs in shape, and what tells rows apart.
package struct TablePair: Sendable, Hashable, Codable {
    package let backup: TableShape
    package let live: TableShape
    /// Compared and merged, in the live table's order: columns of the same name and type on both sides that are not worked out.
    package let columns: [TableShape.Column]
    /// By what rows are told apart; nil for a table without a key, which is compared as a multiset.
    package let key: TableShape.Key?
    /// What only the live rows hold, or hold in another type: never compared or merged, but part of what a row is when it is looked at
    /// again, and of what comes back with it. nil where there is none, or rows are not told apart.
    package let others: [TableShape.Column]?
    package let drift: [Drift]

    /// How the two shapes differ.
    package enum Drift: Sendable, Hashable, Codable, CustomStringConvertible {
        /// The live table has it, the backup has not.
        case added(SQLIdentifier)
        /// The backup has it, the live table has not any more: its values cannot be brought back.
        case dropped(SQLIdentifier)
        case retyped(SQLIdentifier, backup: String, live: String)

        package var description: String {
            switch self {
            case .added(let name): "column \(name) was added since the backup"
            case .dropped(let name): "column \(name) of the backup is not there any more"
            case .retyped(let name, let backup, let live): "column \(name) was \(backup) and is \(live)"
            }
        }
    }

    /// - Parameters:
    ///   - wantedKey: columns that tell rows apart; nil for the live table's own key, primary key first.
    ///   - toleratesDrift: merge on what both have where the shapes differ.
    /// - Throws: `ReconcileRefused` where the shapes differ and nobody said that they may, or no such key is there.
    package init(backup: TableShape, live: TableShape, key wantedKey: [SQLIdentifier]? = nil, toleratesDrift: Bool = false) throws {
        self.backup = backup
        self.live = live
        drift = Self.drift(backup, live)
        let retyped = Set(drift.compactMap { if case .retyped(let name, _, _) = $0 { name } else { nil } })
        let common = live.columns.filter { !$0.isGenerated && backup.column($0.name) != nil && !retyped.contains($0.name) }
        columns = common
        guard drift.isEmpty || toleratesDrift else {
            throw ReconcileRefused(
                "reconcile.drift", "table \(live.name) has changed since the backup: \(drift.map(\.description).joined(separator: "; "))",
                hints: ["look at it, then say `drift: common-columns` to compare and merge what both have"])
        }
        guard !common.isEmpty else {
            throw ReconcileRefused("reconcile.nothing-common", "table \(live.name) and its backup have no column in common")
        }
        let key = try Self.key(live, common, wantedKey), others = live.columns.filter { !$0.isGenerated && !common.contains($0) }
        self.key = key
        self.others = key == nil || others.isEmpty ? nil : others
        if let missing = live.columns.first(where: { !$0.isNullable && !$0.isGenerated && backup.column($0.name) == nil }), !toleratesDrift {
            throw ReconcileRefused("reconcile.drift", "column \(missing.name) of \(live.name) takes no NULL and is not in the backup")
        }
    }

    private static func drift(_ backup: TableShape, _ live: TableShape) -> [Drift] {
        let changed = live.columns.compactMap { column -> Drift? in
            guard let old = backup.column(column.name) else { return .added(column.name) }
            return old.type == column.type ? nil : .retyped(column.name, backup: old.type, live: column.type)
        }
        return changed + backup.columns.filter { live.column($0.name) == nil }.map { .dropped($0.name) }
    }

    private static func key(_ live: TableShape, _ common: [TableShape.Column], _ wanted: [SQLIdentifier]?) throws -> TableShape.Key? {
        let names = Set(common.map(\.name))
        guard let wanted else { return live.keys.first { names.isSuperset(of: $0.columns) } }
        if let found = live.keys.first(where: { Set($0.columns) == Set(wanted) }), names.isSuperset(of: found.columns) { return found }
        throw ReconcileRefused(
            "reconcile.no-key", "the columns \(wanted.map(\.description).joined(separator: ", ")) are no key of \(live.name)",
            hints: [
                live.keys.isEmpty
                    ? "it has none: without a `key` it is compared as a multiset, and missing rows can be inserted"
                    : "its keys: \(live.keys.map { "(\($0.columns.map(\.description).joined(separator: ", ")))" }.joined(separator: ", "))"
            ])
    }

    /// What stands in an image of a whole live row.
    package var whole: [TableShape.Column] { columns + (others ?? []) }

    /// Columns that are no part of the key.
    package var values: [TableShape.Column] { columns.filter { key?.columns.contains($0.name) != true } }
}
