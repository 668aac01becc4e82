package import RunCore

/// A point on the monotonic clock by which a wait must end. Steps of the wall clock do not move it.
package struct Deadline: Hashable, Sendable {
    private let instant: ContinuousClock.Instant

    package init(after duration: Duration) {
        instant = .now.advanced(by: duration)
    }

    /// Time left, never negative.
    package var remaining: Duration {
        max(.zero, ContinuousClock.now.duration(to: instant))
    }

    package var hasPassed: Bool { remaining == .zero }

    /// Time left for `poll(2)`, rounded up so that a wait never ends before its deadline.
    package var remainingMilliseconds: Int32 {
        let parts = remaining.components
        let milliseconds = parts.seconds.multipliedReportingOverflow(by: 1000)
        guard !milliseconds.overflow, milliseconds.partialValue < Int64(Int32.max) - 1000 else { return .max }
        let rounded = (parts.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        return Int32(milliseconds.partialValue + rounded)
    }

    /// The earlier of two deadlines.
    package func earlier(of other: Deadline) -> Deadline {
        instant < other.instant ? self : other
    }
}

/// A wait ended because its deadline passed.
package struct DeadlineExceeded: RepriseError {
    package let code = "io.deadline-exceeded"
    package let operation: String
    package let hints: [String]

    /// - Parameter operation: what was waited for, as the rest of the sentence "gave up waiting for …".
    package init(_ operation: String, hints: [String] = []) {
        self.operation = operation
        self.hints = hints
    }

    package var message: String { "gave up waiting for \(operation): the deadline passed" }
    package var exitStatus: ExitStatus { .unreachable }
    package var isTransient: Bool { true }
}
