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
    /// Wall-clock time by phase; what ran side by side in one phase is counted once.
    package var phases: [Phase]
    /// From the start of the run to its end, or to now: the recovery time.
    package var recoverySeconds: Double
    /// Of it, the time in which the run waited for a person.
    package var waitingSeconds: Double
    /// Of it, the time in which no process drove the run: after a kill, a crash or a detach.
    package var interruptedSeconds: Double
    /// The age of the database backup at the start of the run: what was written after it is not in the backup.
    package var lossSeconds: Double?
    package var decisions: [Decision]
    package var timeline: [TimelineEntry]

    package struct Phase: Codable, Hashable, Sendable {
        package var name: String
        package var seconds: Double
        package var steps: [String]
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
        phases = Self.phases(run.steps, times, end: end)
        recoverySeconds = run.elapsedSeconds
        waitingSeconds = seconds(AttemptTimes.union(times.waits, without: [], now: end))
        interruptedSeconds = seconds(AttemptTimes.union(times.gaps, without: [], now: end))
        lossSeconds = backups.first { $0.kind == "database" }?.ageSeconds ?? backups.first?.ageSeconds
        var decisions: [Decision] = [], timeline: [TimelineEntry] = []
        for record in records {
            timeline.append(try TimelineEntry(record))
            if let decision = Decision(try EventCodec.event(record), at: timestamp(record.timeMilliseconds)) { decisions.append(decision) }
        }
        self.decisions = decisions
        self.timeline = timeline
    }

    /// In the order in which the phases began.
    private static func phases(_ steps: [RunReport.Step], _ times: AttemptTimes, end: Int64) -> [Phase] {
        var names: [String] = []
        var spans: [String: [AttemptTimes.Span]] = [:], members: [String: [String]] = [:]
        // The time of an approval is that of the person, which is counted apart.
        let dated = steps.filter { $0.kind != "approval" }.compactMap { step in StepID(step.id).flatMap { times.all[$0] }.map { (step, $0) } }
        for (step, attempts) in dated.sorted(by: { ($0.1.first?.start ?? 0) < ($1.1.first?.start ?? 0) }) {
            let name = phaseName(ofKind: step.kind)
            if spans[name] == nil { names.append(name) }
            spans[name, default: []] += attempts
            members[name, default: []].append(step.id)
        }
        if !times.undos.isEmpty {
            names.append("undo")
            spans["undo"] = times.undos
        }
        return names.map { name in
            let idle = times.waits + times.gaps
            return Phase(
                name: name, seconds: seconds(AttemptTimes.union(spans[name] ?? [], without: idle, now: end)), steps: members[name] ?? [])
        }
    }

    private static func phaseName(ofKind kind: String) -> String {
        switch kind {
        case "fetch-backup": "fetch"
        case "postgres-restore": "restore"
        case "postgres-verify": "verify"
        case "postgres-settle", "postgres-swap": "cutover"
        case "files-check", "http-check", "postgres-check", "sql-check": "check"
        case "command": "commands"
        default: kind
        }
    }
}

private func seconds(_ milliseconds: Int64) -> Double { Double(milliseconds) / 1000 }

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
