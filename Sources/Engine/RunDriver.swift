internal import BlockingIO
internal import Foundation
package import Journal
package import RunCore
package import Steps

/// Drives one run: takes events in, asks the machine what follows, makes the events durable, and only then acts.
///
/// The order is always `apply` → `append` → `execute`. Nothing else changes the run's state, and nothing acts before the append
/// has returned. Where an append fails nothing more is done: jobs on hosts go on, and a later process asks the hosts for them.
package actor RunDriver {
    /// What reaches the driver from its attempts, its timers and its operator.
    enum Mail: Sendable {
        case event(RunEvent, CheckedContinuation<Void, any Error>?)
        /// The number is the launch's: the next attempt of the same step may have been launched already.
        case attemptEnded(AttemptKey, launch: Int)
        case detach(reason: String)
        case failed(any Error)
    }

    struct AttemptKey: Hashable, Sendable {
        let step: StepID
        let isUndo: Bool
    }

    package private(set) var machine: RunMachine
    package let frozen: FrozenRun
    package let hold: Hold
    let journal: any JournalStore
    /// The journal, where it shares its thread; the driver then lives on that thread.
    private let local: (any LocalJournalStore)?
    private let thread: DedicatedThread
    package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }
    let settings: DriverSettings
    let observer: any RunObserver
    let redactor: Redactor
    let kinds: StepRegistry
    let hosts: HostPool
    let adapters: Adapters
    /// A mirror of the machine's, for attempts: one that kept the machine itself would have the next event copy all of it.
    nonisolated let outputs: StepOutputs
    private var attempts: [AttemptKey: (launch: Int, task: Task<Void, Never>)] = [:]
    private var launches = 0
    private var timers: [StepID: Task<Void, Never>] = [:]
    private var endings: [AttemptKey: StepEnded.Cause] = [:]
    private var mailbox: [Mail] = []
    private var waiter: CheckedContinuation<Void, Never>?
    private var eventsSinceSnapshot = 0
    private var detachReason: String?
    /// Nobody reads the mailbox any more.
    private var hasEnded = false
    /// The run's last durable record, which every job on a host is told.
    private(set) var head: RunHead

    package init(
        loaded: ResumableRun, hold: Hold, journal: any JournalStore, kinds: StepRegistry, hosts: HostPool, adapters: Adapters, redactor: Redactor,
        observer: any RunObserver, settings: DriverSettings
    ) {
        machine = loaded.machine
        frozen = loaded.frozen
        head = loaded.head
        outputs = StepOutputs(
            Dictionary(loaded.machine.steps.map { ($0.spec.id, $0.outputs) }, uniquingKeysWith: { first, _ in first }))
        self.hold = hold
        self.journal = journal
        local = journal as? any LocalJournalStore
        thread = local?.executor ?? DedicatedThread(name: "driver")
        self.kinds = kinds
        self.hosts = hosts
        self.adapters = adapters
        self.redactor = redactor
        self.observer = observer
        self.settings = settings
    }

    /// Takes the run in hand and drives it until it is settled, waits for a person, is paused, or the operator detaches.
    ///
    /// - Parameter words: what the operator says before anything else happens, for example an approval or a retry.
    /// - Throws: `InvalidTransition` where a word does not fit the run; what the journal throws, after which nothing was done.
    package func drive(words: [RunEvent] = [], takeOverReason: String? = nil) async throws -> RunEnd {
        do {
            let held = RunEvent.held(RunHeld(by: settings.operatorName, fence: hold.fence, takeOverReason: takeOverReason))
            try await ingest((words.isEmpty ? [held] : words + [held]).map { ($0, nil) })
            let listener = Task { [weak self] in
                while !Task.isCancelled {
                    await self?.collectWords()
                    try? await Task.sleep(for: .milliseconds(250))
                }
            }
            defer { listener.cancel() }
            while !isAtRest {
                try await handle(await nextMails())
            }
            try await letGo()
        } catch {
            await dropAttempts()
            await hosts.close()
            throw error
        }
        await hosts.close()
        return RunEnd(machine: machine, isDetached: detachReason != nil)
    }

    /// Lets go of the run: attempts are left alone on their hosts, and nothing more is journaled for them.
    package nonisolated func detach(reason: String) {
        Task { await self.post(.detach(reason: reason)) }
    }

    /// Brings in a word of an operator while the run is driven. Durable when it returns.
    package func take(_ event: RunEvent) async throws {
        guard !hasEnded else { throw CancellationError() }
        try await withCheckedThrowingContinuation { post(.event(event, $0)) }
    }

    /// Takes in what operators left for the holder of the run. A word that does not fit is refused and changes nothing.
    private func collectWords() async {
        guard let words = try? await journal.leftWords(run: hold.run) else { return }
        for word in words {
            // From here on it cannot be taken back by whoever left it, and is answered.
            guard (try? await journal.claimWord(run: hold.run, name: word.name)) == true else { continue }
            var refusal: String?
            do {
                let event = try RunEvent(kind: word.kind) { try EventCodec.decode($0, word.payload) }
                if let event, event.isOperatorsWord { try await take(event) } else { refusal = "\(word.kind) is no word of an operator" }
            } catch is CancellationError {
                return await putBack(word)
            } catch is StaleHold {
                return await putBack(word)
            } catch {
                refusal = (error as? any RepriseError)?.message ?? "it cannot be read"
            }
            try? await journal.answerWord(run: hold.run, name: word.name, refusal: refusal)
        }
    }

    /// This process drives the run no more: the word waits for whoever does, or is taken back.
    private func putBack(_ word: LeftWord) async {
        try? await journal.putWordBack(run: hold.run, name: word.name)
    }

    // MARK: Mail

    private var isAtRest: Bool {
        if detachReason != nil { return attempts.isEmpty }
        guard attempts.isEmpty, timers.isEmpty, mailbox.isEmpty else { return false }
        switch machine.state {
        case .waiting: return !settings.staysForPeople
        case .paused: return true
        case .cancelled, .undone, .succeeded, .succeededWithWarnings, .failed: return true
        case .accepted, .running, .pausing, .cancelling, .undoing: return true
        }
    }

    func post(_ mail: Mail) {
        mailbox.append(mail)
        waiter?.resume()
        waiter = nil
    }

    private func nextMails() async -> [Mail] {
        if mailbox.isEmpty { await withCheckedContinuation { waiter = $0 } }
        defer { mailbox.removeAll(keepingCapacity: true) }
        return mailbox
    }

    private func handle(_ mails: [Mail]) async throws {
        var events: [(RunEvent, CheckedContinuation<Void, any Error>?)] = []
        var failure: (any Error)?
        for mail in mails {
            switch mail {
            case .event(let event, let continuation): events.append((event, continuation))
            case .attemptEnded(let key, let launch):
                guard attempts[key]?.launch == launch else { continue }
                attempts[key] = nil
                endings[key] = nil
            case .detach(let reason):
                guard detachReason == nil else { continue }
                detachReason = reason
                cancelTasks()
            case .failed(let error): failure = failure ?? error
            }
        }
        try await ingest(events)
        if let failure { throw failure }
    }

    // MARK: apply → append → execute

    private func ingest(_ events: [(RunEvent, CheckedContinuation<Void, any Error>?)]) async throws {
        var accepted: [RunEvent] = []
        var actions: [Action] = []
        var continuations: [CheckedContinuation<Void, any Error>] = []
        for (event, continuation) in events {
            do {
                let clean = try redactor.redact(event)
                actions += try machine.apply(clean)
                accepted.append(clean)
                if let step = clean.step, let left = machine[step]?.outputs { outputs.set(step, left) }
                if let continuation { continuations.append(continuation) }
            } catch let error as InvalidTransition {
                if let continuation {
                    continuation.resume(throwing: error)
                } else if !event.mayComeTooLate {
                    throw error
                }
            }
        }
        do {
            try await append(accepted)
        } catch {
            continuations.forEach { $0.resume(throwing: error) }
            throw error
        }
        continuations.forEach { $0.resume() }
        try await perform(actions)
    }

    private func append(_ events: [RunEvent]) async throws {
        guard !events.isEmpty else { return }
        eventsSinceSnapshot += events.count
        // A snapshot costs what the run has steps; at one for as many events it costs an event the same in every run.
        let isSnapshotDue = eventsSinceSnapshot >= max(settings.eventsPerSnapshot, machine.steps.count)
        let entries = try events.map(EventCodec.entry), label = machine.state.rawValue
        let snapshot = isSnapshotDue ? try EventCodec.snapshot(machine) : nil
        let records =
            if let local {
                try local.appendHere(entries, hold: hold, label: label, snapshot: snapshot)
            } else {
                try await journal.append(entries, hold: hold, label: label, snapshot: snapshot)
            }
        if isSnapshotDue { eventsSinceSnapshot = 0 }
        if let last = records.last { head = RunHead(sequence: last.sequence, hash: last.hash) }
        for event in events { observer.happened(event, machine) }
    }

    private func perform(_ actions: [Action]) async throws {
        guard detachReason == nil else { return }
        var intents: [AttemptStarted] = []
        for action in actions {
            switch action {
            case .startAttempt(let step, let attempt, let isUndo):
                // A later event of the same batch may have withdrawn the start, or asked for it a second time.
                guard machine.awaitsStart(step, attempt, isUndo: isUndo), !intents.contains(where: { $0.step == step }) else { continue }
                intents.append(
                    AttemptStarted(step: step, attempt: attempt, isUndo: isUndo, specHash: try frozen.specHash(of: step)))
            case .resumeAttempt(let step, let attempt, let isUndo):
                launch(step, attempt, isUndo: isUndo, isResumed: true)
            case .cancelAttempt(let step): end(AttemptKey(step: step, isUndo: false), .cancelled)
            case .askApproval(let step): ask(step)
            case .wakeUp(let step, let milliseconds): wake(step, after: milliseconds)
            }
        }
        guard !intents.isEmpty else { return }
        var next: [Action] = []
        for intent in intents { next += try machine.apply(.attemptStarted(intent)) }
        try await append(intents.map { .attemptStarted($0) })
        for intent in intents { launch(intent.step, intent.attempt, isUndo: intent.isUndo, isResumed: false) }
        try await perform(next)
    }

    // MARK: Attempts

    private func launch(_ step: StepID, _ attempt: AttemptNumber, isUndo: Bool, isResumed: Bool) {
        let key = AttemptKey(step: step, isUndo: isUndo)
        let runner = AttemptRunner(
            driver: self, key: key, attempt: attempt, isResumed: isResumed, record: machine[step], timeout: frozen.timeout(of: step))
        launch(key) { await runner.run() }
    }

    private func launch(_ key: AttemptKey, _ work: @escaping @Sendable () async -> Void) {
        launches += 1
        let launch = launches
        endings[key] = nil
        let task = Task.detached {
            await work()
            await self.post(.attemptEnded(key, launch: launch))
        }
        attempts[key] = (launch, task)
    }

    private func ask(_ step: StepID) {
        let key = AttemptKey(step: step, isUndo: false)
        let runner = AttemptRunner(
            driver: self, key: key, attempt: machine[step]?.attempt ?? 0, isResumed: false, record: machine[step], timeout: nil)
        launch(key) { await runner.askApproval() }
    }

    private func wake(_ step: StepID, after milliseconds: Int64) {
        timers[step] = Task { [weak self] in
            try? await Task.sleep(for: .milliseconds(milliseconds))
            guard !Task.isCancelled else { return }
            await self?.wakeUp(step)
        }
    }

    private func wakeUp(_ step: StepID) {
        timers[step] = nil
        post(.event(.retryDue(StepNamed(step: step)), nil))
    }

    /// Ends an attempt from outside; its runner journals what came of it.
    func end(_ key: AttemptKey, _ cause: StepEnded.Cause) {
        guard endings[key] == nil, let task = attempts[key]?.task else { return }
        endings[key] = cause
        task.cancel()
    }

    func ending(_ key: AttemptKey) -> StepEnded.Cause? { endings[key] }

    func observation(_ key: AttemptKey, _ name: String) -> JSONValue? {
        guard let record = machine[key.step] else { return nil }
        return key.isUndo ? record.undo.observations[name] : record.observations[name]
    }

    func earlierObservation(_ key: AttemptKey, _ name: String) -> JSONValue? {
        guard let record = machine[key.step] else { return nil }
        return (key.isUndo ? record.observations[name] : nil) ?? record.earlierObservations?[name]
    }

    // MARK: The end

    private func cancelTasks() {
        attempts.values.forEach { $0.task.cancel() }
        timers.values.forEach { $0.cancel() }
        timers = [:]
    }

    private func letGo() async throws {
        await releaseClaims()
        if !machine.state.isSettled {
            let reason = detachReason ?? machine.state.rawValue
            try await ingest([(.released(RunReleased(by: settings.operatorName, reason: reason)), nil)])
        }
        hasEnded = true
        rejectMail()
        try await journal.release(hold)
    }

    private func rejectMail() {
        for mail in mailbox {
            if case .event(_, let continuation?) = mail { continuation.resume(throwing: CancellationError()) }
        }
        mailbox = []
    }

    /// After a failure of the journal: stops all tasks and waits for their end, so that nothing acts behind a stopped driver.
    private func dropAttempts() async {
        detachReason = detachReason ?? "the journal failed"
        // An attempt may be waiting for an answer to its mail; it gets one before it is waited for.
        hasEnded = true
        rejectMail()
        cancelTasks()
        for attempt in attempts.values { await attempt.task.value }
        rejectMail()
        try? await journal.release(hold)
    }
}
