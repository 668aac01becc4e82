/// Where a run stands. `INTERRUPTED` is not among them: it is derived where the journal says running and nobody holds the run.
package enum RunState: String, Codable, Hashable, Sendable {
    /// The plan is frozen in the journal; nothing ran. Can transition to: `running`, `cancelling`.
    case accepted = "ACCEPTED"
    /// Can transition to: `waiting`, `pausing`, `cancelling`, `undoing`, `succeeded`, `succeededWithWarnings`, `failed`.
    case running = "RUNNING"
    /// Nothing can go on without a person: an approval, or a step in doubt. Can transition to: `running`, `pausing`, `cancelling`, `undoing`.
    case waiting = "WAITING"
    /// Nothing new starts; what runs is let finish. Can transition to: `paused`, `running`, `cancelling`.
    case pausing = "PAUSING"
    /// Can transition to: `running` (resume), `cancelling`, `undoing`.
    case paused = "PAUSED"
    /// Running attempts are being ended. Can transition to: `cancelled`, `waiting` (an attempt in doubt).
    case cancelling = "CANCELLING"
    /// Can transition to: `undoing`.
    case cancelled = "CANCELLED"
    /// Can transition to: `undone`, `failed` (an undo failed).
    case undoing = "UNDOING"
    case undone = "UNDONE"
    /// Can transition to: `undoing`.
    case succeeded = "SUCCEEDED"
    /// Something was skipped, ignored or tolerated. Can transition to: `undoing`.
    case succeededWithWarnings = "SUCCEEDED_WITH_WARNINGS"
    /// Can transition to: `running` (retry or skip), `undoing`, `cancelling`.
    case failed = "FAILED"

    /// True where no process needs to hold the run.
    package var isSettled: Bool {
        switch self {
        case .cancelled, .undone, .succeeded, .succeededWithWarnings, .failed: true
        case .accepted, .running, .waiting, .pausing, .paused, .cancelling, .undoing: false
        }
    }
}

/// Where a step stands.
package enum StepState: String, Codable, Hashable, Sendable {
    /// Can transition to: `running`, `waiting` (approval), `skipped`, `cancelled`.
    case queued = "QUEUED"
    /// The intent is journaled; the effect may or may not have happened.
    /// Can transition to: `succeeded`, `failed`, `failedIgnored`, `timedOut`, `inDoubt`, `cancelled`, `queued` (retry).
    case running = "RUNNING"
    /// A person must agree before it starts. Can transition to: `queued`, `failed` (denied), `skipped`, `cancelled`.
    case waiting = "WAITING"
    /// Whether the effect happened cannot be decided. Can transition to: `succeeded`, `queued`, `skipped`; by a person only.
    case inDoubt = "IN_DOUBT"
    /// Can transition to: `undone`.
    case succeeded = "SUCCEEDED"
    /// Can transition to: `queued` (retry by an operator), `skipped`.
    case failed = "FAILED"
    /// Failed under `on-error: continue`. Can transition to: `queued` (retry by an operator).
    case failedIgnored = "FAILED_IGNORED"
    /// As `failed`, for want of time.
    case timedOut = "TIMED_OUT"
    case skipped = "SKIPPED"
    /// Can transition to: `queued` (retry by an operator).
    case cancelled = "CANCELLED"
    case undone = "UNDONE"

    /// True where steps that need this one may start.
    var satisfiesDependents: Bool {
        switch self {
        case .succeeded, .skipped, .failedIgnored: true
        case .queued, .running, .waiting, .inDoubt, .failed, .timedOut, .cancelled, .undone: false
        }
    }
}
