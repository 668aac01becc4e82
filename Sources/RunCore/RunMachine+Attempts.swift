extension RunMachine {
    mutating func held(_ event: RunHeld) -> [Action] {
        isHeld = true
        fence = event.fence
        if control == .pause { control = .go }
        return table.indices.flatMap { restarted($0) }
    }

    /// What a process that took the run in hand has to do about a step that another one left behind.
    private func restarted(_ position: Int) -> [Action] {
        let record = table[position], id = record.spec.id
        var actions: [Action] = []
        if record.undo.state == .issued {
            actions.append(.startAttempt(step: id, attempt: record.undo.attempt + 1, isUndo: true))
        } else if record.undo.state == .running {
            actions.append(.resumeAttempt(step: id, attempt: record.undo.attempt, isUndo: true))
        }
        if record.isIssued {
            actions.append(needsDecision(record) ? .askApproval(step: id) : .startAttempt(step: id, attempt: record.attempt + 1, isUndo: false))
        } else if record.state == .running {
            actions.append(.resumeAttempt(step: id, attempt: record.attempt, isUndo: false))
            if control == .cancel, record.spec.phase == .main { actions.append(.cancelAttempt(step: id)) }
        } else if record.waitsForRetry {
            actions.append(.wakeUp(step: id, afterMilliseconds: 0))
        }
        return actions
    }

    /// A denial is no decision to start: where the step comes up again, it asks again.
    func needsDecision(_ record: StepRecord) -> Bool {
        record.spec.needsApproval && record.approval?.decision?.approved != true
    }

    mutating func attemptStarted(_ event: AttemptStarted) throws(InvalidTransition) -> [Action] {
        let position = try position(of: event.step)
        if event.isUndo {
            guard table[position].undo.state == .issued, event.attempt == table[position].undo.attempt + 1 else {
                throw unexpected("the start of an undo", table[position])
            }
            table.change(position) { record in
                record.undo.state = .running
                record.undo.attempt = event.attempt
                record.undo.observations = [:]
            }
        } else {
            guard table[position].isIssued, !needsDecision(table[position]), event.attempt == table[position].attempt + 1 else {
                throw unexpected("the start of attempt \(event.attempt)", table[position])
            }
            let order = nextOrder
            nextOrder += 1
            table.change(position) { record in
                record.isIssued = false
                record.state = .running
                record.attempt = event.attempt
                if !record.observations.isEmpty {
                    record.earlierObservations = (record.earlierObservations ?? [:]).merging(record.observations) { $1 }
                }
                record.observations = [:]
                record.failure = nil
                record.order = order
            }
        }
        return []
    }

    mutating func observed(_ event: Observation) throws(InvalidTransition) -> [Action] {
        let position = try runningAttempt(event.step, event.attempt, event.isUndo, "an observation")
        if event.isUndo {
            table[position].undo.observations[event.key] = event.value
        } else {
            table[position].observations[event.key] = event.value
        }
        return []
    }

    mutating func attemptSucceeded(_ event: AttemptSucceeded) throws(InvalidTransition) -> [Action] {
        let position = try runningAttempt(event.step, event.attempt, event.isUndo, "success")
        table.change(position) { record in
            if event.isUndo {
                record.undo.state = .done
                record.state = .undone
            } else {
                record.state = .succeeded
                record.evidence = event.evidence
                record.outputs = event.outputs
                record.warnings = event.warnings
                record.changed = event.changed
            }
        }
        return []
    }

    mutating func attemptFailed(_ event: AttemptFailed) throws(InvalidTransition) -> [Action] {
        let position = try runningAttempt(event.step, event.attempt, event.isUndo, "failure")
        if event.isUndo {
            table[position].undo.state = .failed
            table[position].undo.failure = event.failure
            return []
        }
        let spec = table[position].spec
        table[position].failure = event.failure
        if mayRetry(event, spec) {
            table[position].state = .queued
            table[position].waitsForRetry = true
            let delay = spec.retry.delayMilliseconds(after: event.attempt, jitter: event.jitter)
            return [.wakeUp(step: event.step, afterMilliseconds: delay)]
        }
        switch event.failure.kind {
        case .cancelled: table[position].state = .cancelled
        case .timedOut: table[position].state = spec.onError == .continue ? .failedIgnored : .timedOut
        case .failed, .permanent: table[position].state = spec.onError == .continue ? .failedIgnored : .failed
        }
        return []
    }

    /// Only what may go otherwise next time is tried again, and only while nobody wants the run to end;
    /// the last steps are what ends it.
    private func mayRetry(_ event: AttemptFailed, _ spec: StepSpec) -> Bool {
        guard control == .go || control == .pause || spec.phase == .finally, event.attempt < spec.retry.attempts else { return false }
        return event.failure.kind == .failed || event.failure.kind == .timedOut
    }

    mutating func attemptDoubted(_ event: AttemptDoubted) throws(InvalidTransition) -> [Action] {
        let position = try runningAttempt(event.step, event.attempt, event.isUndo, "doubt")
        table[position].doubt = event
        if event.isUndo { table[position].undo.state = .inDoubt } else { table[position].state = .inDoubt }
        return []
    }

    mutating func retryDue(_ step: StepID) throws(InvalidTransition) -> [Action] {
        let position = try position(of: step)
        guard table[position].waitsForRetry else { throw unexpected("the end of a wait", table[position]) }
        table[position].waitsForRetry = false
        return []
    }

    private func runningAttempt(
        _ step: StepID, _ attempt: AttemptNumber, _ isUndo: Bool, _ what: String
    ) throws(InvalidTransition) -> Int {
        let position = try position(of: step), record = table[position]
        let fits = isUndo
            ? record.undo.state == .running && record.undo.attempt == attempt
            : record.state == .running && record.attempt == attempt
        guard fits else { throw unexpected("\(what) of attempt \(attempt)", record) }
        return position
    }

    func unexpected(_ what: String, _ record: StepRecord) -> InvalidTransition {
        InvalidTransition("step \(record.spec.id) is \(record.state.rawValue) at attempt \(record.attempt): \(what) cannot follow")
    }
}
