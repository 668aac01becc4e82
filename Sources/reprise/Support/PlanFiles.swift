internal import Foundation
internal import PlanModel
internal import PlanYAML
internal import Reporting
internal import Steps

/// Finds plans and inventories on the disk and reads them.
struct PlanFiles {
    let options: GlobalOptions
    private static let folder = "plans"
    private static let endings = ["yaml", "yml"]

    /// The plans in ./plans, by name.
    static func names() -> [(name: String, path: String)] {
        files(in: folder).map { (($0 as NSString).deletingPathExtension, "\(folder)/\($0)") }
    }

    private static func files(in folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
            .filter { !$0.hasPrefix(".") && endings.contains(($0 as NSString).pathExtension) }.sorted()
    }

    /// The file that `word` names: a path, or the name of a plan in ./plans.
    static func locate(_ word: String) throws -> String {
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: word, isDirectory: &isFolder), !isFolder.boolValue { return word }
        let known = names()
        if let plan = known.first(where: { $0.name == word }) { return plan.path }
        let isPath = word.contains("/") || endings.contains((word as NSString).pathExtension)
        var speller = Speller()
        let hints = isPath
            ? speller.hints(for: word, among: known.map(\.path), what: "plans here")
            : speller.hints(for: word, among: known.map(\.name), what: "plans in ./\(folder)")
        throw Refusal(
            "unknown-plan", "there is no plan \(printable(word))",
            hints: hints.isEmpty ? ["name a file, or a plan in ./\(folder) by its name"] : hints)
    }

    /// The inventory that `--inventory` or the environment names, else the only one beside the plan.
    /// - Returns: nil where there is none and nothing was named.
    /// - Throws: where several fit, and where the named one is refused.
    func inventory(besidePlan path: String?) throws -> LoadedInventory? {
        if let named = options.inventory ?? Console.environment("REPRISE_INVENTORY") { return try loadInventory(at: named) }
        let found = Self.inventories(besidePlan: path)
        guard found.count <= 1 else {
            throw Refusal(
                "which-inventory", "there are several inventories: \(found.joined(separator: ", "))",
                hints: found.map { "--inventory \($0)" })
        }
        return try found.first.map { try loadInventory(at: $0) }
    }

    /// - Throws: where there is none.
    func requiredInventory(besidePlan path: String?) throws -> LoadedInventory {
        if let inventory = try inventory(besidePlan: path) { return inventory }
        throw Refusal(
            "no-inventory", "no inventory is named, and there is none in inventory/ beside the plan",
            hints: ["name it: --inventory FILE, or REPRISE_INVENTORY in the environment"])
    }

    private static func inventories(besidePlan path: String?) -> [String] {
        let planFolder = path.map { ($0 as NSString).deletingLastPathComponent } ?? ""
        let above = planFolder.isEmpty ? ".." : planFolder.hasSuffix("..") ? planFolder + "/.." : (planFolder as NSString).deletingLastPathComponent
        let folders = [planFolder, above, ""].map { $0.isEmpty ? "inventory" : ($0 as NSString).appendingPathComponent("inventory") }
        for folder in path == nil ? ["inventory"] : folders {
            // Examples are for reading.
            let names = files(in: folder).filter { !$0.contains(".example.") }
            if !names.isEmpty { return names.map { "\(folder)/\($0)" } }
        }
        return []
    }

    /// A plan with its inventory, if there is one; warnings go to standard error.
    func load(_ word: String, requiresInventory: Bool) throws -> (plan: LoadedPlan, inventory: LoadedInventory?, path: String) {
        let path = try Self.locate(word)
        let inventory = requiresInventory ? try requiredInventory(besidePlan: path) : try inventory(besidePlan: path)
        let plan = try loadPlan(at: path, kinds: StepRegistry.standard.schemas, inventory: inventory?.inventory)
        if !options.json, !options.quiet {
            for warning in (inventory?.warnings ?? []) + plan.warnings { Console.writeError(terminalSafe(warning.description) + "\n") }
        }
        return (plan, inventory, path)
    }
}

/// The words of `--param`, bound to the plan's parameters.
func bind(_ words: [String], to plan: Plan) throws -> ParameterBinding {
    let (binding, diagnostics) = ParameterBinding.bind(words, to: plan)
    guard let binding else { throw DocumentRefused(subject: "the parameters", diagnostics: diagnostics) }
    return binding
}
