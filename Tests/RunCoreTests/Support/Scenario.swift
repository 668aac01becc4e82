import RunCore
import Testing

/// A run under test. Each line of a test reads: event, then the actions and the state that it must give.
struct Scenario {
    private(set) var machine: RunMachine
    private(set) var fence: Fence = 0
    private let accepted: RunAccepted
    private var events: [RunEvent] = []

    init(_ steps: StepSpec..., limits: RunSpec.Limits = .init(), startedBy: String = "ada") throws {
        accepted = .plan(steps, limits: limits, startedBy: startedBy)
        machine = try RunMachine(accepted)
    }

    /// Applies `event` and compares what it gives; `state` and `steps` are compared where they are named.
    mutating func on(
        _ event: RunEvent, gives expected: Action..., state: RunState? = nil, steps: [StepID: StepState] = [:],
        at location: SourceLocation = #_sourceLocation
    ) throws {
        let actions = try machine.apply(event)
        events.append(event)
        #expect(actions == expected, sourceLocation: location)
        if let state { #expect(machine.state == state, sourceLocation: location) }
        for (step, wanted) in steps { #expect(machine[step]?.state == wanted, "step \(step)", sourceLocation: location) }
    }

    /// A process takes the run in hand, under the next fence.
    mutating func held(
        gives expected: Action..., state: RunState? = nil, at location: SourceLocation = #_sourceLocation
    ) throws {
        fence += 1
        let event = RunEvent.held(RunHeld(by: "ada", fence: fence))
        let actions = try machine.apply(event)
        events.append(event)
        #expect(actions == expected, sourceLocation: location)
        if let state { #expect(machine.state == state, sourceLocation: location) }
    }

    /// The intent and then the success of an attempt; the intent itself must give nothing to do.
    mutating func succeeds(
        _ step: StepID, _ attempt: AttemptNumber = 1, gives expected: Action..., state: RunState? = nil,
        at location: SourceLocation = #_sourceLocation
    ) throws {
        try on(.began(step, attempt), at: location)
        let actions = try machine.apply(.done(step, attempt))
        events.append(.done(step, attempt))
        #expect(actions == expected, sourceLocation: location)
        if let state { #expect(machine.state == state, sourceLocation: location) }
    }

    /// As `succeeds`, for a failure.
    mutating func fails(
        _ step: StepID, _ attempt: AttemptNumber = 1, _ kind: Failure.Kind = .failed, gives expected: Action...,
        state: RunState? = nil, at location: SourceLocation = #_sourceLocation
    ) throws {
        try on(.began(step, attempt), at: location)
        let actions = try machine.apply(.broke(step, attempt, kind))
        events.append(.broke(step, attempt, kind))
        #expect(actions == expected, sourceLocation: location)
        if let state { #expect(machine.state == state, sourceLocation: location) }
    }

    /// `event` must be refused, and leave the machine exactly as it was.
    @discardableResult
    mutating func refuses(_ event: RunEvent, at location: SourceLocation = #_sourceLocation) -> InvalidTransition? {
        let before = machine
        do {
            let actions = try machine.apply(event)
            Issue.record("\(event.kind) was taken and gave \(actions)", sourceLocation: location)
            return nil
        } catch {
            #expect(machine == before, "a refused event changed the machine", sourceLocation: location)
            return error
        }
    }

    /// The fold of the events so far.
    func replayed() throws -> RunMachine {
        var copy = try RunMachine(accepted)
        for event in events { _ = try copy.apply(event) }
        return copy
    }

    subscript(step: StepID) -> StepRecord { machine[step]! }
}

extension StepID: ExpressibleByStringLiteral {
    public init(stringLiteral value: String) {
        self.init(value)!
    }
}

extension RunAccepted {
    static func plan(_ steps: [StepSpec], limits: RunSpec.Limits = .init(), startedBy: String = "ada") -> RunAccepted {
        RunAccepted(
            spec: RunSpec(steps: steps, limits: limits), planName: "test", mode: "recovery", startedBy: startedBy,
            document: .null)
    }
}

func step(
    _ id: StepID, needs: StepID..., hosts: [String] = [], tries: Int = 1, onError: StepSpec.OnError = .stop,
    hasUndo: Bool = false, phase: StepSpec.Phase = .main, approval: Bool = false, byAnother: Bool = false
) -> StepSpec {
    StepSpec(
        id: id, needs: needs, hosts: hosts, retry: RetryPolicy(attempts: tries), onError: onError, hasUndo: hasUndo,
        phase: phase, needsApproval: approval, approverIsNotStarter: byAnother)
}

extension RunEvent {
    static let pause = RunEvent.pauseRequested(OperatorWord(by: "ada", reason: "look first"))
    static let cancel = RunEvent.cancelRequested(OperatorWord(by: "ada", reason: "wrong host"))
    static let undo = RunEvent.undoRequested(OperatorWord(by: "ada", reason: "wrong backup"))
    static let letGo = RunEvent.released(RunReleased(by: "ada", reason: "detached"))

    static func began(_ step: StepID, _ attempt: AttemptNumber = 1) -> RunEvent {
        .attemptStarted(AttemptStarted(step: step, attempt: attempt, specHash: "0f"))
    }
    static func undoBegan(_ step: StepID, _ attempt: AttemptNumber = 1) -> RunEvent {
        .attemptStarted(AttemptStarted(step: step, attempt: attempt, isUndo: true, specHash: "0f"))
    }
    static func done(_ step: StepID, _ attempt: AttemptNumber = 1, warnings: [String] = [], changed: Bool = true) -> RunEvent {
        .attemptSucceeded(AttemptSucceeded(step: step, attempt: attempt, warnings: warnings, changed: changed))
    }
    static func undoDone(_ step: StepID, _ attempt: AttemptNumber = 1) -> RunEvent {
        .attemptSucceeded(AttemptSucceeded(step: step, attempt: attempt, isUndo: true))
    }
    static func broke(_ step: StepID, _ attempt: AttemptNumber = 1, _ kind: Failure.Kind = .failed, jitter: Double = 1) -> RunEvent {
        .attemptFailed(
            AttemptFailed(step: step, attempt: attempt, failure: Failure(kind: kind, code: "test", message: "broke"), jitter: jitter))
    }
    static func undoBroke(_ step: StepID, _ attempt: AttemptNumber = 1) -> RunEvent {
        .attemptFailed(
            AttemptFailed(step: step, attempt: attempt, isUndo: true, failure: Failure(code: "test", message: "broke")))
    }
    static func doubted(_ step: StepID, _ attempt: AttemptNumber = 1, isUndo: Bool = false) -> RunEvent {
        .attemptDoubted(AttemptDoubted(step: step, attempt: attempt, isUndo: isUndo, message: "no result", evidence: ["boot": "b1"]))
    }
    static func saw(_ step: StepID, attempt: AttemptNumber = 1, isUndo: Bool = false, _ key: String, _ value: JSONValue) -> RunEvent {
        .observed(Observation(step: step, attempt: attempt, isUndo: isUndo, key: key, value: value))
    }
    static func due(_ step: StepID) -> RunEvent { .retryDue(StepNamed(step: step)) }
    static func asked(_ step: StepID) -> RunEvent { .approvalRequested(ApprovalRequested(step: step, message: "swap?")) }
    static func approved(_ step: StepID, by: String = "bob", question: Int? = nil) -> RunEvent {
        .approvalDecided(ApprovalDecided(step: step, approved: true, by: by, comment: "go", question: question))
    }
    static func denied(_ step: StepID, by: String = "bob", question: Int? = nil) -> RunEvent {
        .approvalDecided(ApprovalDecided(step: step, approved: false, by: by, comment: "no", question: question))
    }
    static func resolved(
        _ step: StepID, _ verdict: DoubtResolved.Verdict, _ attempt: AttemptNumber? = nil, isUndo: Bool? = nil
    ) -> RunEvent {
        .doubtResolved(DoubtResolved(step: step, verdict: verdict, by: "bob", reason: "looked", attempt: attempt, isUndo: isUndo))
    }
    static func skip(_ step: StepID) -> RunEvent { .stepSkipped(OperatorOnStep(step: step, by: "bob", reason: "by hand")) }
    static func retry(_ step: StepID) -> RunEvent { .stepRetryRequested(OperatorOnStep(step: step, by: "bob", reason: "mended")) }
}

extension Action {
    static func start(_ step: StepID, _ attempt: AttemptNumber = 1) -> Action {
        .startAttempt(step: step, attempt: attempt, isUndo: false)
    }
    static func startUndo(_ step: StepID, _ attempt: AttemptNumber = 1) -> Action {
        .startAttempt(step: step, attempt: attempt, isUndo: true)
    }
    static func resume(_ step: StepID, _ attempt: AttemptNumber = 1) -> Action {
        .resumeAttempt(step: step, attempt: attempt, isUndo: false)
    }
    static func resumeUndo(_ step: StepID, _ attempt: AttemptNumber = 1) -> Action {
        .resumeAttempt(step: step, attempt: attempt, isUndo: true)
    }
    static func end(_ step: StepID) -> Action { .cancelAttempt(step: step) }
    static func ask(_ step: StepID) -> Action { .askApproval(step: step) }
    static func wake(_ step: StepID, after milliseconds: Int64) -> Action {
        .wakeUp(step: step, afterMilliseconds: milliseconds)
    }
}
