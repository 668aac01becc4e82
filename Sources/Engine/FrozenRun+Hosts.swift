package import PlanModel
internal import RunCore
internal import Steps

/// Where the steps of a run work.
extension FrozenRun {
    /// The hosts and groups that a step names, with the parameters filled in.
    private func targets(of step: PlanStep) -> [String] {
        // Validation has seen to it that only parameters stand there, and that none of them is absent.
        step.on.map { Template.isNeeded($0) ? (try? TemplateScope(parameters: parameters).render(text: $0)) ?? $0 : $0 }
    }

    /// - Throws: where a parameter names a host that is not there, or that cannot be used: a step would run nowhere, and pass. Also
    ///   where it names a group, and the step works on one host.
    func requireTargets(_ kinds: StepRegistry) throws {
        for (step, _) in steps {
            for (written, target) in zip(step.on, targets(of: step)) where Template.isNeeded(written) && target != Inventory.orchestrator {
                let hosts = inventory.hosts(on: target)
                guard let hosts, !hosts.isEmpty else {
                    var speller = Speller()
                    let names = inventory.hosts.map(\.name) + inventory.groups.map(\.name) + [Inventory.orchestrator]
                    throw StepRefused(
                        "run.unknown-host", "step \(step.id) is to run on \(printable(target, limit: 60)), \(hosts == nil ? "which the inventory does not have" : "a group without hosts")",
                        hints: speller.hints(for: target, among: names, what: "hosts and groups"), exitStatus: .usage)
                }
                for host in hosts {
                    guard let obstacle = host.obstacles.first else { continue }
                    throw StepRefused(
                        "run.unusable-host", "step \(step.id) is to run on \(host.name), which cannot be used: \(obstacle.message)", hints: obstacle.hints, exitStatus: .usage)
                }
            }
            try requireOneHost(step, kinds)
        }
    }

    private func requireOneHost(_ step: PlanStep, _ kinds: StepRegistry) throws {
        guard let schema = try? kinds.type(step.kind).schema, schema.worksOnOneHost else { return }
        let names = hosts(of: step)
        guard names.count > 1 else { return }
        throw StepRefused(
            "run.several-hosts", "step \(step.id): \(schema.name) works on one host, and is to run on \(names.joined(separator: ", "))",
            hints: ["name one of them"], exitStatus: .usage)
    }

    /// The inventory names of the hosts that a step runs on.
    package func hosts(of step: PlanStep) -> [String] {
        var names: [String] = []
        for target in targets(of: step) {
            if target == Inventory.orchestrator {
                names.append(target)
            } else {
                names += (inventory.hosts(on: target) ?? []).map(\.name)
            }
        }
        var seen = Set<String>()
        return names.filter { seen.insert($0).inserted }
    }
}
