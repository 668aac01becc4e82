import BlockingIO
import Crypto
import Foundation
import LoopbackSSH
import RunCore
import Testing

@testable import SSH

@Suite(.serialized, .enabled(if: LoopbackServer.isAvailable)) struct SessionTests {
    private func connect(_ server: LoopbackServer) async throws -> SSHSession {
        try await SSHSession.connect(to: server.target(), deadline: Deadline(after: .seconds(120)))
    }
    private var soon: Deadline { Deadline(after: .seconds(120)) }

    @Test func aCommandsStatusAndOutputComeBack() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        let result = try await session.run("printf out; printf err >&2; cat; exit 7", stdin: Array("typed".utf8), deadline: soon)
        #expect(result.status == 7)
        #expect(result.stdoutText == "outtyped")
        #expect(result.stderrText == "err")
        #expect(session.hostKeyFingerprint.hasPrefix("SHA256:"))
        await session.close()
    }

    @Test func aCommandEndedByASignalIsNeverStatusZero() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        #expect(try await session.run("kill -9 $$", deadline: soon).status == 137)
        await session.close()
    }

    @Test func noiseFromStartUpFilesDoesNotReachTheOutput() async throws {
        let home = try home("echo hello from the start-up file; echo trouble >&2\n")
        defer { try? FileManager.default.removeItem(atPath: home) }
        let server = try LoopbackServer(lines: ["SetEnv HOME=\(home)"])
        let session = try await connect(server)
        let raw = try await session.openChannel(command: "exit 0", deadline: soon)
        var seen: [UInt8] = []
        while case let bytes = try await raw.read(upTo: 4096, deadline: soon), !bytes.isEmpty { seen += bytes }
        #expect(String(decoding: seen, as: UTF8.self).contains("hello from the start-up file"), "the noise has to be there for this test to mean anything")
        let result = try await session.run("printf clean; printf fine >&2", deadline: soon)
        #expect(result.stdoutText == "clean")
        #expect(result.stderrText == "fine")
        let ledger = try await RemoteJobLedger.open(
            on: session, options: LedgerOptions(stateDirectory: "\(server.folder)/state"), deadline: soon)
        #expect(try await ledger.runs().isEmpty)
        await ledger.close()
        await session.close()
    }

    /// A home whose start-up file says `script`, for a login shell that reads one.
    private func home(_ script: String) throws -> String {
        let home = "/tmp/reprise-home-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: false)
        try script.write(toFile: home + "/.bashrc", atomically: true, encoding: .utf8)
        return home
    }

    @Test func noiseFromStartUpFilesDoesNotReachATunnel() async throws {
        let home = try home("echo hello from the start-up file; echo trouble >&2\n")
        defer { try? FileManager.default.removeItem(atPath: home) }
        let server = try LoopbackServer(lines: ["SetEnv HOME=\(home)"])
        let session = try await connect(server)
        let tunnel = try await session.tunnel(to: .command("cat"))
        for _ in 0..<3 {
            let echoed = try await Task.detached { try echoThrough(tunnel.socketPath, byteCount: 300_000) }.value
            #expect(echoed.count == 300_000 && echoed.isSame, "\(tunnel.lastFailure() ?? "no failure noted")")
        }
        await tunnel.close()
        // What the command itself complains of is told, the start-up file's trouble is not.
        let broken = try await session.tunnel(to: .command("echo no such server >&2; exit 3"))
        _ = try? await Task.detached { try echoThrough(broken.socketPath, byteCount: 10) }.value
        try await eventually("the failure is noted") { broken.lastFailure() != nil }
        #expect(broken.lastFailure() == "no such server")
        await session.close()
    }

    /// A shell that talks without end, that never comes to an end, or that ends by itself: each is named, and nothing of it passes.
    @Test(arguments: [
        ("while echo chatter; do :; done", "printed 64 KiB before the command began"), ("sleep 60", "did not begin the command in time"),
        ("echo closed for maintenance; exit 0", "ended before the command began; it said: closed for maintenance"),
    ])
    func aShellThatNeverComesToTheCommandIsNamed(script: String, said: String) async throws {
        let home = try home(script + "\n")
        defer { try? FileManager.default.removeItem(atPath: home) }
        let server = try LoopbackServer(lines: ["SetEnv HOME=\(home)"])
        var target = server.target()
        target.connectTimeout = .seconds(5)
        let session = try await SSHSession.connect(to: target, deadline: soon)
        let tunnel = try await session.tunnel(to: .command("cat"))
        let echoed = try? await Task.detached { try echoThrough(tunnel.socketPath, byteCount: 10) }.value
        #expect(echoed == nil || echoed?.count == 0)
        try await eventually("the failure is noted") { tunnel.lastFailure() != nil }
        #expect(tunnel.lastFailure()?.contains(said) == true, "\(tunnel.lastFailure() ?? "")")
        await session.close()
    }

    @Test func outputBeyondTheLimitIsCountedNotKept() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        let result = try await session.run("head -c 20000000 /dev/zero", outputLimit: 1000, deadline: soon)
        #expect(result.status == 0)
        #expect(result.stdout.count == 1000)
        #expect(result.stdoutBytes == 20_000_000)
        #expect(result.isTruncated)
        await session.close()
    }

    @Test func manyCommandsRunSideBySideInOneSession() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        let sums = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<20 {
                group.addTask {
                    let result = try await session.run("cat; echo \(number)", stdin: Array(repeating: 65, count: 100_000), deadline: soon)
                    #expect(result.stdout.count == 100_000 + "\(number)\n".utf8.count)
                    return Int(String(decoding: result.stdout.dropFirst(100_000), as: UTF8.self).trimmingCharacters(in: .newlines)) ?? -1
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sums == 190)
        await session.close()
    }

    @Test func aPassedDeadlineEndsACommandAndTheSessionGoesOn() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        await #expect(throws: DeadlineExceeded.self) {
            try await session.run("exec sleep 30", deadline: Deadline(after: .milliseconds(200)))
        }
        #expect(try await session.run("echo on", deadline: soon).stdoutText == "on\n")
        await session.close()
    }

    @Test func cancellationEndsACommandAndTheSessionGoesOn() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        let marker = "\(server.folder)/running"
        let task = Task { try await session.run("touch \(marker); exec sleep 30", deadline: soon) }
        try await eventually("the command runs") { FileManager.default.fileExists(atPath: marker) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(try await session.run("echo on", deadline: soon).stdoutText == "on\n")
        await session.close()
    }

    @Test func uploadReplacesAFileAndKeepsNamesLiteral() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        for name in ["plain", "with space", "-n", "quo'te\"$(touch pwned)", "new\nline"] {
            let path = "\(server.folder)/\(name)"
            try "old".write(toFile: path, atomically: true, encoding: .utf8)
            let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try await session.upload(bytes, to: path, mode: 0o640, deadline: soon)
            #expect(FileManager.default.contents(atPath: path) == Data(bytes))
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o640)
            #expect(try await session.download(path, limit: 300_000, deadline: soon) == bytes)
        }
        await #expect(throws: SSHError.self) { try await session.download("\(server.folder)/plain", limit: 10, deadline: soon) }
        await #expect(throws: SSHError.self) { try await session.upload([1], to: "\(server.folder)/no/such/folder", mode: 0o600, deadline: soon) }
        let left = try FileManager.default.contentsOfDirectory(atPath: server.folder).filter { $0 == "pwned" || $0.count > 40 }
        #expect(left.isEmpty, "no temporary file stays behind")
        await session.close()
    }

    @Test func aTunnelCarriesFiftyMegabytesBothWaysUnchanged() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        let tunnel = try await session.tunnel(to: .command("cat"))
        let size = 50 << 20
        let began = ContinuousClock.now
        let received = try await Task.detached { try echoThrough(tunnel.socketPath, byteCount: size) }.value
        let seconds = began.duration(to: .now) / .seconds(1)
        print("tunnel: \(size >> 20) MB there and back in \(seconds) s, \(Double(size) / 1e6 / seconds) MB/s each way")
        #expect(received.count == size)
        #expect(received.isSame)
        var status = stat()
        #expect(stat(tunnel.directory, &status) == 0 && status.st_mode & 0o777 == 0o700)
        await tunnel.close()
        #expect(!FileManager.default.fileExists(atPath: tunnel.directory))
        await session.close()
    }

    @Test func tunnelsToSocketsPortsAndCommandsServeManyConnections() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        let path = "\(server.folder)/echo.sock"
        let (listener, port) = try listenOnLoopback()
        let echo = try EchoServer(unixPath: path, tcp: listener)
        defer { echo.close() }
        for endpoint in [TunnelEndpoint.unixSocket(path), .tcp(host: "127.0.0.1", port: port), .command("cat")] {
            let tunnel = try await session.tunnel(to: endpoint, postgresPort: 5432)
            #expect(tunnel.socketPath.hasSuffix("/.s.PGSQL.5432"))
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let echoed = try await Task.detached { try echoThrough(tunnel.socketPath, byteCount: 500_000) }.value
                        #expect(echoed.count == 500_000, "\(endpoint): \(tunnel.lastFailure() ?? "no failure noted")")
                        return echoed.isSame
                    }
                }
                for try await same in group { #expect(same, "\(endpoint)") }
            }
            await tunnel.close()
        }
        await session.close()
    }

    @Test func aRefusedTunnelSaysWhy() async throws {
        let server = try LoopbackServer()
        let session = try await connect(server)
        let tunnel = try await session.tunnel(to: .unixSocket("\(server.folder)/nobody.sock"))
        _ = try? await Task.detached { try echoThrough(tunnel.socketPath, byteCount: 10) }.value
        try await eventually("the failure is noted") { tunnel.lastFailure()?.contains("nobody.sock") == true }
        #expect(try await session.run("echo on", deadline: soon).stdoutText == "on\n")
        await session.close()
    }

    @Test func aJobHostIsReachedThroughAnother() async throws {
        let outer = try LoopbackServer()
        let inner = try LoopbackServer()
        var target = inner.target()
        target.jump = [outer.target()]
        let session = try await SSHSession.connect(to: target, deadline: soon)
        let result = try await session.run("printf %s \"$SSH_CONNECTION\"", deadline: soon)
        #expect(result.stdoutText.hasSuffix(" \(inner.port)"))
        await session.close()
    }
}
