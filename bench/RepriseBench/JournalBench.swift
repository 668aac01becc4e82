import Engine
import Journal
import PlanModel
import RunCore
import SSH
import Steps

/// A step that does nothing, in this process: what remains is what Reprise itself costs.
struct NothingStep: StepKind {
    static let schema = StepKindSchema(name: "nothing", summary: "does nothing", fields: [], needsHost: false)
    init() {}
    func perform(_ context: StepContext) async throws -> StepOutcome { StepOutcome(outputs: ["stdout": .string("done")]) }
    func manualCommands(_ context: StepContext) -> [String] { [] }
}

let nothingOnly = StepRegistry([NothingStep.self])

func stepID(_ number: Int) -> StepID {
    guard let id = StepID("step-\(number)") else { preconditionFailure("a plain name is an id") }
    return id
}

/// A run of steps that do nothing; as a chain each waits for the one before.
func frozenRun(steps count: Int, isChain: Bool) throws -> FrozenRun {
    let steps = (1...count).map { number in
        PlanStep(id: stepID(number), kind: "nothing", needs: isChain && number > 1 ? [stepID(number - 1)] : [])
    }
    return try FrozenRun(
        plan: Plan(name: "bench", limits: .init(perHost: 16, total: 16), steps: steps), inventory: Inventory(),
        parameters: ParameterBinding(values: [:]), mode: .recovery, planPath: "bench")
}

func runID(_ text: String) -> RunID {
    guard let id = RunID(text) else { preconditionFailure("a plain name is an id") }
    return id
}

/// Drives a run's state machine on the journal's own thread: apply, append, act, as the engine does.
private actor Lane {
    private let journal: SQLiteJournal
    private var machine: RunMachine
    private let hold: Hold
    nonisolated var unownedExecutor: UnownedSerialExecutor { journal.executor.asUnownedSerialExecutor() }

    init(_ journal: SQLiteJournal, _ machine: RunMachine, _ hold: Hold) {
        self.journal = journal
        self.machine = machine
        self.hold = hold
    }

    /// - Returns: how many steps were run, each with an intent and an outcome in durable commits of their own.
    func drive() throws -> Int {
        var actions = try commit(.held(RunHeld(by: "bench", fence: hold.fence, takeOverReason: nil)))
        var done = 0
        while case .startAttempt(let step, let attempt, _) = actions.first {
            _ = try commit(.attemptStarted(AttemptStarted(step: step, attempt: attempt, isUndo: false, specHash: "bench")))
            actions = try commit(
                .attemptSucceeded(
                    AttemptSucceeded(
                        step: step, attempt: attempt, isUndo: false, evidence: .null, outputs: ["stdout": .string("done")], warnings: [],
                        changed: true)))
            done += 1
        }
        guard machine.state == .succeeded else { fail("the run ended as \(machine.state.rawValue)") }
        return done
    }

    private func commit(_ event: RunEvent) throws -> [Action] {
        let actions = try machine.apply(event)
        _ = try journal.appendHere([EventCodec.entry(event)], hold: hold, label: machine.state.rawValue)
        return actions
    }
}

func measureJournal(path: String, steps: Int) async throws {
    let frozen = try frozenRun(steps: steps, isChain: true)
    let journal = try await SQLiteJournal.open(path: path)
    let (loaded, hold) = try await accept(frozen, as: runID("bench"), by: .current, kinds: nothingOnly, into: journal)
    let lane = Lane(journal, loaded.machine, hold)
    let start = ContinuousClock.now
    let done = try await lane.drive()
    let taken = seconds(ContinuousClock.now - start)
    try await journal.close()
    say("steps=\(done) seconds=\(taken) per_second=\(Double(done) / taken)")
}

private struct Silent: RunObserver {
    func happened(_ event: RunEvent, _ machine: RunMachine) {}
    func progressed(_ step: StepID, _ progress: StepProgress) {}
    func wrote(_ step: StepID, isUndo: Bool, host: String, part: String?, _ output: JobOutput) {}
}

func measureEngine(path: String, steps: Int, isChain: Bool) async throws {
    let frozen = try frozenRun(steps: steps, isChain: isChain)
    let journal = try await SQLiteJournal.open(path: path)
    let orchestrator = Orchestrator(
        journal: journal, kinds: nothingOnly, connector: SSHConnector(environment: [:]), adapters: Adapters(environment: [:]),
        redactor: Redactor())
    let driver = try await orchestrator.accept(frozen, as: runID("bench"), observer: Silent(), staysForPeople: false)
    let start = ContinuousClock.now
    let end = try await driver.drive()
    let taken = seconds(ContinuousClock.now - start)
    try await journal.close()
    guard end.machine.state == .succeeded else { fail("the run ended as \(end.machine.state.rawValue)") }
    say("steps=\(steps) seconds=\(taken) per_second=\(Double(steps) / taken)")
}
