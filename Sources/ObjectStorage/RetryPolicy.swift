internal import RunCore

/// Exponential backoff with full jitter, bounded in number and length.
package struct RetryPolicy: Hashable, Sendable {
    /// Further attempts after the first.
    package var retries: Int
    package var firstDelay: Duration
    package var longestDelay: Duration

    package init(retries: Int = 5, firstDelay: Duration = .milliseconds(200), longestDelay: Duration = .seconds(20)) {
        self.retries = max(0, retries)
        self.firstDelay = firstDelay
        self.longestDelay = longestDelay
    }

    /// How long to wait before attempt `failures + 1`: half to all of a delay that doubles.
    ///
    /// - Parameter jitter: 0 to 1.
    package func delay(afterFailures failures: Int, jitter: Double, askedSeconds: Int? = nil) -> Duration {
        let grown = firstDelay * Double(1 << min(max(failures - 1, 0), 16))
        let own = min(grown, longestDelay) * (0.5 + 0.5 * min(max(jitter, 0), 1))
        // What the store asks for is honoured as a least wait, within reason.
        return max(own, .seconds(min(askedSeconds ?? 0, 60)))
    }

    /// Runs `body` until it succeeds, fails for good, or has used up its retries.
    package func run<Value: Sendable>(_ body: @Sendable () async throws -> Value) async throws -> Value {
        var failures = 0
        while true {
            do { return try await body() } catch let error as any RepriseError where error.isTransient {
                failures += 1
                guard failures <= retries else { throw error }
                try await wait(afterFailures: failures, error)
            }
        }
    }

    func wait(afterFailures failures: Int, _ error: any RepriseError) async throws {
        let asked = (error as? ObjectStorageError)?.retryAfterSeconds
        try await Task.sleep(for: delay(afterFailures: failures, jitter: .random(in: 0...1), askedSeconds: asked))
    }
}
