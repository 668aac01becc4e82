/// A JSON Schema (draft 2020-12) of plan files, for editors. It is made from the same kinds that plans are checked with;
/// what a schema cannot say (cycles, references between steps, names of the inventory) is left to `reprise plan validate`.
package func planJSONSchema(kinds: [StepKindSchema]) -> PlanValue {
    .object([
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Reprise plan", "type": "object",
        "required": .array(["reprise", "name", "steps"]), "additionalProperties": false,
        "properties": .object([
            "reprise": described(.object(["const": .integer(Plan.currentLanguage)]), "version of the plan language"),
            "name": .object(["type": "string", "pattern": "^[a-z][a-z0-9_-]{0,59}$"]), "title": string("one line"),
            "summary": string("what the plan does"),
            "parameters": .object([
                "type": "object", "propertyNames": .object(["pattern": "^[a-z][a-z0-9_-]{0,59}$"]),
                "additionalProperties": parameterSchema(),
            ]),
            "limits": closed([
                ("per-host", integer(1...1000, "steps at one time on one host")),
                ("total", integer(1...1000, "steps at one time in all")),
            ]),
            "allow": strings(Plan.Allowance.allCases.map(\.rawValue), "guards that this plan switches off"),
            "steps": .object([
                "type": "array", "minItems": .integer(1), "maxItems": .integer(Plan.mostSteps),
                "items": .object(["$ref": "#/$defs/step"]),
            ]),
            "finally": .object(["type": "array", "items": .object(["$ref": "#/$defs/step"])]),
        ]),
        "$defs": .object([
            "step": stepSchema(kinds), "duration": .object(["type": "string", "pattern": .string(durationPattern)]),
            "template": .object(["type": "string", "pattern": #"^\{\{.*\}\}$"#]),
        ]),
    ])
}

private let durationPattern = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"

private func described(_ schema: PlanValue, _ description: String) -> PlanValue {
    guard !description.isEmpty, case .map(let entries) = schema else { return schema }
    return .map(entries + [MapEntry(key: "description", value: Located(.string(description)))])
}

private func string(_ description: String) -> PlanValue { described(.object(["type": "string"]), description) }

private func integer(_ range: ClosedRange<Int>?, _ description: String) -> PlanValue {
    described(
        .object([
            "type": "integer", "minimum": range.map { .integer($0.lowerBound) },
            "maximum": range.map { .integer($0.upperBound) },
        ]),
        description)
}

private func choice(_ choices: [String], _ description: String) -> PlanValue {
    described(.object(["enum": .array(choices.map { .string($0) })]), description)
}

private func strings(_ choices: [String]?, _ description: String) -> PlanValue {
    let item = choices.map { choice($0, "") } ?? string("")
    return described(.object(["oneOf": .array([item, .object(["type": "array", "items": item])])]), description)
}

private func closed(_ properties: [(String, PlanValue)], required: [String] = []) -> PlanValue {
    .object([
        "type": "object", "properties": .map(properties.map { MapEntry(key: $0, value: Located($1)) }),
        "required": required.isEmpty ? nil : .array(required.map { .string($0) }), "additionalProperties": false,
    ])
}

private func parameterSchema() -> PlanValue {
    .object([
        "oneOf": .array([
            .object(["type": "null"]),
            closed([
                ("type", choice(Parameter.Kind.allCases.map(\.rawValue), "")), ("default", .object([:])),
                ("choices", strings(nil, "")),
                ("required", .object(["type": "boolean"])), ("help", string("")),
                (
                    "secret",
                    described(.object(["type": "boolean"]), "the value is a reference: env:, file: or command:")
                ),
            ]),
        ])
    ])
}

private func stepSchema(_ kinds: [StepKindSchema]) -> PlanValue {
    let duration: PlanValue = .object(["$ref": "#/$defs/duration"])
    let retry = closed(
        [
            ("attempts", integer(1...100, "in all, the first included")), ("initial", duration),
            ("factor", .object(["type": "number", "minimum": .integer(1), "maximum": .integer(100)])),
            ("maximum", duration),
        ], required: ["attempts"])
    let approval = closed(
        [("message", string("")), ("show", strings(nil, "")), ("approver-not-starter", .object(["type": "boolean"]))],
        required: ["message"])
    let undo = closed([("kind", kindChoice(kinds)), ("with", .object(["type": "object"]))], required: ["kind"])
    let properties: [(String, PlanValue)] = [
        ("id", .object(["type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,59}$"])), ("kind", kindChoice(kinds)),
        ("title", string("")), ("on", strings(nil, "hosts, groups, or orchestrator")),
        ("needs", strings(nil, "steps that must have succeeded; without it, the step before")), ("timeout", duration),
        ("retry", .object(["oneOf": .array([integer(1...100, ""), retry])])),
        ("on-error", choice(PlanStep.OnError.allCases.map(\.rawValue), "")),
        ("undo", .object(["oneOf": .array([.object(["const": "none"]), undo])])),
        ("approval", .object(["oneOf": .array([.object(["type": "boolean"]), string(""), approval])])),
        ("only", choice(RunMode.allCases.map(\.rawValue), "the mode in which it runs")),
        ("unless", .object(["oneOf": .array([string("a script: status 0 where the step is already done, 1 where it is not"), recordSchema(Unless.questionFields)])])),
        ("phase", string("what the step counts as in the report's account of the time; without it, the kind decides")),
        ("with", .object(["type": .array(["object", "null"])])),
    ]
    let rules = kinds.map { kind -> PlanValue in
        let with = recordSchema(kind.fields)
        var then: [(String, PlanValue)] = [("properties", .object(["with": with]))]
        let required = (kind.needsHost ? ["on"] : []) + (kind.fields.contains { $0.isRequired } ? ["with"] : [])
        if !required.isEmpty { then.append(("required", .array(required.map { .string($0) }))) }
        return .object([
            "if": .object([
                "properties": .object(["kind": .object(["const": .string(kind.name)])]), "required": .array(["kind"]),
            ]),
            "then": .map(then.map { MapEntry(key: $0, value: Located($1)) }),
        ])
    }
    guard case .map(let entries) = closed(properties, required: ["id", "kind"]) else { return .null }
    return .map(entries + [MapEntry(key: "allOf", value: Located(.array(rules)))])
}

private func kindChoice(_ kinds: [StepKindSchema]) -> PlanValue {
    .object([
        "oneOf": .array(kinds.map { .object(["const": .string($0.name), "description": .string($0.summary)]) })
    ])
}

private func recordSchema(_ fields: [FieldSchema]) -> PlanValue {
    closed(
        fields.map { ($0.name, described(fieldSchema($0.type, $0), $0.help)) },
        required: fields.filter(\.isRequired).map(\.name))
}

private func fieldSchema(_ type: FieldType, _ field: FieldSchema) -> PlanValue {
    var schema: PlanValue
    var takesTemplate = false
    switch type {
    case .string, .text, .account, .path, .hostRef, .databaseRef, .storeRef, .stepRef, .secretRef, .identifier:
        schema = string("")
    case .integer: (schema, takesTemplate) = (integer(field.range, ""), true)
    case .number: (schema, takesTemplate) = (.object(["type": "number"]), true)
    case .boolean: (schema, takesTemplate) = (.object(["type": "boolean"]), true)
    case .duration: (schema, takesTemplate) = (.object(["$ref": "#/$defs/duration"]), true)
    case .bytes:
        (schema, takesTemplate) = (
            .object(["type": "string", "pattern": "^[0-9]+([kKmMgGtT]?[bB]|[kKmMgGtT]i[bB])$"]), true
        )
    case .choice(let choices): (schema, takesTemplate) = (choice(choices, ""), true)
    case .list(let element): schema = .object(["type": "array", "items": fieldSchema(element, field)])
    case .map(let element): schema = .object(["type": "object", "additionalProperties": fieldSchema(element, field)])
    case .record(let fields): schema = recordSchema(fields)
    case .any: return .object([:])
    }
    var alternatives = [schema]
    if takesTemplate { alternatives.append(.object(["$ref": "#/$defs/template"])) }
    if field.allowsSecret, schema["type"]?.value.string == "string" {
        alternatives.append(closed([("secret", string(""))], required: ["secret"]))
    }
    if alternatives.count > 1 { schema = .object(["anyOf": .array(alternatives)]) }
    if let standard = field.defaultValue, case .map(let entries) = schema {
        schema = .map(entries + [MapEntry(key: "default", value: Located(standard))])
    }
    return schema
}

extension PlanValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral {
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
}
