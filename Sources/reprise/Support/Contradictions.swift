internal import PlanModel
internal import Reporting
internal import RunCore
internal import Steps

/// Something in a plan that cannot go well with this inventory and these parameters, whatever the hosts say.
struct Contradiction: RepriseError {
    let code: String
    let step: String
    let message: String
    let hints: [String]
    var exitStatus: ExitStatus { .usage }
}

extension Contradiction {
    /// All that are in a plan, in the order of its steps as far as that is theirs.
    static func all(in preview: PlanPreview, _ inventory: Inventory) -> [Contradiction] {
        let names = preview.steps.filter { $0.kind == PostgresSwapStep.schema.name }.compactMap { step in
            OtherName(step.with, inventory).map { Contradiction(code: $0.code, step: step.id, message: "step \(step.id): \($0.message)", hints: $0.hints) }
        }
        let same = preview.steps.filter { $0.kind == PostgresSwapStep.schema.name }.compactMap { Contradiction(sameNames: $0, inventory) }
        let hasty = MadeHosts(preview, inventory).hasty.map {
            Contradiction(code: MadeHosts.Hasty.code, step: $0.step.rawValue, message: $0.message, hints: [$0.hint])
        }
        return names + same + hasty
    }

    /// A swap needs three names.
    private init?(sameNames step: StepPreview, _ inventory: Inventory) {
        guard let database = step.with["database"]?.stringValue.flatMap(inventory.database) else { return nil }
        let uses = [("production", database.database), ("scratch", step.with["scratch"]?.stringValue), ("keep-as", step.with["keep-as"]?.stringValue)]
        guard let (name, both) = Dictionary(grouping: uses.filter { $0.1 != nil }, by: { $0.1! }).first(where: { $0.value.count > 1 }) else { return nil }
        code = "postgres-swap.same-name"
        self.step = step.id
        message = "step \(step.id): \(both.map(\.0).joined(separator: " and ")) are both called \(name)"
        hints = ["give each a name of its own, with --param where the plan has it as a parameter"]
    }

    /// - Throws: the first one, with what the others say.
    static func refuseAny(in preview: PlanPreview, _ inventory: Inventory) throws {
        let found = all(in: preview, inventory)
        guard let first = found.first else { return }
        throw Contradiction(
            code: first.code, step: first.step, message: found.map(\.message).joined(separator: "; "), hints: first.hints)
    }

    var finding: Finding { Finding(.missing, "step \(step)", message, hints: hints) }
}

extension StepPreview {
    /// The hosts on which the step works: those that it runs on, and its database's.
    func places(_ inventory: Inventory) -> [String] { inventory.places(on: on, database: with["database"]?.stringValue) }
}

extension MadeHosts {
    /// With the parameters of a run.
    init(_ preview: PlanPreview, _ inventory: Inventory) {
        self.init(
            preview.steps.filter { $0.phase == StepSpec.Phase.main.rawValue }.compactMap { step in
                StepID(step.id).map { id in
                    let makes = step.kind == ProvisionStep.schema.name ? ProvisionStep.schema.makesHostIn : nil
                    return Step(
                        id, needs: step.needs.compactMap(StepID.init), places: step.places(inventory), makes: makes.flatMap { step.with[$0]?.stringValue })
                }
            })
    }
}
