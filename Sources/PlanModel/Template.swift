package import RunCore

/// What a `{{ … }}` stands for.
package enum TemplateReference: Hashable, Sendable {
    /// `params.NAME`
    case parameter(String)
    /// `steps.ID.NAME`: what a step reported under this name.
    case output(StepID, String)
    /// `host.NAME`: name, address, user, or a variable of the inventory, of the host on which the step runs.
    case host(String)
    /// `run.id`, `run.mode`
    case run(String)
}

/// A text with references, split into its parts. `\{{` stands for a literal `{{`.
package struct Template: Hashable, Sendable {
    package enum Part: Hashable, Sendable {
        case text(String)
        case reference(TemplateReference)
    }

    package let parts: [Part]

    /// The only reference, where the text is nothing else; its value keeps its type.
    package var whole: TemplateReference? {
        if parts.count == 1, case .reference(let reference) = parts[0] { reference } else { nil }
    }

    package var references: [TemplateReference] {
        parts.compactMap { if case .reference(let reference) = $0 { reference } else { nil } }
    }

    /// Why a text is no template, as a sentence.
    package struct Malformed: Error, Hashable, Sendable {
        package let message: String
        package let hints: [String]
    }

    package init(_ text: String) throws(Malformed) {
        guard Self.isNeeded(text) else {
            parts = [.text(text)]
            return
        }
        var parts: [Part] = []
        var literal = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let scalar = rest.first {
            if rest.starts(with: #"\{{"#.unicodeScalars) {
                literal.append(contentsOf: "{{".unicodeScalars)
                rest = rest.dropFirst(3)
            } else if rest.starts(with: "{{".unicodeScalars) {
                rest = rest.dropFirst(2)
                guard let end = Self.end(of: rest) else {
                    throw Malformed(
                        message: "`{{` is not closed by `}}`", hints: [#"for two literal braces write \{{"#])
                }
                if !literal.isEmpty { parts.append(.text(String(literal))) }
                literal = .init()
                parts.append(.reference(try Self.reference(String(rest[..<end]))))
                rest = rest[end...].dropFirst(2)
            } else {
                literal.append(scalar)
                rest = rest.dropFirst()
            }
        }
        if !literal.isEmpty || parts.isEmpty { parts.append(.text(String(literal))) }
        self.parts = parts
    }

    /// False where the text holds no braces to look at.
    package static func isNeeded(_ text: String) -> Bool {
        let bytes = text.utf8
        guard var previous = bytes.first else { return false }
        for byte in bytes.dropFirst() {
            if byte == UInt8(ascii: "{"), previous == byte { return true }
            previous = byte
        }
        return false
    }

    private static func end(of text: Substring.UnicodeScalarView) -> String.Index? {
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if text[index] == "\n" { return nil }
            if text[index] == "}", next < text.endIndex, text[next] == "}" { return index }
            index = next
        }
        return nil
    }

    private static func reference(_ expression: String) throws(Malformed) -> TemplateReference {
        let words = expression.split(separator: ".", omittingEmptySubsequences: false).map { $0.trimmingSpaces }
        let isName = words.allSatisfy { word in
            !word.isEmpty
                && word.utf8.allSatisfy {
                    Name.isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                }
        }
        if isName {
            switch (words.first, words.count) {
            case ("params", 2): return .parameter(words[1])
            case ("steps", 3): if let id = StepID(words[1]) { return .output(id, words[2]) }
            case ("host", 2): return .host(words[1])
            case ("run", 2) where ["id", "mode"].contains(words[1]): return .run(words[1])
            default: break
            }
        }
        throw Malformed(
            message: "`{{ \(printable(expression.trimmingSpaces, limit: 60)) }}` is no reference",
            hints: ["references are params.NAME, steps.ID.OUTPUT, host.NAME, run.id and run.mode; there are no filters"]
        )
    }

    /// A script with `\{{` turned into `{{`.
    package static func unescapedScript(_ script: String) -> String {
        guard isNeeded(script) else { return script }
        var result = String.UnicodeScalarView()
        var rest = script.unicodeScalars[...]
        while let scalar = rest.first {
            if rest.starts(with: #"\{{"#.unicodeScalars) {
                result.append(contentsOf: "{{".unicodeScalars)
                rest = rest.dropFirst(3)
            } else {
                result.append(scalar)
                rest = rest.dropFirst()
            }
        }
        return String(result)
    }

    /// The offset in Unicode scalars of the first `{{` of a script that is not escaped.
    package static func firstBraces(inScript script: String) -> Int? {
        guard isNeeded(script) else { return nil }
        var previous: Unicode.Scalar = " "
        var isEscaped = false
        for (offset, scalar) in script.unicodeScalars.enumerated() {
            if scalar == "{" {
                if previous == "{" {
                    if !isEscaped { return offset - 1 }
                    previous = " "
                    isEscaped = false
                    continue
                }
                isEscaped = previous == "\\"
            }
            previous = scalar
        }
        return nil
    }
}

extension StringProtocol {
    var trimmingSpaces: String {
        var text = self[...]
        while let first = text.first, first == " " || first == "\t" { text = text.dropFirst() }
        while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
        return String(text)
    }
}
