internal import BlockingIO
internal import CLibSSH2
internal import Glibc
internal import RunCore
internal import Synchronization

/// Serves all channels of one session on one thread: nothing in a libssh2 session may be touched by two.
///
/// Every libssh2 call is non-blocking. Each round offers every operation, channel and tunnel connection a bounded piece of
/// work, so that none monopolises the thread; when none can go on, the thread waits in `poll` for the session's socket, the
/// tunnels' sockets, or new work from other threads.
///
/// `@unchecked Sendable`: `inbox` is locked; everything else is touched only by `loop()` and what it calls, on one thread.
final class SessionEngine: @unchecked Sendable {
    let target: SSHTarget
    let session: OpaquePointer
    let socket: SessionSocket

    private struct Inbox {
        var work: [@Sendable (SessionEngine) -> Void] = []
        var end: (any Error)?
    }
    private let inbox = Mutex(Inbox())
    private let wakeup: Int32
    private let wakeupWriter: Int32

    private var operations: [any Operation] = []
    private var pumps: [any Pump] = []
    private var listeners: [TunnelListener] = []
    private(set) var end: (any Error)?
    private var lastKeepalive = ContinuousClock.now

    init(target: SSHTarget, session: OpaquePointer, socket: SessionSocket) {
        self.target = target
        self.session = session
        self.socket = socket
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "the process has no file descriptors left")
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        (wakeup, wakeupWriter) = (ends[0], ends[1])
    }

    deinit {
        close(wakeup)
        close(wakeupWriter)
    }

    // MARK: From any thread

    /// Runs `work` on the session's thread; after the session's end it runs at once on the caller's, with `end` set.
    func post(_ work: @escaping @Sendable (SessionEngine) -> Void) {
        let accepted = inbox.withLock { inbox in
            if inbox.end == nil { inbox.work.append(work) }
            return inbox.end == nil
        }
        if accepted { wake() } else { work(self) }
    }

    /// Why the session ended, or nil while it lives.
    var ending: (any Error)? { inbox.withLock { $0.end } }

    /// Ends the session; everything under way fails with `error`.
    func stop(_ error: any Error) {
        post { $0.finish(error) }
    }

    private func wake() {
        // A full pipe wakes as well.
        var byte: UInt8 = 1
        _ = write(wakeupWriter, &byte, 1)
    }

    /// Repeats `body` on the session's thread until it returns a value.
    ///
    /// - Parameter exclusive: for calls whose progress libssh2 keeps in the session rather than in a channel (opening a
    ///   channel, SFTP): they run one after the other, and one that its caller has given up is still finished, because the next one
    ///   would otherwise pick up its state.
    /// - Parameter dispose: gets the value if the caller has given up meanwhile.
    func perform<Value: Sendable>(
        _ what: String, deadline: Deadline?, exclusive: Bool = false,
        dispose: @escaping @Sendable (SessionEngine, Value) -> Void = { _, _ in },
        _ body: @escaping @Sendable (SessionEngine) throws -> Value?
    ) async throws -> Value {
        let operation = PendingOperation(what: what, deadline: deadline, isExclusive: exclusive, dispose: dispose, body: body)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                post { engine in
                    operation.wait(continuation)
                    engine.begin(operation)
                }
            }
        } onCancel: {
            post { operation.giveUp(CancellationError(), $0) }
        }
    }

    // MARK: On the session's thread

    func begin(_ operation: any Operation) {
        if let end { return operation.fail(end, self) }
        operations.append(operation)
    }

    func add(_ pump: any Pump) {
        if let end { return pump.fail(end, self) }
        pumps.append(pump)
    }

    func add(_ listener: TunnelListener) {
        if end != nil { return listener.close() }
        listeners.append(listener)
    }

    func remove(_ listener: TunnelListener) {
        listener.close()
        listeners.removeAll { $0 === listener }
        for case let connection as TunnelConnection in pumps where connection.listener === listener { connection.cut() }
    }

    /// Frees a channel in the background; the other side may take its time.
    func release(_ handle: OpaquePointer) {
        guard end == nil else { return }
        operations.append(ChannelRelease(handle: handle))
    }

    /// The error for a failed libssh2 call; ends the session where the connection is gone.
    func failure(_ code: Int32, _ what: String) -> any Error {
        let fatal = [
            LIBSSH2_ERROR_SOCKET_SEND, LIBSSH2_ERROR_SOCKET_DISCONNECT, LIBSSH2_ERROR_SOCKET_RECV, LIBSSH2_ERROR_TIMEOUT,
            LIBSSH2_ERROR_SOCKET_TIMEOUT, LIBSSH2_ERROR_DECRYPT, LIBSSH2_ERROR_INVALID_MAC, LIBSSH2_ERROR_PROTO,
            LIBSSH2_ERROR_BAD_SOCKET, LIBSSH2_ERROR_BAD_USE, LIBSSH2_ERROR_ENCRYPT,
        ]
        let detail = socket.ended ? socket.failureText : lastError()
        if socket.ended || fatal.contains(code) {
            let error = SSHError.channelCut(target, what, detail)
            pendingEnd = error
            return error
        }
        return SSHError("channel-failed", "\(what) failed on \(target.name): \(detail)", exitStatus: .failed)
    }

    private var pendingEnd: (any Error)?

    func lastError() -> String {
        var text: UnsafeMutablePointer<CChar>?
        var length: Int32 = 0
        libssh2_session_last_error(session, &text, &length, 0)
        guard let text, length > 0 else { return "no reason given" }
        return printable(UnsafeRawBufferPointer(start: text, count: Int(length)))
    }

    /// Runs until the session ends. Everything that waits has been answered when it returns.
    func loop() {
        libssh2_keepalive_config(session, 1, 1)
        while end == nil {
            let work = inbox.withLock { inbox in
                let work = inbox.work
                inbox.work = []
                return work
            }
            for item in work { item(self) }
            guard end == nil else { break }
            let isBusy = runRounds()
            socket.flush()
            if let pendingEnd { finish(pendingEnd) } else { checkTime() }
            if end == nil { wait(busy: isBusy) }
        }
    }

    /// - Returns: whether something could go on at once.
    private func runRounds() -> Bool {
        for _ in 0..<8 {
            var progressed = false
            progressed = stepOperations() || progressed
            for pump in pumps where pendingEnd == nil { progressed = pump.step(self) || progressed }
            pumps.removeAll { $0.isFinished }
            socket.flush()
            progressed = socket.takeIn() || progressed
            if socket.ended, !progressed, pendingEnd == nil {
                pendingEnd = SSHError.channelCut(target, "it was open", socket.failureText)
            }
            if !progressed || pendingEnd != nil { return false }
        }
        return true
    }

    private func stepOperations() -> Bool {
        var progressed = false
        var exclusiveIsBusy = false
        var index = 0
        while index < operations.count, pendingEnd == nil {
            let operation = operations[index]
            if operation.isExclusive, exclusiveIsBusy {
                index += 1
                continue
            }
            if operation.step(self) {
                progressed = true
                // A step may have appended to the list, never removed from it.
                operations.remove(at: index)
            } else {
                if operation.isExclusive { exclusiveIsBusy = true }
                index += 1
            }
        }
        return progressed
    }

    private func checkTime() {
        for operation in operations { operation.checkDeadline(self) }
        operations.removeAll { $0.isAbandoned && !$0.isExclusive }
        for pump in pumps { pump.checkDeadline(self) }
        let silence = socket.lastHeard.duration(to: .now)
        if silence > target.deadPeerTimeout {
            finish(SSHError.peerSilent(target))
        } else if silence > target.keepaliveInterval, lastKeepalive.duration(to: .now) > target.keepaliveInterval {
            var next: Int32 = 0
            _ = libssh2_keepalive_send(session, &next)
            lastKeepalive = .now
            socket.flush()
        }
    }

    private func wait(busy: Bool) {
        var entries = [
            pollfd(fd: wakeup, events: Int16(POLLIN), revents: 0),
            pollfd(
                fd: socket.descriptor, events: (socket.wantsInput ? Int16(POLLIN) : 0) | (socket.unsentBytes > 0 ? Int16(POLLOUT) : 0),
                revents: 0),
        ]
        for listener in listeners { entries.append(pollfd(fd: listener.descriptor, events: Int16(POLLIN), revents: 0)) }
        let firstPump = entries.count
        for pump in pumps { entries.append(pump.interest) }
        guard poll(&entries, nfds_t(entries.count), busy ? 0 : timeoutMilliseconds()) > 0 else { return }
        if entries[0].revents != 0 {
            var bytes = [UInt8](repeating: 0, count: 512)
            _ = read(wakeup, &bytes, bytes.count)
        }
        if entries[1].revents & ~Int16(POLLOUT) != 0 { socket.inputIsReady() }
        for (listener, entry) in zip(listeners, entries[2...]) where entry.revents != 0 { listener.accept(self) }
        for (pump, entry) in zip(pumps, entries[firstPump...]) where entry.revents != 0 { pump.ready(entry.revents) }
    }

    private func timeoutMilliseconds() -> Int32 {
        // Keepalives and deadlines; a coarse tick is enough for both where nothing is nearer.
        var result = Int32(1000)
        for operation in operations { if let deadline = operation.deadline { result = min(result, deadline.remainingMilliseconds) } }
        for pump in pumps { if let deadline = pump.deadline { result = min(result, deadline.remainingMilliseconds) } }
        return max(result, 1)
    }

    private func finish(_ error: any Error) {
        guard end == nil else { return }
        end = error
        let late = inbox.withLock { inbox in
            inbox.end = error
            let work = inbox.work
            inbox.work = []
            return work
        }
        for operation in operations { operation.fail(error, self) }
        for pump in pumps { pump.fail(error, self) }
        for listener in listeners { listener.close() }
        (operations, pumps, listeners) = ([], [], [])
        for item in late { item(self) }
        libssh2_session_disconnect_ex(session, SSH_DISCONNECT_BY_APPLICATION, "", "")
        socket.flush()
        socket.abandon()
        while libssh2_session_free(session) == LIBSSH2_ERROR_EAGAIN {}
    }
}

