internal import PostgreSQL
internal import RunCore

extension MergePreview {
    /// For the person who is asked.
    package var text: String {
        let lines = tables.filter { !$0.isFollowed || !$0.counts.isEmpty }.map { table in
            let counts = table.counts.map { count in "\(countText(count.rows)) \(count.kind.words): \(count.verdict.rawValue)\(count.reason.map { " (\($0))" } ?? "")" }
            let columns = table.changedColumns.sorted { $0.key < $1.key }.map { "\($0.key) in \(countText($0.value))" }
            return "\(table.name): \(counts.isEmpty ? "no differences" : counts.joined(separator: "; "))"
                + (columns.isEmpty ? "" : "; columns that change: \(columns.joined(separator: ", "))")
                + (table.choices.changed == 0 ? "" : "; \(table.choices.text)")
                + (table.largeObjectRows == 0 ? "" : "; what is in the large objects that \(table.largeObjectRows) rows name is not compared")
                + (table.undecidedRows == 0 ? "" : "; \(counted(table.undecidedRows, "waits", plural: "wait")) for a decision")
        }
        return "\((lines + [heldBack?.text].compactMap { $0 } + slowDeletes.map(\.text)).joined(separator: ". ")). Preview \(hash.prefix(12))."
    }

    /// The first few rows of each kind, a line each; empty where there are none.
    package var samplesText: String {
        tables.flatMap { table in table.samples.map { "\(table.name): \($0.text(table))" } }.joined(separator: "\n")
    }
}

extension MergePreview.Choices {
    /// For who wonders whether another rule would be better.
    fileprivate var text: String {
        "of \(counted(changed, "changed row")) take-backup would change \(countText(takeBackup)), fill-nulls \(countText(fillNulls))"
            + (newest.map { ", newest by \($0.column) \(countText($0.changed))" } ?? "")
    }
}

extension MergePreview.Sample {
    private static let mostColumns = 8
    private static let mostCharacters = 40

    /// Of a row that both have what differs, of any other the first columns.
    fileprivate func text(_ table: MergePreview.Table) -> String {
        let row = backup ?? live ?? []
        let names = table.columns, keys = names.indices.filter { table.key.contains(names[$0]) }
        let head = "\(kind.words)\(keys.isEmpty ? "" : " ")\(keys.map { Self.shown(names[$0], row[$0]) }.joined(separator: ", ")): \(verdict.rawValue)"
        let differing = names.indices.filter { backup != nil && live != nil && backup![$0] != live![$0] }
        let shown = differing.isEmpty
            ? names.indices.filter { !keys.contains($0) && row[$0] != nil }.map { Self.shown(names[$0], row[$0]) }
            : differing.map { "\(Self.shown(names[$0], live![$0])), in the backup \(Self.value(backup![$0]))" }
        let more = shown.count > Self.mostColumns ? [" …"] : []
        return "\(head)\(reason.map { " (\($0))" } ?? ""); \((shown.prefix(Self.mostColumns) + more).joined(separator: "; "))"
    }

    private static func shown(_ name: SQLIdentifier, _ value: String?) -> String { "\(name)=\(Self.value(value))" }

    private static func value(_ value: String?) -> String {
        guard let value else { return "NULL" }
        let line = value.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.count > mostCharacters ? "\(line.prefix(mostCharacters))…" : line
    }
}
