import RunCore

/// An oracle beside the machine: it keeps its own books from events and actions, and compares them with what the machine says.
struct Promises {
    typealias Broken = RandomRun.Broken

    private struct Attempt: Hashable {
        let step: StepID, number: AttemptNumber, isUndo: Bool
    }

    private let specs: [StepID: StepSpec]
    private let limits: RunSpec.Limits
    private var started: Set<Attempt> = []
    private var lastAttempt: [StepID: AttemptNumber] = [:]
    /// Steps in the order in which they started their last attempt.
    private var startOrder: [StepID] = []
    /// Starts (and requests for approval) that were issued and neither begun nor withdrawn.
    private var issued: Set<StepID> = []
    private var undoIssued: Set<StepID> = []
    private var toldToEnd: Set<Attempt> = []
    private(set) var runTransitions: Set<Transition> = []
    private(set) var stepTransitions: Set<Transition> = []

    struct Transition: Hashable, Comparable, CustomStringConvertible {
        let from: String, event: String, to: String
        var description: String { "\(from) -> \(to) by \(event)" }
        static func < (left: Self, right: Self) -> Bool { left.description < right.description }
    }

    init(_ accepted: RunAccepted) {
        specs = Dictionary(uniqueKeysWithValues: accepted.spec.steps.map { ($0.id, $0) })
        limits = accepted.spec.limits
    }

    func isIssued(_ step: StepID) -> Bool { issued.contains(step) }
    func isUndoIssued(_ step: StepID) -> Bool { undoIssued.contains(step) }
    func wasToldToEnd(_ step: StepID) -> Bool {
        toldToEnd.contains(Attempt(step: step, number: lastAttempt[step] ?? 0, isUndo: false))
    }

    mutating func check(_ event: RunEvent, _ actions: [Action], _ before: RunMachine, _ after: RunMachine) throws {
        note(before, event, after)
        try noteStart(event)
        withdraw(event)
        if case .held = event { try checkTakenUp(actions, before) }
        for action in actions { try check(action, event, before, after) }
        try checkLimits(after)
        try checkState(after)
        try checkEnd(after)
        for record in after.steps {
            guard record.isIssued == issued.contains(record.spec.id) else {
                throw Broken(description: "\(record.spec.id) is issued in one book only, after \(event)")
            }
        }
    }

    private mutating func note(_ before: RunMachine, _ event: RunEvent, _ after: RunMachine) {
        if before.state != after.state {
            runTransitions.insert(.init(from: "\(before.state)", event: event.kind, to: "\(after.state)"))
        }
        for (old, new) in zip(before.steps, after.steps) where old.state != new.state {
            stepTransitions.insert(.init(from: "\(old.state)", event: event.kind, to: "\(new.state)"))
        }
    }

    /// An attempt starts once, is the one that was issued, and attempts grow by one.
    private mutating func noteStart(_ event: RunEvent) throws {
        guard case .attemptStarted(let start) = event else { return }
        let attempt = Attempt(step: start.step, number: start.attempt, isUndo: start.isUndo)
        guard started.insert(attempt).inserted else { throw Broken(description: "started twice: \(attempt)") }
        guard start.attempt == 1 || started.contains(Attempt(step: start.step, number: start.attempt - 1, isUndo: start.isUndo)) else {
            throw Broken(description: "an attempt was left out before \(attempt)")
        }
        if start.isUndo {
            guard undoIssued.remove(start.step) != nil else { throw Broken(description: "not issued: \(attempt)") }
        } else {
            guard issued.remove(start.step) != nil else { throw Broken(description: "not issued: \(attempt)") }
            lastAttempt[start.step] = start.attempt
            startOrder.removeAll { $0 == start.step }
            startOrder.append(start.step)
        }
    }

    /// What an operator's word takes back before it began.
    private mutating func withdraw(_ event: RunEvent) {
        if case .approvalRequested(let request) = event { issued.remove(request.step) }
        if case .cancelRequested = event { issued = issued.filter { specs[$0]!.phase == .finally } }
    }

