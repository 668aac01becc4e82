import Foundation
import Glibc
import ObjectStorage
import RunCore
import Testing

@Suite struct FetchTests {
    let scratch: Scratch
    let body = randomBytes(1_000_003, seed: 7)
    init() throws { scratch = try Scratch() }

    @Test func aFileArrivesWholeAndNothingElseIsLeft() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            let file = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: quickOptions())
            #expect(try scratch.bytes("out") == body)
            #expect(file.sha256 == sha256(body) && file.sizeBytes == 1_000_003 && file.etag == version.etag)
            #expect(file.retries == 0 && file.reusedBytes == 0)
            #expect(scratch.names == ["out"])
        }
    }

    @Test func keysWithEveryKindOfCharacterAreSignedAndFound() async throws {
        try await withServer { server async throws in
            let keys = ["a b", "a+b", "ü/é", "x//y", "%41", "a&b=c?d#e", "'\"()!*~", "日本語/😀", "..x/./y", "a\u{7}b"]
            for (index, key) in keys.enumerated() { server.put(key, [UInt8(index)]) }
            let store = try server.store()
            for (index, key) in keys.enumerated() {
                let version = try await store.head(key)
                let file = try await Fetch(from: store).fetch(version, to: scratch.file("\(index)"), options: quickOptions())
                #expect(try scratch.bytes("\(index)") == [UInt8(index)] && file.sizeBytes == 1)
            }
            let listed = try await store.list(prefix: "").map(\.key)
            #expect(listed == keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
        }
    }

    @Test func anEmptyObjectIsAnEmptyFile() async throws {
        try await withServer { server async throws in
            server.put("empty", [])
            let store = try server.store()
            let file = try await Fetch(from: store).fetch(try await store.head("empty"), to: scratch.file("out"))
            #expect(try scratch.bytes("out").isEmpty)
            #expect(file.sha256 == sha256([]))
        }
    }

    @Test func progressGrowsToTheTotal() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.method == "GET" ? .drip(20_000) : nil }
            let store = try server.store()
            let seen = Recorder<FetchProgress>()
            _ = try await Fetch(from: store).fetch(
                try await store.head("db.dump"), to: scratch.file("out"), options: quickOptions()
            ) { seen.append($0) }
            let all = seen.values
            #expect(all.count > 2)
            #expect(zip(all, all.dropFirst()).allSatisfy { $0.doneBytes <= $1.doneBytes })
            #expect(all.last?.doneBytes == 1_000_003 && all.last?.totalBytes == 1_000_003 && all.last?.remainingSeconds == 0)
            #expect(all.dropLast().contains { $0.bytesPerSecond > 0 && ($0.remainingSeconds ?? 0) > 0 })
        }
    }

    @Test func anExpectedHashThatDiffersLeavesNothing() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            var options = quickOptions()
            options.expectedSHA256 = sha256([1])
            let error = await failure {
                _ = try await Fetch(from: store).fetch(try await store.head("db.dump"), to: scratch.file("out"), options: options)
            }
            #expect(error is ContentMismatch && error?.exitStatus == .verificationMismatch)
            #expect(scratch.names == [])
        }
    }

    @Test func theStoresOwnHashIsBelievedOverTheBytes() async throws {
        try await withServer { server async throws in
            let hash = Data(try #require(Self.bytes(hex: sha256(body)))).base64EncodedString()
            server.put("db.dump", body, headers: ["x-amz-checksum-sha256": hash])
            server.onRequest { request, _ in request.range?.lowerBound == 65_536 ? .flip(at: 10) : nil }
            let store = try server.store()
            let version = try await store.head("db.dump")
            #expect(version.sha256 == sha256(body))
            let error = await failure {
                _ = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: quickOptions())
            }
            #expect(error is ContentMismatch)
            #expect(scratch.names == [])
        }
    }

    @Test func aFileThatIsAlreadyWholeIsNotFetchedAgain() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            try scratch.write("out", body)
            var options = quickOptions()
            options.expectedSHA256 = sha256(body)
            let before = server.requests.count
            let file = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: options)
            #expect(server.requests.count == before && file.reusedBytes == 1_000_003)
            #expect(scratch.names == ["out"])
        }
    }

    @Test func aFileWhoseRecordIsKeptIsNotFetchedAgain() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            var options = quickOptions()
            options.keepsRecord = true
            let first = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: options)
            let before = server.requests.count
            for _ in 1...2 {
                let file = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: options)
                #expect(server.requests.count == before && file.reusedBytes == 1_000_003 && file.sha256 == first.sha256)
                #expect(scratch.names == ["out", "out.reprise-fetch"])
            }
        }
    }

    @Test func anotherFileUnderTheFinalNameIsReplaced() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            try scratch.write("out", randomBytes(1_000_003, seed: 8))
            var options = quickOptions()
            options.expectedSHA256 = sha256(body)
            _ = try await Fetch(from: store).fetch(try await store.head("db.dump"), to: scratch.file("out"), options: options)
            #expect(try scratch.bytes("out") == body)
        }
    }

    @Test func aSecondFetchToTheSameFileIsRefused() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.method == "GET" ? .stall(after: 1000) : nil }
            let store = try server.store()
            let version = try await store.head("db.dump")
            let first = Task { try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: quickOptions()) }
            defer { first.cancel() }
            try await eventually("the first fetch is under way") { server.requests.count > 1 }
            let error = await failure { _ = try await Fetch(from: store).fetch(version, to: scratch.file("out")) }
            #expect(error?.code == "fetch.busy" && error?.exitStatus == .heldByAnother)
        }
    }

    @Test func cancellationReachesTheSocketAtOnce() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.method == "GET" ? .stall(after: 100) : nil }
            let store = try server.store()
            let version = try await store.head("db.dump")
            var options = quickOptions()
            options.limits = ReadLimits(minimumBytesPerSecond: 1, stallSeconds: 300)
            let patient = options
            let task = Task { try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: patient) }
            try await eventually("the fetch is under way") { server.requests.count > 1 }
            let start = ContinuousClock.now
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(start.duration(to: .now) < .seconds(20))
        }
    }

    @Test func theSidecarOfAnotherVersionIsDiscarded() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"one\"")
            server.onRequest { request, _ in (request.range?.lowerBound ?? 0) > 500_000 ? .status(403, code: "AccessDenied") : nil }
            let store = try server.store()
            let old = try await store.head("db.dump")
            _ = await failure { _ = try await Fetch(from: store).fetch(old, to: scratch.file("out"), options: quickOptions()) }
            #expect(scratch.names.contains("out.reprise-fetch"))
            let other = randomBytes(1_000_003, seed: 9)
            server.put("db.dump", other, etag: "\"two\"")
            server.onRequest { _, _ in nil }
            let file = try await Fetch(from: store).fetch(
                try await store.head("db.dump"), to: scratch.file("out"), options: quickOptions())
            #expect(try scratch.bytes("out") == other && file.reusedBytes == 0)
        }
    }

    @Test(arguments: ["", "garbage\n", "reprise-fetch-1 {\"version\"", "reprise-fetch-1 {}\npart 1\n", "\u{0}\u{0}"])
    func aSidecarThatIsNotOursCountsForNothing(_ text: String) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            try scratch.write("out.reprise-fetch", text)
            try scratch.write("out.reprise-partial", randomBytes(1_000_003, seed: 10))
            let store = try server.store()
            let file = try await Fetch(from: store).fetch(
                try await store.head("db.dump"), to: scratch.file("out"), options: quickOptions())
            #expect(try scratch.bytes("out") == body && file.reusedBytes == 0)
        }
    }

    @Test func aFolderOrAMissingFolderAsTargetIsRefusedAtOnce() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            let before = server.requests.count
            for path in [scratch.path, scratch.file("missing/out")] {
                let error = await failure { _ = try await Fetch(from: store).fetch(version, to: path) }
                #expect(error is FileFailure)
            }
            #expect(server.requests.count == before)
            #expect(scratch.names == [] && access(scratch.path + ".reprise-fetch", F_OK) != 0)
        }
    }

    @Test func aCertificateThatNobodyTrustsIsRefused() async throws {
        let key = scratch.file("key.pem"), certificate = scratch.file("certificate.pem")
        let made = try await Command.run(
            "openssl",
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                certificate, "-days", "1", "-subj", "/CN=localhost"])
        guard made.status == 0 else { return print("SKIPPED: openssl is not installed; TLS was not checked") }
        let port = Int.random(in: 10_000..<32_000)
        let server = try Command.start("openssl", ["s_server", "-accept", "127.0.0.1:\(port)", "-key", key, "-cert", certificate, "-www"])
        try await eventually("openssl listens") { server.outputSoFar.contains("ACCEPT") }
        let store = S3Store(
            try S3Location(bucket: "backups", endpoint: Endpoint("https://127.0.0.1:\(port)")), credentials: FixedCredentials())
        let error = await failure { _ = try await store.list(prefix: "") }
        #expect(error?.code == "store.untrusted-certificate" && error?.isTransient == false)
        kill(server.process, SIGKILL)
        try await server.wait()
    }

    private static func bytes(hex: String) -> [UInt8]? {
        stride(from: 0, to: hex.count, by: 2).map { offset in
            UInt8(hex.dropFirst(offset).prefix(2), radix: 16) ?? 0
        }
    }
}
