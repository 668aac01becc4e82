/// Something that happened in a run; past tense. The state of a run is the fold of its events and of nothing else.
///
/// Events are journaled, so a case or field is never renamed or removed and new fields are optional.
package enum RunEvent: Hashable, Sendable {
    case accepted(RunAccepted)
    /// A process took the run in hand: the first one, a resuming one, or one that took it over.
    case held(RunHeld)
    /// The process let go of the run without ending it.
    case released(RunReleased)
    /// A host was met for the first time in the run: from now on it must be the same one.
    case hostPinned(HostPinned)
    /// The intent: durable before the effect starts.
    case attemptStarted(AttemptStarted)
    /// A fact learned or a choice made while an attempt runs, so that a resumed attempt makes the same one.
    case observed(Observation)
    case attemptSucceeded(AttemptSucceeded)
    case attemptFailed(AttemptFailed)
    case attemptDoubted(AttemptDoubted)
    case retryDue(StepNamed)
    case approvalRequested(ApprovalRequested)
    case approvalDecided(ApprovalDecided)
    case doubtResolved(DoubtResolved)
    case stepSkipped(OperatorOnStep)
    case stepRetryRequested(OperatorOnStep)
    case pauseRequested(OperatorWord)
    case cancelRequested(OperatorWord)
    case undoRequested(OperatorWord)
}

package struct RunAccepted: Codable, Hashable, Sendable {
    package var spec: RunSpec
    package var planName: String
    /// `recovery` or `drill`.
    package var mode: String
    package var startedBy: String
    /// The frozen plan, inventory, parameters (secrets by reference) and their digests, as JSON text: exact to the byte.
    package var document: JSONValue

    package init(spec: RunSpec, planName: String, mode: String, startedBy: String, document: JSONValue) {
        self.spec = spec
        self.planName = planName
        self.mode = mode
        self.startedBy = startedBy
        self.document = document
    }
}

package struct RunHeld: Codable, Hashable, Sendable {
    package var by: String
    package var fence: Fence
    /// Why the run was taken from a holder that was still alive.
    package var takeOverReason: String?

    package init(by: String, fence: Fence, takeOverReason: String? = nil) {
        self.by = by
        self.fence = fence
        self.takeOverReason = takeOverReason
    }
}

package struct RunReleased: Codable, Hashable, Sendable {
    package var by: String
    package var reason: String
    package init(by: String, reason: String) {
        self.by = by
        self.reason = reason
    }
}

package struct HostPinned: Codable, Hashable, Sendable {
    /// The host's name in the inventory.
    package var host: String
    /// `/etc/machine-id`.
    package var machineID: String
    /// SHA-256 fingerprint of the SSH host key; nil for this machine.
    package var hostKey: String?

    package init(host: String, machineID: String, hostKey: String?) {
        self.host = host
        self.machineID = machineID
        self.hostKey = hostKey
    }
}

package struct AttemptStarted: Codable, Hashable, Sendable {
    package var step: StepID
    package var attempt: AttemptNumber
    /// True for the attempt to undo the step.
    package var isUndo: Bool
    /// SHA-256 of the step as rendered for this run.
    package var specHash: String

    package init(step: StepID, attempt: AttemptNumber, isUndo: Bool = false, specHash: String) {
        self.step = step
        self.attempt = attempt
        self.isUndo = isUndo
        self.specHash = specHash
    }
}

package struct Observation: Codable, Hashable, Sendable {
    package var step: StepID
    package var attempt: AttemptNumber
    package var isUndo: Bool
    package var key: String
    package var value: JSONValue

    package init(step: StepID, attempt: AttemptNumber, isUndo: Bool = false, key: String, value: JSONValue) {
        self.step = step
        self.attempt = attempt
        self.isUndo = isUndo
        self.key = key
        self.value = value
    }
}

package struct AttemptSucceeded: Codable, Hashable, Sendable {
    package var step: StepID
    package var attempt: AttemptNumber
    package var isUndo: Bool
    /// What shows that it succeeded.
    package var evidence: JSONValue
    /// What later steps may refer to.
    package var outputs: [String: JSONValue]
    package var warnings: [String]
    /// False where it was found already done.
    package var changed: Bool

    package init(
        step: StepID, attempt: AttemptNumber, isUndo: Bool = false, evidence: JSONValue = .null,
        outputs: [String: JSONValue] = [:], warnings: [String] = [], changed: Bool = true
    ) {
        self.step = step
        self.attempt = attempt
        self.isUndo = isUndo
        self.evidence = evidence
        self.outputs = outputs
        self.warnings = warnings
        self.changed = changed
    }
}

