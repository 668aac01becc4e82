import RunCore

/// Checks the fields of one step, templates included, before any value is known.
struct FieldValidator {
    let context: PlanContext
    var findings: Findings
    /// Steps whose results the fields mention.
    var mentioned: [(target: String, mark: SourceMark, what: String)] = []
    /// Those on which the step runs; nil where that is not known yet.
    let hosts: [Host]?

    init(_ context: PlanContext, _ findings: Findings, hosts: [Host]? = nil) {
        self.context = context
        self.findings = findings
        self.hosts = hosts
    }

    /// - Parameter elsewhere: fields that stand in a wrong place, which is reported there, and so are not missing.
    mutating func checkRecord(
        _ located: Located, _ what: String, fields: [FieldSchema], misplaced: [String: String] = [:],
        elsewhere: Set<String> = []
    ) {
        guard let entries = findings.map(located, what, keys: fields.map(\.name), misplaced: misplaced) else { return }
        for field in fields {
            if let entry = entries[field.name] {
                check(entry.value, "\(what), `\(field.name)`", field.type, field)
            } else if field.isRequired, !elsewhere.contains(field.name) {
                findings.error(
                    "plan.missing-field", at: located.mark, "\(what): `\(field.name)` is missing",
                    hints: ["expected \(field.type.expectation)" + (field.help.isEmpty ? "" : ": \(field.help)")])
            }
        }
    }

    mutating func check(_ located: Located, _ what: String, _ type: FieldType, _ field: FieldSchema) {
        if case .opaque(let tag) = located.value {
            findings.error(
                "plan.unknown-tag", at: located.mark,
                "\(what): the tag \(printable(tag, limit: 40)) is not understood in plans")
            return
        }
        if field.allowsSecret, let entries = located.value.map, entries.count == 1, entries[0].key == "secret" {
            check(entries[0].value, "\(what), `secret`", .secretRef, field)
            return
        }
        switch (type, located.value) {
        case (.text, .string(let script)): checkScript(script, located, what)
        case (.list(let element), .list(let items)):
            for (index, item) in items.enumerated() { check(item, "\(what)[\(index + 1)]", element, field) }
        case (.map(let element), .map(let entries)):
            for entry in entries {
                refuseControl(entry, what)
                check(entry.value, "\(what), `\(printable(entry.key, limit: 60))`", element, field)
            }
        case (.record(let fields), .map): checkRecord(located, what, fields: fields)
        case (.any, .list(let items)):
            for item in items { check(item, what, .any, field) }
        case (.any, .map(let entries)):
            for entry in entries { check(entry.value, "\(what), `\(printable(entry.key, limit: 60))`", .any, field) }
        case (_, .string(let text)) where Template.isNeeded(text): checkTemplate(text, located, what, type, field)
        default: checkValue(located, what, type, field)
        }
    }

    private mutating func refuseControl(_ entry: MapEntry, _ what: String) {
        guard entry.key.unicodeScalars.contains(where: isControl) else { return }
        findings.error(
            "plan.control-character", at: entry.keyMark,
            "\(what): the key `\(printable(entry.key, limit: 60))` holds a control character")
    }

