internal import BlockingIO
internal import Crypto
package import PlanModel
package import RunCore
package import Steps
internal import Synchronization

/// The run's own copy of everything that it was started with. Editing the files changes nothing in it.
package struct FrozenRun: Codable, Sendable {
    package let plan: Plan
    package let inventory: Inventory
    package let parameters: ParameterBinding
    package let mode: RunMode
    /// Where the plan was read from, for people.
    package let planPath: String
    /// SHA-256 of the plan and of the inventory as frozen, in hex.
    package let planDigest: String
    package let inventoryDigest: String
    private let index: Index

    private enum CodingKeys: String, CodingKey {
        case plan, inventory, parameters, mode, planPath, planDigest, inventoryDigest
    }

    /// What every attempt asks for, worked out once: an attempt must not cost as much as the plan has steps.
    private final class Index: Sendable {
        let steps: [StepID: PlanStep]
        /// Steps that make hosts.
        let provisioning: [StepID]
        /// The parameters as they go into the hash of every step.
        private let environment: [UInt8]
        private let specHashes = Mutex<[StepID: String]>([:])

        /// An attempt asks twice: for its intent, and for its jobs.
        func specHash(of step: PlanStep) throws -> String {
            if let known = specHashes.withLock({ $0[step.id] }) { return known }
            let hash = sha256(try EventCodec.json(step) + environment)
            specHashes.withLock { $0[step.id] = hash }
            return hash
        }

        init(_ plan: Plan, _ parameters: ParameterBinding) throws {
            steps = Dictionary((plan.steps + plan.finally).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
            provisioning = (plan.steps + plan.finally).filter { $0.kind == ProvisionStep.schema.name }.map(\.id)
            environment = try EventCodec.json(parameters.environment)
        }
    }

    package init(
        plan: Plan, inventory: Inventory, parameters: ParameterBinding, mode: RunMode, planPath: String, kinds: StepRegistry = .standard
    ) throws {
        self.plan = plan
        self.inventory = inventory
        self.parameters = parameters
        self.mode = mode
        self.planPath = planPath
        planDigest = sha256(try EventCodec.json(plan))
        inventoryDigest = sha256(try EventCodec.json(inventory))
        index = try Index(plan, parameters)
        try requireTargets(kinds)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        plan = try container.decode(Plan.self, forKey: .plan)
        inventory = try container.decode(Inventory.self, forKey: .inventory)
        parameters = try container.decode(ParameterBinding.self, forKey: .parameters)
        mode = try container.decode(RunMode.self, forKey: .mode)
        planPath = try container.decode(String.self, forKey: .planPath)
        planDigest = try container.decode(String.self, forKey: .planDigest)
        inventoryDigest = try container.decode(String.self, forKey: .inventoryDigest)
        index = try Index(plan, parameters)
    }

    package var isDrill: Bool { mode == .drill }

    /// The steps that take part, in the plan's order: the main phase, then the last ones.
    package var steps: [(step: PlanStep, phase: StepSpec.Phase)] {
        plan.steps(in: mode).map { ($0, .main) } + plan.finally(in: mode).map { ($0, .finally) }
    }

    /// What the run reserves on a host while it works there: the databases that its steps name. Two runs, of whatever journals,
    /// never work on the same one.
    func claims(on host: String) -> [String] {
        databases.filter { $0.host == host }.map { "database:\($0.port):\($0.database)" }.sorted()
    }

    package func step(_ id: StepID) throws -> PlanStep {
        guard let step = index.steps[id] else {
            throw StepRefused("run.unknown-step", "the run has no step \(id)")
        }
        return step
    }

    package func kind(of id: StepID) throws -> String { try step(id).kind }

    package func timeout(of id: StepID) -> Duration? { index.steps[id]?.timeout }

    /// The run's inventory, with the addresses and host keys of hosts that its steps have made so far.
    func inventory(knowing outputs: StepOutputs) -> Inventory {
        guard !index.provisioning.isEmpty else { return inventory }
        return inventory.knowing(index.provisioning.compactMap { outputs[$0].flatMap(ProvisionStep.host) })
    }

    /// SHA-256 of the step as frozen, in hex: what an attempt's intent and its jobs on hosts are bound to.
    package func specHash(of id: StepID) throws -> String {
        try index.specHash(of: step(id))
    }

    var parameterValues: [String: JSONValue] {
        parameters.values.compactMapValues { value in
            switch value {
            case .integer(let number): .integer(Int64(number))
            case .boolean(let flag): .bool(flag)
            case .secret: nil
            case .list(let texts): .array(texts.map { .string($0) })
            case .string, .identifier, .duration, .time, .choice: .string(value.text)
            }
        }
    }
}

func sha256(_ bytes: [UInt8]) -> String {
    hexadecimal(Array(SHA256.hash(data: bytes)))
}

extension FrozenRun {
    /// The first event of a run: what the state machine needs, and the frozen copy.
    package func accepted(startedBy: String, kinds: StepRegistry) throws -> RunAccepted {
        let specs = try steps.map { step, phase in try spec(step, phase, kinds) }
        return RunAccepted(
            spec: RunSpec(steps: specs, limits: .init(perHost: plan.limits.perHost, total: plan.limits.total)),
            planName: plan.name, mode: mode.rawValue, startedBy: startedBy,
            document: .string(String(decoding: try EventCodec.json(self), as: UTF8.self)))
    }

    package static func read(_ accepted: RunAccepted) throws -> FrozenRun {
        // As text: a copy that has to be exact is not taken apart into numbers and put together again.
        do {
            return try EventCodec.decode(FrozenRun.self, Array((accepted.document.stringValue ?? "").utf8))
        } catch {
            throw IncompatibleRun(plan: accepted.planName)
        }
    }

    private func spec(_ step: PlanStep, _ phase: StepSpec.Phase, _ kinds: StepRegistry) throws -> StepSpec {
        let kind = try kinds.type(step.kind)
        let retry = step.retry.map { policy in
            RunCore.RetryPolicy(
                attempts: policy.attempts, initialMilliseconds: policy.initial.milliseconds, factor: policy.factor,
                maximumMilliseconds: policy.maximum.milliseconds)
        }
        let needsApproval = try needsApproval(step, kinds)
        return StepSpec(
            id: step.id, needs: step.needs, hosts: hosts(of: step), retry: retry ?? .once,
            onError: StepSpec.OnError(rawValue: step.onError.rawValue) ?? .stop, hasUndo: hasUndo(step, kind), phase: phase,
            needsApproval: needsApproval, approverIsNotStarter: try approverIsNotStarter(step, kinds),
            isApproval: needsApproval && step.kind == ApprovalStep.schema.name ? true : nil)
    }

    private func hasUndo(_ step: PlanStep, _ kind: any StepKind.Type) -> Bool {
        switch step.undo {
        case .none: kind.hasUndo
        case .some(.nothing): false
        case .some(.action): true
        }
    }

    private func needsApproval(_ step: PlanStep, _ kinds: StepRegistry) throws -> Bool {
        if step.approval != nil { return true }
        guard step.kind == ApprovalStep.schema.name else { return false }
        return try rendered(step, outputs: StepOutputs(), run: nil, kinds: kinds)["required"]?.boolValue ?? true
    }

    private func approverIsNotStarter(_ step: PlanStep, _ kinds: StepRegistry) throws -> Bool {
        if let approval = step.approval { return approval.approverNotStarter }
        guard step.kind == ApprovalStep.schema.name else { return false }
        return try rendered(step, outputs: StepOutputs(), run: nil, kinds: kinds)["approver-not-starter"]?.boolValue ?? false
    }

    func context(
        step id: StepID, attempt: AttemptNumber, isUndo: Bool, isResumed: Bool, record: StepRecord?, outputs: StepOutputs, deadline: Deadline?,
        run: RunID, kinds: StepRegistry, services: any StepServices
    ) throws -> StepContext {
        let step = try step(id)
        return StepContext(
            run: run, step: id, attempt: attempt, isUndo: isUndo, isResumed: isResumed, isDrill: isDrill,
            allowsSameCluster: plan.allow.contains(.sameCluster), hosts: hosts(of: step).filter { !isUndo || !foundDone(step, record).contains($0) },
            with: try rendered(step, isUndo: isUndo, outputs: outputs, run: run, kinds: kinds), parameters: parameterValues,
            inventory: inventory(knowing: outputs), secretParameters: parameters.secretEnvironment,
            outputs: outputs, deadline: deadline, specHash: try specHash(of: id), services: services)
    }

    /// The hosts on which the step was found done before the run had done anything of it: there is nothing of the run's to put back.
    ///
    /// Only a first attempt can say so. What a later one finds done may be the work of an earlier one.
    private func foundDone(_ step: PlanStep, _ record: StepRecord?) -> Set<String> {
        guard step.unless != nil, let record, record.attempt == 1 else { return [] }
        return record.observations[AlreadyDone.observationKey].map { AlreadyDone($0).doneHosts } ?? []
    }

    /// What is asked before an attempt starts its work, with its references filled in; nil where nothing is.
    func unless(of id: StepID, outputs: StepOutputs, run: RunID) throws -> Unless? {
        let step = try step(id)
        guard let unless = step.unless else { return nil }
        return try unless.rendered(scope(step, outputs: outputs, run: run))
    }

    /// The kind whose code puts back what the step did: that of an explicit `undo:`, else the step's own.
    func undo(_ id: StepID, _ kind: any StepKind, _ kinds: StepRegistry, _ context: StepContext) async throws -> StepOutcome {
        guard case .action(let action) = try step(id).undo else { return try await kind.undo(context) }
        return try await kinds.make(action.kind).perform(context)
    }

    private func undoAction(_ step: PlanStep) -> UndoSpec? {
        if case .action(let action) = step.undo { action } else { nil }
    }

    /// A step's fields with their references filled in and their defaults, as JSON.
    private func rendered(
        _ step: PlanStep, isUndo: Bool = false, outputs: StepOutputs, run: RunID?, kinds: StepRegistry
    ) throws -> [String: JSONValue] {
        let action = isUndo ? undoAction(step) : nil
        let value = try renderFields(
            action?.with ?? step.with, schema: kinds.type(action?.kind ?? step.kind).schema, scope: scope(step, outputs: outputs, run: run))
        return JSONValue(value).objectValue ?? [:]
    }

    private func scope(_ step: PlanStep, outputs: StepOutputs, run: RunID?) -> TemplateScope {
        let inventory = inventory(knowing: outputs)
        return TemplateScope(
            parameters: parameters, hosts: hosts(of: step).compactMap(inventory.host),
            run: ["mode": mode.rawValue].merging(run.map { ["id": $0.rawValue] } ?? [:]) { first, _ in first },
            output: { id, name in outputs[id]?[name].flatMap(PlanValue.init(json:)) })
    }
}

extension JSONValue {
    package init(_ value: PlanValue) {
        switch value {
        case .string(let text): self = .string(text)
        case .integer(let number): self = .integer(Int64(number))
        case .double(let number): self = .number(number)
        case .boolean(let flag): self = .bool(flag)
        case .null, .opaque: self = .null
        case .list(let items): self = .array(items.map { JSONValue($0.value) })
        case .map(let entries):
            self = .object(Dictionary(entries.map { ($0.key, JSONValue($0.value.value)) }, uniquingKeysWith: { first, _ in first }))
        }
    }
}

extension PlanValue {
    init?(json: JSONValue) {
        switch json {
        case .null: return nil
        case .bool(let flag): self = .boolean(flag)
        case .integer(let number): self = .integer(Int(number))
        case .number(let number): self = .double(number)
        case .string(let text): self = .string(text)
        case .array(let items): self = .array(items.compactMap(PlanValue.init(json:)))
        case .object(let members):
            self = .map(members.sorted { $0.key < $1.key }.compactMap { key, value in
                PlanValue(json: value).map { MapEntry(key: key, value: Located($0)) }
            })
        }
    }
}

extension Duration {
    package var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
