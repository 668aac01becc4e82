internal import BlockingIO
internal import CLibSSH2
internal import Glibc
internal import RunCore

/// One framed command, from its input to its status.
///
/// `@unchecked Sendable`: touched only on the session's thread.
final class ExecRun: Pump, @unchecked Sendable {
    private let handle: OpaquePointer
    private let stdin: [UInt8]
    private let waiter: Waiter<ExecResult>
    private var stdout: ExecFraming.Stream
    private var stderr: ExecFraming.Stream
    private var written = 0
    private var endSent = false
    private var buffer = [UInt8](repeating: 0, count: 64 * 1024)
    private(set) var isFinished = false

    init(handle: OpaquePointer, framing: ExecFraming, stdin: [UInt8], limit: Int, waiter: Waiter<ExecResult>) {
        self.handle = handle
        self.stdin = stdin
        self.waiter = waiter
        stdout = framing.stream(limit: limit)
        stderr = framing.stream(limit: limit)
    }

    var deadline: Deadline? { waiter.deadline }
    var interest: pollfd { pollfd(fd: -1, events: 0, revents: 0) }
    func ready(_ events: Int16) {}

    func step(_ engine: SessionEngine) -> Bool {
        guard !isFinished else { return false }
        var progressed = writeInput(engine)
        for isError in [false, true] where !isFinished { progressed = readOutput(isError, engine) || progressed }
        guard !isFinished else { return true }
        if let status = stdout.status, stderr.status != nil {
            waiter.resume(
                .success(
                    ExecResult(
                        status: status, stdout: stdout.kept, stderr: stderr.kept, stdoutBytes: stdout.totalBytes,
                        stderrBytes: stderr.totalBytes)))
            finish(engine)
        } else if !progressed, libssh2_channel_eof(handle) != 0 {
            let said = printable(stderr.noise + stdout.noise)
            abort(
                SSHError(
                    "status-unknown",
                    "a command on \(engine.target.name) ended without its status: the channel was closed"
                        + (said.isEmpty ? "" : "; the host said: \(said)"),
                    hints: ["the login shell, a forced command or the server's ChannelTimeout may have ended it"], transient: true),
                engine)
        }
        return progressed
    }

    private func readOutput(_ isError: Bool, _ engine: SessionEngine) -> Bool {
        let count = buffer.withUnsafeMutableBytes {
            libssh2_channel_read_ex(
                handle, isError ? SSH_EXTENDED_DATA_STDERR : 0, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        if count > 0 {
            if isError { stderr.append(Array(buffer[..<count])) } else { stdout.append(Array(buffer[..<count])) }
            return true
        }
        if count < 0, count != Int(LIBSSH2_ERROR_EAGAIN) { abort(engine.failure(Int32(count), "running a command"), engine) }
        return false
    }

    private func writeInput(_ engine: SessionEngine) -> Bool {
        var progressed = false
        while written < stdin.count, engine.socket.unsentBytes < 1 << 20 {
            let count = stdin.withUnsafeBytes {
                libssh2_channel_write_ex(
                    handle, 0, $0.baseAddress!.assumingMemoryBound(to: CChar.self).advanced(by: written), $0.count - written)
            }
            if count == 0 || count == Int(LIBSSH2_ERROR_EAGAIN) { return progressed }
            if count < 0 {
                // A command may end without reading its input; its output and status still count.
                written = stdin.count
                return true
            }
            written += count
            progressed = true
        }
        if !endSent, written == stdin.count, libssh2_channel_send_eof(handle) != LIBSSH2_ERROR_EAGAIN { endSent = true }
        return progressed
    }

    func cancel(_ engine: SessionEngine) { abort(CancellationError(), engine) }

    func checkDeadline(_ engine: SessionEngine) {
        if waiter.hasPassed { abort(DeadlineExceeded("a command on \(engine.target.name)"), engine) }
    }

    private func abort(_ error: any Error, _ engine: SessionEngine) {
        waiter.resume(.failure(error))
        finish(engine)
    }

    private func finish(_ engine: SessionEngine) {
        guard !isFinished else { return }
        isFinished = true
        engine.release(handle)
    }

    func fail(_ error: any Error, _ engine: SessionEngine) {
        isFinished = true
        waiter.resume(.failure(error))
    }
}
