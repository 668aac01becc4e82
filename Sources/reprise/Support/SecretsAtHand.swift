internal import Engine
internal import PlanModel
internal import Reporting
internal import RunCore
internal import Steps

/// Whether the secrets that a plan names are to be had: better asked now than in the middle of a recovery.
extension Readiness {
    /// Each is asked for as a step would, and its value thrown away.
    func checkSecrets() async -> [Finding] {
        var users: [String: [String]] = [:]
        for step in preview.steps {
            guard let schema = try? StepRegistry.standard.type(step.kind).schema else { continue }
            for name in Set(Self.secrets(in: .object(step.with), schema.fields)) { users[name, default: []].append(step.id) }
        }
        var findings: [Finding] = []
        for (name, steps) in users.sorted(by: { $0.key < $1.key }) {
            do {
                guard let reference = SecretReference(name) ?? frozen.inventory.secret(name) else { continue }
                _ = try await SecretResolver.resolve(name, reference)
            } catch {
                findings.append(Finding(error, "secret \(name), for \(steps.joined(separator: ", "))"))
            }
        }
        let found = users.count - findings.count
        return (found > 0 ? [Finding(.ok, "secrets", "\(found) of \(users.count) that the plan names are to be had")] : []) + findings
    }

    /// The secrets that a step's fields name.
    private static func secrets(in with: JSONValue, _ fields: [FieldSchema]) -> [String] {
        fields.flatMap { field in with[field.name].map { secrets(in: $0, field.type, mayBeSecret: field.allowsSecret) } ?? [] }
    }

    private static func secrets(in value: JSONValue, _ type: FieldType, mayBeSecret: Bool) -> [String] {
        if mayBeSecret, case .object(let members) = value, members.count == 1, let name = members["secret"]?.stringValue { return [name] }
        switch (type, value) {
        case (.secretRef, .string(let name)): return [name]
        case (.list(let element), .array(let values)): return values.flatMap { secrets(in: $0, element, mayBeSecret: mayBeSecret) }
        case (.map(let element), .object(let members)): return members.values.flatMap { secrets(in: $0, element, mayBeSecret: mayBeSecret) }
        case (.record(let fields), .object): return secrets(in: value, fields)
        default: return []
        }
    }
}
