extension Document {
    /// Plain text; the last line ends with a newline. Control characters are shown, not executed.
    package func text(style: Style) -> String {
        var lines = [style.paint(oneLine(title), .strong), String(repeating: "=", count: columns(oneLine(title)))]
        for block in blocks {
            lines.append("")
            lines += Self.lines(of: block, style)
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The tables alone, without headings.
    func tableLines(_ style: Style) -> [String] {
        blocks.flatMap { block in
            if case .table(let table) = block { Self.lines(of: table, style) } else { [String]() }
        }
    }

    private static func lines(of block: Block, _ style: Style) -> [String] {
        switch block {
        case .heading(let text): return [style.paint(oneLine(text), .strong), String(repeating: "-", count: columns(oneLine(text)))]
        case .paragraph(let text, let role):
            return wrapped(terminalSafe(text), 100).map { style.paint($0, role) }
        case .facts(let facts):
            let width = facts.map { columns($0.name) }.max() ?? 0
            return facts.map { "\(fitted(oneLine($0.name), width))  \(style.paint(oneLine($0.value), $0.role))" }
        case .table(let table): return lines(of: table, style)
        case .list(let items): return items.map { "- \(oneLine($0))" }
        case .code(let text): return terminalSafe(text).split(separator: "\n", omittingEmptySubsequences: false).map { "  \($0)" }
        }
    }

    private static func lines(of table: Table, _ style: Style) -> [String] {
        let rows = table.rows.map { row in row.cells.map { clipped(oneLine($0), 100) } }
        let widths = table.columns.indices.map { column in
            max(columns(table.columns[column].title), rows.map { column < $0.count ? columns($0[column]) : 0 }.max() ?? 0)
        }
        func line(_ cells: [String]) -> String {
            let text = cells.enumerated().map { fitted($1, widths[$0], alignsRight: table.columns[$0].isNumber) }.joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed())
        }
        return [style.paint(line(table.columns.map(\.title)), .faint)]
            + zip(rows, table.rows).map { style.paint(line($0), $1.role) }
    }
}
