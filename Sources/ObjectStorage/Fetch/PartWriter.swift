internal import Synchronization

/// Puts the bytes of one read where they belong, in pieces that are worth a system call: libcurl hands out 16 KiB at a time.
///
/// `@unchecked Sendable`: the buffer is only touched while `state` is locked. Nobody waits for that lock: a read has one
/// thread, and `flush` is called once it is over.
final class PartWriter: @unchecked Sendable {
    private struct State {
        var filled = 0
        var offset: Int64
        var flushed = ContinuousClock.now
    }

    private static let capacity = 128 * 1024
    private let file: File
    private let assembly: Assembly
    private let part: Int
    private let end: Int64
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 4096)
    private let state: Mutex<State>

    init(_ file: File, _ assembly: Assembly, _ part: Int, from start: Int64, to end: Int64) {
        self.file = file
        self.assembly = assembly
        self.part = part
        self.end = end
        state = Mutex(State(offset: start))
    }

    deinit { buffer.deallocate() }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        try state.withLock { state in
            var rest = bytes[...]
            while !rest.isEmpty {
                let piece = rest.prefix(Self.capacity - state.filled)
                UnsafeMutableRawBufferPointer(rebasing: buffer[state.filled...]).copyMemory(from: UnsafeRawBufferPointer(rebasing: piece))
                state.filled += piece.count
                rest = rest.dropFirst(piece.count)
                let isLast = state.offset + Int64(state.filled) == end
                // A slow store must not look like a stalled one.
                if isLast || state.filled == Self.capacity || state.flushed.duration(to: .now) > .milliseconds(200) {
                    try flush(&state)
                }
            }
        }
    }

    /// Writes what is left after a read that broke off: the version is pinned, so the bytes are good.
    func flush() throws { try state.withLock { try flush(&$0) } }

    private func flush(_ state: inout State) throws {
        guard state.filled > 0 else { return }
        try assembly.writeAlone {
            try file.write(UnsafeRawBufferPointer(rebasing: buffer.prefix(state.filled)), at: state.offset)
        }
        assembly.advance(part, by: Int64(state.filled))
        state.offset += Int64(state.filled)
        state.filled = 0
        state.flushed = .now
    }
}
