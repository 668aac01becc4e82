package import BlockingIO
internal import CLibSSH2
internal import Glibc
internal import RunCore
internal import Synchronization

/// One authenticated connection to a host, serving any number of commands, channels, files and tunnels side by side.
///
/// libssh2 runs on one thread of its own (`SessionEngine`); the methods hand it work and wait. A lost connection fails what
/// was under way with a transient error; connecting again is the caller's business.
package actor SSHSession: RemoteHost {
    package nonisolated let target: SSHTarget
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    package nonisolated let hostKeyFingerprint: String
    /// Such as `ssh-ed25519`.
    package nonisolated let hostKeyType: String
    package nonisolated var hostName: String { target.name }
    private nonisolated let engine: SessionEngine
    private nonisolated let sftp: SFTP
    /// The session that carries this one, kept open as long.
    private let carrier: SSHSession?

    private init(target: SSHTarget, key: HostKey, engine: SessionEngine, carrier: SSHSession?) {
        self.target = target
        hostKeyFingerprint = key.fingerprint
        hostKeyType = key.type
        self.engine = engine
        self.carrier = carrier
        sftp = SFTP(engine: engine)
    }

    deinit { engine.stop(CancellationError()) }

    /// Dials, checks the host key against known_hosts and authenticates, within the target's `connectTimeout` and `deadline`.
    package static func connect(to target: SSHTarget, deadline: Deadline) async throws -> SSHSession {
        var carrier: SSHSession?
        var hops = target.jump
        do {
            for hop in hops { carrier = try await connect(to: plain(hop), through: carrier, deadline: deadline) }
            hops = []
            return try await connect(to: target, through: carrier, deadline: deadline)
        } catch {
            await carrier?.close()
            throw error
        }
    }

    /// A hop's own hops are already in the list.
    private static func plain(_ hop: SSHTarget) -> SSHTarget {
        var hop = hop
        hop.jump = []
        return hop
    }

    private static func connect(to target: SSHTarget, through carrier: SSHSession?, deadline: Deadline) async throws -> SSHSession {
        let deadline = deadline.earlier(of: Deadline(after: target.connectTimeout))
        let carried = try carrier.map { try $0.socketPair(to: .tcp(host: target.host, port: target.port)) }
        let thread = DedicatedThread(name: "ssh \(target.name)")
        let (engine, key) = try await withInterrupt { interrupt in
            try await thread.run {
                let knownHosts = try KnownHosts(of: target)
                let socket = SessionSocket(descriptor: try carried ?? connectTCP(to: target, deadline: deadline, interrupt: interrupt))
                let session = try Handshake.makeSession(socket)
                do {
                    let handshake = Handshake(target: target, session: session, socket: socket, deadline: deadline, interrupt: interrupt)
                    let key = try handshake.run(knownHosts: knownHosts)
                    return (SessionEngine(target: target, session: session, socket: socket), key)
                } catch {
                    socket.flush()
                    socket.abandon()
                    while libssh2_session_free(session) == LIBSSH2_ERROR_EAGAIN {}
                    throw error
                }
            }
        }
        // The loop keeps the thread until the session ends; nobody waits for it.
        Task.detached { try? await thread.run { engine.loop() } }
        return SSHSession(target: target, key: key, engine: engine, carrier: carrier)
    }

    /// One end of a socket pair whose other end leads to `endpoint`.
    private nonisolated func socketPair(to endpoint: TunnelEndpoint) throws -> Int32 {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0 else {
            throw SystemCallFailed("socketpair", errno: errno)
        }
        let connection = TunnelConnection(descriptor: ends[1], endpoint: endpoint, listener: nil)
        engine.post { connection.start($0) }
        return ends[0]
    }

    /// Why the session ended, or nil while it is alive as far as is known.
    package nonisolated var failure: (any Error)? { engine.ending }

    /// A machine that shows another key, behind the same address, is not the same host, even where known_hosts holds both.
    package func another(deadline: Deadline) async throws -> any RemoteHost {
        let other = try await SSHSession.connect(to: target, deadline: deadline)
        guard other.hostKeyFingerprint == hostKeyFingerprint else {
            await other.close()
            throw SSHError("host-changed", "\(target.name) answered with another host key than a moment ago", exitStatus: .failed)
        }
        return other
    }

    package func close() async {
        engine.stop(SSHError("session-closed", "the session to \(target.name) was closed here", exitStatus: .failed))
        await carrier?.close()
    }

    package nonisolated func run(
        _ command: String, stdin: [UInt8] = [], outputLimit: Int = 1 << 20, deadline: Deadline
    ) async throws -> ExecResult {
        let framing = ExecFraming(command: command, nonce: randomName())
        let handle = try await open(.command(framing.command), "starting a command", deadline)
        let waiter = Waiter<ExecResult>(nil, deadline: deadline)
        let run = ExecRun(handle: handle.pointer, framing: framing, stdin: stdin, limit: outputLimit, waiter: waiter)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                engine.post { engine in
                    waiter.arm(continuation)
                    if waiter.wasCancelled { engine.release(handle.pointer) } else { engine.add(run) }
                }
            }
        } onCancel: {
            engine.post { engine in
                waiter.cancel()
                if engine.end == nil { run.cancel(engine) }
            }
        }
    }

    package nonisolated func openChannel(command: String, deadline: Deadline) async throws -> any ByteChannel {
        let handle = try await open(.command("exec sh -c \(shellQuoted(command))"), "starting a command", deadline)
        let stream = ChannelStream(handle: handle.pointer, what: "a channel")
        engine.post { $0.add(stream) }
        return SSHChannel(engine: engine, stream: stream)
    }

    private nonisolated func open(_ endpoint: TunnelEndpoint, _ what: String, _ deadline: Deadline) async throws -> ChannelHandle {
        let progress = OpeningProgress()
        return try await engine.perform(
            what, deadline: deadline, exclusive: true, dispose: { engine, handle in engine.release(handle.pointer) }
        ) { engine in
            guard let handle = try progress.handle ?? SSH.openChannel(to: endpoint, engine) else { return nil }
            progress.handle = handle
            do {
                if case .command(let command) = endpoint, try !startCommand(command, handle, engine) { return nil }
            } catch {
                engine.release(handle)
                throw error
            }
            return ChannelHandle(pointer: handle)
        }
    }

    package nonisolated func tunnel(to endpoint: TunnelEndpoint, postgresPort: Int?) async throws -> LocalTunnel {
        let listener = try TunnelListener(endpoint: endpoint, name: postgresPort.map { ".s.PGSQL.\($0)" } ?? "socket")
        if let ending = engine.ending {
            listener.close()
            throw ending
        }
        engine.post { $0.add(listener) }
        return LocalTunnel(
            directory: listener.directory, socketPath: listener.path, postgresPort: postgresPort,
            closing: { [engine] in
                await withCheckedContinuation { continuation in
                    engine.post { engine in
                        if engine.end == nil { engine.remove(listener) }
                        continuation.resume()
                    }
                }
            }, failure: { listener.failure.withLock { $0 } })
    }

    package nonisolated func upload(_ bytes: [UInt8], to path: String, mode: Int, deadline: Deadline) async throws {
        let temporary = "\(path).\(randomName())"
        let file = try await sftp.open(temporary, write: true, mode: 0o600, deadline: deadline)
        do {
            try await sftp.write(bytes, to: file, temporary, deadline: deadline)
            try await sftp.sync(file, temporary, deadline: deadline)
            try await sftp.close(file, deadline: deadline)
            // SFTP's own rename refuses to replace; mv and sync(1) of the folder make it atomic and durable.
            let command = """
                t=\(shellQuoted(temporary)); p=\(shellQuoted(path)); case $t in /*) ;; *) t=./$t; p=./$p;; esac
                chmod \(String(mode, radix: 8)) -- "$t" && mv -fT -- "$t" "$p" && sync -- "${p%/*}/"
                """
            let result = try await run(command, outputLimit: 4096, deadline: deadline)
            guard result.status == 0 else {
                throw SSHError(
                    "upload-failed", "\(path) on \(target.name) cannot be put in place: \(printable(result.stderr))", exitStatus: .failed)
            }
        } catch {
            if engine.ending == nil {
                try? await sftp.close(file, deadline: Deadline(after: .seconds(5)))
                try? await sftp.remove(temporary, deadline: Deadline(after: .seconds(5)))
            }
            throw error
        }
    }

    package nonisolated func download(_ path: String, limit: Int, deadline: Deadline) async throws -> [UInt8] {
        let file = try await sftp.open(path, write: false, mode: 0, deadline: deadline)
        do {
            let bytes = try await sftp.read(file, path, limit: limit, deadline: deadline)
            try await sftp.close(file, deadline: deadline)
            guard bytes.count <= limit else {
                throw SSHError("file-too-large", "\(path) on \(target.name) is longer than \(limit) bytes", exitStatus: .failed)
            }
            return bytes
        } catch {
            if engine.ending == nil { try? await sftp.close(file, deadline: Deadline(after: .seconds(5))) }
            throw error
        }
    }
}

/// `@unchecked Sendable`: the pointer is used only on the session's thread.
private struct ChannelHandle: @unchecked Sendable { let pointer: OpaquePointer }

/// `@unchecked Sendable`: touched only on the session's thread.
private final class OpeningProgress: @unchecked Sendable { var handle: OpaquePointer? }

/// 32 hexadecimal digits from the system's generator.
func randomName() -> String {
    var generator = SystemRandomNumberGenerator()
    return (0..<2).map { _ in
        let digits = String(generator.next() as UInt64, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
}
