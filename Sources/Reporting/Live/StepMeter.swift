internal import RunCore
package import Steps

/// How fast a step's present phase goes, from the last seconds of its progress. A value without a clock: times come in.
package struct StepMeter: Sendable, Hashable {
    private static let windowMilliseconds: Int64 = 10_000

    package private(set) var progress: StepProgress
    private var samples: [Sample] = []

    private struct Sample: Hashable { let time: Int64, done: Int64 }

    package init(_ progress: StepProgress, at time: Int64) {
        self.progress = progress
        take(progress, at: time)
    }

    /// - Parameter time: milliseconds, monotonic.
    package mutating func take(_ progress: StepProgress, at time: Int64) {
        // Another phase, or a phase that begins anew after a retry, is measured on its own.
        if progress.phase != self.progress.phase || (progress.done ?? 0) < (self.progress.done ?? 0) { samples = [] }
        self.progress = progress
        guard let done = progress.done else { return }
        samples.append(Sample(time: time, done: done))
        if samples.count > 2, let first = samples.firstIndex(where: { time - $0.time <= Self.windowMilliseconds }), first > 1 {
            samples.removeFirst(first - 1)
        }
    }

    /// Units a second; nil before there is enough to tell.
    package var rate: Double? {
        guard let first = samples.first, let last = samples.last, last.time - first.time >= 300, last.done > first.done else { return nil }
        return Double(last.done - first.done) * 1000 / Double(last.time - first.time)
    }

    package var fraction: Double? {
        guard let done = progress.done, let total = progress.total, total > 0 else { return nil }
        return min(1, Double(done) / Double(total))
    }

    package var remainingSeconds: Double? {
        guard let rate, let done = progress.done, let total = progress.total, total >= done else { return nil }
        return Double(total - done) / rate
    }

    /// `62%  412 MB/s  12 s left`, as far as it is known.
    package var text: String {
        var parts: [String] = []
        if let fraction {
            parts.append("\(Int(fraction * 100))%")
        } else if let done = progress.done {
            parts.append(amount(done))
        }
        if let rate { parts.append("\(amount(Int64(rate)))/s") }
        if let remainingSeconds, fraction ?? 0 < 1 { parts.append("\(durationText(remainingSeconds)) left") }
        return parts.joined(separator: "  ")
    }

    private func amount(_ number: Int64) -> String {
        switch progress.unit {
        case .bytes: bytesText(number)
        case .rows: "\(countText(number)) rows"
        case .items: countText(number)
        }
    }
}
