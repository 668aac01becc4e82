package import PlanModel
package import RunCore

/// Typed access to the step's `with:`. Validation has seen to it that required fields are there and of their types; a field that
/// still is not was filled by a template with something else, and is named.
extension StepContext {
    package func string(_ field: String) throws -> String {
        guard let value = optionalString(field) else { throw missing(field, "text") }
        return value
    }

    package func optionalString(_ field: String) -> String? { with[field]?.stringValue }

    package func integer(_ field: String) throws -> Int64 {
        guard let value = with[field]?.integerValue else { throw missing(field, "a whole number") }
        return value
    }

    package func optionalInteger(_ field: String) -> Int64? { with[field]?.integerValue }

    package func boolean(_ field: String, default fallback: Bool) -> Bool { with[field]?.boolValue ?? fallback }

    package func strings(_ field: String) -> [String] { with[field]?.arrayValue?.compactMap(\.stringValue) ?? [] }

    package func duration(_ field: String) throws -> Duration? {
        guard let text = optionalString(field) else { return nil }
        guard let duration = Quantity.duration(text) else { throw missing(field, "a duration") }
        return duration
    }

    package func bytes(_ field: String) throws -> Int64? {
        guard let text = optionalString(field) else { return nil }
        guard let bytes = Quantity.bytes(text) else { throw missing(field, "a size such as 512MB or 64GB") }
        return bytes
    }

    package func database(_ field: String = "database") throws -> DatabaseRef {
        let name = try string(field)
        guard let database = inventory.database(name) else {
            throw StepRefused("steps.unknown-database", "the inventory has no database \(name)")
        }
        return database
    }

    /// The outputs of the step that the field names.
    package func outputs(ofStepIn field: String) throws -> [String: JSONValue] {
        guard let id = StepID(try string(field)) else { throw missing(field, "the id of a step") }
        guard let outputs = outputs[id] else {
            throw StepRefused("steps.no-outputs", "step \(step) builds on step \(id), which left nothing to build on")
        }
        return outputs
    }

    private func missing(_ field: String, _ type: String) -> StepRefused {
        StepRefused(
            "steps.bad-field", "step \(step): `\(field)` is not \(type) once its templates are filled in",
            hints: ["look at the value with: reprise plan show"], exitStatus: .usage)
    }

    /// What every script of the run finds in its environment: the parameters, and what run and step it belongs to.
    package func scriptEnvironment() -> [String: String] {
        var environment = [
            "REPRISE_RUN": run.rawValue, "REPRISE_STEP": step.rawValue, "REPRISE_ATTEMPT": "\(attempt)",
            "REPRISE_MODE": isDrill ? "drill" : "recovery",
        ]
        for (name, value) in parameters { environment[Parameter.environmentName(for: name)] = value.plainText }
        return environment
    }

    /// The map `field` as environment variables; a value of the form `{secret: NAME}` is looked up.
    package func environment(_ field: String = "environment") async throws -> [String: String] {
        var environment = scriptEnvironment()
        for (name, reference) in secretParameters { environment[name] = try await services.secret(reference.description) }
        for (name, value) in with[field]?.objectValue ?? [:] {
            if let secret = value["secret"]?.stringValue {
                environment[name] = try await services.secret(secret)
            } else {
                environment[name] = value.plainText
            }
        }
        return environment
    }
}

extension JSONValue {
    /// Text as a person would write the value.
    package var plainText: String {
        switch self {
        case .null: ""
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let value): value
        case .array(let values): values.map(\.plainText).joined(separator: " ")
        case .object(let members): members.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.plainText)" }.joined(separator: " ")
        }
    }
}
