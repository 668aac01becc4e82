/// What people ask of a run.
extension RunMachine {
    mutating func approvalRequested(_ event: ApprovalRequested) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step)
        guard table[position].isIssued, needsDecision(table[position]) else {
            throw unexpected("a request for approval", table[position])
        }
        table[position].isIssued = false
        table[position].state = .waiting
        table[position].approval = .init(message: event.message)
        table[position].questions += 1
        return []
    }

    mutating func approvalDecided(_ event: ApprovalDecided) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = table[position]
        guard record.state == .waiting else { throw tooLate(event, record) }
        // A word can be late: said of one question, and taken in when the step asks the next one.
        if let question = event.question, question != record.questions {
            throw InvalidTransition(
                "step \(event.step) waits for an answer to its question \(record.questions), and the \(event.approved ? "approval" : "denial") of "
                    + "\(event.by) was given to \(question == 0 ? "none: it had not asked yet" : "question \(question)")",
                hints: ["look at what it asks now: reprise status", "then say it again"])
        }
        if event.approved, let refusal = refusesApproval(of: event.step, by: event.by) { throw refusal }
        table[position].approval?.decision = event
        if event.approved {
            table[position].requeue()
        } else {
            table[position].state = .failed
            table[position].failure = Failure(
                kind: .permanent, code: "run.approval-denied", message: "\(event.by) denied approval: \(event.comment)",
                hints: ["ask again with: reprise retry RUN \(event.step)", "or end the run with: reprise undo RUN"])
        }
        return []
    }

    /// Says who was first, where somebody was.
    private func tooLate(_ event: ApprovalDecided, _ record: StepRecord) -> InvalidTransition {
        let word = event.approved ? "an approval" : "a denial"
        guard let decision = record.approval?.decision else { return unexpected(word, record) }
        return InvalidTransition(
            "step \(event.step) was \(decision.approved ? "approved" : "denied") by \(decision.by) already and is \(record.state.rawValue): "
                + "\(word) cannot follow",
            hints: ["see where the run stands: reprise status"])
    }

    /// Why `operatorName` may not approve the step, or nil: who started the run may not, where the plan says so.
    ///
    /// Persons are compared, not processes: whoever starts a run approves it from another process.
    package func refusesApproval(of step: StepID, by operatorName: String) -> InvalidTransition? {
        guard self[step]?.spec.approverIsNotStarter == true, Person(operatorName) == Person(startedBy) else { return nil }
        return InvalidTransition(
            "step \(step) must be approved by another person than \(startedBy), who started the run",
            hints: ["have a second person run: reprise approve RUN \(step) --comment …"])
    }

    mutating func doubtResolved(_ event: DoubtResolved) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = table[position]
        if record.isInDoubt, let attempt = event.attempt, let doubt = record.doubt,
            attempt != doubt.attempt || (event.isUndo ?? false) != doubt.isUndo
        {
            throw InvalidTransition(
                "step \(event.step) is in doubt at \(doubt.isUndo ? "undo " : "")attempt \(doubt.attempt), and the word of \(event.by) was given "
                    + (attempt == 0 ? "before there was a doubt" : "about \(event.isUndo == true ? "undo " : "")attempt \(attempt)"),
                hints: ["look at the evidence that there is now: reprise status", "then say it again"])
        }
        if record.undo.state == .inDoubt {
            forgive(record.doubt)
            table[position].undo.state = event.verdict == .done ? .done : .idle
            if event.verdict == .done { table[position].state = .undone }
            table[position].doubt = nil
            return []
        }
        guard record.state == .inDoubt else { throw unexpected("the resolution of a doubt", record) }
        forgive(record.doubt)
        table[position].requeue()
        table[position].note = "\(event.by): \(event.verdict.rawValue): \(event.reason)"
        if event.verdict == .done {
            table[position].state = .succeeded
            table[position].warnings = ["taken as done on the word of \(event.by): \(event.reason)"]
        } else if record.spec.phase == .main, control == .cancel {
            table[position].state = .cancelled
        }
        return []
    }

    mutating func skipped(_ event: OperatorOnStep) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = table[position]
        guard record.spec.isApproval != true else {
            throw InvalidTransition(
                "step \(event.step) asks for a person's word, and a word is not skipped",
                hints: [
                    "agree to it: reprise approve \(event.step) --comment …; after a denial first: reprise retry \(event.step)",
                    "or end the run: reprise cancel, or reprise undo",
                ])
        }
        switch record.state {
        case .queued, .waiting, .inDoubt, .failed, .timedOut, .cancelled, .failedIgnored:
            guard !record.isIssued, record.undo.state != .inDoubt, !record.undo.isActive else { throw unexpected("a skip", record) }
            forgive(record.doubt)
            table[position].requeue()
            table[position].state = .skipped
            table[position].note = "skipped by \(event.by): \(event.reason)"
            if record.spec.phase == .main { reopen() }
            return []
        case .running, .succeeded, .skipped, .undone:
            throw unexpected("a skip", record)
        }
    }

    mutating func retryRequested(_ event: OperatorOnStep) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step), record = table[position]
        // A last step may be tried again whatever way the run ended.
        let isMain = record.spec.phase == .main
        guard !isMain || control != .undo else {
            throw InvalidTransition(
                "the run was undone, wholly or in part, and does not go on",
                hints: ["go on undoing with: reprise undo RUN", "or recover anew with: reprise start"])
        }
        guard !isMain || control != .cancel || state == .cancelled else {
            throw InvalidTransition("the run is being cancelled", hints: ["ask again once it is CANCELLED: reprise status"])
        }
        switch record.state {
        case .failed, .timedOut, .failedIgnored, .cancelled:
            table[position].requeue()
            table[position].approval = nil
            table[position].note = "tried again by \(event.by): \(event.reason)"
            if record.spec.phase == .main { reopen() }
            return []
        case .queued, .running, .waiting, .inDoubt, .succeeded, .skipped, .undone:
            throw unexpected("a retry", record)
        }
    }

    /// After a run that ended goes on, its last steps have to run again at its new end.
    private mutating func reopen() {
        // While a run is being cancelled, settling one of its steps does not overrule that.
        if control == .cancel, state == .cancelled { control = .go }
        guard inFinally else { return }
        inFinally = false
        requeueFinally()
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
        for position in table.indices where table[position].spec.phase == .main {
            switch table[position].state {
            case .queued, .waiting:
                table[position].requeue()
                table[position].state = .cancelled
            case .running: actions.append(.cancelAttempt(step: table[position].spec.id))
            case .inDoubt, .succeeded, .failed, .failedIgnored, .timedOut, .skipped, .cancelled, .undone: break
            }
        }
        return actions
    }

    mutating func undoRequested() throws(InvalidTransition) -> [Action] {
        if let record = steps.first(where: \.isInDoubt) {
            throw InvalidTransition(
                "step \(record.spec.id) is in doubt: what it did must be known before the run can be undone",
                hints: ["look at its evidence with: reprise status", "then: reprise resolve RUN \(record.spec.id) --as done|not-done --reason …"])
        }
        guard !table.any(.active) else {
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
        requeueFinally()
        for position in table.indices {
            let record = table[position]
            if record.undo.state == .failed { table[position].undo.state = .idle }
            if record.spec.phase == .main, record.state == .queued || record.state == .waiting {
                table[position].requeue()
                table[position].state = .cancelled
            }
        }
    }
}
