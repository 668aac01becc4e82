import Foundation
import Glibc
import ObjectStorage
import RunCore
import Testing

/// A process that fetches is killed with SIGKILL again and again; what it leaves is enough to go on.
@Suite struct FetchKillTests {
    private static let variable = "REPRISE_TEST_FETCH_CHILD"

    /// Not a test of its own: what the killed process runs. It is this same program, started again.
    @Test(.enabled(if: ProcessInfo.processInfo.environment[variable] != nil)) func theFetchingChild() async throws {
        let words = try #require(ProcessInfo.processInfo.environment[Self.variable]).components(separatedBy: "\n")
        let store = S3Store(
            try S3Location(bucket: "backups", endpoint: Endpoint(words[0])), credentials: FixedCredentials())
        var options = quickOptions()
        options.limits = ReadLimits(minimumBytesPerSecond: 1, stallSeconds: 600)
        options.durability = try #require(FetchOptions.Durability(rawValue: words[2]))
        _ = try await Fetch(from: store).fetch(try await store.head("db.dump"), to: words[1], options: options)
    }

    @Test(arguments: [FetchOptions.Durability.powerLoss, .processCrash])
    func aKilledFetchGoesOnWhereItWas(_ durability: FetchOptions.Durability) async throws {
        let scratch = try Scratch()
        let body = randomBytes(3_000_001, seed: 31)
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"one\"")
            // Ten more parts in each round, then silence: there is something to keep, something to lose, and no end.
            let served = Counter()
            for round in 1...3 {
                server.onRequest { request, _ in
                    request.method == "GET" && served.next() > round * 12 ? .stall(after: 2_000) : nil
                }
                let before = Self.finishedParts(scratch)
                let child = try start(server, scratch, durability)
                try await eventually("parts are counted") { Self.finishedParts(scratch) >= before + 5 }
                kill(child.process, SIGKILL)
                #expect(try await child.wait().status == 128 + SIGKILL)
                #expect(!scratch.names.contains("out"))
            }
            server.onRequest { _, _ in nil }
            let first = server.requests.count
            let store = try server.store()
            var options = quickOptions()
            options.expectedSHA256 = sha256(body)
            options.durability = durability
            let kept = Self.finishedParts(scratch)
            let file = try await Fetch(from: store).fetch(
                try await store.head("db.dump"), to: scratch.file("out"), options: options)
            #expect(kept >= 10 && file.reusedBytes >= Int64(kept - 1) * 65_536)
            let again = server.requests.dropFirst(first).compactMap { $0.range?.count }.reduce(0, +)
            #expect(Int64(again) + file.reusedBytes == 3_000_001)
            #expect(try scratch.bytes("out") == body)
            #expect(scratch.names == ["out"])
        }
    }

    /// After the last rename and before the sidecar is gone.
    @Test func aFetchKilledAtItsVeryEndIsNotRepeated() async throws {
        let scratch = try Scratch()
        let body = randomBytes(300_000, seed: 32)
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"one\"")
            let store = try server.store()
            let version = try await store.head("db.dump")
            server.onRequest { request, _ in
                (request.range?.lowerBound ?? 0) > 200_000 ? .status(403, code: "AccessDenied") : nil
            }
            _ = await failure { _ = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: quickOptions()) }
            // The sidecar as the killed process leaves it: the header of this version, and the hash of the whole.
            let state = try String(decoding: scratch.bytes("out.reprise-fetch"), as: UTF8.self)
            let header = try #require(state.split(separator: "\n").first)
            try scratch.write("out.reprise-fetch", "\(header)\nwhole \(sha256(body))\n")
            try scratch.write("out", body)
            let before = server.requests.count
            let file = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: quickOptions())
            #expect(file.reusedBytes == 300_000 && server.requests.count == before)
            #expect(scratch.names == ["out"])
        }
    }

    /// A power cut may take bytes that were never flushed: what was counted without a flush counts for this boot only.
    @Test(arguments: [FetchOptions.Durability.powerLoss, .processCrash])
    func afterARestartOfTheMachineOnlyFlushedPartsCount(_ durability: FetchOptions.Durability) async throws {
        let scratch = try Scratch()
        let body = randomBytes(300_000, seed: 33)
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"one\"")
            let store = try server.store()
            let version = try await store.head("db.dump")
            server.onRequest { request, _ in
                (request.range?.lowerBound ?? 0) > 200_000 ? .status(403, code: "AccessDenied") : nil
            }
            var options = quickOptions(concurrency: 1)
            options.durability = durability
            let chosen = options
            _ = await failure { _ = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: chosen) }
            let bootID = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let state = try String(decoding: scratch.bytes("out.reprise-fetch"), as: UTF8.self)
            #expect(state.contains(bootID) == (durability == .processCrash))
            try scratch.write("out.reprise-fetch", state.replacingOccurrences(of: bootID, with: "another-boot"))
            server.onRequest { _, _ in nil }
            let file = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: chosen)
            #expect(file.sha256 == sha256(body))
            #expect(file.reusedBytes == (durability == .powerLoss ? 4 * 65_536 : 0))
        }
    }

    private func start(_ server: FaultServer, _ scratch: Scratch, _ durability: FetchOptions.Durability) throws -> Command.Child {
        var environment = ProcessInfo.processInfo.environment
        environment[Self.variable] = [server.endpoint, scratch.file("out"), durability.rawValue].joined(separator: "\n")
        return try Command.start(
            "/proc/self/exe", ["--testing-library", "swift-testing", "--filter", "theFetchingChild"], environment: environment)
    }

    private static func finishedParts(_ scratch: Scratch) -> Int {
        let text = (try? String(decoding: scratch.bytes("out.reprise-fetch"), as: UTF8.self)) ?? ""
        return text.split(separator: "\n").count { $0.hasPrefix("part ") }
    }
}
