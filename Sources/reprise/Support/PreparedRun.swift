import ArgumentParser
internal import Engine
internal import Foundation
internal import PlanModel
internal import PlanYAML
internal import Reporting
internal import RunCore
internal import Steps

/// Options that fill a plan in.
struct ParameterOptions: ParsableArguments {
    @Option(name: .customLong("param"), help: ArgumentHelp("A parameter of the plan; may be repeated.", valueName: "name=value"))
    var parameters: [String] = []

    @Option(help: "recovery, or drill: a restore test on another target.")
    var mode: Mode = .recovery

    enum Mode: String, ExpressibleByArgument, CaseIterable { case recovery, drill }

    var runMode: RunMode { mode == .drill ? .drill : .recovery }
}

/// A plan with everything that a run of it is frozen from.
struct PreparedRun {
    let frozen: FrozenRun
    private let files: (plan: String, inventory: String)

    init(_ word: String, _ options: ParameterOptions, _ global: GlobalOptions) throws {
        let (plan, inventory, path) = try PlanFiles(options: global).load(word, requiresInventory: true)
        guard let inventory else { throw Refusal("no-inventory", "no inventory is named") }
        frozen = try FrozenRun(
            plan: plan.plan, inventory: inventory.inventory, parameters: bind(options.parameters, to: plan.plan), mode: options.runMode,
            planPath: path)
        files = (path, inventory.source.file)
    }

    /// By which files it goes, and where it is written down: who has several sees which were taken.
    func origins(journal: String) -> String {
        terminalSafe("plan \(files.plan), inventory \(files.inventory), journal \(journal)")
    }

    /// Stands for the id that a run would get.
    private static let previewID: RunID = {
        guard let run = RunID("preview") else { preconditionFailure("preview is a run id") }
        return run
    }()

    /// The whole plan as commands for hands.
    func runbook() throws -> Runbook { try Runbook(StepPreviewer(frozen, kinds: .standard, run: Self.previewID)) }

    func preview() throws -> PlanPreview {
        try PlanPreview(StepPreviewer(frozen, kinds: .standard, run: Self.previewID))
    }

    /// The names of what destructive steps overwrite or remove: databases, else the hosts of the step.
    func destructiveTargets() throws -> [String] {
        var targets: [String] = []
        for step in try preview().steps where step.isDestructive {
            if let name = step.with["database"]?.stringValue, let database = frozen.inventory.database(name) {
                targets.append(database.database)
            } else {
                targets += step.on.isEmpty ? [step.id] : step.on
            }
        }
        var seen = Set<String>()
        return targets.filter { seen.insert($0).inserted }
    }
}
