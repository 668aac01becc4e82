/// What people ask of a run.
extension RunMachine {
    mutating func approvalRequested(_ event: ApprovalRequested) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step)
        guard steps[position].isIssued, needsDecision(steps[position]) else {
            throw unexpected("a request for approval", steps[position])
        }
        steps[position].isIssued = false
        steps[position].state = .waiting
        steps[position].approval = .init(message: event.message)
        return []
    }

    mutating func approvalDecided(_ event: ApprovalDecided) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = steps[position]
        guard record.state == .waiting else { throw unexpected("an approval", record) }
        guard !record.spec.approverIsNotStarter || event.by != startedBy || !event.approved else {
            throw InvalidTransition(
                "step \(event.step) must be approved by another person than \(startedBy), who started the run",
                hints: ["have a second person run: reprise approve RUN \(event.step)"])
        }
        steps[position].approval?.decision = event
        if event.approved {
            steps[position].requeue()
        } else {
            steps[position].state = .failed
            steps[position].failure = Failure(
                kind: .permanent, code: "run.approval-denied", message: "\(event.by) denied approval: \(event.comment)",
                hints: ["ask again with: reprise retry RUN \(event.step)", "or end the run with: reprise undo RUN"])
        }
        return []
    }

    mutating func doubtResolved(_ event: DoubtResolved) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = steps[position]
        if record.undo.state == .inDoubt {
            steps[position].undo.state = event.verdict == .done ? .done : .idle
            if event.verdict == .done { steps[position].state = .undone }
            steps[position].doubt = nil
            return []
        }
        guard record.state == .inDoubt else { throw unexpected("the resolution of a doubt", record) }
        steps[position].requeue()
        steps[position].note = "\(event.by): \(event.verdict.rawValue): \(event.reason)"
        if event.verdict == .done {
            steps[position].state = .succeeded
            steps[position].warnings = ["taken as done on the word of \(event.by): \(event.reason)"]
        }
        return []
    }

    mutating func skipped(_ event: OperatorOnStep) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = steps[position]
        switch record.state {
        case .queued, .waiting, .inDoubt, .failed, .timedOut, .cancelled, .failedIgnored:
            guard !record.isIssued || record.state != .queued else { throw unexpected("a skip", record) }
            steps[position].requeue()
            steps[position].state = .skipped
            steps[position].note = "skipped by \(event.by): \(event.reason)"
            reopen()
            return []
        case .running, .succeeded, .skipped, .undone:
            throw unexpected("a skip", record)
        }
    }

    mutating func retryRequested(_ event: OperatorOnStep) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = steps[position]
        switch record.state {
        case .failed, .timedOut, .failedIgnored, .cancelled:
            steps[position].requeue()
            steps[position].approval = nil
            steps[position].note = "tried again by \(event.by): \(event.reason)"
            reopen()
            return []
        case .queued, .running, .waiting, .inDoubt, .succeeded, .skipped, .undone:
            throw unexpected("a retry", record)
        }
    }

    /// After a failed run goes on, its last steps have to run again at its new end.
    private mutating func reopen() {
        if control == .cancel { control = .go }
        guard inFinally else { return }
        inFinally = false
        for position in steps.indices where steps[position].spec.phase == .finally && steps[position].state != .skipped {
            if !steps[position].isActive { steps[position].requeue() }
        }
    }

    mutating func pauseRequested() throws(InvalidTransition) -> [Action] {
        guard control == .go, !state.isSettled else {
            throw InvalidTransition("the run is \(state.rawValue) and cannot be paused")
        }
        control = .pause
        return []
    }

    mutating func cancelRequested() throws(InvalidTransition) -> [Action] {
        switch state {
        case .accepted, .running, .waiting, .pausing, .paused, .failed: break
        case .cancelling, .cancelled, .undoing, .undone, .succeeded, .succeededWithWarnings:
            throw InvalidTransition("the run is \(state.rawValue) and cannot be cancelled")
        }
        control = .cancel
        var actions: [Action] = []
        for position in steps.indices where steps[position].spec.phase == .main {
            switch steps[position].state {
            case .queued, .waiting:
                steps[position].requeue()
                steps[position].state = .cancelled
            case .running: actions.append(.cancelAttempt(step: steps[position].spec.id))
            case .inDoubt, .succeeded, .failed, .failedIgnored, .timedOut, .skipped, .cancelled, .undone: break
            }
        }
        return actions
    }

    mutating func undoRequested() throws(InvalidTransition) -> [Action] {
        if let record = steps.first(where: { $0.state == .inDoubt || $0.undo.state == .inDoubt }) {
            throw InvalidTransition(
                "step \(record.spec.id) is in doubt: what it did must be known before the run can be undone",
                hints: ["look at its evidence with: reprise status", "then: reprise resolve RUN \(record.spec.id) --as done|not-done --reason …"])
        }
        guard !steps.contains(where: \.isActive) else {
            throw InvalidTransition(
                "steps are still running", hints: ["stop them first with: reprise cancel RUN, or reprise pause RUN"])
        }
        guard state != .undone, state != .undoing else { throw InvalidTransition("the run is \(state.rawValue) already") }
        beginUndo()
        return []
    }

    mutating func beginUndo() {
        control = .undo
        inFinally = false
        for position in steps.indices {
            let record = steps[position]
            if record.undo.state == .failed { steps[position].undo.state = .idle }
            if record.spec.phase == .finally, record.state != .skipped {
                steps[position].requeue()
            } else if record.state == .queued || record.state == .waiting {
                steps[position].requeue()
                steps[position].state = .cancelled
            }
        }
    }
}
