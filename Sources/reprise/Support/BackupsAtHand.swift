internal import BlockingIO
internal import Engine
internal import ObjectStorage
internal import PlanModel
internal import Reporting
internal import RunCore
internal import Steps

/// A backup that a plan will fetch, as far as it is known before anything runs.
struct PlannedBackup: Hashable {
    /// The step that fetches it.
    let step: String
    let store: StoreRef
    /// As `choose` has it.
    let choice: String
    let isDatabase: Bool
    /// What `revision` has; nil where the plan does not want to know which revision of the application belongs to the backup.
    let revision: String?

    /// Of each step that fetches one, but for those of which an earlier step decides.
    static func all(_ preview: PlanPreview, _ inventory: Inventory) -> [PlannedBackup] {
        preview.steps.compactMap { step in
            guard step.kind == FetchBackupStep.schema.name, let store = step.with["store"]?.stringValue.flatMap(inventory.store),
                let choice = step.with["choose"]?.stringValue, !step.notYetKnown.contains("choose")
            else { return nil }
            return PlannedBackup(
                step: step.id, store: store, choice: choice, isDatabase: step.with["kind"]?.stringValue != "files", revision: step.with["revision"]?.stringValue)
        }
    }
}

/// What stores answered, so that none is asked for the same backup twice: a listing of many thousand objects takes its time, and two
/// findings about "the newest" are then about one.
actor SelectedBackups {
    typealias Answer = (store: any ObjectStore, backup: BackupChoice.Selection)
    private struct Question: Hashable { let store: String, choice: String, isDatabase: Bool }
    private let inventory: Inventory
    private var asked: [Question: Task<Answer, any Error>] = [:]

    init(_ inventory: Inventory) { self.inventory = inventory }

    /// Asks the store for it, once.
    func select(_ planned: PlannedBackup) async throws -> Answer {
        let question = Question(store: planned.store.name, choice: planned.choice, isDatabase: planned.isDatabase)
        if let known = asked[question] { return try await known.value }
        let asking = Task { [inventory] in
            let objects = try Wiring.store(planned.store, inventory)
            return (objects, try await BackupChoice(planned.choice).select(isDatabase: planned.isDatabase, in: objects, planned.store)) as Answer
        }
        asked[question] = asking
        return try await asking.value
    }
}

/// Asks each store whether it has the backup that the plan will fetch, before anything is started: a run that fails at its fetch has
/// shut the application already.
struct BackupsAtHand {
    let frozen: FrozenRun
    let preview: PlanPreview

    /// - Throws: `NothingStarted` with the reason of the first store that has it not.
    func require() async throws {
        let backups = SelectedBackups(frozen.inventory)
        for planned in PlannedBackup.all(preview, frozen.inventory) {
            do {
                _ = try await backups.select(planned)
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
