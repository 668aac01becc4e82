internal import BlockingIO
internal import CLibSSH2
internal import Glibc
internal import RunCore

/// A channel whose two ends are read and written by tasks.
///
/// `@unchecked Sendable`: all state is touched only on the session's thread.
final class ChannelStream: Pump, @unchecked Sendable {
    private let handle: OpaquePointer
    private let what: String
    private let input = ByteQueue(capacity: 512 * 1024)
    private var errorTail: [UInt8] = []
    private var inputEnded = false
    private var reader: Waiter<[UInt8]>?
    private var readLimit = 0
    private var writes: [Write] = []
    private var wantsEnd = false
    private var failure: (any Error)?
    private(set) var isFinished = false

    private struct Write {
        let bytes: [UInt8]
        var offset = 0
        let waiter: Waiter<Void>
    }

    init(handle: OpaquePointer, what: String) {
        self.handle = handle
        self.what = what
    }

    var interest: pollfd { pollfd(fd: -1, events: 0, revents: 0) }
    func ready(_ events: Int16) {}
    var deadline: Deadline? { ([reader?.deadline] + writes.map(\.waiter.deadline)).compactMap { $0 }.reduce(nil) { $0?.earlier(of: $1) ?? $1 } }

    func step(_ engine: SessionEngine) -> Bool {
        guard !isFinished else { return false }
        var progressed = readInput(engine)
        progressed = readErrors(engine) || progressed
        progressed = writeOutput(engine) || progressed
        answerReader()
        return progressed
    }

    private func readInput(_ engine: SessionEngine) -> Bool {
        guard !inputEnded, input.room > 0 else { return false }
        var code = 0
        let count = input.fill { free in
            code = libssh2_channel_read_ex(handle, 0, free.baseAddress!.assumingMemoryBound(to: CChar.self), free.count)
            return max(code, 0)
        }
        if count > 0 { return true }
        if code == Int(LIBSSH2_ERROR_EAGAIN) || code == 0 {
            guard libssh2_channel_eof(handle) != 0 else { return false }
            inputEnded = true
            return true
        }
        abort(engine.failure(Int32(code), what), engine)
        return true
    }

    /// Standard error is always read, or its bytes would fill the channel's window; the last of them are kept.
    private func readErrors(_ engine: SessionEngine) -> Bool {
        guard !isFinished else { return false }
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = libssh2_channel_read_ex(handle, SSH_EXTENDED_DATA_STDERR, &buffer, buffer.count)
        guard count > 0 else { return false }
        errorTail.append(contentsOf: buffer.prefix(count).map { UInt8(bitPattern: $0) })
        if errorTail.count > 8192 { errorTail.removeFirst(errorTail.count - 4096) }
        return true
    }

    private func writeOutput(_ engine: SessionEngine) -> Bool {
        var progressed = false
        while !isFinished, !writes.isEmpty, engine.socket.unsentBytes < 1 << 20 {
            let write = writes[0]
            let count = write.bytes.withUnsafeBytes { bytes in
                libssh2_channel_write_ex(
                    handle, 0, bytes.baseAddress?.assumingMemoryBound(to: CChar.self).advanced(by: write.offset), bytes.count - write.offset)
            }
            if count == 0 || count == Int(LIBSSH2_ERROR_EAGAIN) { break }
            if count < 0 {
                writes.removeFirst().waiter.resume(.failure(engine.failure(Int32(count), what)))
                return true
            }
            progressed = true
            writes[0].offset += count
            if writes[0].offset == write.bytes.count { writes.removeFirst().waiter.resume(.success(())) }
        }
        if wantsEnd, writes.isEmpty, !isFinished, libssh2_channel_send_eof(handle) != LIBSSH2_ERROR_EAGAIN { wantsEnd = false }
        return progressed
    }

    private func answerReader() {
        guard let reader else { return }
        if !input.isEmpty {
            self.reader = nil
            reader.resume(.success(input.take(upTo: readLimit)))
        } else if inputEnded {
            self.reader = nil
            reader.resume(.success([]))
        }
    }

    // MARK: Requests, on the session's thread

    func read(upTo limit: Int, _ waiter: Waiter<[UInt8]>) {
        if let failure { return waiter.resume(.failure(failure)) }
        precondition(reader == nil, "two tasks read one channel")
        reader = waiter
        readLimit = limit
        answerReader()
    }

