internal import BlockingIO
internal import Engine
internal import ObjectStorage
internal import PlanModel
internal import Reporting
internal import RunCore
internal import Steps

/// A backup that a plan will fetch, as far as it is known before anything runs.
struct PlannedBackup {
    /// The step that fetches it.
    let step: String
    let store: StoreRef
    /// As `choose` has it.
    let choice: String
    let isDatabase: Bool

    /// Of each step that fetches or chooses one, but for those of which an earlier step decides.
    static func all(_ preview: PlanPreview, _ inventory: Inventory) -> [PlannedBackup] {
        preview.steps.compactMap { step in
            guard [FetchBackupStep.schema.name, ChooseBackupStep.schema.name].contains(step.kind), let store = step.with["store"]?.stringValue.flatMap(inventory.store),
                let choice = step.with["choose"]?.stringValue, !step.notYetKnown.contains("choose")
            else { return nil }
            return PlannedBackup(step: step.id, store: store, choice: choice, isDatabase: step.with["kind"]?.stringValue != "files")
        }
    }

    /// What the step `id` will fetch: its own choice, or that of the step that its `choose` names.
    static func fetched(by id: String, _ preview: PlanPreview, _ inventory: Inventory) -> PlannedBackup? {
        let all = all(preview, inventory)
        if let own = all.first(where: { $0.step == id }) { return own }
        let choice = preview.steps.first { $0.id == id }?.with["choose"]?.stringValue ?? ""
        return all.first { choice.contains("steps.\($0.step).key") }
    }

    /// Asks the store for it.
    func select(_ inventory: Inventory) async throws -> (store: any ObjectStore, backup: BackupChoice.Selection) {
        let objects = try Wiring.store(store, inventory)
        return (objects, try await BackupChoice(choice).select(isDatabase: isDatabase, in: objects, store))
    }
}

/// Asks each store whether it has the backup that the plan will fetch, before anything is started: a run that fails at its fetch has
/// shut the application already.
struct BackupsAtHand {
    let frozen: FrozenRun
    let preview: PlanPreview

    /// - Throws: `NothingStarted` with the reason of the first store that has it not.
    func require() async throws {
        for planned in PlannedBackup.all(preview, frozen.inventory) {
            do {
                _ = try await planned.select(frozen.inventory)
            } catch let error as any RepriseError {
                throw NothingStarted(error, step: planned.step)
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
