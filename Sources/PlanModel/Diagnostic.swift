/// One finding about a plan or an inventory, at the place where it was written.
package struct Diagnostic: Hashable, Sendable, Codable {
    package enum Severity: String, Hashable, Sendable, Codable {
        case error, warning
    }

    package var mark: SourceMark
    package var severity: Severity
    /// Stable and machine-readable, for example `plan.unknown-key`. Codes are never reused.
    package var code: String
    /// One lowercase sentence without a full stop.
    package var message: String
    /// What to do next, one sentence each.
    package var hints: [String]
    /// True where the line may hold a secret: then no excerpt of it is ever shown.
    package var hidesSource: Bool
    /// The line and a caret under the column, where the source is known.
    package var excerpt: String?

    package init(
        _ severity: Severity = .error, at mark: SourceMark, code: String, _ message: String, hints: [String] = [],
        hidesSource: Bool = false
    ) {
        self.mark = mark
        self.severity = severity
        self.code = code
        self.message = message
        self.hints = hints
        self.hidesSource = hidesSource
    }
}

extension Diagnostic: CustomStringConvertible {
    /// `file:line:column: error: message [code]`, the excerpt, then one `HINT:` line for each hint.
    package var description: String {
        var lines = ["\(printable(mark.file)):\(mark.line):\(mark.column): \(severity.rawValue): \(message) [\(code)]"]
        if let excerpt { lines.append(excerpt) }
        lines += hints.map { "HINT: \($0)" }
        return lines.joined(separator: "\n")
    }
}

extension Sequence<Diagnostic> {
    /// In the order in which a person reads the files; equal places keep errors before warnings.
    package func inReadingOrder() -> [Diagnostic] {
        var seen = Set<Diagnostic>()
        return filter { seen.insert($0).inserted }.sorted {
            ($0.mark, $0.severity.rawValue, $0.code, $0.message) < ($1.mark, $1.severity.rawValue, $1.code, $1.message)
        }
    }

    package var errors: [Diagnostic] { filter { $0.severity == .error } }
    package var warnings: [Diagnostic] { filter { $0.severity == .warning } }
}

/// Text as it may appear in a message: control characters (terminal escapes among them) become `\u{…}`,
/// and more than `limit` Unicode scalars are cut with an ellipsis.
package func printable(_ text: String, limit: Int = 200) -> String {
    var result = String.UnicodeScalarView()
    var count = 0
    for scalar in text.unicodeScalars {
        guard count < limit else {
            result.append("…")
            break
        }
        count += 1
        switch scalar {
        case "\n": result.append(contentsOf: "\\n".unicodeScalars)
        case "\t": result.append(contentsOf: "\\t".unicodeScalars)
        case "\r": result.append(contentsOf: "\\r".unicodeScalars)
        default:
            if isControl(scalar) {
                result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
            } else {
                result.append(scalar)
            }
        }
    }
    return String(result)
}

/// C0, C1 and DEL, the line and paragraph separators, and the marks that reorder text on a screen.
package func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x00...0x1F, 0x7F...0x9F, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069, 0xFEFF, 0xFFFE, 0xFFFF: true
    default: false
    }
}