package struct AttemptFailed: Codable, Hashable, Sendable {
    package var step: StepID
    package var attempt: AttemptNumber
    package var isUndo: Bool
    package var failure: Failure
    /// 0 to 1, rolled by the caller for the backoff.
    package var jitter: Double

    package init(step: StepID, attempt: AttemptNumber, isUndo: Bool = false, failure: Failure, jitter: Double = 0) {
        self.step = step
        self.attempt = attempt
        self.isUndo = isUndo
        self.failure = failure
        self.jitter = jitter
    }
}

/// Why an attempt failed, as it is kept and shown.
package struct Failure: Codable, Hashable, Sendable {
    package enum Kind: String, Codable, Hashable, Sendable {
        case failed, timedOut, cancelled
        /// Trying again cannot help: a mismatch, a refusal, bad configuration.
        case permanent
    }
    package var kind: Kind
    package var code: String
    package var message: String
    package var hints: [String]
    package var exitStatus: ExitStatus
    package var evidence: JSONValue
    /// True: the cause stands in what the run goes by, its copies of plan, inventory and parameters. Nil in journals that did not say.
    package var needsNewRun: Bool?

    package init(
        kind: Kind = .failed, code: String, message: String, hints: [String] = [], exitStatus: ExitStatus = .failed,
        evidence: JSONValue = .null, needsNewRun: Bool? = nil
    ) {
        self.kind = kind
        self.code = code
        self.message = message
        self.hints = hints
        self.exitStatus = exitStatus
        self.evidence = evidence
        self.needsNewRun = needsNewRun
    }
}

package struct AttemptDoubted: Codable, Hashable, Sendable {
    package var step: StepID
    package var attempt: AttemptNumber
    package var isUndo: Bool
    package var message: String
    package var evidence: JSONValue

    package init(step: StepID, attempt: AttemptNumber, isUndo: Bool = false, message: String, evidence: JSONValue) {
        self.step = step
        self.attempt = attempt
        self.isUndo = isUndo
        self.message = message
        self.evidence = evidence
    }

    /// What shows that a host's whole ledger was deleted.
    package static func lostLedgerEvidence(_ host: String) -> JSONValue { .object(["host": .string(host), "ledger": "lost"]) }

    /// The host whose ledger was deleted, where that is the doubt.
    var lostLedgerHost: String? {
        guard evidence["ledger"] == "lost", case .string(let host) = evidence["host"] else { return nil }
        return host
    }
}

package struct StepNamed: Codable, Hashable, Sendable {
    package var step: StepID
    package init(step: StepID) { self.step = step }
}

package struct ApprovalRequested: Codable, Hashable, Sendable {
    package var step: StepID
    /// What the person is asked to agree to.
    package var message: String
    package init(step: StepID, message: String) {
        self.step = step
        self.message = message
    }
}

package struct ApprovalDecided: Codable, Hashable, Sendable {
    package var step: StepID
    package var approved: Bool
    package var by: String
    package var comment: String
    /// Which of the step's questions it answers, as `StepRecord.questions` counts them; nil in journals of earlier versions.
    package var question: Int?
    package init(step: StepID, approved: Bool, by: String, comment: String, question: Int? = nil) {
        self.step = step
        self.approved = approved
        self.by = by
        self.comment = comment
        self.question = question
    }
}

package struct DoubtResolved: Codable, Hashable, Sendable {
    package enum Verdict: String, Codable, Hashable, Sendable {
        case done
        case notDone = "not-done"
    }
    package var step: StepID
    package var verdict: Verdict
    package var by: String
    package var reason: String
    /// Whose doubt it answers; nil in journals of earlier versions.
    package var attempt: AttemptNumber?
    package var isUndo: Bool?
    package init(step: StepID, verdict: Verdict, by: String, reason: String, attempt: AttemptNumber? = nil, isUndo: Bool? = nil) {
        self.step = step
        self.verdict = verdict
        self.by = by
        self.reason = reason
        self.attempt = attempt
        self.isUndo = isUndo
    }
}

package struct OperatorOnStep: Codable, Hashable, Sendable {
    package var step: StepID
    package var by: String
    package var reason: String
    package init(step: StepID, by: String, reason: String) {
        self.step = step
        self.by = by
        self.reason = reason
    }
}

package struct OperatorWord: Codable, Hashable, Sendable {
    package var by: String
    package var reason: String
    package init(by: String, reason: String) {
        self.by = by
        self.reason = reason
    }
}
