package import Engine
package import Journal
internal import RunCore

/// The account of a recovery: what came back, from where, how it was proven, how long it took and who decided what.
/// Made from the journal alone. Its fields only ever grow.
package struct RecoveryReport: Codable, Sendable {
    package var run: RunReport
    package var backups: [BackupFact]
    package var tables: [TableProof]
    /// What became of single tables, step by step; empty for a run that has to do with whole databases.
    package var tableSteps: [TableStepFact]
    /// What is not as in the backup: tables, sequences, large objects. Empty where everything agrees.
    package var findings: [String]
    /// Time by phase, in the order in which they began.
    package var phases: [Phase]
    /// The chain of steps that made the recovery take as long as it took, in their order.
    package var criticalPath: [Link]
    /// From the start of the run to its end, or to now: the recovery time.
    package var recoverySeconds: Double
    /// Of it, the time in which the run waited for a person.
    package var waitingSeconds: Double
    /// Of it, the time in which no process drove the run: after a kill, a crash or a detach.
    package var interruptedSeconds: Double
    /// How much of `recoverySeconds` the chain of steps spent waiting for a person, without anybody who drove the run, and between steps.
    /// With the phases' `criticalSeconds` they add up to it.
    package var criticalIdle: Idle
    /// The age of the database backup at the start of the run: what was written after it is not in the backup.
    package var lossSeconds: Double?
    package var decisions: [Decision]
    package var timeline: [TimelineEntry]

    package struct Phase: Codable, Hashable, Sendable {
        package var name: String
        /// Wall-clock time in which a step of it was under way; what ran side by side is counted once, and time of other phases that ran
        /// beside it is in theirs too.
        package var seconds: Double
        package var steps: [String]
        /// Its part of the recovery time: that of its steps on the critical path.
        package var criticalSeconds: Double
        /// The times of all its steps added up.
        package var workSeconds: Double
    }

    /// A step on the critical path.
    package struct Link: Codable, Hashable, Sendable {
        package var step: String
        package var phase: String
        package var seconds: Double
    }

    package struct Idle: Codable, Hashable, Sendable {
        package var waitingSeconds: Double
        package var interruptedSeconds: Double
        package var betweenSeconds: Double
    }

    /// A word of a person that changed the run's course.
    package struct Decision: Codable, Hashable, Sendable {
        package var time: String
        package var step: String?
        /// `approved`, `denied`, `resolved as done`, `skipped`, `retried`, `paused`, `cancelled`, `undone`, `taken over`.
        package var what: String
        package var by: String
        package var reason: String
    }
}

extension RecoveryReport {
    /// - Parameter records: all records of the run, in order.
    /// - Throws: `UnknownEvent`, `DamagedEvent`.
    package init(_ loaded: ResumableRun, summary: RunSummary, records: [JournalRecord], now: Int64) throws {
        run = RunReport(loaded, summary: summary, records: records, now: now)
        let times = AttemptTimes(records)
        let end = (summary.holder?.isAlive ?? false) ? now : summary.lastEventMilliseconds
        backups = run.steps.compactMap { BackupFact($0, runStart: summary.createdMilliseconds) }
        let proofs = run.steps.compactMap(ContentProof.init)
        tables = proofs.flatMap(\.tables)
        findings = proofs.flatMap(\.findings)
        tableSteps = run.steps.compactMap(TableStepFact.init)
        let account = TimeAccount(loaded, times, start: summary.createdMilliseconds, end: end)
        phases = account.phases
        criticalPath = account.links
        criticalIdle = account.idle
        recoverySeconds = run.elapsedSeconds
        waitingSeconds = Double(AttemptTimes.union(times.waits, without: [], now: end)) / 1000
        interruptedSeconds = Double(AttemptTimes.union(times.gaps, without: [], now: end)) / 1000
        lossSeconds = backups.first { $0.kind == "database" }?.ageSeconds ?? backups.first?.ageSeconds
        var decisions: [Decision] = [], timeline: [TimelineEntry] = []
        for record in records {
            timeline.append(try TimelineEntry(record))
            if let decision = Decision(try EventCodec.event(record), at: timestamp(record.timeMilliseconds)) { decisions.append(decision) }
        }
        self.decisions = decisions
        self.timeline = timeline
    }
}

extension RecoveryReport.Decision {
    /// Nil for an event that is no word of a person.
    init?(_ event: RunEvent, at time: String) {
        func made(_ step: StepID?, _ what: String, _ by: String, _ reason: String) -> Self {
            Self(time: time, step: step?.rawValue, what: what, by: by, reason: reason)
        }
        switch event {
        case .approvalDecided(let event): self = made(event.step, event.approved ? "approved" : "denied", event.by, event.comment)
        case .doubtResolved(let event): self = made(event.step, "resolved as \(event.verdict.rawValue)", event.by, event.reason)
        case .stepSkipped(let event): self = made(event.step, "skipped", event.by, event.reason)
        case .stepRetryRequested(let event): self = made(event.step, "retried", event.by, event.reason)
        case .pauseRequested(let event): self = made(nil, "paused", event.by, event.reason)
        case .cancelRequested(let event): self = made(nil, "cancelled", event.by, event.reason)
        case .undoRequested(let event): self = made(nil, "undone", event.by, event.reason)
        case .held(let event):
            guard let reason = event.takeOverReason else { return nil }
            self = made(nil, "taken over", event.by, reason)
        case .accepted, .released, .hostPinned, .attemptStarted, .observed, .attemptSucceeded, .attemptFailed, .attemptDoubted, .retryDue,
            .approvalRequested:
            return nil
        }
    }
}
