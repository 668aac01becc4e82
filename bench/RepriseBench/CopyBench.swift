import BlockingIO
import RunCore
import SSH
import Steps

/// Copies a file to a host as `fetch-backup` with `via: orchestrator` does: connecting included, as with scp.
///
/// - Parameter words: address, user, private key, known hosts, file, target on the host.
func measureCopy(_ words: [String]) async throws {
    let start = ContinuousClock.now
    let target = SSHTarget(name: words[0], host: words[0], user: words[1], identityFiles: [words[2]], useAgent: false, knownHostsFiles: [words[3]])
    let session = try await SSHSession.connect(to: target, deadline: Deadline(after: .seconds(20)))
    let connected = ContinuousClock.now
    try await HostCopy(to: words[5], on: session, become: false).pour(words[4], from: 0) { _ in }
    let end = ContinuousClock.now
    await session.close()
    say("seconds=\(seconds(end - start)) connecting=\(seconds(connected - start))")
}
