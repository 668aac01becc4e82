internal import Engine
internal import PlanModel
internal import Reporting
internal import RunCore
internal import Steps

/// Hosts that a step of the plan makes, and whether all that runs on them waits for it: what does not would begin beside it, on a host
/// that has no address yet.
struct MadeHosts {
    /// The step that makes it, by host.
    let makers: [String: String]
    private let steps: [StepPreview]
    private let inventory: Inventory

    init(_ preview: PlanPreview, _ inventory: Inventory) {
        steps = preview.steps
        self.inventory = inventory
        makers = Dictionary(
            steps.filter { $0.kind == ProvisionStep.schema.name }.compactMap { step in step.with["host"]?.stringValue.map { ($0, step.id) } },
            uniquingKeysWith: { first, _ in first })
    }

    /// A step that runs on a host that it does not wait for.
    struct Hasty: Hashable {
        let step, host, maker: String
        var contradiction: Contradiction {
            Contradiction(
                code: "plan.hasty-steps", step: step, message: "step \(step) runs on \(host) and does not wait for step \(maker), which makes it",
                hints: ["let step \(step) need \(maker), or a step that does: needs: [\(maker)]"])
        }
    }

    /// Of the plan's own steps; what follows at the end of a run or takes something back comes after all of them.
    var hasty: [Hasty] {
        let main = steps.filter { $0.phase == StepSpec.Phase.main.rawValue }
        let place = Dictionary(main.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
        let pairs = main.enumerated().flatMap { index, step in
            hosts(of: step).compactMap { host in
                makers[host].flatMap { maker in
                    maker == step.id ? nil : place[maker].map { (step: index, target: $0, found: Hasty(step: step.id, host: host, maker: maker)) }
                }
            }
        }
        // Ids that were ids before they were shown.
        let graph = PlanGraph(main.map { (StepID($0.id)!, $0.needs.compactMap(StepID.init)) })
        return zip(pairs, graph.uses(pairs.map { ($0.step, $0.target) })).filter { !$1 }.map(\.0.found)
    }

    private func hosts(of step: StepPreview) -> [String] {
        let database = step.with["database"]?.stringValue.flatMap(inventory.database)?.host
        return Set(step.on + [database].compactMap(\.self)).sorted()
    }
}
