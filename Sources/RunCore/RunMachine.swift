/// The whole truth about a run: a pure value that takes events and gives actions. It knows no clock, no dice and no I/O.
///
/// The state of a run is `RunMachine(accepted)` and then `apply` of every later event of its journal, in order;
/// the same events always give the same state.
package struct RunMachine: Codable, Hashable, Sendable {
    /// What operators last asked for.
    enum Control: String, Codable, Hashable, Sendable { case go, pause, cancel, undo }

    var table: StepTable
    package internal(set) var state: RunState = .accepted
    package internal(set) var isHeld = false
    package internal(set) var fence: Fence = 0
    /// The hosts that the run has met, by their names in the inventory.
    package internal(set) var pins: [String: HostPinned] = [:]
    /// Hosts whose ledger was lost and for which somebody answered that doubt, until the run has met them again.
    package internal(set) var forgivenLedgers: Set<String> = []
    package let limits: RunSpec.Limits
    package let startedBy: String
    let positions: [StepID: Int]
    let finallyPositions: [Int]
    var control = Control.go
    /// True once the main phase can go no further.
    var inFinally = false
    var nextOrder = 1

    /// - Throws: `InvalidTransition` where ids repeat, a need is unknown or of a later phase, or needs form a cycle.
    package init(_ accepted: RunAccepted) throws(InvalidTransition) {
        var positions: [StepID: Int] = [:]
        for (position, step) in accepted.spec.steps.enumerated() {
            guard positions.updateValue(position, forKey: step.id) == nil else {
                throw InvalidTransition("step \(step.id) stands twice in the run")
            }
        }
        var records: [StepRecord] = []
        for step in accepted.spec.steps {
            var needs: [Int] = []
            for need in step.needs {
                guard let position = positions[need] else {
                    throw InvalidTransition("step \(step.id) needs \(need), which the run does not have")
                }
                guard step.phase == .finally || accepted.spec.steps[position].phase == .main else {
                    throw InvalidTransition("step \(step.id) needs \(need), which runs only after it, in the finally phase")
                }
                needs.append(position)
            }
            records.append(StepRecord(spec: step, needs: needs))
        }
        table = StepTable(records)
        self.positions = positions
        limits = accepted.spec.limits
        startedBy = accepted.startedBy
        finallyPositions = records.indices.filter { records[$0].spec.phase == .finally }
        guard Self.isAcyclic(records) else { throw InvalidTransition("the steps of the run need each other in a circle") }
    }

    /// In the order of the plan.
    package var steps: [StepRecord] { table.records }

    /// Whether this attempt was issued and its intent is still to be journaled.
    package func awaitsStart(_ step: StepID, _ attempt: AttemptNumber, isUndo: Bool) -> Bool {
        guard let record = self[step] else { return false }
        return isUndo
            ? record.undo.state == .issued && attempt == record.undo.attempt + 1 : record.isIssued && attempt == record.attempt + 1
    }

    package subscript(step: StepID) -> StepRecord? {
        positions[step].map { table[$0] }
    }

    /// Takes in what happened and says what to do next.
    ///
    /// - Throws: `InvalidTransition` where the event cannot follow; the machine is then unchanged.
    package mutating func apply(_ event: RunEvent) throws(InvalidTransition) -> [Action] {
        // Each handler checks everything before it changes anything, so a refused event leaves the machine as it was.
        var actions = try handle(event)
        actions += schedule()
        settle()
        return actions
    }

    private mutating func handle(_ event: RunEvent) throws(InvalidTransition) -> [Action] {
        switch event {
        case .accepted: throw InvalidTransition("the run was accepted already")
        case .held(let event): return held(event)
        case .released:
            isHeld = false
            return []
        case .hostPinned(let event): return try pinned(event)
        case .attemptStarted(let event): return try attemptStarted(event)
        case .observed(let event): return try observed(event)
        case .attemptSucceeded(let event): return try attemptSucceeded(event)
        case .attemptFailed(let event): return try attemptFailed(event)
        case .attemptDoubted(let event): return try attemptDoubted(event)
        case .retryDue(let event): return try retryDue(event.step)
        case .approvalRequested(let event): return try approvalRequested(event)
        case .approvalDecided(let event): return try approvalDecided(event)
        case .doubtResolved(let event): return try doubtResolved(event)
        case .stepSkipped(let event): return try skipped(event)
        case .stepRetryRequested(let event): return try retryRequested(event)
        case .pauseRequested: return try pauseRequested()
        case .cancelRequested: return try cancelRequested()
        case .undoRequested: return try undoRequested()
        }
    }

    private mutating func pinned(_ event: HostPinned) throws(InvalidTransition) -> [Action] {
        guard pins[event.host] == nil || pins[event.host] == event else {
            throw InvalidTransition("host \(event.host) is not the machine that the run met under that name before")
        }
        pins[event.host] = event
        forgivenLedgers.remove(event.host)
        return []
    }

    /// A lost ledger is asked about once, not again for each attempt until the host knows the run.
    mutating func forgive(_ doubt: AttemptDoubted?) {
        if let host = doubt?.lostLedgerHost { forgivenLedgers.insert(host) }
    }

    func position(of step: StepID) throws(InvalidTransition) -> Int {
        guard let position = positions[step] else {
            throw InvalidTransition(
                "the run has no step \(step)", hints: ["see the run's steps with: reprise status"])
        }
        return position
    }

    /// Kahn's algorithm: true where repeated removal of steps without needs removes all.
    private static func isAcyclic(_ records: [StepRecord]) -> Bool {
        var unmet = records.map(\.needs.count)
        var dependents: [[Int]] = Array(repeating: [], count: records.count)
        for (position, record) in records.enumerated() {
            for need in record.needs { dependents[need].append(position) }
        }
        var free = unmet.indices.filter { unmet[$0] == 0 }
        var removed = 0
        while let position = free.popLast() {
            removed += 1
            for dependent in dependents[position] {
                unmet[dependent] -= 1
                if unmet[dependent] == 0 { free.append(dependent) }
            }
        }
        return removed == records.count
    }
}
