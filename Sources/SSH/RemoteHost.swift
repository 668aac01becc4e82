package import BlockingIO

/// What a command left behind. Output beyond the limit is counted, not kept.
package struct ExecResult: Sendable, Hashable {
    /// As the shell reports it: 128 + n where signal n ended the command. It comes from a sentinel that the host printed
    /// after the command had ended, never from the SSH library, which reports 0 where no status arrived.
    package var status: Int
    package var stdout: [UInt8]
    package var stderr: [UInt8]
    /// All bytes that the command wrote, kept or not.
    package var stdoutBytes: Int
    package var stderrBytes: Int

    package init(status: Int, stdout: [UInt8], stderr: [UInt8], stdoutBytes: Int, stderrBytes: Int) {
        self.status = status
        self.stdout = stdout
        self.stderr = stderr
        self.stdoutBytes = stdoutBytes
        self.stderrBytes = stderrBytes
    }

    package var stdoutText: String { String(decoding: stdout, as: UTF8.self) }
    package var stderrText: String { String(decoding: stderr, as: UTF8.self) }
    package var isTruncated: Bool { stdout.count < stdoutBytes || stderr.count < stderrBytes }
}

/// Where a tunnel ends on the remote side.
package enum TunnelEndpoint: Hashable, Sendable {
    /// A command whose standard input and output are the connection; one is started per connection. What the login shell's start-up
    /// files print before it begins is kept out.
    case command(String)
    /// A unix socket, opened by the server as the login user (`direct-streamlocal@openssh.com`).
    case unixSocket(String)
    /// A TCP address as seen from the host.
    case tcp(host: String, port: Int)
}

/// A two-way stream of bytes with an end.
package protocol ByteChannel: Sendable {
    /// Waits for at least one byte and returns at most `limit`; empty at the end of the stream.
    /// - Throws: an error of the connection, `DeadlineExceeded`, `CancellationError`.
    func read(upTo limit: Int, deadline: Deadline?) async throws -> [UInt8]
    /// Returns once all bytes are handed to the transport.
    func write(_ bytes: [UInt8], deadline: Deadline?) async throws
    /// The other side sees the end of its input; reading goes on.
    func closeWriting() async
    /// Idempotent; waiting reads end with an error.
    func close() async
    /// The last bytes that the other side wrote to its standard error, for messages.
    func diagnostics() async -> String
}

/// The narrow port to a host on which commands run: a second transport implements this and nothing else changes.
package protocol RemoteHost: Sendable {
    /// The host's name in the inventory.
    var hostName: String { get }
    /// Runs `command` with the login user's `sh`. Not idempotent, and not durable: a lost connection leaves its fate unknown;
    /// whatever must not run twice is a job of the ledger.
    func run(_ command: String, stdin: [UInt8], outputLimit: Int, deadline: Deadline) async throws -> ExecResult
    /// Writes a file through a temporary name, fsync and rename, so that `path` is either the old file or the whole new one.
    func upload(_ bytes: [UInt8], to path: String, mode: Int, deadline: Deadline) async throws
    /// - Throws: `SSHError` with code `ssh.file-too-large` where the file is longer than `limit` bytes.
    func download(_ path: String, limit: Int, deadline: Deadline) async throws -> [UInt8]
    /// Starts `command` with the login user's `sh`; the channel is its standard input and output.
    func openChannel(command: String, deadline: Deadline) async throws -> any ByteChannel
    /// Opens a local unix socket each of whose connections leads to `endpoint`.
    /// - Parameter postgresPort: names the socket `.s.PGSQL.<port>`, as libpq wants it.
    func tunnel(to endpoint: TunnelEndpoint, postgresPort: Int?) async throws -> LocalTunnel
    /// A further connection to the same host, with keys and a thread of its own, for bulk that one thread's encryption holds back. Whoever
    /// asks for it closes it.
    func another(deadline: Deadline) async throws -> any RemoteHost
    /// Ends the connection. Idempotent. Jobs of the ledger go on.
    func close() async
}

extension RemoteHost {
    package func tunnel(to endpoint: TunnelEndpoint) async throws -> LocalTunnel {
        try await tunnel(to: endpoint, postgresPort: nil)
    }
}

/// A local unix socket, in a folder that only this user can enter, that leads to a remote endpoint.
///
/// Lives until `close()`, or until its session ends; then the socket is gone and open connections are cut.
package struct LocalTunnel: Sendable {
    /// For libpq's `host`.
    package let directory: String
    package let socketPath: String
    /// What libpq needs as `port` to find the socket, where one was asked for.
    package let postgresPort: Int?
    let closing: @Sendable () async -> Void
    let failure: @Sendable () -> String?

    /// Idempotent.
    package func close() async { await closing() }

    /// Why the newest connection that failed did so (a refused endpoint, the bridge's standard error), if one did.
    package func lastFailure() -> String? { failure() }
}
