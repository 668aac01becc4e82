internal import BlockingIO
package import Engine
internal import ObjectStorage
internal import PlanModel
internal import PostgreSQL
package import RunCore
internal import SSH
package import Steps

/// One step as it would run with what is known now. Its fields only ever grow.
package struct StepPreview: Codable, Sendable {
    package var id: String
    package var title: String
    package var kind: String
    package var phase: String
    package var on: [String]
    package var needs: [String]
    package var isDestructive: Bool
    package var needsApproval: Bool
    /// The step's fields. What depends on the outcome of an earlier step stands as the plan writes it.
    package var with: [String: JSONValue]
    /// The names of the fields whose values are not known before earlier steps have run.
    package var notYetKnown: [String]
    /// The commands by which a person does the same by hand.
    package var manualCommands: [String]
}

/// Renders the steps of a run without running anything.
package struct StepPreviewer: Sendable {
    let frozen: FrozenRun
    let kinds: StepRegistry
    let outputs: [StepID: [String: JSONValue]]
    let run: RunID

    /// - Parameter outputs: what finished steps left, as far as there are any.
    package init(_ frozen: FrozenRun, kinds: StepRegistry, outputs: [StepID: [String: JSONValue]] = [:], run: RunID) {
        self.frozen = frozen
        self.kinds = kinds
        self.outputs = outputs
        self.run = run
    }

    /// All steps that take part, in an order in which they can run.
    /// - Throws: where the plan names a kind that this version does not know.
    package func all() throws -> [StepPreview] {
        let main = frozen.plan.steps(in: frozen.mode)
        let order = PlanGraph(main.map { ($0.id, $0.needs) }).topologicalOrder() ?? main.map(\.id)
        let position = Dictionary(uniqueKeysWithValues: order.enumerated().map { ($1, $0) })
        let sorted = frozen.steps.enumerated().sorted { left, right in
            let a = position[left.element.step.id] ?? order.count, b = position[right.element.step.id] ?? order.count
            return (a, left.offset) < (b, right.offset)
        }
        return try sorted.map { try preview($0.element.step, $0.element.phase) }
    }

    private func preview(_ step: PlanStep, _ phase: StepSpec.Phase) throws -> StepPreview {
        let type = try kinds.type(step.kind)
        let (with, unknown) = fields(of: step, type.schema)
        let context = StepContext(
            run: run, step: step.id, attempt: 1, isUndo: false, isResumed: false, isDrill: frozen.isDrill, hosts: frozen.hosts(of: step),
            with: with, parameters: frozen.parameters.values.mapValues { .string($0.text) }, inventory: frozen.inventory, secretParameters: [:], outputs: StepOutputs(outputs),
            deadline: nil, specHash: "", services: NoServices())
        return StepPreview(
            id: step.id.rawValue, title: step.title, kind: step.kind, phase: phase.rawValue, on: frozen.hosts(of: step),
            needs: step.needs.map(\.rawValue), isDestructive: type.schema.isDestructive,
            needsApproval: step.approval != nil || (step.kind == ApprovalStep.schema.name && with["required"]?.boolValue ?? true),
            with: with, notYetKnown: unknown, manualCommands: check(step) + type.init().manualCommands(context))
    }

    /// What a person asks first, where the plan says how a step shows that it is done.
    private func check(_ step: PlanStep) -> [String] {
        switch (try? step.unless?.rendered(scope(step))) ?? step.unless {
        case .script(let script): return ["# done already where this ends with 0:"] + script.split(separator: "\n").map { "#   \($0)" }
        case .sql(let question):
            let values = (question.values ?? []).enumerated().map { "#   $\($0 + 1) is \($1)" }
            return ["# done already where this is true in database \(question.database):", "#   \(question.sql)"] + values
        case nil: return []
        }
    }

    private func scope(_ step: PlanStep) -> TemplateScope {
        let outputs = outputs
        return TemplateScope(
            parameters: frozen.parameters, hosts: frozen.hosts(of: step).compactMap(frozen.inventory.host),
            run: ["id": run.rawValue, "mode": frozen.mode.rawValue],
            output: { step, name in outputs[step]?[name].map(planValue) })
    }

    /// Field by field, so that one that is not known yet leaves the others readable.
    private func fields(of step: PlanStep, _ schema: StepKindSchema) -> (values: [String: JSONValue], unknown: [String]) {
        let scope = scope(step)
        var values: [String: JSONValue] = [:], unknown: [String] = []
        for field in schema.fields {
            let written = (step.with.map ?? []).filter { $0.key == field.name }
            var optional = field
            optional.isRequired = false
            let single = StepKindSchema(name: schema.name, summary: "", fields: [optional])
            if let rendered = try? renderFields(.map(written), schema: single, scope: scope) {
                values[field.name] = rendered[field.name].map { jsonValue($0.value) }
            } else {
                values[field.name] = written.first.map { jsonValue($0.value.value) }
                unknown.append(field.name)
            }
        }
        return (values, unknown)
    }
}

func planValue(_ value: JSONValue) -> PlanValue {
    switch value {
    case .null: .null
    case .bool(let flag): .boolean(flag)
    case .integer(let number): .integer(Int(number))
    case .number(let number): .double(number)
    case .string(let text): .string(text)
    case .array(let items): .array(items.map(planValue))
    case .object(let members):
        .map(members.sorted { $0.key < $1.key }.map { MapEntry(key: $0.key, value: Located(planValue($0.value))) })
    }
}

func jsonValue(_ value: PlanValue) -> JSONValue {
    switch value {
    case .null: .null
    case .boolean(let flag): .bool(flag)
    case .integer(let number): .integer(Int64(number))
    case .double(let number): .number(number)
    case .string(let text): .string(text)
    case .list(let items): .array(items.map { jsonValue($0.value) })
    case .map(let entries):
        .object(Dictionary(entries.map { ($0.key, jsonValue($0.value.value)) }, uniquingKeysWith: { first, _ in first }))
    case .opaque(let tag): .string("(\(tag))")
    }
}

/// Previews reach out to nothing.
private struct NoServices: StepServices {
    private var refusal: StepRefused { StepRefused("report.preview", "a preview reaches out to nothing") }

    func ledger(_ host: String) async throws -> any JobLedger { throw refusal }
    func remote(_ host: String) async throws -> any RemoteHost { throw refusal }
    func forgetConnection(_ host: String, _ failed: any JobLedger) async {}
    func store(_ name: String) async throws -> any ObjectStore { throw refusal }
    func connect(_ database: DatabaseRef, name: String) async throws -> PostgresConnection { throw refusal }
    func secret(_ name: String) async throws -> String { throw refusal }
    var ticket: FenceTicket {
        get async {
            guard let run = RunID("preview") else { preconditionFailure("preview is a run id") }
            return FenceTicket(run: run, fence: 0, holder: "", operator: "", journalSequence: 0, journalHead: "")
        }
    }
    func observed(_ key: String) async -> JSONValue? { nil }
    func observedBefore(_ key: String) async -> JSONValue? { nil }
    func observe(_ key: String, _ value: JSONValue) async throws { throw refusal }
    var ending: StepEnded.Cause? { get async { nil } }
    func report(_ progress: StepProgress) {}
    func output(host: String, part: String?, _ output: JobOutput) {}
}
