/// All that the machine knows of one step.
package struct StepRecord: Codable, Hashable, Sendable {
    package let spec: StepSpec
    /// `spec.needs` as positions in the run's list of steps.
    let needs: [Int]
    package internal(set) var state: StepState = .queued
    /// Attempts started so far; 0 before the first.
    package internal(set) var attempt: AttemptNumber = 0
    /// An attempt is to be started and its intent is not journaled yet.
    package internal(set) var isIssued = false
    package internal(set) var waitsForRetry = false
    package internal(set) var approval: Approval?
    /// How often people were asked to agree to it. A person's word names the question that it answers.
    package internal(set) var questions = 0
    /// Facts of the present attempt, so that it takes the same way when it is resumed.
    package internal(set) var observations: [String: JSONValue] = [:]
    /// Facts of earlier attempts, the latest of each name; nil: there are none. What such an attempt did may still stand.
    package internal(set) var earlierObservations: [String: JSONValue]?
    package internal(set) var evidence: JSONValue = .null
    package internal(set) var outputs: [String: JSONValue] = [:]
    package internal(set) var warnings: [String] = []
    package internal(set) var changed = true
    package internal(set) var failure: Failure?
    package internal(set) var doubt: AttemptDoubted?
    package internal(set) var note: String?
    /// Counts up over the run: the order in which steps started their last attempt, for undoing in reverse.
    package internal(set) var order = 0
    package internal(set) var undo = UndoRecord()

    package struct Approval: Codable, Hashable, Sendable {
        package internal(set) var message: String
        package internal(set) var decision: ApprovalDecided?
    }

    package struct UndoRecord: Codable, Hashable, Sendable {
        package enum State: String, Codable, Hashable, Sendable { case idle, issued, running, inDoubt, done, failed }
        package internal(set) var state: State = .idle
        package internal(set) var attempt: AttemptNumber = 0
        package internal(set) var observations: [String: JSONValue] = [:]
        package internal(set) var failure: Failure?

        var isActive: Bool { state == .issued || state == .running }
    }

    init(spec: StepSpec, needs: [Int]) {
        self.spec = spec
        self.needs = needs
    }

    /// True while the step takes a slot on its hosts or will by itself.
    var isActive: Bool { isIssued || state == .running || waitsForRetry || undo.isActive }

    var takesSlot: Bool { isIssued || state == .running || undo.isActive }

    var isInDoubt: Bool { state == .inDoubt || undo.state == .inDoubt }

    /// A failure that holds up the run.
    var blocksRun: Bool { state == .failed || state == .timedOut || state == .cancelled }

    /// The step may have changed something that its undo can put back.
    var isUndoable: Bool {
        guard spec.hasUndo, attempt > 0, undo.state != .done, undo.state != .failed else { return false }
        switch state {
        case .succeeded: return changed
        case .failed, .failedIgnored, .timedOut, .cancelled: return true
        case .queued, .running, .waiting, .inDoubt, .skipped, .undone: return false
        }
    }

    mutating func requeue() {
        state = .queued
        isIssued = false
        waitsForRetry = false
        doubt = nil
    }
}
