internal import BlockingIO

/// Hands out the blocks of a file to whoever carries them, in order, and knows which the host has written.
///
/// No block is handed out that ends more than `windowBytes` behind the first that is not written. So a file of N bytes that is found on the
/// host lacks nothing before N - `windowBytes`, however many carried it.
actor CopyBlocks {
    /// The host starts a program for each.
    static let blockBytes: Int64 = 4 << 20
    /// Enough for every lane to send one block while the one before is being written.
    static let windowBytes: Int64 = 24 << 20

    private let end: Int64
    private var next: Int64
    private var sent: Int64
    /// Where the blocks begin that are handed out and not written; ascending.
    private var underWay: [Int64] = []
    private var isStopped = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// The bytes to carry in all.
    nonisolated let count: Int64

    private let written: Latest<Int64>

    /// - Parameter written: is given `writtenUpTo` whenever it grows.
    init(from start: Int64, to end: Int64, written: Latest<Int64> = Latest()) {
        (next, sent, self.end, self.written) = (start, start, end, written)
        count = max(0, end - start)
    }

    /// The host has written everything before.
    var writtenUpTo: Int64 { underWay.first ?? next }
    var areWritten: Bool { next >= end && underWay.isEmpty }

    /// The next block, once the window admits it; nil where there is none any more, or after `stop`.
    func take() async -> Range<Int64>? {
        while !isStopped, next < end, blockEnd - writtenUpTo > Self.windowBytes { await withCheckedContinuation { waiting.append($0) } }
        guard !isStopped, next < end else { return nil }
        let block = next..<blockEnd
        underWay.append(next)
        next = block.upperBound
        return block
    }

    private var blockEnd: Int64 { min(next + Self.blockBytes, end) }

    /// - Returns: how much of the file is sent by now.
    func areSent(_ bytes: Int) -> Int64 {
        sent += Int64(bytes)
        return sent
    }

    /// The host said so of the block that begins there.
    func isWritten(at offset: Int64) {
        underWay.removeAll { $0 == offset }
        written.value = writtenUpTo
        wake()
    }

    /// Hands out nothing more. Idempotent.
    func stop() {
        isStopped = true
        wake()
    }

    private func wake() {
        let waiters = waiting
        waiting = []
        for waiter in waiters { waiter.resume() }
    }
}
