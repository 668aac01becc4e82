import BlockingIO
import Foundation
import LoopbackSSH
import RunCore
import Testing

@testable import SSH

/// Connections that are cut, stalled and swallowed, and what a job's ledger says afterwards.
@Suite(.serialized, .enabled(if: LoopbackServer.isAvailable)) struct FaultTests {
    private var soon: Deadline { Deadline(after: .seconds(120)) }

    private func connect(_ server: LoopbackServer, through proxy: FaultProxy, deadPeer: Duration = .seconds(20)) async throws -> SSHSession {
        try server.writeKnownHosts(["ed25519"], port: proxy.port)
        var target = server.target(port: proxy.port)
        target.keepaliveInterval = .seconds(1)
        target.deadPeerTimeout = deadPeer
        return try await SSHSession.connect(to: target, deadline: soon)
    }

    @Test func aCutConnectionFailsWhatWaitsAndTheJobGoesOnToBeReattached() async throws {
        let server = try LoopbackServer()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.close() }
        let options = LedgerOptions(stateDirectory: "\(server.folder)/state")
        let session = try await connect(server, through: proxy)
        let ledger = try await RemoteJobLedger.open(on: session, options: options, deadline: soon)
        let go = "\(server.folder)/go"
        let spec = job("for i in $(seq 1 500); do echo line $i; done; while [ ! -e \(go) ]; do sleep 0.01; done; for i in $(seq 501 1000); do echo line $i; done")
        #expect(try await ledger.submit(spec, deadline: soon) == .running)
        let early = Collector()
        let following = Task { try await ledger.follow(spec.id, onOutput: early.add, deadline: soon) }
        let command = Task { try await session.run("exec sleep 300", deadline: soon) }
        try await eventually("output") { early.text(.stdout).contains("line 500\n") }
        proxy.reset()
        await #expect { try await following.value } throws: { ($0 as? any RepriseError)?.isTransient == true }
        await #expect { try await command.value } throws: { ($0 as? any RepriseError)?.isTransient == true }
        await #expect(throws: SSHError.self) { try await session.run("true", deadline: soon) }
        #expect(session.failure != nil)

        let again = try await connect(server, through: proxy)
        let second = try await RemoteJobLedger.open(on: again, options: options, deadline: soon)
        #expect(try await second.probe(spec.id) == .running)
        let offset = early.bytes(.stdout).count
        let late = Collector(base: offset)
        #expect(FileManager.default.createFile(atPath: go, contents: nil))
        let verdict = try await second.follow(spec.id, stdoutOffset: offset, stderrOffset: 0, onOutput: late.add, deadline: soon)
        #expect(verdict.result?.exitStatus == 0)
        #expect(early.text(.stdout) + late.text(.stdout) == (1...1000).map { "line \($0)\n" }.joined())
        await again.close()
    }

    @Test func aBlackHoleIsFoundByOurOwnDeadline() async throws {
        let server = try LoopbackServer()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.close() }
        let session = try await connect(server, through: proxy, deadPeer: .seconds(3))
        proxy.stall()
        await #expect(throws: DeadlineExceeded.self) { try await session.run("true", deadline: Deadline(after: .milliseconds(300))) }
        do {
            _ = try await session.run("true", deadline: soon)
            Issue.record("a black hole answered")
        } catch let error as SSHError {
            #expect(error.code == "ssh.peer-silent" && error.isTransient)
        }
    }

    @Test func aSilentPeerThatAnswersKeepalivesIsNotGivenUp() async throws {
        let server = try LoopbackServer()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.close() }
        let session = try await connect(server, through: proxy, deadPeer: .seconds(4))
        #expect(try await session.run("sleep 6; echo alive", deadline: soon).stdoutText == "alive\n")
        await session.close()
    }

    @Test func anIdleSessionStaysAliveAndCostsNoTime() async throws {
        let server = try LoopbackServer()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.close() }
        let session = try await connect(server, through: proxy, deadPeer: .seconds(4))
        #expect(try await session.run("true", deadline: soon).status == 0)
        // Longer than several keepalives and the dead peer's limit: there is nothing else to wait for.
        let before = try threadTimes()
        try await Task.sleep(for: .seconds(6))
        let after = try threadTimes()
        #expect(session.failure == nil)
        let busiest = after.map { $0.value - before[$0.key, default: 0] }.max() ?? 0
        #expect(busiest < 300, "a thread used \(busiest) of 600 ticks while nothing happened")
        #expect(try await session.run("true", deadline: soon).status == 0)
        await session.close()
    }

    /// Processor ticks (10 ms) of this process's threads that serve sessions.
    private func threadTimes() throws -> [String: Int] {
        var result: [String: Int] = [:]
        for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task") {
            guard let text = try? String(contentsOfFile: "/proc/self/task/\(thread)/stat", encoding: .utf8),
                let close = text.lastIndex(of: ")"), text[..<close].contains("(ssh ")
            else { continue }
            let fields = text[text.index(close, offsetBy: 2)...].split(separator: " ")
            result[thread] = (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
        }
        return result
    }

    @Test func aKilledServerProcessIsACutConnection() async throws {
        let server = try LoopbackServer()
        let session = try await SSHSession.connect(to: server.target(), deadline: soon)
        // A command's parent is the framing shell, whose parent is the server's process for this session.
        await #expect { try await session.run("kill -9 $(ps -o ppid= -p $PPID); sleep 300", deadline: soon) } throws: {
            ($0 as? SSHError)?.code == "ssh.channel-cut"
        }
    }

    @Test func aChannelThatTheServerTimesOutIsUnknownAndNeverSuccess() async throws {
        // OpenSSH 9.2 and later close a channel on which nothing was said for that long, and keep the session.
        let server = try LoopbackServer(lines: ["ChannelTimeout session:command=1s"])
        let session = try await SSHSession.connect(to: server.target(), deadline: soon)
        await #expect { try await session.run("sleep 300", deadline: soon) } throws: { error in
            let error = error as? SSHError
            return error?.code == "ssh.status-unknown" && error?.isTransient == true && error?.hints.joined().contains("ChannelTimeout") == true
        }
        let options = LedgerOptions(stateDirectory: "\(server.folder)/state")
        let (go, effects) = ("\(server.folder)/go", "\(server.folder)/effects")
        let spec = job("echo effect >> \(effects); while [ ! -e \(go) ]; do sleep 0.01; done; exit 6")
        await #expect {
            let ledger = try await RemoteJobLedger.open(on: session, options: options, deadline: soon)
            _ = try await ledger.run(spec, deadline: soon)
        } throws: { ($0 as? any RepriseError)?.isTransient == true }
        // Asked again, as a step does, however often the server closes the channel meanwhile.
        #expect(FileManager.default.createFile(atPath: go, contents: nil))
        var end: JobVerdict?
        try await eventually("the job's end") {
            do {
                let again = try await RemoteJobLedger.open(on: session, options: options, deadline: soon)
                end = try await again.run(spec, deadline: soon)
            } catch let error as any RepriseError where error.isTransient {}
            return end != nil
        }
        #expect(end?.result?.exitStatus == 6)
        #expect(try String(contentsOfFile: effects, encoding: .utf8) == "effect\n")
        await session.close()
    }

    @Test func aLoginThatRunsNoCommandsIsNamed() async throws {
        let server = try LoopbackServer(lines: ["ForceCommand echo 'This account is not available.'"])
        let session = try await SSHSession.connect(to: server.target(), deadline: soon)
        await #expect { try await session.run("true", deadline: soon) } throws: { error in
            let error = error as? SSHError
            return error?.code == "ssh.status-unknown" && error?.message.contains("not available") == true
        }
        await #expect { try await RemoteJobLedger.open(on: session, options: LedgerOptions(), deadline: soon) } throws: { error in
            let error = error as? LedgerError
            return error?.code == "ledger.program-not-started" && error?.message.contains("not available") == true
                && error?.hints.joined().contains("forced command") == true
        }
        await session.close()
    }

    @Test func aCutTunnelEndsItsConnections() async throws {
        let server = try LoopbackServer()
        let proxy = try FaultProxy(to: server.port)
        defer { proxy.close() }
        let session = try await connect(server, through: proxy)
        let tunnel = try await session.tunnel(to: .command("cat /dev/zero"))
        let counting = Task.detached { try countFrom(tunnel.socketPath) }
        try await Task.sleep(for: .milliseconds(100))
        proxy.reset()
        #expect(try await counting.value >= 0)
        try await eventually("the socket is gone") { !FileManager.default.fileExists(atPath: tunnel.directory) }
        await tunnel.close()
    }
}
