/// Where a run stands. `INTERRUPTED` is not among them: it is derived where the journal says running and nobody holds the run.
package enum RunState: String, Codable, Hashable, Sendable {
    /// The plan is frozen in the journal; nothing ran. Can transition to: `running`, `paused`, `cancelling`, `cancelled`,
    /// `undoing`, `undone`, and where everything was skipped before it began: `succeededWithWarnings`.
    case accepted = "ACCEPTED"
    /// Can transition to: `waiting`, `pausing`, `paused`, `cancelling`, `cancelled`, `undoing`, `undone` (a failure that asks for
    /// undo, with nothing to undo), `succeeded`, `succeededWithWarnings`, `failed`.
    case running = "RUNNING"
    /// Nothing can go on without a person: an approval, or a step or an undo in doubt. Can transition to: `running`, `paused`,
    /// `cancelling`, `cancelled`, `undoing`, `undone`, `succeededWithWarnings`, `failed`.
    case waiting = "WAITING"
    /// Nothing new starts; what runs is let finish. Can transition to: `paused`, `running`, `cancelling`, `cancelled`,
    /// `waiting` (cancelled with a step in doubt).
    case pausing = "PAUSING"
    /// Can transition to: `running` (resume), `cancelling`, `cancelled`, `undoing`, `undone`; and on resume, where nothing was
    /// left to do: `waiting`, `succeeded`, `succeededWithWarnings`, `failed`.
    case paused = "PAUSED"
    /// Running attempts are being ended, or the last steps run. Can transition to: `cancelled`, `waiting` (an attempt in doubt),
    /// and where nobody holds it and nothing runs: `undoing`.
    case cancelling = "CANCELLING"
    /// Can transition to: `running` (retry or skip), `cancelling` (retry of a last step), `undoing`, `undone`; and where the
    /// retry or skip leaves nothing that can start: `failed`, `succeededWithWarnings`.
    case cancelled = "CANCELLED"
    /// Can transition to: `undone`, `failed` (an undo failed), `waiting` (an undo in doubt, or a last step that asks).
    case undoing = "UNDOING"
    /// Can transition to: `undoing` (retry of a last step).
    case undone = "UNDONE"
    /// Can transition to: `undoing`, `undone`.
    case succeeded = "SUCCEEDED"
    /// Something was skipped, ignored or tolerated. Can transition to: `running` (retry or skip), `undoing`, `undone`.
    case succeededWithWarnings = "SUCCEEDED_WITH_WARNINGS"
    /// Can transition to: `running` (retry or skip), `succeededWithWarnings` (skip), `undoing`, `undone`, `cancelled`.
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
    /// Whether the effect happened cannot be decided.
    /// Can transition to: `succeeded`, `queued`, `skipped`, `cancelled` (not done, in a cancelled run); by a person only.
    case inDoubt = "IN_DOUBT"
    /// Can transition to: `undone`, `queued` (a last step, for the new end of a run that goes on).
    case succeeded = "SUCCEEDED"
    /// Can transition to: `queued` (retry by an operator), `skipped`, `undone`, `cancelled` (as where it was ignored).
    case failed = "FAILED"
    /// Failed under `on-error: continue`. Can transition to: `queued` (retry by an operator), `skipped`, `undone`,
    /// `cancelled` (a retry in a cancelled run that another step's failure undoes at once).
    case failedIgnored = "FAILED_IGNORED"
    /// As `failed`, for want of time. Can transition to: `queued` (retry by an operator), `skipped`, `undone`,
    /// `cancelled` (as where it was ignored).
    case timedOut = "TIMED_OUT"
    case skipped = "SKIPPED"
    /// Can transition to: `queued` (retry by an operator), `skipped`, `undone`.
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
