/// Why a value does not fit its type.
struct TypeProblem: Hashable, Sendable {
    var code: String
    /// The rest of the sentence "field x: …".
    var message: String
    var hints: [String] = []
}

extension FieldType {
    /// Checks a scalar that holds no template any more. Lists and maps are walked by the callers.
    func problem(with located: Located, range: ClosedRange<Int>? = nil) -> TypeProblem? {
        let value = located.value
        switch self {
        case .integer:
            guard let number = value.integer else { return mismatch(located) }
            guard let range, !range.contains(number) else { return nil }
            return TypeProblem(
                code: "plan.out-of-range",
                message: "\(number) is not between \(range.lowerBound) and \(range.upperBound)")
        case .number:
            if case .double = value { return nil }
            return value.integer == nil ? mismatch(located) : nil
        case .boolean: return value.boolean == nil ? mismatch(located) : nil
        case .any: return nil
        case .list, .map, .record: return mismatch(located)
        case .string, .text, .identifier, .account, .path, .duration, .bytes, .choice, .hostRef, .databaseRef,
            .storeRef,
            .stepRef, .secretRef:
            guard let text = value.string else { return mismatch(located) }
            return textProblem(text, located)
        }
    }

    private func mismatch(_ located: Located) -> TypeProblem {
        var findings = Findings()
        findings.wrongType(located, "", expected: expectation)
        return TypeProblem(
            code: "plan.wrong-type", message: "expected \(expectation), found \(found(located))",
            hints: findings.diagnostics[0].hints)
    }

    private func textProblem(_ text: String, _ located: Located) -> TypeProblem? {
        if text.unicodeScalars.contains("\0") {
            return TypeProblem(code: "plan.control-character", message: "holds a NUL character")
        }
        switch self {
        case .identifier where !Name.isSQLIdentifier(text):
            let why =
                text.isEmpty
                ? "is empty" : text.utf8.count > 63 ? "is longer than 63 bytes" : "holds a control character"
            return TypeProblem(code: "plan.bad-name", message: "the identifier `\(printable(text, limit: 80))` \(why)")
        case .account where !Name.isAccount(text):
            return TypeProblem(
                code: "plan.bad-name", message: "`\(printable(text, limit: 60))` is no login name",
                hints: ["letters, digits, `.`, `_` and `-`, starting with a letter or `_`, 32 at most"])
        case .path where !Name.isPath(text):
            return TypeProblem(
                code: "plan.bad-path", message: "`\(printable(text, limit: 80))` is no absolute path",
                hints: ["a path starts with `/`, has no `..` in it and no control characters"])
        case .duration where Quantity.duration(text) == nil, .bytes where Quantity.bytes(text) == nil:
            return mismatch(located)
        case .choice(let choices) where !choices.contains(text):
            var speller = Speller()
            return TypeProblem(
                code: "plan.unknown-choice", message: "`\(printable(text, limit: 60))` is none of its choices",
                hints: speller.hints(for: text, among: choices, what: "choices"))
        case .hostRef where !Name.isHost(text), .databaseRef where !Name.isPlain(text),
            .storeRef where !Name.isPlain(text):
            return TypeProblem(
                code: "plan.bad-name", message: "`\(printable(text, limit: 60))` is not \(expectation)",
                hints: ["names hold letters, digits, `-` and `_`"])
        default: return nil
        }
    }
}
