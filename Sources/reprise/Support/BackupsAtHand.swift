internal import BlockingIO
internal import Engine
internal import PlanModel
internal import Reporting
internal import RunCore
internal import Steps

/// Asks each store whether it has the backup that the plan will fetch, before anything is started: a run that fails at its fetch has
/// shut the application already.
struct BackupsAtHand {
    let frozen: FrozenRun
    let preview: PlanPreview

    /// - Throws: `NothingStarted` with the reason of the first store that has it not.
    func require() async throws {
        for step in preview.steps where step.kind == FetchBackupStep.schema.name {
            // What an earlier step decides is not known yet.
            guard let name = step.with["store"]?.stringValue, let reference = frozen.inventory.store(name),
                let choice = step.with["choose"]?.stringValue, !step.notYetKnown.contains("choose")
            else { continue }
            do {
                let store = try Wiring.store(reference, frozen.inventory)
                _ = try await BackupChoice(choice).select(isDatabase: step.with["kind"]?.stringValue != "files", in: store, reference)
            } catch let error as any RepriseError {
                throw NothingStarted(error, step: step.id)
            }
        }
    }
}

/// A run was not begun. Has the code and the exit status of its reason.
struct NothingStarted: RepriseError {
    let code: String
    let message: String
    let hints: [String]
    let exitStatus: ExitStatus
    let isTransient: Bool

    init(_ reason: any RepriseError, step: String) {
        code = reason.code
        message = "nothing was started, because step \(step) has no backup to fetch: \(reason.message)"
        hints = reason.hints
        exitStatus = reason.exitStatus
        isTransient = reason.isTransient
    }
}
