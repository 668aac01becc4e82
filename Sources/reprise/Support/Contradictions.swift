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
        return names + MadeHosts(preview, inventory).hasty.map(\.contradiction)
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
