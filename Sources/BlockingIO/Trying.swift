package import RunCore

/// Calls `body`, and again after an error that passes: five times in all at most, each time a little later, and no more once the deadline has passed.
///
/// - Parameter passes: whether the next call may succeed, where there is one; called with the number of calls that have failed. What has
///   to be done before the next one is done there.
package func trying<Value: Sendable>(
    until deadline: Deadline, againAfter passes: (any RepriseError, Int) async -> Bool, _ body: () async throws -> Value
) async throws -> Value {
    var failed = 0
    while true {
        do {
            return try await body()
        } catch let error as any RepriseError {
            failed += 1
            guard failed < mostTries, !deadline.hasPassed, await passes(error, failed) else { throw error }
            try await Task.sleep(for: .milliseconds(500 * failed))
        }
    }
}

/// What `trying` calls at most.
package let mostTries = 5