    /// Who takes up a run is told of everything that was under way, exactly once.
    private func checkTakenUp(_ actions: [Action], _ before: RunMachine) throws {
        for record in before.steps {
            let id = record.spec.id
            let wanted: Int = (record.isIssued || record.state == .running || record.waitsForRetry ? 1 : 0)
                + (record.undo.state == .issued || record.undo.state == .running ? 1 : 0)
            let told = actions.filter { action in
                switch action {
                case .startAttempt(let step, _, _), .resumeAttempt(let step, _, _), .askApproval(let step), .wakeUp(let step, _): step == id
                case .cancelAttempt: false
                }
            }
            guard wanted == 0 || told.count == wanted else { throw Broken(description: "\(id) was forgotten by the next holder, or told twice") }
        }
    }

    private mutating func check(_ action: Action, _ event: RunEvent, _ before: RunMachine, _ after: RunMachine) throws {
        let isTakenUp = if case .held = event { true } else { false }
        switch action {
        case .startAttempt(let step, let attempt, isUndo: false):
            guard attempt == (lastAttempt[step] ?? 0) + 1 else { throw Broken(description: "\(action) after attempt \(lastAttempt[step] ?? 0)") }
            if specs[step]!.needsApproval, after[step]!.approval?.decision?.approved != true {
                throw Broken(description: "\(step) is started and was not approved")
            }
            try checkIssue(step, isTakenUp, after)
        case .askApproval(let step):
            guard specs[step]!.needsApproval else { throw Broken(description: "\(step) needs no approval") }
            try checkIssue(step, isTakenUp, after)
        case .startAttempt(let step, _, isUndo: true):
            guard undoIssued.insert(step).inserted || isTakenUp else { throw Broken(description: "issued twice: \(action)") }
            try checkUndo(step, after)
        case .resumeAttempt(let step, let attempt, let isUndo):
            guard isTakenUp, started.contains(Attempt(step: step, number: attempt, isUndo: isUndo)) else {
                throw Broken(description: "resumed without a start: \(action)")
            }
        case .cancelAttempt(let step):
            guard before[step]?.state == .running, specs[step]?.phase == .main else { throw Broken(description: "ended and not running: \(step)") }
            let attempt = Attempt(step: step, number: lastAttempt[step] ?? 0, isUndo: false)
            guard toldToEnd.insert(attempt).inserted || isTakenUp else { throw Broken(description: "told to end twice: \(step)") }
        case .wakeUp(let step, let milliseconds):
            let range: ClosedRange<Int64> = isTakenUp ? 0...0 : 50...300
            guard after[step]!.waitsForRetry, range.contains(milliseconds), isTakenUp || event.step == step else {
                throw Broken(description: "out of turn: \(action) after \(event)")
            }
        }
    }

    private mutating func checkIssue(_ step: StepID, _ isTakenUp: Bool, _ after: RunMachine) throws {
        guard issued.insert(step).inserted else {
            // Another process issued it before; its needs were looked at then.
            if isTakenUp { return }
            throw Broken(description: "issued twice: \(step)")
        }
        let spec = specs[step]!
        for need in spec.needs {
            guard isPast(need, after, for: spec.phase) else { throw Broken(description: "\(step) starts before \(need)") }
        }
        if spec.phase == .main, let failed = after.steps.first(where: { $0.spec.phase == .main && hasFailed($0) }) {
            throw Broken(description: "\(step) starts although \(failed.spec.id) is \(failed.state)")
        }
        if spec.phase == .finally {
            for record in after.steps where record.spec.phase == .main {
                switch record.state {
                case .running, .waiting, .inDoubt: throw Broken(description: "\(step) starts while \(record.spec.id) is \(record.state)")
                case .queued where record.waitsForRetry || record.isIssued:
                    throw Broken(description: "\(step) starts while \(record.spec.id) will run")
                case .queued, .succeeded, .failed, .failedIgnored, .timedOut, .skipped, .cancelled, .undone: break
                }
            }
        }
    }

    private func hasFailed(_ record: StepRecord) -> Bool { [.failed, .timedOut, .cancelled].contains(record.state) }

    /// A skipped step is past once all that it needed is.
    private func isPast(_ step: StepID, _ machine: RunMachine, for phase: StepSpec.Phase) -> Bool {
        let spec = specs[step]!
        if phase == .finally, spec.phase == .main { return true }
        switch machine[step]!.state {
        case .succeeded, .failedIgnored: return true
        case .skipped: return spec.needs.allSatisfy { isPast($0, machine, for: phase) }
        case .failed, .timedOut, .cancelled, .undone: return phase == .finally
        case .queued, .running, .waiting, .inDoubt: return false
        }
    }

