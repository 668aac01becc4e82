package import RunCore

/// Hosts that a step of a plan makes, and whether all that works on them waits for it: what does not would begin beside it, on a host
/// that has no address yet.
package struct MadeHosts: Sendable {
    /// A step of the plan's own, as far as this has to do with it; what follows at the end of a run or takes something back comes after
    /// all of them.
    package struct Step: Sendable {
        let id: StepID
        let needs: [StepID]
        /// Where it works, as far as that is known.
        let places: [String]
        /// The host that it makes.
        let makes: String?

        package init(_ id: StepID, needs: [StepID], places: [String], makes: String?) {
            (self.id, self.needs, self.places, self.makes) = (id, needs, places, makes)
        }
    }

    /// A step that works on a host that it does not wait for.
    package struct Hasty: Hashable, Sendable {
        package let step, maker: StepID
        package let host: String
        package static let code = "plan.hasty-steps"
        package var message: String { "step `\(step)` runs on `\(host)` and does not wait for step `\(maker)`, which makes it" }
        package var hint: String { "let step `\(step)` need `\(maker)`, or a step that does: needs: [\(maker)]" }
    }

    /// The step that makes it, by host.
    package let makers: [String: StepID]
    private let steps: [Step]

    package init(_ steps: [Step]) {
        self.steps = steps
        makers = Dictionary(steps.compactMap { step in step.makes.map { ($0, step.id) } }, uniquingKeysWith: { first, _ in first })
    }

    package var hasty: [Hasty] {
        guard !makers.isEmpty else { return [] }
        let place = Dictionary(steps.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
        let pairs = steps.enumerated().flatMap { index, step in
            step.places.compactMap { host in
                makers[host].flatMap { maker in
                    maker == step.id ? nil : place[maker].map { (step: index, target: $0, found: Hasty(step: step.id, maker: maker, host: host)) }
                }
            }
        }
        let graph = PlanGraph(steps.map { ($0.id, $0.needs) })
        return zip(pairs, graph.uses(pairs.map { ($0.step, $0.target) })).filter { !$1 }.map(\.0.found)
    }
}

extension MadeHosts {
    /// What a plan alone says of it, before anybody gives parameters.
    ///
    /// - Parameter inventory: nil: groups are not known, nor the hosts of databases; a name in `on` is taken for a host's.
    init(_ steps: [PlanStep], _ kinds: [String: StepKindSchema], _ inventory: InventoryIndex?) {
        self.init(
            steps.map { step in
                let schema = kinds[step.kind]
                let hosts = step.on.filter { !Template.isNeeded($0) }.flatMap { name in
                    inventory.map { ($0.hosts(on: name) ?? []).map(\.name) } ?? [name]
                }
                let database = schema?.databaseField.flatMap { Self.known($0.name, step) }
                return Step(
                    step.id, needs: step.needs, places: inventory?.inventory.places(on: hosts, database: database) ?? hosts,
                    makes: schema?.makesHostIn.flatMap { Self.known($0, step) })
            })
    }

    /// What is filled in later is not known yet.
    private static func known(_ field: String, _ step: PlanStep) -> String? {
        step.with[field]?.value.string.flatMap { Template.isNeeded($0) ? nil : $0 }
    }
}

extension Inventory {
    /// The hosts on which a step works: those that it runs on, and that of its database.
    package func places(on hosts: [String], database: String?) -> [String] {
        guard let host = database.flatMap(self.database)?.host, !hosts.contains(host) else { return hosts }
        return hosts + [host]
    }
}
