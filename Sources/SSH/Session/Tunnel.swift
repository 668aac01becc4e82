internal import BlockingIO
internal import CLibSSH2
internal import Glibc
internal import RunCore
internal import Synchronization

/// A listening unix socket in a private folder. Only touched on the session's thread, but for `failure`.
final class TunnelListener: @unchecked Sendable {
    let endpoint: TunnelEndpoint
    private let folder: TunnelFolder
    var directory: String { folder.path }
    let path: String
    private(set) var descriptor: Int32
    let failure = Mutex<String?>(nil)

    /// - Parameter name: the socket's name in the new folder.
    init(endpoint: TunnelEndpoint, name: String) throws {
        self.endpoint = endpoint
        folder = try TunnelFolder()
        path = folder.path + "/" + name
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard descriptor >= 0, bound == 0, listen(descriptor, 64) == 0 else {
            let number = errno
            close()
            throw SystemCallFailed("listening on \(path)", errno: number)
        }
    }

    deinit { close() }

    func close() {
        guard descriptor >= 0 else { return }
        Glibc.close(descriptor)
        descriptor = -1
        folder.remove()
    }

    func accept(_ engine: SessionEngine) {
        while descriptor >= 0 {
            let connection = Glibc.accept(descriptor, nil, nil)
            guard connection >= 0 else { return }
            _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
            _ = fcntl(connection, F_SETFL, O_NONBLOCK)
            TunnelConnection(descriptor: connection, endpoint: endpoint, listener: self).start(engine)
        }
    }
}

/// Carries bytes between a local socket and a channel until both directions have ended.
///
/// `@unchecked Sendable`: touched only on the session's thread.
final class TunnelConnection: Pump, @unchecked Sendable {
    let listener: TunnelListener?
    private let endpoint: TunnelEndpoint
    private let descriptor: Int32
    private var handle: OpaquePointer?
    private let toHost = ByteQueue(capacity: 256 * 1024)
    private let toLocal = ByteQueue(capacity: 256 * 1024)
    private var localReadable = true
    private var localWritable = true
    private var localEnded = false
    private var endSent = false
    private var remoteEnded = false
    private var endDelivered = false
    private var isCut = false
    private var errorTail: [UInt8] = []
    /// What the host says before a command begins; nil for endpoints where no shell speaks first.
    private var preamble: (output: Preamble, errors: Preamble, deadline: Deadline)?
    private(set) var isFinished = false
    var deadline: Deadline? { preamble.flatMap { $0.output.isOver ? nil : $0.deadline } }

    /// Takes over `descriptor`, which must be non-blocking.
    init(descriptor: Int32, endpoint: TunnelEndpoint, listener: TunnelListener?) {
        self.descriptor = descriptor
        self.endpoint = endpoint
        self.listener = listener
    }

    deinit { close(descriptor) }

    func start(_ engine: SessionEngine) {
        var opened = endpoint
        if case .command(let command) = endpoint {
            let nonce = randomName()
            opened = .command(Preamble.marked(command, nonce: nonce))
            preamble = (Preamble(nonce: nonce), Preamble(nonce: nonce), Deadline(after: engine.target.connectTimeout))
        }
        engine.begin(ChannelOpening(endpoint: opened) { [self] engine, result in
            switch result {
            case .success(let handle):
                self.handle = handle
                engine.add(self)
            case .failure(let error):
                note("\(error)")
                isFinished = true
                shutdown(descriptor, Int32(SHUT_RDWR))
            }
        })
    }

    private func note(_ failure: String) {
        listener?.failure.withLock { $0 = failure }
    }

    func cut() { isCut = true }

    var interest: pollfd {
        var events: Int16 = 0
        if !localEnded, toHost.isEmpty, !localReadable { events |= Int16(POLLIN) }
        if !toLocal.isEmpty, !localWritable { events |= Int16(POLLOUT) }
        return pollfd(fd: events == 0 ? -1 : descriptor, events: events, revents: 0)
    }

    func ready(_ events: Int16) {
        if events & Int16(POLLIN | POLLHUP | POLLERR) != 0 { localReadable = true }
        if events & Int16(POLLOUT | POLLHUP | POLLERR) != 0 { localWritable = true }
    }

