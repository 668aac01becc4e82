extension RunMachine {
    /// Issues every step that may start now.
    mutating func schedule() -> [Action] {
        guard isHeld, control != .pause else { return [] }
        if !inFinally {
            if control == .undo {
                let actions = scheduleUndo()
                if !actions.isEmpty { return actions }
            } else if control == .go, !table.any(.blocksRun) {
                let actions = issueReady(.main)
                if !actions.isEmpty { return actions }
            }
            guard isQuiet else { return [] }
            if control == .go, table.any(.asksForUndo) {
                beginUndo()
                return schedule()
            }
            enterFinally()
        }
        return issueReady(.finally)
    }

    /// Nothing runs, waits for somebody, or will start by itself. Last steps that an earlier end of the run started count too:
    /// the new end begins when they are through.
    private var isQuiet: Bool { !table.any(.active) && !table.any(.waiting) && !table.any(.inDoubt) }

    /// A run that was reopened comes here more than once, and its last steps then run again.
    private mutating func enterFinally() {
        inFinally = true
        requeueFinally()
    }

    /// Readies the last steps for the run's next end, except what runs, was skipped, or must not be repeated unseen.
    mutating func requeueFinally() {
        for position in finallyPositions {
            let record = table[position]
            if !record.isActive, !record.isInDoubt, record.state != .skipped { table[position].requeue() }
        }
    }

    private mutating func issueReady(_ phase: StepSpec.Phase) -> [Action] {
        var actions: [Action] = []
        while let position = table.nextReady(phase, limits) {
            table[position].isIssued = true
            let record = table[position]
            actions.append(
                needsDecision(record)
                    ? .askApproval(step: record.spec.id)
                    : .startAttempt(step: record.spec.id, attempt: record.attempt + 1, isUndo: false))
        }
        return actions
    }

    /// One undo at a time, of the step that started last.
    private mutating func scheduleUndo() -> [Action] {
        guard isQuiet, !table.any(.undoFailed), let last = table.lastUndoable else { return [] }
        table[last].undo.state = .issued
        return [.startAttempt(step: table[last].spec.id, attempt: table[last].undo.attempt + 1, isUndo: true)]
    }

    /// Works out the run's state from those of its steps.
    mutating func settle() {
        if state == .accepted, !isHeld, control == .go { return }
        if table.any(.active) {
            state = busyState
        } else if table.any(.inDoubt) {
            state = control == .pause ? .paused : .waiting
        } else if control == .pause {
            state = .paused
        } else if table.any(.waiting) {
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
        if !isHeld, isOwedWork { return busyState }
        switch control {
        case .pause: return .paused
        case .cancel: return .cancelled
        case .undo: return table.any(.undoFailed) ? .failed : .undone
        case .go: break
        }
        if table.any(.unsatisfied) { return .failed }
        return table.any(.notPlain) ? .succeededWithWarnings : .succeeded
    }

    /// Without a holder nothing is scheduled: true where the next holder will find something to start.
    private var isOwedWork: Bool {
        var next = self
        next.isHeld = true
        return !next.schedule().isEmpty || next.control != control
    }
}
