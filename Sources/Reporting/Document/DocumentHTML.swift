extension Document {
    /// One HTML file that needs nothing else: no script, no font, no picture, nothing fetched.
    package var html: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
        <title>\(Self.escaped(oneLine(title)))</title>
        <style>\(Self.css)</style>
        </head>
        <body>
        <main>
        <h1>\(Self.escaped(oneLine(title)))</h1>
        \(blocks.map(Self.html).joined(separator: "\n"))
        </main>
        </body>
        </html>

        """
    }

    private static let css = """
        :root{color-scheme:light dark;--line:#d5d9de;--good:#17733b;--bad:#b3261e;--attention:#8a5a00;--faint:#6a7179}
        @media (prefers-color-scheme:dark){:root{--line:#3a4048;--good:#6bd391;--bad:#ff8a80;--attention:#f0c060;--faint:#98a0a8}}
        body{font:15px/1.5 system-ui,sans-serif;margin:0}main{max-width:72rem;margin:2rem auto;padding:0 1.25rem}
        h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
        .scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
        th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
        th{font-weight:600;white-space:nowrap}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
        dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;margin:0}dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
        pre{border:1px solid var(--line);border-radius:6px;padding:.75rem;overflow-x:auto;font:13px/1.45 ui-monospace,monospace}
        .good{color:var(--good)}.bad{color:var(--bad)}.attention{color:var(--attention)}.faint{color:var(--faint)}.strong{font-weight:600}
        @media print{main{max-width:none;margin:0}}
        """

    private static func html(_ block: Block) -> String {
        switch block {
        case .heading(let text): return "<h2>\(escaped(oneLine(text)))</h2>"
        case .paragraph(let text, let role):
            let lines = terminalSafe(text).split(separator: "\n").map { escaped(String($0)) }
            return "<p\(attribute(role))>\(lines.joined(separator: "<br>"))</p>"
        case .facts(let facts):
            let pairs = facts.map { "<dt>\(escaped(oneLine($0.name)))</dt><dd\(attribute($0.role))>\(escaped(oneLine($0.value)))</dd>" }
            return "<dl>\(pairs.joined(separator: "\n"))</dl>"
        case .table(let table): return html(table)
        case .list(let items): return "<ul>\(items.map { "<li>\(escaped(oneLine($0)))</li>" }.joined(separator: "\n"))</ul>"
        case .code(let text): return "<pre>\(escaped(terminalSafe(text)))</pre>"
        }
    }

    private static func html(_ table: Table) -> String {
        func cells(_ texts: [String], _ tag: String) -> String {
            texts.enumerated().map { index, text in
                let isNumber = index < table.columns.count && table.columns[index].isNumber
                return "<\(tag)\(isNumber ? " class=\"n\"" : "")>\(escaped(oneLine(text)))</\(tag)>"
            }.joined()
        }
        let head = "<thead><tr>\(cells(table.columns.map(\.title), "th"))</tr></thead>"
        let body = table.rows.map { "<tr\(attribute($0.role))>\(cells($0.cells, "td"))</tr>" }.joined(separator: "\n")
        return "<div class=\"scroll\"><table>\(head)\n<tbody>\(body)</tbody></table></div>"
    }

    private static func attribute(_ role: Style.Role) -> String {
        switch role {
        case .normal, .active: ""
        case .good: " class=\"good\""
        case .bad: " class=\"bad\""
        case .attention: " class=\"attention\""
        case .faint: " class=\"faint\""
        case .strong: " class=\"strong\""
        }
    }

    private static func escaped(_ text: String) -> String {
        // By scalars: a combining mark after `<` would hide it in a character of its own.
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result.append(contentsOf: "&amp;".unicodeScalars)
            case "<": result.append(contentsOf: "&lt;".unicodeScalars)
            case ">": result.append(contentsOf: "&gt;".unicodeScalars)
            case "\"": result.append(contentsOf: "&quot;".unicodeScalars)
            case "'": result.append(contentsOf: "&#39;".unicodeScalars)
            default: result.append(scalar)
            }
        }
        return String(result)
    }
}