    func step(_ engine: SessionEngine) -> Bool {
        guard !isFinished, let handle else { return false }
        if isCut {
            finish(engine)
            return true
        }
        var progressed = moveToHost(handle, engine)
        if !isFinished { progressed = moveToLocal(handle, engine) || progressed }
        if !isFinished, remoteEnded, toLocal.isEmpty, endDelivered, localEnded || libssh2_channel_eof(handle) != 0 {
            if isSpeechless {
                giveUp("ended before the command began", engine)
            } else {
                if !errorTail.isEmpty { note(printable(errorTail)) }
                finish(engine)
            }
        }
        return progressed
    }

    /// The command has not begun: whatever came is its shell's.
    private var isSpeechless: Bool { preamble?.output.isOver == false }

    private func giveUp(_ what: String, _ engine: SessionEngine) {
        let noise = preamble.map { $0.errors.noise.suffix(300) + $0.output.noise.suffix(300) } ?? []
        let said = printable(Array(noise))
        note("the login shell on \(engine.target.name) \(what)" + (said.isEmpty ? "" : "; it said: \(said)"))
        finish(engine)
    }

    private func moveToHost(_ handle: OpaquePointer, _ engine: SessionEngine) -> Bool {
        var progressed = false
        if !localEnded, localReadable, toHost.isEmpty {
            var count = 0
            _ = toHost.fill { free in
                count = read(descriptor, free.baseAddress!, free.count)
                return max(count, 0)
            }
            if count > 0 {
                progressed = true
            } else if count == 0 || errno != EAGAIN && errno != EINTR {
                localEnded = true
                progressed = true
            } else {
                localReadable = false
            }
        }
        while !toHost.isEmpty, engine.socket.unsentBytes < 1 << 20 {
            let count = toHost.drain { libssh2_channel_write_ex(handle, 0, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count) }
            if count == 0 || count == Int(LIBSSH2_ERROR_EAGAIN) { break }
            guard count > 0 else {
                note("\(engine.failure(Int32(count), "sending through a tunnel"))")
                finish(engine)
                return true
            }
            progressed = true
        }
        if localEnded, toHost.isEmpty, !endSent, libssh2_channel_send_eof(handle) != LIBSSH2_ERROR_EAGAIN { endSent = true }
        return progressed
    }

    private func moveToLocal(_ handle: OpaquePointer, _ engine: SessionEngine) -> Bool {
        var progressed = false
        var code = 0
        if !remoteEnded, toLocal.room > 0 {
            let count = toLocal.fill { free in
                code = libssh2_channel_read_ex(handle, 0, free.baseAddress!.assumingMemoryBound(to: CChar.self), free.count)
                guard code > 0, isSpeechless, let rest = preamble?.output.strip(free.prefix(code)) else { return max(code, 0) }
                free.copyBytes(from: rest)
                return rest.count
            }
            progressed = count > 0 || code > 0
            readErrors(handle)
            if preamble?.output.isTooLong == true {
                giveUp("printed \(Preamble.limit / 1024) KiB before the command began; its start-up files must be quiet", engine)
                return true
            }
            if code <= 0 {
                if code < 0, code != Int(LIBSSH2_ERROR_EAGAIN) {
                    note("\(engine.failure(Int32(code), "receiving through a tunnel"))")
                    finish(engine)
                    return true
                }
                if libssh2_channel_eof(handle) != 0 {
                    remoteEnded = true
                    progressed = true
                }
            }
        }
        while !toLocal.isEmpty, localWritable {
            let count = toLocal.drain { send(descriptor, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL)) }
            if count > 0 {
                progressed = true
            } else if count < 0, errno == EAGAIN {
                localWritable = false
            } else if count < 0, errno != EINTR {
                finish(engine)
                return true
            }
        }
        if remoteEnded, toLocal.isEmpty, !endDelivered {
            shutdown(descriptor, Int32(SHUT_WR))
            endDelivered = true
        }
        return progressed
    }

    private func readErrors(_ handle: OpaquePointer) {
        guard case .command = endpoint else { return }
        var buffer = [CChar](repeating: 0, count: 1024)
        let count = libssh2_channel_read_ex(handle, SSH_EXTENDED_DATA_STDERR, &buffer, buffer.count)
        guard count > 0, let said = preamble?.errors.strip(buffer.prefix(count).map({ UInt8(bitPattern: $0) })) else { return }
        errorTail = (errorTail + said).suffix(1024)
    }

    private func finish(_ engine: SessionEngine) {
        guard !isFinished else { return }
        isFinished = true
        shutdown(descriptor, Int32(SHUT_RDWR))
        if let handle { engine.release(handle) }
        handle = nil
    }

    func checkDeadline(_ engine: SessionEngine) {
        guard !isFinished, deadline?.hasPassed == true else { return }
        giveUp("did not begin the command in time; its start-up files must come to an end", engine)
    }

    func fail(_ error: any Error, _ engine: SessionEngine) {
        note("\(error)")
        isFinished = true
        handle = nil
        shutdown(descriptor, Int32(SHUT_RDWR))
    }
}

