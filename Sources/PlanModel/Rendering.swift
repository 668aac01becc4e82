package import RunCore

/// What references stand for while one step is made ready on one host.
package struct TemplateScope: Sendable {
    package var parameters: ParameterBinding
    /// What a finished step reported under a name; nil where there is nothing.
    package var output: @Sendable (StepID, String) -> PlanValue?
    /// The hosts on which the step runs; empty on the orchestrator. A reference to a host has a value where all of them say the same.
    package var hosts: [Host]
    package var run: [String: String]

    package init(
        parameters: ParameterBinding, hosts: [Host] = [], run: [String: String] = [:],
        output: @escaping @Sendable (StepID, String) -> PlanValue? = { _, _ in nil }
    ) {
        self.parameters = parameters
        self.hosts = hosts
        self.run = run
        self.output = output
    }

    /// - Returns: nil for an optional parameter that is absent.
    /// - Throws: `RenderError` where the reference has no value.
    func value(of reference: TemplateReference, at mark: SourceMark) throws(RenderError) -> PlanValue? {
        switch reference {
        case .parameter(let name): return parameters[name]?.planValue
        case .output(let id, let name):
            if let value = output(id, name) { return value }
            throw RenderError(code: "plan.no-output", mark: mark, reason: "step `\(id)` has reported no `\(name)`")
        case .host(let name): return try Self.value(ofHost: name, on: hosts, at: mark)
        case .run(let name):
            if let value = run[name] { return .string(value) }
            throw RenderError(code: "plan.no-value", mark: mark, reason: "`run.\(name)` has no value here")
        }
    }

    /// What `host.NAME` stands for in a step that runs on these hosts.
    static func value(ofHost name: String, on hosts: [Host], at mark: SourceMark) throws(RenderError) -> PlanValue {
        guard let first = hosts.first else {
            throw RenderError(code: "plan.no-host", mark: mark, reason: "`host.\(name)` has no meaning: the step runs on no host")
        }
        let value = try value(of: first, name, at: mark)
        for other in hosts.dropFirst() {
            guard try self.value(of: other, name, at: mark) == value else {
                throw RenderError(
                    code: "plan.different-hosts", mark: mark,
                    reason: "`host.\(name)` is not the same on `\(first.name)` and `\(other.name)`, on which the step runs",
                    hints: ["give all hosts of the step the same value in the inventory, or write a step for each"])
            }
        }
        return value
    }

    private static func value(of host: Host, _ name: String, at mark: SourceMark) throws(RenderError) -> PlanValue {
        switch name {
        case "name": return .string(host.name)
        case "address": return .string(host.address ?? host.name)
        case "user" where host.user != nil: return .string(host.user!)
        default:
            if let value = host.variable(name) { return value }
            throw RenderError(
                code: "plan.no-variable", mark: mark, reason: "host `\(host.name)` has no variable `\(name)`",
                hints: ["write it into the inventory: for one host beside its address, for all under `all`, `vars`"])
        }
    }

    /// Fills a text in; for titles, messages and names in `on:`.
    package func render(text: String, at mark: SourceMark = .generated) throws(RenderError) -> String {
        let template: Template
        do { template = try Template(text) } catch {
            throw RenderError(code: "plan.bad-template", mark: mark, reason: error.message, hints: error.hints)
        }
        var result = ""
        for part in template.parts {
            switch part {
            case .text(let text): result += text
            case .reference(let reference): result += try self.text(of: reference, at: mark)
            }
        }
        return result
    }

    private func text(of reference: TemplateReference, at mark: SourceMark) throws(RenderError) -> String {
        switch try value(of: reference, at: mark) {
        case .string(let text): return text
        case .integer(let number): return String(number)
        case .double(let number): return String(number)
        case .boolean(let flag): return flag ? "true" : "false"
        case nil:
            throw RenderError(code: "plan.maybe-absent", mark: mark, reason: "a parameter inside the text has no value")
        case .some(let other):
            throw RenderError(code: "plan.wrong-type", mark: mark, reason: "\(other.typeName) cannot stand inside text")
        }
    }
}

/// A step's fields cannot be filled in.
package struct RenderError: RepriseError, Hashable {
    package let code: String
    package let mark: SourceMark
    package let reason: String
    package let hints: [String]

    package init(code: String, mark: SourceMark, reason: String, hints: [String] = []) {
        self.code = code
        self.mark = mark
        self.reason = reason
        self.hints = hints
    }

    package var message: String { "\(mark): \(reason)" }
    package var exitStatus: ExitStatus { .usage }
    package var needsNewRun: Bool { true }
}