    mutating func checkScript(_ script: String, _ located: Located, _ what: String) {
        if script.unicodeScalars.contains("\0") {
            findings.error("plan.control-character", at: located.mark, "\(what): holds a NUL character")
        }
        checkVariables(of: script, located, what)
        guard let offset = Template.firstBraces(inScript: script) else { return }
        let name = script.unicodeScalars.dropFirst(offset + 2).prefix { $0 != "}" && $0 != "\n" }
        var hints = [#"scripts are run as they are written; for two literal braces write \{{"#]
        let words = String(String.UnicodeScalarView(name)).trimmingSpaces.split(separator: ".")
        if words.count == 2, words[0] == "params" {
            hints.insert(
                "the parameter is in the environment: \"$\(Parameter.environmentName(for: String(words[1])))\"", at: 0)
        } else {
            hints.insert("parameters reach scripts as environment variables: PARAM_<NAME>", at: 0)
        }
        let line = script.unicodeScalars.prefix(offset).count { $0 == "\n" } + 1
        let place = script.unicodeScalars.contains("\n") ? "line \(line) of a script" : "a script"
        findings.error("plan.template-in-script", at: located.mark, "\(what): `{{` in \(place)", hints: hints)
    }

    /// A misspelt `$PARAM_…` would be empty at run time, which is the worst moment to find out.
    private mutating func checkVariables(of script: String, _ located: Located, _ what: String) {
        let bytes = Array(script.utf8)
        let prefix = Array("PARAM_".utf8)
        var index = 0
        while index + prefix.count < bytes.count {
            let isStart =
                bytes[index] == prefix[0] && bytes[index..<index + prefix.count].elementsEqual(prefix)
                && (index == 0 || !Name.isAlphanumeric(bytes[index - 1]) && bytes[index - 1] != UInt8(ascii: "_"))
            guard isStart else {
                index += 1
                continue
            }
            let word = bytes[index...].prefix { Name.isAlphanumeric($0) || $0 == UInt8(ascii: "_") }
            index = word.endIndex
            let name = String(decoding: word, as: UTF8.self)
            guard !context.variableNames.contains(name) else { continue }
            let hints = findings.speller.hints(
                for: name, among: context.variableNames.sorted(), what: "parameters of this plan")
            findings.warning(
                "plan.unknown-variable", at: located.mark,
                "\(what): no parameter gives `\(printable(name, limit: 60))`", hints: hints)
        }
    }

    private mutating func checkValue(_ located: Located, _ what: String, _ type: FieldType, _ field: FieldSchema) {
        if let problem = type.problem(with: located, range: field.range) {
            findings.error(problem.code, at: located.mark, "\(what): \(problem.message)", hints: problem.hints)
            return
        }
        guard let text = located.value.string else { return }
        checkReference(text, located, what, type)
    }

    private mutating func checkReference(_ text: String, _ located: Located, _ what: String, _ type: FieldType) {
        let shown = printable(text, limit: 60)
        if case .stepRef = type {
            if context.steps.contains(text) {
                mentioned.append((text, located.mark, what))
            } else {
                findings.unknown(
                    "plan.unknown-step", at: located.mark, "\(what): there is no step `\(shown)`", word: text,
                    among: context.stepNames,
                    what: "steps")
            }
            return
        }
        if case .secretRef = type {
            if text.contains(":") {
                if SecretReference(text) == nil {
                    findings.error(
                        "plan.bad-secret", at: located.mark, "\(what): this is no reference to a secret",
                        hints: ["references are env:NAME, file:/path and command:…"], hidesSource: true)
                }
                return
            }
            guard let index = context.inventory, !index.secrets.contains(text) else { return }
            findings.unknown(
                "plan.unknown-secret", at: located.mark, "\(what): the inventory has no secret `\(shown)`", word: text,
                among: index.inventory.secrets.map(\.name), what: "secrets")
            return
        }
        guard let index = context.inventory else { return }
        switch type {
        case .hostRef: _ = findings.usableHosts(text, at: located.mark, what, index)
        case .databaseRef where !index.databases.contains(text):
            findings.unknown(
                "plan.unknown-database", at: located.mark, "\(what): the inventory has no database `\(shown)`",
                word: text,
                among: index.inventory.databases.map(\.name), what: "databases")
        case .storeRef where !index.stores.contains(text):
            findings.unknown(
                "plan.unknown-store", at: located.mark, "\(what): the inventory has no store `\(shown)`", word: text,
                among: index.inventory.stores.map(\.name), what: "stores")
        default: break
        }
    }

    /// A text with references. The types that they will have are checked as far as they are known.
    mutating func checkTemplate(
        _ text: String, _ located: Located, _ what: String, _ type: FieldType, _ field: FieldSchema
    ) {
        let template: Template
        do { template = try Template(text) } catch {
            findings.error("plan.bad-template", at: located.mark, "\(what): \(error.message)", hints: error.hints)
            return
        }
        if template.references.isEmpty {
            return checkValue(Located(.string(text), at: located.mark), what, type, field)
        }
        if template.whole == nil, !type.isTextual {
            findings.error(
                "plan.wrong-type", at: located.mark,
                "\(what): expected \(type.expectation), found text with a reference inside",
                hints: ["a reference that is the whole value keeps its type"])
        }
        for reference in template.references {
            switch reference {
            case .parameter(let name): checkParameter(name, located, what, type, field, isWhole: template.whole != nil)
            case .output(let id, _):
                if context.steps.contains(id.rawValue) {
                    mentioned.append((id.rawValue, located.mark, what))
                } else {
                    findings.unknown(
                        "plan.unknown-step", at: located.mark, "\(what): there is no step `\(id)`", word: id.rawValue,
                        among: context.stepNames, what: "steps")
                }
            case .host(let name): checkHostReference(name, located, what)
            case .run: break
            }
        }
    }

    /// A variable that the inventory lacks would stop the run at this step, hours after its start.
    private mutating func checkHostReference(_ name: String, _ located: Located, _ what: String) {
        // A step that makes a host may tell these two.
        guard let hosts, !["address", "user"].contains(name) else { return }
        do { _ = try TemplateScope.value(ofHost: name, on: hosts, at: located.mark) } catch {
            findings.error(error.code, at: located.mark, "\(what): \(error.reason)", hints: error.hints)
        }
    }

    private mutating func checkParameter(
        _ name: String, _ located: Located, _ what: String, _ type: FieldType, _ field: FieldSchema, isWhole: Bool
    ) {
        guard let parameter = context.parameters[name] else {
            findings.unknown(
                "plan.unknown-parameter", at: located.mark,
                "\(what): there is no parameter `\(printable(name, limit: 60))`", word: name,
                among: context.parameterNames, what: "parameters")
            return
        }
        if parameter.isSecret {
            let isAllowed = isWhole && (field.allowsSecret || type == .secretRef)
            if !isAllowed {
                findings.error(
                    "plan.secret-in-text", at: located.mark,
                    "\(what): the secret parameter `\(name)` cannot be used here",
                    hints: [
                        "a secret must be the whole value of a field that takes secrets, such as an `environment` variable"
                    ])
            }
            return
        }
        if isWhole, let problem = type.mismatch(with: parameter) {
            findings.error("plan.wrong-type", at: located.mark, "\(what): \(problem)")
        }
        let mayBeAbsent = parameter.defaultValue == nil && !parameter.isRequired
        if mayBeAbsent, !isWhole || field.isRequired {
            findings.error(
                "plan.maybe-absent", at: located.mark, "\(what): the parameter `\(name)` may be absent",
                hints: ["give it a default, or make it `required: true`"])
        }
    }
}

extension FieldType {
    /// True where text with references inside makes sense.
    var isTextual: Bool {
        switch self {
        case .string, .identifier, .account, .path, .any, .hostRef, .databaseRef, .storeRef, .duration, .bytes, .choice:
            true
        case .text, .integer, .number, .boolean, .list, .map, .record, .stepRef, .secretRef: false
        }
    }

