extension Findings {
    /// Reads the `parameters:` of a plan, in their order.
    mutating func parameters(_ located: Located) -> [Parameter] {
        guard let entries = located.value.map else {
            if located.value != .null {
                wrongType(located, "parameters", expected: "a map from names to what they are")
            }
            return []
        }
        var result: [Parameter] = []
        var environment: [String: String] = [:]
        for entry in entries {
            guard Name.isPlain(entry.key) else {
                error(
                    "plan.bad-name", at: entry.keyMark, "`\(printable(entry.key, limit: 60))` is no parameter name",
                    hints: ["names hold a–z, 0–9, `-` and `_` and start with a letter"])
                continue
            }
            let variable = Parameter.environmentName(for: entry.key)
            if let other = environment.updateValue(entry.key, forKey: variable) {
                error(
                    "plan.parameter-clash", at: entry.keyMark,
                    "parameters `\(other)` and `\(entry.key)` would be the same environment variable \(variable)")
            }
            if let parameter = parameter(entry) { result.append(parameter) }
        }
        return result
    }

    private mutating func parameter(_ entry: MapEntry) -> Parameter? {
        let what = "parameter `\(entry.key)`"
        var parameter = Parameter(name: entry.key, mark: entry.keyMark)
        if entry.value.value == .null { return parameter }
        let keys = ["type", "default", "choices", "required", "help", "secret"]
        guard let map = map(entry.value, what, keys: keys) else { return nil }
        parameter.kind =
            choice(map["type"], "\(what), `type`", of: Parameter.Kind.self)
            ?? (map["choices"] == nil ? .string : .choice)
        parameter.isRequired = boolean(map["required"], "\(what), `required`") ?? false
        parameter.isSecret = boolean(map["secret"], "\(what), `secret`") ?? false
        parameter.help = string(map["help"], "\(what), `help`") ?? ""
        parameter.choices = strings(map["choices"], "\(what), `choices`")?.map(\.text) ?? []
        checkCombination(parameter, map, what, at: entry.keyMark)
        if let written = map["default"] { parameter.defaultValue = defaultValue(written.value, of: parameter, what) }
        return parameter
    }

    private mutating func checkCombination(
        _ parameter: Parameter, _ map: [String: MapEntry], _ what: String, at mark: SourceMark
    ) {
        if parameter.kind == .choice, parameter.choices.isEmpty {
            error("plan.missing-field", at: mark, "\(what): `choices` is missing")
        }
        if parameter.kind != .choice, let choices = map["choices"] {
            error(
                "plan.bad-combination", at: choices.keyMark,
                "\(what): `choices` belong to the type choice, not \(parameter.kind.rawValue)")
        }
        if parameter.isRequired, let written = map["default"] {
            error("plan.bad-combination", at: written.keyMark, "\(what): a required parameter has no default")
        }
        if parameter.isSecret, parameter.kind != .string {
            error("plan.bad-combination", at: mark, "\(what): a secret is of type string")
        }
    }

    private mutating func defaultValue(_ located: Located, of parameter: Parameter, _ what: String) -> ParameterValue? {
        if parameter.isSecret, located.value.string == nil {
            error(
                "plan.bad-secret", at: located.mark, "\(what), `default`: expected a reference to a secret",
                hints: ["write env:NAME, file:/path or command:…"], hidesSource: true)
            return nil
        }
        let written: String
        switch (parameter.kind, located.value) {
        case (_, .string(let text)): written = text
        case (.integer, .integer(let number)): written = String(number)
        case (.boolean, .boolean(let flag)): written = flag ? "true" : "false"
        default:
            let type: FieldType =
                parameter.kind == .duration
                ? .duration
                : parameter.kind == .integer
                    ? .integer
                    : parameter.kind == .boolean ? .boolean : .string
            wrongType(located, "\(what), `default`", expected: type.expectation)
            return nil
        }
        // In a file, unlike on a command line, a boolean or a number in quotes is text.
        if parameter.kind == .integer && located.value.integer == nil
            || parameter.kind == .boolean && located.value.boolean == nil
        {
            wrongType(
                located, "\(what), `default`", expected: parameter.kind == .integer ? "a whole number" : "true or false"
            )
            return nil
        }
        switch parameter.read(written) {
        case .success(let value): return value
        case .failure(let refusal):
            error(
                parameter.isSecret ? "plan.bad-secret" : "plan.bad-default", at: located.mark,
                "\(what), `default`: \(refusal.reason)",
                hidesSource: parameter.isSecret)
            return nil
        }
    }
}