/// Opens a channel to an endpoint; for a command, also starts it.
final class ChannelOpening: Operation {
    private let endpoint: TunnelEndpoint
    private let completion: (SessionEngine, Result<OpaquePointer, any Error>) -> Void
    private var handle: OpaquePointer?
    let isExclusive = true
    let isAbandoned = false
    let deadline: Deadline? = nil

    init(endpoint: TunnelEndpoint, completion: @escaping (SessionEngine, Result<OpaquePointer, any Error>) -> Void) {
        self.endpoint = endpoint
        self.completion = completion
    }

    func step(_ engine: SessionEngine) -> Bool {
        do {
            guard let handle = try handle ?? openChannel(to: endpoint, engine) else { return false }
            self.handle = handle
            if case .command(let command) = endpoint, try !startCommand(command, handle, engine) { return false }
            completion(engine, .success(handle))
        } catch {
            if let handle { engine.release(handle) }
            completion(engine, .failure(error))
        }
        return true
    }

    func checkDeadline(_ engine: SessionEngine) {}
    func fail(_ error: any Error, _ engine: SessionEngine) { completion(engine, .failure(error)) }
}

private let windowBytes = UInt32(4 << 20)
private let packetBytes = UInt32(32768)

/// - Returns: nil while the answer is awaited.
func openChannel(to endpoint: TunnelEndpoint, _ engine: SessionEngine) throws -> OpaquePointer? {
    let handle: OpaquePointer?
    switch endpoint {
    case .command:
        handle = libssh2_channel_open_ex(engine.session, "session", 7, windowBytes, packetBytes, nil, 0)
    case .unixSocket(let path):
        // OpenSSH's PROTOCOL, section 2.4: socket path, reserved string, reserved number.
        let name = "direct-streamlocal@openssh.com"
        let length = UInt32(path.utf8.count)
        let message = withUnsafeBytes(of: length.bigEndian, Array.init) + Array(path.utf8) + [0, 0, 0, 0, 0, 0, 0, 0]
        handle = message.withUnsafeBytes {
            libssh2_channel_open_ex(
                engine.session, name, UInt32(name.utf8.count), windowBytes, packetBytes,
                $0.baseAddress!.assumingMemoryBound(to: CChar.self), UInt32($0.count))
        }
    case .tcp(let host, let port):
        handle = libssh2_channel_direct_tcpip_ex(engine.session, host, Int32(port), "127.0.0.1", 22)
    }
    if let handle { return handle }
    let code = libssh2_session_last_errno(engine.session)
    if code == LIBSSH2_ERROR_EAGAIN { return nil }
    let what =
        switch endpoint {
        case .command: "opening a channel"
        case .unixSocket(let path): "opening a tunnel to the socket \(path)"
        case .tcp(let host, let port): "opening a tunnel to \(host):\(port)"
        }
    throw engine.failure(code, what)
}

/// - Returns: false while the answer is awaited.
func startCommand(_ command: String, _ handle: OpaquePointer, _ engine: SessionEngine) throws -> Bool {
    let code = libssh2_channel_process_startup(handle, "exec", 4, command, UInt32(command.utf8.count))
    if code == LIBSSH2_ERROR_EAGAIN { return false }
    if code != 0 { throw engine.failure(code, "starting a command") }
    return true
}
