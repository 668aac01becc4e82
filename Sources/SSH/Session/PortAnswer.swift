internal import BlockingIO
internal import Glibc

/// What comes of dialling a TCP port from this machine.
package enum PortAnswer: String, Sendable, Hashable {
    case open
    /// The host said no: nothing listens there, or a firewall rejects it.
    case refused
    /// Nobody answered in time.
    case silent

    /// Dials, and hangs up at once. Cancellable; sends no byte.
    ///
    /// - Parameter patience: how long to wait for an answer.
    /// - Throws: `SSHError` where the address does not resolve or no way leads there, `CancellationError`.
    package static func dialling(_ host: String, port: Int, patience: Duration) async throws -> PortAnswer {
        let target = SSHTarget(name: host, host: host, port: port, user: "", knownHostsFiles: [])
        return try await withInterrupt { interrupt in
            try await DedicatedThread(name: "reprise-dial").run {
                do {
                    close(try connectTCP(to: target, deadline: Deadline(after: patience), interrupt: interrupt))
                    return .open
                } catch let error as SSHError where error.code == "ssh.connection-refused" {
                    return .refused
                } catch let error as SSHError where error.code == "ssh.connect-timeout" {
                    return .silent
                }
            }
        }
    }
}
