internal import BlockingIO
internal import Glibc
internal import RunCore
internal import Synchronization

/// A child process whose standard input and output are a channel.
///
/// Reads and writes block on threads of their own. The child is a direct one, so its number stays valid until it is reaped
/// here, once its output has ended.
final class LocalProcessChannel: ByteChannel {
    private let reading = DedicatedThread(name: "child-read")
    private let writing = DedicatedThread(name: "child-write")
    private let process: pid_t
    private struct Ends {
        var socket: Int32
        var isClosed = false
    }
    private let ends: Mutex<Ends>
    private let interrupt = Interrupt()

    /// Starts `/bin/sh -c`; the child's standard error goes to `/dev/null`.
    init(shellCommand: String) throws {
        var pair: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw SystemCallFailed("socketpair", errno: errno)
        }
        defer { Glibc.close(pair[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pair[1], 0)
        posix_spawn_file_actions_adddup2(&actions, pair[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A session of its own: Ctrl-C at the terminal ends the orchestrator, not the ledger's program in mid-write. The
        // ignored SIGPIPE of this process must not be inherited, nor the signals that its worker threads block.
        var defaults = sigset_t()
        sigfillset(&defaults)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        var blocked = sigset_t()
        sigemptyset(&blocked)
        posix_spawnattr_setsigmask(&attributes, &blocked)
        let newSession = Int16(0x80)  // POSIX_SPAWN_SETSID, which the headers hide behind _GNU_SOURCE.
        posix_spawnattr_setflags(&attributes, newSession | Int16(POSIX_SPAWN_SETSIGDEF) | Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments: [UnsafeMutablePointer<CChar>?] = ["sh", "-c", shellCommand].map { (word: String) in strdup(word) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        let result = posix_spawn(&child, "/bin/sh", &actions, &attributes, &arguments, environ)
        guard result == 0 else {
            Glibc.close(pair[0])
            throw SystemCallFailed("starting /bin/sh", errno: result)
        }
        _ = fcntl(pair[0], F_SETFL, O_NONBLOCK)
        process = child
        ends = Mutex(Ends(socket: pair[0]))
    }

    deinit {
        let (socket, process) = (ends.withLock { $0.socket }, process)
        Glibc.close(socket)
        // It ends with its input; its jobs do not.
        reading.enqueueReaping(of: process)
    }

    private var socket: Int32 { ends.withLock { $0.socket } }

    func read(upTo limit: Int, deadline: Deadline?) async throws -> [UInt8] {
        try await withInterrupt { cancelled in
            try await reading.run { [self] in
                let deadline = deadline ?? Deadline(after: .seconds(1 << 30))
                while true {
                    if interrupt.isFired { throw closed }
                    var count = 0
                    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, initialized in
                        count = recv(socket, buffer.baseAddress!, limit, 0)
                        initialized = max(count, 0)
                    }
                    if count >= 0 { return bytes }
                    if errno == ECONNRESET { return [] }
                    guard errno == EAGAIN || errno == EINTR else { throw SystemCallFailed("reading from the local ledger", errno: errno) }
                    _ = try cancelled.wait(for: [(socket, .read)], until: deadline, operation: "the local ledger")
                }
            }
        }
    }

    func write(_ bytes: [UInt8], deadline: Deadline?) async throws {
        try await withInterrupt { cancelled in
            try await writing.run { [self] in
                let deadline = deadline ?? Deadline(after: .seconds(1 << 30))
                var sent = 0
                while sent < bytes.count {
                    if interrupt.isFired { throw closed }
                    let count = bytes.withUnsafeBytes { send(socket, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL)) }
                    if count >= 0 {
                        sent += count
                    } else if errno == EAGAIN || errno == EINTR {
                        _ = try cancelled.wait(for: [(socket, .write)], until: deadline, operation: "the local ledger")
                    } else {
                        throw SystemCallFailed("writing to the local ledger", errno: errno)
                    }
                }
            }
        }
    }

    private var closed: LedgerError { LedgerError("closed", "the local ledger was closed here") }

    func closeWriting() async { _ = shutdown(socket, Int32(SHUT_WR)) }

    func close() async {
        interrupt.fire()
        // Wakes the reader; the descriptor itself is closed when nobody can use it any more.
        _ = shutdown(socket, Int32(SHUT_RDWR))
    }

    func diagnostics() async -> String { "" }
}

extension DedicatedThread {
    fileprivate func enqueueReaping(of process: pid_t) {
        Task.detached { [self] in
            try? await run {
                var status: Int32 = 0
                while waitpid(process, &status, 0) < 0, errno == EINTR {}
            }
        }
    }
}
