import RunCore

/// Everything that names in a plan can refer to, indexed once.
struct PlanContext {
    let kinds: [String: StepKindSchema]
    let kindNames: [String]
    let parameters: [String: Parameter]
    let parameterNames: [String]
    /// `PARAM_…`, as scripts see them.
    let variableNames: Set<String>
    let stepNames: [String]
    let steps: Set<String>
    let inventory: InventoryIndex?

    init(kinds: [StepKindSchema], parameters: [Parameter], stepNames: [String], inventory: Inventory?) {
        self.kinds = Dictionary(kinds.map { ($0.name, $0) }) { first, _ in first }
        kindNames = kinds.map(\.name)
        self.parameters = Dictionary(parameters.map { ($0.name, $0) }) { first, _ in first }
        parameterNames = parameters.map(\.name)
        variableNames = Set(parameters.map(\.environmentName))
        self.stepNames = stepNames
        steps = Set(stepNames)
        self.inventory = inventory.map(InventoryIndex.init)
    }
}

/// The names of an inventory, for lookups in constant time.
struct InventoryIndex {
    let inventory: Inventory
    private let hosts: [String: Host]
    private let groups: [String: HostGroup]
    let databases: Set<String>
    let stores: Set<String>
    let secrets: Set<String>

    init(_ inventory: Inventory) {
        self.inventory = inventory
        hosts = Dictionary(inventory.hosts.map { ($0.name, $0) }) { first, _ in first }
        groups = Dictionary(inventory.groups.map { ($0.name, $0) }) { first, _ in first }
        databases = Set(inventory.databases.map(\.name))
        stores = Set(inventory.stores.map(\.name))
        secrets = Set(inventory.secrets.map(\.name))
    }

    var hostNames: [String] { inventory.hosts.map(\.name) }
    var targetNames: [String] { hostNames + inventory.groups.map(\.name) + [Inventory.orchestrator] }

    func host(_ name: String) -> Host? { hosts[name] }

    /// As `Inventory.hosts(on:)`.
    func hosts(on name: String) -> [Host]? {
        if name == Inventory.orchestrator { return [] }
        if let host = hosts[name] { return [host] }
        return groups[name].map { $0.hosts.compactMap { hosts[$0] } }
    }
}

/// A step that mentions another one's result.
struct StepUse {
    let step: Int
    let target: String
    let mark: SourceMark
    let what: String
}
