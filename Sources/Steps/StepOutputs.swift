package import RunCore
internal import Synchronization

/// What steps of a run left behind, for those that build on them: one table for all attempts, since a copy for each attempt would
/// make a step cost as much as the run has steps.
///
/// What a step left does not change any more once a step that needs it may start.
package final class StepOutputs: Sendable {
    private let table: Mutex<[StepID: [String: JSONValue]]>

    package init(_ outputs: [StepID: [String: JSONValue]] = [:]) { table = Mutex(outputs) }

    /// Nil for a step that the run does not have; empty for one that left nothing so far.
    package subscript(step: StepID) -> [String: JSONValue]? {
        table.withLock { $0[step] }
    }

    package func set(_ step: StepID, _ outputs: [String: JSONValue]) {
        table.withLock { $0[step] = outputs }
    }
}
