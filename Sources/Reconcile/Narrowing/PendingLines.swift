internal import Glibc

/// Lines of one side that have come and are not looked at yet. Whole lines only, each with its newline.
struct PendingLines {
    private var bytes: [UInt8] = []
    private var head = 0

    var count: Int { bytes.count - head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ lines: [UInt8]) {
        if head == bytes.count {
            bytes = lines
            head = 0
            return
        }
        if head > bytes.count / 2 {
            bytes.removeFirst(head)
            head = 0
        }
        bytes.append(contentsOf: lines)
    }

    mutating func drop(_ count: Int) { head += count }

    /// What is pending, and what follows it in memory is none of it.
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
        try bytes.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[head...])) }
    }

    /// Hands the first `count` bytes over and drops them.
    mutating func take(_ count: Int, into lines: inout [UInt8]) {
        lines.append(contentsOf: bytes[head..<head + count])
        head += count
    }
}

extension UnsafeRawBufferPointer {
    /// Where the line that begins at `start` ends, its newline included; nil where nothing begins there.
    func endOfLine(_ start: Int) -> Int? {
        guard start < count, let found = memchr(baseAddress! + start, 10, count - start) else { return nil }
        return baseAddress!.distance(to: UnsafeRawPointer(found)) + 1
    }

    /// Where the last whole line ends, its newline included.
    var endOfLastLine: Int? {
        var last: Int?
        while let end = endOfLine(last ?? 0) { last = end }
        return last
    }

    /// The ends of the first `most` lines, the beginning included.
    func lineEnds(_ most: Int) -> [Int] {
        var ends = [0]
        while ends.count <= most, let end = endOfLine(ends[ends.count - 1]) { ends.append(end) }
        return ends
    }

    func isSame(_ own: Range<Int>, _ other: UnsafeRawBufferPointer, _ theirs: Range<Int>) -> Bool {
        own.count == theirs.count && memcmp(baseAddress! + own.lowerBound, other.baseAddress! + theirs.lowerBound, own.count) == 0
    }

    /// How many bytes of whole lines both begin with alike.
    func sameLines(_ other: UnsafeRawBufferPointer) -> Int {
        let limit = Swift.min(count, other.count)
        guard limit > 0, let own = baseAddress, let theirs = other.baseAddress else { return 0 }
        var at = 0
        let block = 512
        while at + block <= limit, memcmp(own + at, theirs + at, block) == 0 { at += block }
        while at < limit, self[at] == other[at] { at += 1 }
        while at > 0, self[at - 1] != 10 { at -= 1 }
        return at
    }
}
