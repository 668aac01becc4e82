import Foundation
import Synchronization
import Testing

/// Collects values from any thread.
final class Recorder<Value: Sendable>: Sendable {
    private let state = Mutex<[Value]>([])
    func append(_ value: Value) { state.withLock { $0.append(value) } }
    var values: [Value] { state.withLock { $0 } }
}

/// Waits until `condition` holds, at most two minutes: the machine may be busy.
func eventually(_ what: String, _ condition: () throws -> Bool) async throws {
    let start = ContinuousClock.now
    while try !condition() {
        guard start.duration(to: .now) < .seconds(120) else {
            Issue.record("waited in vain until \(what)")
            return
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}
