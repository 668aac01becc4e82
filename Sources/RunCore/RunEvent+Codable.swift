extension RunEvent {
    /// The stable name under which the event is journaled.
    package var kind: String {
        switch self {
        case .accepted: "run-accepted"
        case .held: "run-held"
        case .released: "run-released"
        case .hostPinned: "host-pinned"
        case .attemptStarted: "attempt-started"
        case .observed: "observed"
        case .attemptSucceeded: "attempt-succeeded"
        case .attemptFailed: "attempt-failed"
        case .attemptDoubted: "attempt-in-doubt"
        case .retryDue: "retry-due"
        case .approvalRequested: "approval-requested"
        case .approvalDecided: "approval-decided"
        case .doubtResolved: "doubt-resolved"
        case .stepSkipped: "step-skipped"
        case .stepRetryRequested: "step-retry-requested"
        case .pauseRequested: "pause-requested"
        case .cancelRequested: "cancel-requested"
        case .undoRequested: "undo-requested"
        }
    }

    /// The step that the event speaks of, if one.
    package var step: StepID? {
        switch self {
        case .accepted, .held, .released, .hostPinned, .pauseRequested, .cancelRequested, .undoRequested: nil
        case .attemptStarted(let event): event.step
        case .observed(let event): event.step
        case .attemptSucceeded(let event): event.step
        case .attemptFailed(let event): event.step
        case .attemptDoubted(let event): event.step
        case .retryDue(let event): event.step
        case .approvalRequested(let event): event.step
        case .approvalDecided(let event): event.step
        case .doubtResolved(let event): event.step
        case .stepSkipped(let event), .stepRetryRequested(let event): event.step
        }
    }

    package var attempt: AttemptNumber? {
        switch self {
        case .attemptStarted(let event): event.attempt
        case .observed(let event): event.attempt
        case .attemptSucceeded(let event): event.attempt
        case .attemptFailed(let event): event.attempt
        case .attemptDoubted(let event): event.attempt
        case .accepted, .held, .released, .hostPinned, .retryDue, .approvalRequested, .approvalDecided, .doubtResolved, .stepSkipped,
            .stepRetryRequested, .pauseRequested, .cancelRequested, .undoRequested:
            nil
        }
    }

    /// True for events that the engine itself makes and that a person's word may have overtaken: refusing them is no defect.
    package var mayComeTooLate: Bool {
        switch self {
        case .retryDue, .approvalRequested: true
        case .accepted, .held, .released, .hostPinned, .attemptStarted, .observed, .attemptSucceeded, .attemptFailed, .attemptDoubted,
            .approvalDecided, .doubtResolved, .stepSkipped, .stepRetryRequested, .pauseRequested, .cancelRequested, .undoRequested:
            false
        }
    }

    /// True for what a person says of a run, as against what the engine notes of it.
    package var isOperatorsWord: Bool {
        switch self {
        case .approvalDecided, .doubtResolved, .stepSkipped, .stepRetryRequested, .pauseRequested, .cancelRequested, .undoRequested: true
        case .accepted, .held, .released, .hostPinned, .attemptStarted, .observed, .attemptSucceeded, .attemptFailed, .attemptDoubted,
            .retryDue, .approvalRequested:
            false
        }
    }

    /// The payload without the kind, for the encoder of a store.
    package var payload: any Encodable & Sendable {
        switch self {
        case .accepted(let event): event
        case .held(let event): event
        case .released(let event): event
        case .hostPinned(let event): event
        case .attemptStarted(let event): event
        case .observed(let event): event
        case .attemptSucceeded(let event): event
        case .attemptFailed(let event): event
        case .attemptDoubted(let event): event
        case .retryDue(let event): event
        case .approvalRequested(let event): event
        case .approvalDecided(let event): event
        case .doubtResolved(let event): event
        case .stepSkipped(let event), .stepRetryRequested(let event): event
        case .pauseRequested(let event), .cancelRequested(let event), .undoRequested(let event): event
        }
    }

    /// The event of `kind`, or nil where the kind is unknown (a journal of a newer version).
    ///
    /// - Parameter decode: decodes the payload as the type that it is given.
    package init?(kind: String, decode: (any Decodable.Type) throws -> Any) throws {
        func payload<Value: Decodable>(_ type: Value.Type) throws -> Value {
            guard let value = try decode(type) as? Value else {
                throw DecodingError.typeMismatch(type, .init(codingPath: [], debugDescription: "not a \(kind) event"))
            }
            return value
        }
        switch kind {
        case "run-accepted": self = .accepted(try payload(RunAccepted.self))
        case "run-held": self = .held(try payload(RunHeld.self))
        case "run-released": self = .released(try payload(RunReleased.self))
        case "host-pinned": self = .hostPinned(try payload(HostPinned.self))
        case "attempt-started": self = .attemptStarted(try payload(AttemptStarted.self))
        case "observed": self = .observed(try payload(Observation.self))
        case "attempt-succeeded": self = .attemptSucceeded(try payload(AttemptSucceeded.self))
        case "attempt-failed": self = .attemptFailed(try payload(AttemptFailed.self))
        case "attempt-in-doubt": self = .attemptDoubted(try payload(AttemptDoubted.self))
        case "retry-due": self = .retryDue(try payload(StepNamed.self))
        case "approval-requested": self = .approvalRequested(try payload(ApprovalRequested.self))
        case "approval-decided": self = .approvalDecided(try payload(ApprovalDecided.self))
        case "doubt-resolved": self = .doubtResolved(try payload(DoubtResolved.self))
        case "step-skipped": self = .stepSkipped(try payload(OperatorOnStep.self))
        case "step-retry-requested": self = .stepRetryRequested(try payload(OperatorOnStep.self))
        case "pause-requested": self = .pauseRequested(try payload(OperatorWord.self))
        case "cancel-requested": self = .cancelRequested(try payload(OperatorWord.self))
        case "undo-requested": self = .undoRequested(try payload(OperatorWord.self))
        default: return nil
        }
    }
}
