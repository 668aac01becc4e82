extension Document {
    /// Markdown with tables as GitHub reads them. What came from elsewhere is escaped, so that it shows as it is.
    package var markdown: String {
        let parts = ["# \(Self.escaped(title))"] + blocks.map(Self.markdown)
        return parts.joined(separator: "\n\n") + "\n"
    }

    private static func markdown(_ block: Block) -> String {
        switch block {
        case .heading(let text): return "## \(escaped(text))"
        case .paragraph(let text, let role):
            let lines = terminalSafe(text).split(separator: "\n").map { escaped(String($0)) }.joined(separator: "  \n")
            return role == .bad || role == .attention ? "**\(lines)**" : lines
        case .facts(let facts): return markdown(.table(Table([.init(""), .init("")], facts.map { .init([$0.name, $0.value]) })))
        case .table(let table):
            func line(_ cells: [String]) -> String { "| \(cells.joined(separator: " | ")) |" }
            let rule = line(table.columns.map { $0.isNumber ? "---:" : "---" })
            return ([line(table.columns.map { escaped($0.title) }), rule] + table.rows.map { line($0.cells.map(escaped)) })
                .joined(separator: "\n")
        case .list(let items): return items.map { "- \(escaped($0))" }.joined(separator: "\n")
        case .code(let text):
            let safe = terminalSafe(text)
            // A fence longer than any run of backquotes inside cannot be closed by the text.
            let fence = String(repeating: "`", count: max(3, longestRun(of: "`", in: safe) + 1))
            return "\(fence)\n\(safe)\n\(fence)"
        }
    }

    /// The text on one line with everything escaped that Markdown or HTML would take for its own.
    private static func escaped(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in oneLine(text).unicodeScalars {
            switch scalar {
            case "\\", "`", "*", "_", "[", "]", "|", "#", "~":
                result.append("\\")
                result.append(scalar)
            case "<": result.append(contentsOf: "&lt;".unicodeScalars)
            case ">": result.append(contentsOf: "&gt;".unicodeScalars)
            case "&": result.append(contentsOf: "&amp;".unicodeScalars)
            default: result.append(scalar)
            }
        }
        return String(result)
    }

    private static func longestRun(of wanted: Character, in text: String) -> Int {
        var longest = 0, run = 0
        for character in text {
            run = character == wanted ? run + 1 : 0
            longest = max(longest, run)
        }
        return longest
    }
}
