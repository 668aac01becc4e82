extension RunMachine {
    /// Issues every step that may start now.
    mutating func schedule() -> [Action] {
        guard isHeld, control != .pause else { return [] }
        if !inFinally {
            if control == .undo {
                let actions = scheduleUndo()
                if !actions.isEmpty || steps.contains(where: { $0.undo.isActive || $0.undo.state == .inDoubt }) { return actions }
            } else if control == .go, !isHeldUp {
                let actions = issueReady(.main)
                if !actions.isEmpty || !isMainQuiet { return actions }
            }
            guard isMainQuiet else { return [] }
            if control == .go, steps.contains(where: { $0.blocksRun && $0.spec.onError == .undo && $0.spec.phase == .main }) {
                beginUndo()
                return schedule()
            }
            inFinally = true
        }
        return issueReady(.finally)
    }

    /// A failure that no plan or person made light of: nothing new starts.
    private var isHeldUp: Bool { steps.contains { $0.blocksRun && $0.spec.phase == .main } }

    /// Nothing of the main phase runs, waits for somebody, or will start by itself.
    private var isMainQuiet: Bool {
        !steps.contains { record in
            guard record.spec.phase == .main else { return false }
            return record.isActive || record.state == .waiting || record.state == .inDoubt
        }
    }

    private mutating func issueReady(_ phase: StepSpec.Phase) -> [Action] {
        var load = Load(steps: steps, limits: limits)
        var actions: [Action] = []
        for position in steps.indices {
            if load.isFull { break }
            guard isReady(position, phase), load.take(steps[position].spec.hosts) else { continue }
            steps[position].isIssued = true
            let record = steps[position]
            actions.append(
                needsDecision(record)
                    ? .askApproval(step: record.spec.id)
                    : .startAttempt(step: record.spec.id, attempt: record.attempt + 1, isUndo: false))
        }
        return actions
    }

    private func isReady(_ position: Int, _ phase: StepSpec.Phase) -> Bool {
        let record = steps[position]
        guard record.spec.phase == phase, record.state == .queued, !record.isIssued, !record.waitsForRetry else { return false }
        return record.needs.allSatisfy { need in
            switch phase {
            case .main: steps[need].state.satisfiesDependents
            // The last steps run whatever came of the others: it is enough that those have ended.
            case .finally: steps[need].spec.phase == .main || hasEnded(steps[need])
            }
        }
    }

    private func hasEnded(_ record: StepRecord) -> Bool {
        record.state.satisfiesDependents || record.blocksRun || record.state == .undone
    }

    /// One undo at a time, of the step that started last.
    private mutating func scheduleUndo() -> [Action] {
        guard !steps.contains(where: { $0.isActive || $0.undo.state == .inDoubt }) else { return [] }
        let candidates = steps.indices.filter { steps[$0].isUndoable && steps[$0].spec.phase == .main }
        guard !steps.contains(where: { $0.undo.state == .failed }),
            let last = candidates.max(by: { steps[$0].order < steps[$1].order })
        else { return [] }
        steps[last].undo.state = .issued
        return [.startAttempt(step: steps[last].spec.id, attempt: steps[last].undo.attempt + 1, isUndo: true)]
    }

    /// Works out the run's state from those of its steps.
    mutating func settle() {
        if state == .accepted, !isHeld, control == .go { return }
        if steps.contains(where: \.isActive) {
            state = busyState
        } else if steps.contains(where: { $0.state == .inDoubt || $0.undo.state == .inDoubt }) {
            state = control == .pause ? .paused : .waiting
        } else if control == .pause {
            state = .paused
        } else if steps.contains(where: { $0.state == .waiting }) {
            state = .waiting
        } else {
            state = endState
        }
    }

    private var busyState: RunState {
        switch control {
        case .go: .running
        case .pause: .pausing
        case .cancel: .cancelling
        case .undo: .undoing
        }
    }

    private var endState: RunState {
        // Without a holder nothing was scheduled, so steps may be left that could still start.
        if !isHeld, steps.contains(where: { isReady(steps: $0) }) { return busyState }
        switch control {
        case .pause: return .paused
        case .cancel: return .cancelled
        case .undo: return steps.contains { $0.undo.state == .failed } ? .failed : .undone
        case .go: break
        }
        let main = steps.filter { $0.spec.phase == .main }
        guard main.allSatisfy({ $0.state.satisfiesDependents }) else { return .failed }
        let isPlain = steps.allSatisfy { $0.state == .succeeded && $0.warnings.isEmpty }
        return isPlain ? .succeeded : .succeededWithWarnings
    }

    private func isReady(steps record: StepRecord) -> Bool {
        guard record.state == .queued, let position = positions[record.spec.id] else { return false }
        return isReady(position, inFinally ? .finally : .main) && !(record.spec.phase == .main && isHeldUp)
    }
}

/// How many steps run now, in all and on each host.
private struct Load {
    private var byHost: [String: Int] = [:]
    private var total = 0
    private let limits: RunSpec.Limits

    init(steps: [StepRecord], limits: RunSpec.Limits) {
        self.limits = limits
        for record in steps where record.takesSlot { add(record.spec.hosts) }
    }

    var isFull: Bool { total >= limits.total }

    /// Takes a slot on each of `hosts`, or none where one of them is full.
    mutating func take(_ hosts: [String]) -> Bool {
        guard !isFull, hosts.allSatisfy({ byHost[$0, default: 0] < limits.perHost }) else { return false }
        add(hosts)
        return true
    }

    private mutating func add(_ hosts: [String]) {
        total += 1
        for host in hosts { byHost[host, default: 0] += 1 }
    }
}