    func write(_ bytes: [UInt8], _ waiter: Waiter<Void>) {
        if let failure { return waiter.resume(.failure(failure)) }
        if bytes.isEmpty { return waiter.resume(.success(())) }
        writes.append(Write(bytes: bytes, waiter: waiter))
    }

    func endWriting() { wantsEnd = true }

    var diagnostics: String { printable(errorTail) }

    func close(_ engine: SessionEngine) {
        abort(SSHError("channel-closed", "the channel to \(engine.target.name) was closed here", exitStatus: .failed), engine)
    }

    func checkDeadline(_ engine: SessionEngine) {
        if let waiter = reader, waiter.hasPassed || waiter.isAnswered {
            reader = nil
            waiter.resume(.failure(DeadlineExceeded("\(what) on \(engine.target.name)")))
        }
        for write in writes where write.waiter.hasPassed {
            write.waiter.resume(.failure(DeadlineExceeded("\(what) on \(engine.target.name)")))
        }
    }

    func dropReader(_ waiter: Waiter<[UInt8]>) {
        waiter.resume(.failure(CancellationError()))
        if reader === waiter { reader = nil }
    }

    private func abort(_ error: any Error, _ engine: SessionEngine) {
        guard !isFinished else { return }
        fail(error, engine)
        engine.release(handle)
    }

    func fail(_ error: any Error, _ engine: SessionEngine) {
        guard !isFinished else { return }
        isFinished = true
        failure = error
        reader?.resume(.failure(error))
        reader = nil
        for write in writes { write.waiter.resume(.failure(error)) }
        writes = []
    }
}

/// A continuation that is answered once, whoever comes first.
///
/// `@unchecked Sendable`: touched only on the session's thread.
final class Waiter<Value: Sendable>: @unchecked Sendable {
    let deadline: Deadline?
    private var continuation: CheckedContinuation<Value, any Error>?

    init(_ continuation: CheckedContinuation<Value, any Error>?, deadline: Deadline?) {
        self.continuation = continuation
        self.deadline = deadline
    }

    private(set) var wasCancelled = false
    var isAnswered: Bool { continuation == nil }
    var hasPassed: Bool { !isAnswered && deadline?.hasPassed == true }

    func arm(_ continuation: CheckedContinuation<Value, any Error>) {
        if wasCancelled { continuation.resume(throwing: CancellationError()) } else { self.continuation = continuation }
    }

    func cancel() {
        wasCancelled = true
        resume(.failure(CancellationError()))
    }

    func resume(_ result: Result<Value, any Error>) {
        continuation?.resume(with: result)
        continuation = nil
    }
}

/// What the outside sees of a `ChannelStream`.
struct SSHChannel: ByteChannel {
    let engine: SessionEngine
    let stream: ChannelStream

    func read(upTo limit: Int, deadline: Deadline?) async throws -> [UInt8] {
        let waiter = Waiter<[UInt8]>(nil, deadline: deadline)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                engine.post { [stream] engine in
                    waiter.arm(continuation)
                    guard !waiter.isAnswered else { return }
                    if let end = engine.end { waiter.resume(.failure(end)) } else { stream.read(upTo: limit, waiter) }
                }
            }
        } onCancel: {
            engine.post { [stream] _ in
                waiter.cancel()
                stream.dropReader(waiter)
            }
        }
    }

    func write(_ bytes: [UInt8], deadline: Deadline?) async throws {
        let waiter = Waiter<Void>(nil, deadline: deadline)
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                engine.post { [stream] engine in
                    waiter.arm(continuation)
                    guard !waiter.isAnswered else { return }
                    if let end = engine.end { waiter.resume(.failure(end)) } else { stream.write(bytes, waiter) }
                }
            }
        } onCancel: {
            // What was queued is still sent: half a message would garble the stream for the next writer.
            engine.post { _ in waiter.cancel() }
        }
    }

    func closeWriting() async {
        engine.post { [stream] _ in stream.endWriting() }
    }

    func close() async {
        engine.post { [stream] engine in
            if engine.end == nil { stream.close(engine) }
        }
    }

    func diagnostics() async -> String {
        await withCheckedContinuation { continuation in
            engine.post { [stream] _ in continuation.resume(returning: stream.diagnostics) }
        }
    }
}