    /// Nothing else runs, and whatever started later is undone or had nothing to undo.
    private func checkUndo(_ step: StepID, _ after: RunMachine) throws {
        guard specs[step]!.hasUndo, let place = startOrder.firstIndex(of: step) else { throw Broken(description: "\(step) has nothing to undo") }
        for later in startOrder[(place + 1)...] where specs[later]!.hasUndo && specs[later]!.phase == .main {
            let record = after[later]!
            guard record.state == .undone || record.state == .skipped || (record.state == .succeeded && !record.changed) else {
                throw Broken(description: "\(step) is undone before \(later), which is \(record.state)")
            }
        }
        for record in after.steps where record.spec.id != step {
            if record.state == .running || record.isIssued || record.undo.state == .issued || record.undo.state == .running {
                throw Broken(description: "\(step) is undone while \(record.spec.id) runs")
            }
        }
    }

    private func checkLimits(_ machine: RunMachine) throws {
        var total = 0, byHost: [String: Int] = [:]
        for record in machine.steps where takesSlot(record) {
            total += 1
            for host in record.spec.hosts { byHost[host, default: 0] += 1 }
        }
        guard total <= limits.total, byHost.values.allSatisfy({ $0 <= limits.perHost }) else {
            throw Broken(description: "\(total) steps run, \(byHost) by host, and the limits are \(limits)")
        }
    }

    private func takesSlot(_ record: StepRecord) -> Bool {
        record.isIssued || record.state == .running || record.undo.state == .issued || record.undo.state == .running
    }

    /// The run's state says no more and no less than those of its steps.
    private func checkState(_ machine: RunMachine) throws {
        let steps = machine.steps
        let isBusy = steps.contains { takesSlot($0) || $0.waitsForRetry }
        let isDoubted = steps.contains { $0.state == .inDoubt || $0.undo.state == .inDoubt }
        let isWaiting = steps.contains { $0.state == .waiting }
        let fits: Bool
        switch machine.state {
        case .accepted: fits = !machine.isHeld && !isBusy
        case .running, .pausing, .cancelling, .undoing: fits = isBusy || (!machine.isHeld && !isDoubted)
        case .waiting: fits = !isBusy && (isDoubted || isWaiting)
        case .paused: fits = !isBusy
        case .succeeded: fits = !isBusy && steps.allSatisfy { $0.state == .succeeded && $0.warnings.isEmpty }
        case .succeededWithWarnings:
            fits = !isBusy && !isDoubted && !isWaiting
                && steps.contains { $0.state != .succeeded || !$0.warnings.isEmpty }
                && steps.allSatisfy { $0.spec.phase == .finally || [.succeeded, .skipped, .failedIgnored].contains($0.state) }
        case .failed:
            let hasReason = steps.contains {
                $0.undo.state == .failed || ($0.spec.phase == .main && ![.succeeded, .skipped, .failedIgnored].contains($0.state))
            }
            fits = !isBusy && !isDoubted && !isWaiting && hasReason
        case .cancelled: fits = !isBusy && !isDoubted && !isWaiting && !steps.contains { $0.spec.phase == .main && $0.state == .queued && $0.attempt == 0 }
        case .undone:
            fits = !isBusy && !isDoubted && !isWaiting
                && !steps.contains { $0.spec.phase == .main && $0.spec.hasUndo && $0.attempt > 0 && $0.state == .succeeded && $0.changed }
        }
        guard fits else {
            throw Broken(description: "the run is \(machine.state) and its steps are \(steps.map { "\($0.spec.id) \($0.state) \($0.undo.state)" })")
        }
    }

    /// Where a run ends, the last steps have run, and a failure that asks for undo has led to it.
    private func checkEnd(_ machine: RunMachine) throws {
        guard machine.state.isSettled else { return }
        if let left = machine.steps.first(where: { $0.spec.phase == .finally && $0.state == .queued }) {
            throw Broken(description: "the run is \(machine.state) and \(left.spec.id) has not run")
        }
        let asking = machine.steps.first {
            $0.spec.phase == .main && $0.spec.onError == .undo && ($0.state == .failed || $0.state == .timedOut)
        }
        if machine.state == .failed, let asking, !machine.steps.contains(where: { $0.undo.state == .failed }) {
            throw Broken(description: "\(asking.spec.id) asks for undo, and the run only failed")
        }
    }
}
