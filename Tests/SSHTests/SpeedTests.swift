import BlockingIO
import Foundation
import LoopbackSSH
import RunCore
import Testing

@testable import SSH

/// Prints what things cost; asserts nothing about time, as machines differ and are shared.
@Suite(.serialized, .enabled(if: LoopbackServer.isAvailable)) struct SpeedTests {
    @Test(arguments: Reach.available) func aTrivialJobFromSubmissionToItsDurableResult(_ reach: Reach) async throws {
        let bench = try LedgerBench(reach)
        let ledger = try await bench.open()
        var milliseconds: [Double] = []
        for number in 1...60 {
            let began = ContinuousClock.now
            #expect(try await ledger.run(job("echo hello", jobID("step", attempt: number)), deadline: bench.soon).result?.exitStatus == 0)
            milliseconds.append(began.duration(to: .now) / .milliseconds(1))
        }
        milliseconds.sort()
        print("trivial durable job over \(reach.rawValue): median \(milliseconds[30]) ms, fastest \(milliseconds[0]) ms, 90% within \(milliseconds[54]) ms")
        await ledger.close()
    }

    @Test func aTunnelCarriesAGigabyteDown() async throws {
        let server = try LoopbackServer()
        let session = try await SSHSession.connect(to: server.target(), deadline: Deadline(after: .seconds(120)))
        let tunnel = try await session.tunnel(to: .command("exec head -c 1000000000 /dev/zero"))
        let began = ContinuousClock.now
        let count = try await Task.detached { try countFrom(tunnel.socketPath) }.value
        print("tunnel, one way down: \(1000 / (began.duration(to: .now) / .seconds(1))) MB/s")
        #expect(count == 1_000_000_000)
        await tunnel.close()
        await session.close()
    }
}
