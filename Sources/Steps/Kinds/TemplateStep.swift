package import PlanModel
package import RunCore

/// Writes a file from a text with places to fill in: `{{ … }}` as everywhere in a plan, and `@{NAME}` for the step's own values, which
/// may be secrets. What is filled in is taken as it is and never read as a template again.
///
/// Written as by `file`. Throws `StepRefused` where a place has no value. Evidence: the path.
package struct TemplateStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "template", summary: "writes a file on hosts from a text with values filled in, secrets too",
        fields: [
            FileFields.path,
            FieldSchema("template", .string, help: "the text; @{NAME} stands for a value, @@{ for a literal @{"),
            FieldSchema("from-file", .string, help: "or a file that lies beside the plan and holds the text; it becomes part of the run"),
            FieldSchema("values", .map(.any), allowsSecret: true, help: "what the names stand for; {secret: NAME} for a secret"),
            FileFields.mode("0644, with secrets 0600"), FileFields.owner, FileFields.group, FileFields.validate,
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        var values: [String: String] = [:]
        for (name, value) in context.with["values"]?.objectValue ?? [:] {
            if let secret = value["secret"]?.stringValue {
                values[name] = try await context.services.secret(secret)
            } else {
                values[name] = value.plainText
            }
        }
        let text = try Self.filled(try context.string("template"), values, step: context.step)
        let hasSecrets = Self.hasSecrets(context)
        return try context.fileWish(.file(content: Array(text.utf8), isSecret: hasSecrets), mode: hasSecrets ? "0600" : "0644").state(context)
    }

    private static func hasSecrets(_ context: StepContext) -> Bool {
        (context.with["values"]?.objectValue ?? [:]).values.contains { $0["secret"] != nil }
    }

    /// - Throws: `StepRefused` for a place without a value, and for a value without a place: one of both is misspelt.
    static func filled(_ template: String, _ values: [String: String], step: StepID) throws -> String {
        var result = "", used: Set<String> = []
        var rest = template[...]
        while let at = rest.firstIndex(of: "@") {
            result += rest[..<at]
            rest = rest[at...]
            if rest.hasPrefix("@@{") {
                result += "@{"
                rest = rest.dropFirst(3)
            } else if rest.hasPrefix("@{"), let end = rest.firstIndex(of: "}") {
                let name = String(rest[rest.index(at, offsetBy: 2)..<end])
                guard let value = values[name] else {
                    throw StepRefused(
                        "template.no-value", "step \(step): the template names @{\(name.prefix(60))}, and `values` does not",
                        hints: ["for a literal @{ write @@{"], exitStatus: .usage)
                }
                result += value
                used.insert(name)
                rest = rest[rest.index(after: end)...]
            } else {
                result += "@"
                rest = rest.dropFirst()
            }
        }
        if let unused = Set(values.keys).subtracting(used).min() {
            throw StepRefused("template.no-place", "step \(step): the template has no place @{\(unused)} for the value of that name", exitStatus: .usage)
        }
        return result + rest
    }

    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] {
        ["path": .string(try context.string("path"))]
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let mode = Self.hasSecrets(context) ? "0600" : "0644"
        guard let wish = try? context.fileWish(.file(content: [], isSecret: false), mode: mode) else { return [] }
        return ["# on \(context.hosts.joined(separator: ", ")):"]
            + wish.manualCommands(text: context.optionalString("template"), "with the step's values in the places @{NAME}")
    }
}