/// Something that is repeated until done.
protocol Operation: AnyObject {
    var isExclusive: Bool { get }
    /// The caller waits no longer.
    var isAbandoned: Bool { get }
    var deadline: Deadline? { get }
    /// - Returns: true once it is done, whether it succeeded or failed.
    func step(_ engine: SessionEngine) -> Bool
    func checkDeadline(_ engine: SessionEngine)
    func fail(_ error: any Error, _ engine: SessionEngine)
}

/// Something that moves bytes for as long as it lives.
protocol Pump: AnyObject {
    var isFinished: Bool { get }
    var deadline: Deadline? { get }
    /// What `poll` watches for it; descriptor -1 for nothing.
    var interest: pollfd { get }
    func ready(_ events: Int16)
    /// - Returns: whether anything moved.
    func step(_ engine: SessionEngine) -> Bool
    func checkDeadline(_ engine: SessionEngine)
    func fail(_ error: any Error, _ engine: SessionEngine)
}

/// One call of `perform`. `@unchecked Sendable`: `answering` is locked, because after the session's end callers answer on threads of
/// their own; everything else is touched only on the session's thread, before its end.
private final class PendingOperation<Value: Sendable>: Operation, @unchecked Sendable {
    let what: String
    let deadline: Deadline?
    let isExclusive: Bool
    private let dispose: @Sendable (SessionEngine, Value) -> Void
    private let body: @Sendable (SessionEngine) throws -> Value?
    private struct Answering {
        var continuation: CheckedContinuation<Value, any Error>?
        var givenUp: (any Error)?
        var isAnswered = false
    }
    private let answering = Mutex(Answering())

