/// What the engine has to do next; imperative. The machine decides, the engine only carries out.
package enum Action: Hashable, Sendable {
    /// Journal the intent of a new attempt, then run it.
    case startAttempt(step: StepID, attempt: AttemptNumber, isUndo: Bool)
    /// The attempt's intent is journaled and a process died since: ask the target what became of it, never start it blindly.
    case resumeAttempt(step: StepID, attempt: AttemptNumber, isUndo: Bool)
    /// End the running attempt; it counts as ended only when its outcome is journaled.
    case cancelAttempt(step: StepID)
    /// Work out what a person has to agree to, and journal the request.
    case askApproval(step: StepID)
    /// Journal `retryDue` once the time has passed.
    case wakeUp(step: StepID, afterMilliseconds: Int64)
}

/// An event that cannot follow in the present state: a defect, or a journal that was tampered with.
package struct InvalidTransition: RepriseError, Hashable {
    package let code = "run.invalid-transition"
    package let message: String
    package let hints: [String]
    package let exitStatus = ExitStatus.usage

    package init(_ message: String, hints: [String] = []) {
        self.message = message
        self.hints = hints
    }
}
