/// How often a failed step is tried again, and how long to wait between the tries.
package struct RetryPolicy: Codable, Hashable, Sendable {
    /// Tries in all, the first one included; at least 1.
    package var attempts: Int
    package var initialMilliseconds: Int64
    package var factor: Double
    package var maximumMilliseconds: Int64

    package init(attempts: Int = 1, initialMilliseconds: Int64 = 1000, factor: Double = 2, maximumMilliseconds: Int64 = 60_000) {
        self.attempts = max(1, attempts)
        self.initialMilliseconds = max(0, initialMilliseconds)
        self.factor = max(1, factor)
        self.maximumMilliseconds = max(0, maximumMilliseconds)
    }

    package static let once = RetryPolicy()

    /// The wait before the attempt that follows `attempt`: exponential, between half and the whole of the full delay.
    ///
    /// - Parameter jitter: 0 to 1, rolled by the caller and journaled, so that a replay computes the same delay.
    package func delayMilliseconds(after attempt: AttemptNumber, jitter: Double) -> Int64 {
        var grown = Double(initialMilliseconds)
        // The cap is reached long before the exponent could overflow.
        for _ in 1..<max(2, min(attempt, 64)) where attempt > 1 { grown = min(grown * factor, Double(maximumMilliseconds)) }
        let full = min(grown, Double(maximumMilliseconds))
        let delay = full * (0.5 + 0.5 * min(max(jitter, 0), 1))
        // Not every Double fits (2^63, not a number), and a trap here would end every replay of the journal.
        return Int64(exactly: delay.rounded(.towardZero)) ?? maximumMilliseconds
    }
}
