internal import Foundation

/// How far each part has come, and how far the file is whole from its start; shared by the readers and the hasher.
///
/// `@unchecked Sendable`: everything but the constants is only touched while `condition` is locked.
final class Assembly: @unchecked Sendable {
    let sizeBytes: Int64
    let partSizeBytes: Int64
    let partCount: Int

    private let condition = NSCondition()
    private let writing = NSLock()
    private var written: [Int64]
    private var pending: [Int]
    private var frontierPart = 0
    private var unrecorded: [Int] = []
    private var isClosed = false
    private var fetched: Int64 = 0
    private var failures = 0

    init(sizeBytes: Int64, partSizeBytes: Int64, finished: Set<Int>) {
        self.sizeBytes = sizeBytes
        self.partSizeBytes = partSizeBytes
        partCount = Int((sizeBytes + partSizeBytes - 1) / partSizeBytes)
        written = Array(repeating: 0, count: partCount)
        pending = (0..<partCount).reversed().filter { !finished.contains($0) }
        for part in finished where part < partCount { written[part] = length(of: part) }
        advanceFrontier()
    }

    func range(of part: Int) -> Range<Int64> {
        let start = Int64(part) * partSizeBytes
        return start..<min(start + partSizeBytes, sizeBytes)
    }

    private func length(of part: Int) -> Int64 { Int64(range(of: part).count) }

    /// The lowest part that nobody reads yet: the hasher follows close behind.
    func takePart() -> Int? { locked { pending.popLast() } }

    func writtenBytes(of part: Int) -> Int64 { locked { written[part] } }

    /// More bytes of `part` are in the file.
    func advance(_ part: Int, by count: Int64) {
        locked {
            written[part] += count
            fetched += count
            if written[part] == length(of: part) { unrecorded.append(part) }
            guard part == frontierPart else { return }
            advanceFrontier()
            condition.broadcast()
        }
    }

    func noteFailure() { locked { failures += 1 } }

    /// Finished parts that the sidecar does not hold yet.
    func takeUnrecorded() -> [Int] {
        locked {
            defer { unrecorded = [] }
            return unrecorded
        }
    }

    struct Count: Sendable {
        let doneBytes: Int64
        let fetchedBytes: Int64
        let failures: Int
    }

    var count: Count { locked { Count(doneBytes: written.reduce(0, +), fetchedBytes: fetched, failures: failures) } }

    /// Nobody will write any more: whoever waits goes on.
    func close() {
        locked {
            isClosed = true
            condition.broadcast()
        }
    }

    /// Waits until the file is whole beyond `offset`.
    /// - Returns: how far it is whole; nil once closed before that.
    func waitBeyond(_ offset: Int64) -> Int64? {
        condition.lock()
        defer { condition.unlock() }
        while frontier <= offset {
            if isClosed { return nil }
            condition.wait()
        }
        return frontier
    }

    private var frontier: Int64 {
        guard frontierPart < partCount else { return sizeBytes }
        return Int64(frontierPart) * partSizeBytes + written[frontierPart]
    }

    private func advanceFrontier() {
        while frontierPart < partCount, written[frontierPart] == length(of: frontierPart) { frontierPart += 1 }
    }

    /// Writers of one file exclude each other inside the kernel, where they spin on the processor that the others need.
    /// Waiting here, they sleep.
    func writeAlone(_ body: () throws -> Void) rethrows {
        writing.lock()
        defer { writing.unlock() }
        try body()
    }

    private func locked<Value>(_ body: () -> Value) -> Value {
        condition.lock()
        defer { condition.unlock() }
        return body()
    }
}
