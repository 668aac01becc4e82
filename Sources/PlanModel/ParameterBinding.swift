/// The values of a plan's parameters for one run: what the operator gave, then the defaults.
package struct ParameterBinding: Codable, Hashable, Sendable {
    /// Absent optional parameters are absent here.
    package let values: [String: ParameterValue]
    /// The names that the operator gave, in the order of the plan.
    package let given: [String]

    package init(values: [String: ParameterValue], given: [String] = []) {
        self.values = values
        self.given = given
    }

    package subscript(name: String) -> ParameterValue? { values[name] }

    /// What scripts get: `PARAM_<NAME>` for every parameter but the secret ones, which are resolved at the last moment.
    package var environment: [String: String] {
        var result: [String: String] = [:]
        for (name, value) in values {
            if case .secret = value { continue }
            result[Parameter.environmentName(for: name)] = value.text
        }
        return result
    }

    /// Environment variables whose values are secrets: by reference.
    package var secretEnvironment: [String: SecretReference] {
        var result: [String: SecretReference] = [:]
        for (name, value) in values {
            if case .secret(let reference) = value { result[Parameter.environmentName(for: name)] = reference }
        }
        return result
    }

    /// Binds the words of `--param NAME=VALUE`.
    ///
    /// - Returns: the binding, nil where there is any problem; the problems are at the place `--param`.
    package static func bind(_ words: [String], to plan: Plan) -> (
        binding: ParameterBinding?, diagnostics: [Diagnostic]
    ) {
        var findings = Findings()
        var values: [String: ParameterValue] = [:]
        var seen = Set<String>()
        let names = plan.parameters.map(\.name)
        for (index, word) in words.enumerated() {
            let mark = SourceMark(file: "--param", line: index + 1, column: 1)
            guard let equals = word.firstIndex(of: "=") else {
                findings.error(
                    "param.malformed", at: mark, "a parameter without a value", hints: ["write --param NAME=VALUE"])
                continue
            }
            let name = String(word[..<equals])
            guard let parameter = plan.parameter(named: name) else {
                findings.unknown(
                    "param.unknown", at: mark, "the plan has no parameter `\(printable(name, limit: 60))`", word: name,
                    among: names,
                    what: "parameters")
                continue
            }
            guard seen.insert(name).inserted else {
                findings.error("param.twice", at: mark, "parameter `\(name)` is given twice")
                continue
            }
            switch parameter.read(String(word[word.index(after: equals)...])) {
            case .success(let value): values[name] = value
            case .failure(let refusal):
                findings.error("param.bad-value", at: mark, "parameter `\(name)` \(refusal.reason)")
            }
        }
        for parameter in plan.parameters where !seen.contains(parameter.name) {
            if let value = parameter.defaultValue {
                values[parameter.name] = value
            } else if parameter.isRequired {
                findings.error(
                    "param.missing", at: SourceMark(file: "--param", line: words.count + 1, column: 1),
                    "parameter `\(parameter.name)` is required" + (parameter.help.isEmpty ? "" : ": \(parameter.help)"),
                    hints: ["--param \(parameter.name)=…"])
            }
        }
        let given = names.filter(seen.contains)
        return (
            findings.hasErrors ? nil : ParameterBinding(values: values, given: given),
            findings.diagnostics.inReadingOrder()
        )
    }
}