    init(
        what: String, deadline: Deadline?, isExclusive: Bool, dispose: @escaping @Sendable (SessionEngine, Value) -> Void,
        body: @escaping @Sendable (SessionEngine) throws -> Value?
    ) {
        self.what = what
        self.deadline = deadline
        self.isExclusive = isExclusive
        self.dispose = dispose
        self.body = body
    }

    var isAbandoned: Bool { isAnswered }
    private var isAnswered: Bool { answering.withLock { $0.isAnswered } }

    /// The caller waits now; one that gave up before is answered at once.
    func wait(_ continuation: CheckedContinuation<Value, any Error>) {
        let givenUp = answering.withLock { state in
            state.continuation = continuation
            return state.givenUp
        }
        if let givenUp { answer(.failure(givenUp)) }
    }

    private func answer(_ result: Result<Value, any Error>) {
        let continuation = answering.withLock { state in
            defer { state.continuation = nil }
            if state.continuation != nil { state.isAnswered = true }
            return state.continuation
        }
        continuation?.resume(with: result)
    }

    func step(_ engine: SessionEngine) -> Bool {
        // Given up before it began: there is no state of libssh2's to finish.
        if isAnswered, !hasBegun { return true }
        hasBegun = true
        do {
            guard let value = try body(engine) else { return false }
            if isAnswered { dispose(engine, value) } else { answer(.success(value)) }
        } catch {
            answer(.failure(error))
        }
        return true
    }

    private var hasBegun = false

    func checkDeadline(_ engine: SessionEngine) {
        if let deadline, deadline.hasPassed, !isAnswered {
            answer(.failure(DeadlineExceeded("\(what) on \(engine.target.name)")))
        }
    }

    func giveUp(_ error: any Error, _ engine: SessionEngine) {
        answering.withLock { $0.givenUp = error }
        answer(.failure(error))
    }

    func fail(_ error: any Error, _ engine: SessionEngine) { answer(.failure(error)) }
}

private final class ChannelRelease: Operation {
    let handle: OpaquePointer
    let isExclusive = false
    let isAbandoned = false
    let deadline: Deadline? = nil

    init(handle: OpaquePointer) { self.handle = handle }

    func step(_ engine: SessionEngine) -> Bool { libssh2_channel_free(handle) != LIBSSH2_ERROR_EAGAIN }
    func checkDeadline(_ engine: SessionEngine) {}
    func fail(_ error: any Error, _ engine: SessionEngine) {}
}
