package import Engine
package import Journal
internal import PlanModel
package import RunCore

/// What people and programs are told of a run. Made from the journal alone. Its fields only ever grow.
package struct RunReport: Codable, Sendable {
    package var run: String
    package var plan: String
    package var title: String
    package var mode: String
    /// A run state, or `INTERRUPTED`: the journal says that it runs, and no live process holds it.
    package var state: String
    package var startedAt: String
    package var lastEventAt: String
    /// From the first event to the last one, or to now while the run is held.
    package var elapsedSeconds: Double
    package var startedBy: String
    package var holder: String?
    package var steps: [Step]
    package var warnings: [String]
    package var events: Int64
    /// SHA-256 of the journal's last record of this run, in hex: keep it elsewhere to prove later that nothing was changed.
    package var journalHead: String
    package var parameters: [String: String]
    /// What a person can do now, as commands.
    package var next: [String]
    /// The same commands, with what speaks for each.
    package var choices: [NextChoice]

    package struct Step: Codable, Sendable {
        package var id: String
        package var title: String
        package var kind: String
        package var on: [String]
        package var state: String
        package var attempt: Int
        package var phase: String
        package var startedAt: String?
        package var seconds: Double?
        package var changed: Bool
        package var failure: Failure?
        package var doubt: AttemptDoubted?
        package var approval: String?
        package var note: String?
        package var evidence: JSONValue
        package var outputs: [String: JSONValue]
        package var warnings: [String]
        package var undo: String?

        /// The state as a value; `queued` for a state that this version does not know.
        package var stepState: StepState { StepState(rawValue: state) ?? .queued }

        /// What went wrong with it and was not mended, and with what: the step or its undo.
        package var standingFailure: (what: String, failure: Failure)? {
            guard let failure else { return nil }
            if undo == StepRecord.UndoRecord.State.failed.rawValue { return ("undo of \(id)", failure) }
            return stepState == .succeeded ? nil : (id, failure)
        }
    }
}

extension RunReport {
    /// - Parameter records: all records of the run, in order; of long runs those of the last attempts suffice.
    package init(_ loaded: ResumableRun, summary: RunSummary, records: [JournalRecord], now: Int64) {
        let times = AttemptTimes(records)
        let machine = loaded.machine
        run = summary.run.rawValue
        plan = loaded.frozen.plan.name
        title = loaded.frozen.plan.title
        mode = loaded.frozen.mode.rawValue
        let isHeld = summary.holder?.isAlive ?? false
        state = Self.shownState(machine.state, isHeld: isHeld)
        startedAt = timestamp(summary.createdMilliseconds)
        let last = isHeld ? now : summary.lastEventMilliseconds
        lastEventAt = timestamp(summary.lastEventMilliseconds)
        elapsedSeconds = Double(max(0, last - summary.createdMilliseconds)) / 1000
        startedBy = machine.startedBy
        holder = isHeld ? summary.holder?.identity.summary : nil
        // Where nobody drives the run, an attempt without an end has lasted until the journal ends.
        steps = machine.steps.map { record in
            var step = Step(record, loaded.frozen, times, now: last)
            if let hints = step.failure?.hints { step.failure?.hints = summary.run.named(in: hints) }
            return step
        }
        warnings = machine.steps.flatMap { record in record.warnings.map { "\(record.spec.id): \($0)" } }
        events = loaded.head.sequence
        journalHead = hexadecimal(loaded.head.hash)
        parameters = loaded.frozen.parameters.values.mapValues(\.text)
        choices = NextChoice.all(machine, loaded.frozen, run: summary.run, isHeld: isHeld)
        next = choices.flatMap(\.commands)
    }

    /// `INTERRUPTED` is what a running state without a live holder is called.
    package static func shownState(_ state: RunState, isHeld: Bool) -> String {
        switch state {
        case .running, .pausing, .cancelling, .undoing, .accepted: isHeld ? state.rawValue : "INTERRUPTED"
        case .waiting, .paused, .cancelled, .undone, .succeeded, .succeededWithWarnings, .failed: state.rawValue
        }
    }
}

extension RunReport.Step {
    init(_ record: StepRecord, _ frozen: FrozenRun, _ times: AttemptTimes, now: Int64) {
        let step = frozen.plan.step(record.spec.id)
        id = record.spec.id.rawValue
        title = step.map { $0.title.isEmpty ? $0.id.rawValue : $0.title } ?? id
        kind = step?.kind ?? ""
        on = record.spec.hosts
        state = record.state.rawValue
        attempt = record.attempt
        phase = record.spec.phase.rawValue
        let span = times.last[record.spec.id]
        startedAt = span.map { timestamp($0.start) }
        seconds = span.map { Double(max(0, ($0.end ?? now) - $0.start)) / 1000 }
        changed = record.changed
        // The last thing that went wrong is what somebody has to do something about.
        failure = (record.undo.state == .failed ? record.undo.failure : record.failure) ?? record.undo.failure
        doubt = record.doubt
        approval = Self.approval(record)
        note = record.note
        evidence = record.evidence
        outputs = record.outputs
        warnings = record.warnings
        undo = record.undo.state == .idle ? nil : record.undo.state.rawValue
    }

    private static func approval(_ record: StepRecord) -> String? {
        if record.state == .waiting { return record.approval?.message }
        return record.approval?.decision.map { "\($0.approved ? "approved" : "denied") by \($0.by): \($0.comment)" }
    }
}
