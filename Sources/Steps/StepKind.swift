package import PlanModel
package import RunCore

/// What a step can do. One type for each kind, in a file of its own.
///
/// `perform` is written to be entered again: after a crash the same attempt is performed anew with `context.isResumed` set.
/// It must then find out what already happened (from the host's job ledger, from `context.observed`, or from the target itself)
/// and never do a thing twice. What it cannot decide it throws as `StepInDoubt`.
package protocol StepKind: Sendable {
    /// The kind's name and the keys under its `with:`.
    static var schema: StepKindSchema { get }

    init()

    /// Does the step's work, or finishes what an earlier process of the same attempt began.
    func perform(_ context: StepContext) async throws -> StepOutcome

    /// Puts back what the step changed. Called only where `hasUndo` says that there is something to put back; idempotent.
    func undo(_ context: StepContext) async throws -> StepOutcome

    /// True where the kind itself knows how to put back what it did, without an `undo:` in the plan.
    static var hasUndo: Bool { get }

    /// What a person is asked to agree to before the step starts.
    func approvalRequest(_ context: StepContext) async throws -> String

    /// How a doubt about an attempt is resolved without a person; nil where only a person can.
    func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution?

    /// The commands by which a person does the same by hand.
    func manualCommands(_ context: StepContext) -> [String]
}

extension StepKind {
    package static var hasUndo: Bool { false }

    package func undo(_ context: StepContext) async throws -> StepOutcome {
        throw StepRefused("steps.no-undo", "steps of kind \(Self.schema.name) cannot be undone")
    }

    package func approvalRequest(_ context: StepContext) async throws -> String {
        "run step \(context.step) (\(Self.schema.name)) on \(context.hosts.joined(separator: ", "))"
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? { nil }
}

/// What became of a step that succeeded.
package struct StepOutcome: Sendable {
    package var evidence: JSONValue
    package var outputs: [String: JSONValue]
    package var warnings: [String]
    /// False where everything was found already done.
    package var changed: Bool

    package init(
        evidence: JSONValue = .null, outputs: [String: JSONValue] = [:], warnings: [String] = [], changed: Bool = true
    ) {
        self.evidence = evidence
        self.outputs = outputs
        self.warnings = warnings
        self.changed = changed
    }
}

/// Whether a step's effect happened cannot be decided by what the target shows.
package struct StepInDoubt: Error, Sendable {
    package let message: String
    package let evidence: JSONValue

    package init(_ message: String, evidence: JSONValue = .null) {
        self.message = message
        self.evidence = evidence
    }
}

/// A doubt that the step's own kind or plan resolved.
package struct DoubtResolution: Sendable {
    package let verdict: DoubtResolved.Verdict
    /// What decided it, for the journal: for example "the scratch database is rebuilt from nothing".
    package let reason: String

    package init(_ verdict: DoubtResolved.Verdict, reason: String) {
        self.verdict = verdict
        self.reason = reason
    }
}

/// A step found that it must not or cannot go on; trying again without a change would find the same.
package struct StepRefused: RepriseError {
    package let code: String
    package let message: String
    package let hints: [String]
    package let exitStatus: ExitStatus
    package let evidence: JSONValue
    package let needsNewRun: Bool

    /// - Parameter needsNewRun: without it where the plan, the inventory or a parameter is at fault, which `exitStatus` says.
    package init(
        _ code: String, _ message: String, hints: [String] = [], exitStatus: ExitStatus = .failed, evidence: JSONValue = .null,
        needsNewRun: Bool? = nil
    ) {
        self.code = code
        self.message = message
        self.hints = hints
        self.exitStatus = exitStatus
        self.evidence = evidence
        self.needsNewRun = needsNewRun ?? (exitStatus == .usage)
    }
}

/// A step failed in a way that another try may not.
package struct StepFailed: RepriseError {
    package let code: String
    package let message: String
    package let hints: [String]
    package let evidence: JSONValue
    package let isTransient = true

    package init(_ code: String, _ message: String, hints: [String] = [], evidence: JSONValue = .null) {
        self.code = code
        self.message = message
        self.hints = hints
        self.evidence = evidence
    }
}

/// The step was ended because somebody cancelled the run or its time was up; the target confirms that nothing of it runs any more.
package struct StepEnded: Error, Sendable {
    package enum Cause: Sendable { case cancelled, timedOut }
    package let cause: Cause
    package let message: String

    package init(_ cause: Cause, _ message: String) {
        self.cause = cause
        self.message = message
    }
}
