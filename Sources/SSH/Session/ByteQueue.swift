/// A bounded run of bytes between a producer and a consumer, in one allocation that is never reallocated.
final class ByteQueue {
    private let storage: UnsafeMutableRawBufferPointer
    private var head = 0
    private var tail = 0

    init(capacity: Int) {
        storage = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { storage.deallocate() }

    var count: Int { tail - head }
    var isEmpty: Bool { head == tail }
    /// Room that `fill` can offer, after moving what is left to the front.
    var room: Int { storage.count - count }

    /// Offers the free part to `body`, which returns how many bytes it put there.
    func fill(atMost limit: Int = .max, _ body: (UnsafeMutableRawBufferPointer) -> Int) -> Int {
        if head == tail {
            (head, tail) = (0, 0)
        } else if storage.count - tail < storage.count / 4, head > 0 {
            storage.baseAddress!.copyMemory(from: storage.baseAddress! + head, byteCount: count)
            (head, tail) = (0, count)
        }
        let free = UnsafeMutableRawBufferPointer(rebasing: storage[tail..<min(storage.count, tail + min(limit, storage.count))])
        guard !free.isEmpty else { return 0 }
        let added = body(free)
        if added > 0 { tail += added }
        return added
    }

    /// Offers what is queued to `body`, which returns how many bytes it took.
    func drain(_ body: (UnsafeRawBufferPointer) -> Int) -> Int {
        guard head < tail else { return 0 }
        let taken = body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(storage)[head..<tail]))
        if taken > 0 { head += taken }
        return taken
    }

    func take(upTo limit: Int) -> [UInt8] {
        var result: [UInt8] = []
        _ = drain { bytes in
            result = Array(bytes.prefix(limit))
            return result.count
        }
        return result
    }
}