/// Fills in a step's fields: references get their values with their types, absent fields their defaults, scripts lose
/// the escapes of `\{{`. Every value is checked against its type again, so that a value cannot become something else.
///
/// Idempotent: the result holds no references; values that came from outside are never read as templates.
package func renderFields(_ with: PlanValue, schema: StepKindSchema, scope: TemplateScope) throws(RenderError)
    -> PlanValue
{
    try Renderer(scope: scope).record(Located(with), schema.fields).value
}

private struct Renderer {
    let scope: TemplateScope

    func record(_ located: Located, _ fields: [FieldSchema]) throws(RenderError) -> Located {
        var entries: [MapEntry] = []
        let written = Dictionary((located.value.map ?? []).map { ($0.key, $0) }) { first, _ in first }
        for field in fields {
            var value: Located?
            if let entry = written[field.name] { value = try render(entry.value, field.type, field) }
            if value == nil, let standard = field.defaultValue { value = Located(standard, at: located.mark) }
            if let value {
                entries.append(MapEntry(key: field.name, at: value.mark, value: value))
            } else if field.isRequired {
                throw RenderError(
                    code: "plan.missing-field", mark: located.mark, reason: "the field `\(field.name)` has no value")
            }
        }
        return Located(.map(entries), at: located.mark)
    }

    /// - Returns: nil where the whole value is an absent parameter: then the field counts as not written.
    func render(_ located: Located, _ type: FieldType, _ field: FieldSchema) throws(RenderError) -> Located? {
        if field.allowsSecret, let secret = located.value["secret"], located.value.map?.count == 1 {
            let value = try render(secret, .secretRef, field) ?? secret
            return Located(value.value.map == nil ? .object(["secret": value.value]) : value.value, at: located.mark)
        }
        switch (type, located.value) {
        case (.text, .string(let script)): return Located(.string(Template.unescapedScript(script)), at: located.mark)
        case (.list(let element), .list(let items)):
            var result: [Located] = []
            for item in items { if let value = try render(item, element, field) { result.append(value) } }
            return Located(.list(result), at: located.mark)
        case (.any, .list(let items)):
            var result: [Located] = []
            for item in items { if let value = try render(item, .any, field) { result.append(value) } }
            return Located(.list(result), at: located.mark)
        case (.map(let element), .map(let entries)): return try renderMap(entries, element, field, at: located.mark)
        case (.any, .map(let entries)): return try renderMap(entries, .any, field, at: located.mark)
        case (.record(let fields), .map): return try record(located, fields)
        case (_, .string(let text)) where Template.isNeeded(text):
            return try renderText(text, located.mark, type, field)
        default: return try checked(located, type, field)
        }
    }

    private func renderMap(_ entries: [MapEntry], _ element: FieldType, _ field: FieldSchema, at mark: SourceMark)
        throws(RenderError) -> Located
    {
        var result: [MapEntry] = []
        for entry in entries {
            if let value = try render(entry.value, element, field) {
                result.append(MapEntry(key: entry.key, at: entry.keyMark, value: value))
            }
        }
        return Located(.map(result), at: mark)
    }

    private func renderText(_ text: String, _ mark: SourceMark, _ type: FieldType, _ field: FieldSchema)
        throws(RenderError) -> Located?
    {
        let template = try? Template(text)
        guard let reference = template?.whole else {
            return try checked(Located(.string(try scope.render(text: text, at: mark)), at: mark), type, field)
        }
        guard var value = try scope.value(of: reference, at: mark) else { return nil }
        if case .parameter(let name) = reference, case .secret(let secret) = scope.parameters[name] {
            if case .secretRef = type { return Located(.string(secret.description), at: mark) }
            guard field.allowsSecret else {
                throw RenderError(
                    code: "plan.secret-in-text", mark: mark,
                    reason: "the secret parameter `\(name)` cannot be used here")
            }
            return Located(value, at: mark)
        }
        // A number or boolean is shown as text where text is wanted; the other way round nothing is guessed.
        if type.isTextual, type != .any, value.map == nil, value.list == nil, value.string == nil {
            value = .string(try scope.render(text: text, at: mark))
        }
        return try checked(Located(value, at: mark), type, field)
    }

    private func checked(_ located: Located, _ type: FieldType, _ field: FieldSchema) throws(RenderError) -> Located {
        switch (type, located.value) {
        case (.list(let element), .list(let items)):
            for item in items { _ = try checked(item, element, field) }
        case (.map(let element), .map(let entries)):
            for entry in entries { _ = try checked(entry.value, element, field) }
        default:
            if let problem = type.problem(with: located, range: field.range) {
                throw RenderError(
                    code: problem.code, mark: located.mark, reason: "the field `\(field.name)`: \(problem.message)",
                    hints: problem.hints)
            }
        }
        return located
    }
}