    /// Why a parameter cannot be the whole of such a field, as a sentence.
    fileprivate func mismatch(with parameter: Parameter) -> String? {
        if case .choice(let choices) = self, parameter.kind == .choice {
            guard let wrong = parameter.choices.first(where: { !choices.contains($0) }) else { return nil }
            return
                "the parameter `\(parameter.name)` may be `\(printable(wrong, limit: 40))`, which is none of the field's choices"
        }
        let fitting: [Parameter.Kind]
        switch self {
        case .any: fitting = Parameter.Kind.allCases
        case .string: fitting = Parameter.Kind.allCases.filter { $0 != .list }
        case .identifier: fitting = [.identifier, .choice]
        case .account, .path, .hostRef, .databaseRef, .storeRef, .bytes: fitting = [.string, .choice, .identifier]
        case .duration: fitting = [.duration]
        case .integer, .number: fitting = [.integer]
        case .boolean: fitting = [.boolean]
        case .choice: fitting = [.choice]
        case .list(.string), .list(.any): fitting = [.list]
        case .text, .list, .map, .record, .stepRef, .secretRef: fitting = []
        }
        return fitting.contains(parameter.kind)
            ? nil
            : "expected \(expectation), found the parameter `\(parameter.name)` of type \(parameter.kind.rawValue)"
    }
}

extension Findings {
    /// The hosts of a name in `on:`, with what is wrong about them reported at `mark`.
    mutating func usableHosts(_ name: String, at mark: SourceMark, _ what: String, _ index: InventoryIndex) -> [Host]? {
        guard let hosts = index.hosts(on: name) else {
            unknown(
                "plan.unknown-host", at: mark,
                "\(what): the inventory has no host or group `\(printable(name, limit: 60))`", word: name,
                among: index.targetNames, what: "hosts and groups")
            return nil
        }
        if hosts.isEmpty, name != Inventory.orchestrator {
            error("plan.empty-group", at: mark, "\(what): the group `\(name)` has no hosts")
        }
        for host in hosts {
            guard let obstacle = host.obstacles.first else { continue }
            error(
                "plan.unusable-host", at: mark, "\(what): host `\(host.name)` cannot be used: \(obstacle.message)",
                hints: ["see \(obstacle.mark)"] + obstacle.hints)
        }
        return hosts
    }
}
