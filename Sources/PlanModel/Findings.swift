/// Collects what is wrong with a document, and reads typed values out of it while doing so.
///
/// Every reader returns nil after it has reported a problem, so that one pass finds all of them.
struct Findings {
    private(set) var diagnostics: [Diagnostic] = []
    var speller = Speller()

    var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    mutating func error(
        _ code: String, at mark: SourceMark, _ message: String, hints: [String] = [], hidesSource: Bool = false
    ) {
        diagnostics.append(Diagnostic(.error, at: mark, code: code, message, hints: hints, hidesSource: hidesSource))
    }

    mutating func warning(
        _ code: String, at mark: SourceMark, _ message: String, hints: [String] = [], hidesSource: Bool = false
    ) {
        diagnostics.append(Diagnostic(.warning, at: mark, code: code, message, hints: hints, hidesSource: hidesSource))
    }

    mutating func add(_ other: [Diagnostic]) { diagnostics += other }

    /// An unknown name, with the nearest right one.
    mutating func unknown(
        _ code: String, at mark: SourceMark, _ message: String, word: String, among known: [String], what: String,
        extraHints: [String] = []
    ) {
        error(code, at: mark, message, hints: speller.hints(for: word, among: known, what: what) + extraHints)
    }

    mutating func wrongType(_ located: Located, _ what: String, expected: String, hints: [String] = []) {
        error(
            "plan.wrong-type", at: located.mark, "\(what): expected \(expected), found \(found(located))",
            hints: hints + plainHints(located, expected: expected))
    }

    /// The entries of a map by key, with unknown keys reported; nil where it is no map.
    mutating func map(_ located: Located, _ what: String, keys: [String], misplaced: [String: String] = [:]) -> [String:
        MapEntry]?
    {
        guard let entries = located.value.map else {
            wrongType(located, what, expected: "a map")
            return nil
        }
        var result: [String: MapEntry] = [:]
        for entry in entries {
            if keys.contains(entry.key) {
                result[entry.key] = entry
            } else if let hint = misplaced[entry.key] {
                error(
                    "plan.misplaced-key", at: entry.keyMark,
                    "\(what): `\(printable(entry.key, limit: 60))` does not belong here", hints: [hint])
            } else {
                unknown(
                    "plan.unknown-key", at: entry.keyMark, "\(what): unknown key `\(printable(entry.key, limit: 60))`",
                    word: entry.key,
                    among: keys, what: "known keys")
            }
        }
        return result
    }

    mutating func string(_ entry: MapEntry?, _ what: String) -> String? {
        guard let entry else { return nil }
        guard let text = entry.value.value.string else {
            wrongType(entry.value, what, expected: "text")
            return nil
        }
        if text.unicodeScalars.contains("\0") {
            error("plan.control-character", at: entry.value.mark, "\(what): holds a NUL character")
            return nil
        }
        return text
    }

    mutating func boolean(_ entry: MapEntry?, _ what: String) -> Bool? {
        guard let entry else { return nil }
        guard let flag = entry.value.value.boolean else {
            wrongType(entry.value, what, expected: "true or false")
            return nil
        }
        return flag
    }

    mutating func integer(_ entry: MapEntry?, _ what: String, in range: ClosedRange<Int>) -> Int? {
        guard let entry else { return nil }
        guard let number = entry.value.value.integer else {
            wrongType(entry.value, what, expected: "a whole number")
            return nil
        }
        guard range.contains(number) else {
            error(
                "plan.out-of-range", at: entry.value.mark,
                "\(what): \(number) is not between \(range.lowerBound) and \(range.upperBound)")
            return nil
        }
        return number
    }

    mutating func duration(_ entry: MapEntry?, _ what: String) -> Duration? {
        guard let entry else { return nil }
        guard let duration = entry.value.value.string.flatMap(Quantity.duration) else {
            wrongType(entry.value, what, expected: FieldType.duration.expectation)
            return nil
        }
        return duration
    }

    mutating func choice<Choice: CaseIterable & RawRepresentable<String>>(
        _ entry: MapEntry?, _ what: String, of: Choice.Type
    ) -> Choice? {
        guard let entry, let text = string(entry, what) else { return nil }
        if let choice = Choice(rawValue: text) { return choice }
        let choices = Choice.allCases.map(\.rawValue)
        unknown(
            "plan.unknown-choice", at: entry.value.mark,
            "\(what): `\(printable(text, limit: 60))` is none of its choices", word: text,
            among: choices, what: "choices")
        return nil
    }

    /// One text or a list of texts.
    mutating func strings(_ entry: MapEntry?, _ what: String) -> [(text: String, mark: SourceMark)]? {
        guard let entry else { return nil }
        if let text = entry.value.value.string { return [(text, entry.value.mark)] }
        guard let items = entry.value.value.list else {
            wrongType(entry.value, what, expected: "a list of texts")
            return nil
        }
        var result: [(text: String, mark: SourceMark)] = []
        for item in items {
            if let text = item.value.string {
                result.append((text, item.mark))
            } else {
                wrongType(item, what, expected: "text")
            }
        }
        return result
    }
}

/// "a whole number (15)", "text `yes`", "a list".
func found(_ located: Located) -> String {
    switch located.value {
    case .string(let text): "text `\(printable(text, limit: 40))`"
    case .integer(let number): "the whole number \(number)"
    case .double(let number): "the number \(number)"
    case .boolean(let flag): flag ? "true" : "false"
    case .null, .list, .map, .opaque: located.value.typeName
    }
}

/// Hints for what YAML makes of a value that was written without quotes.
private func plainHints(_ located: Located, expected: String) -> [String] {
    switch located.value {
    case .integer, .double, .boolean:
        return expected.hasPrefix("a duration")
            ? ["write the unit: s, m, h or d"]
            : expected.hasPrefix("text") || expected.hasPrefix("an SQL") ? ["put it in quotes to make it text"] : []
    case .null: return expected.hasPrefix("text") ? ["write \"\" for empty text, or leave the key out"] : []
    case .string(let text) where located.isPlain:
        if expected.hasPrefix("true or false") {
            switch text.lowercased() {
            case "yes", "y", "on": return ["`\(text)` is text here, as in YAML 1.2; write true"]
            case "no", "n", "off": return ["`\(text)` is text here, as in YAML 1.2; write false"]
            default: return []
            }
        }
        guard expected.hasPrefix("a whole number") || expected.hasPrefix("a number") else { return [] }
        let isNumeric =
            text.utf8.allSatisfy { Name.isAlphanumeric($0) || "_+-.".utf8.contains($0) }
            && text.utf8.contains { (48...57).contains($0) }
        guard isNumeric else { return [] }
        if text.contains("_") {
            return ["`_` between digits is read differently by YAML's versions; write the digits alone"]
        }
        if text.hasPrefix("0x") || text.hasPrefix("0o") { return ["write it as a decimal number"] }
        if text.hasPrefix("0") {
            return ["a leading 0 means octal to some readers of YAML; write the number without it"]
        }
        return text.utf8.allSatisfy { (48...57).contains($0) } ? ["it does not fit into 64 bits"] : []
    case .string, .list, .map, .opaque: return []
    }
}
