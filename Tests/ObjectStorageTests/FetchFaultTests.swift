import Crypto
import Foundation
import Glibc
import ObjectStorage
import RunCore
import TestSupport
import Testing

/// Each fault of a store, and what must come of it.
@Suite struct FetchFaultTests {
    let scratch: Scratch
    let body = randomBytes(700_001, seed: 21)
    init() throws { scratch = try Scratch() }

    private func fetch(
        _ server: FaultServer, _ options: FetchOptions = quickOptions(), sha256 expected: String? = nil
    ) async throws -> FetchedFile {
        var options = options
        options.expectedSHA256 = expected
        let store = try server.store()
        return try await Fetch(from: store).fetch(try await store.head("db.dump"), to: scratch.file("out"), options: options)
    }

    /// One fault for the part that starts at `offset`, the first `times` times it is asked for.
    private func hit(_ server: FaultServer, offset: Int = 131_072, times: Int = 1, _ fault: FaultServer.Fault) {
        let count = Counter()
        server.onRequest { request, _ in
            request.method == "GET" && request.range?.lowerBound == offset && count.next() <= times ? fault : nil
        }
    }

    @Test func theWholeInsteadOfAPartIsFetchedAgainFromZero() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.method == "GET" ? .ignoreRange : nil }
            let file = try await fetch(server)
            #expect(try scratch.bytes("out") == body)
            #expect(file.sha256 == sha256(body))
            #expect(scratch.names == ["out"])
        }
    }

    @Test func aStoreWithoutRangesThatBreaksOffIsReadFromZeroAgain() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let whole = Counter()
            server.onRequest { request, _ in
                guard request.method == "GET" else { return nil }
                if request.range?.upperBound == 700_000, whole.next() == 1 { return .truncate(after: 300_000) }
                return .ignoreRange
            }
            let file = try await fetch(server)
            #expect(try scratch.bytes("out") == body && file.sha256 == sha256(body))
        }
    }

    @Test func aWrongContentRangeIsNeverUsed() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, .contentRange("bytes 0-65535/700001"))
            #expect(try await fetch(server).retries == 1)
            #expect(try scratch.bytes("out") == body)
            hit(server, times: 1000, .contentRange("bytes 0-65535/700001"))
            let error = await failure { _ = try await fetch(server) }
            #expect(error?.code == "store.wrong-range")
        }
    }

    @Test(arguments: ["bytes x", "", "bytes 131072-196607"])
    func aContentRangeThatMakesNoSenseIsRefused(_ text: String) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, times: 1000, .contentRange(text))
            #expect(await failure { _ = try await fetch(server) }?.code == "store.wrong-range")
        }
    }

    @Test func moreBytesThanAskedForAreRefused() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, .excess)
            _ = try await fetch(server)
            #expect(try scratch.bytes("out") == body)
        }
    }

    @Test func notSatisfiableAtTheEndLetsSizeAndHashDecide() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, offset: 655_360, .status(416, code: "InvalidRange"))
            #expect(try await fetch(server, sha256: sha256(body)).sha256 == sha256(body))
            #expect(try scratch.bytes("out") == body)
        }
    }

    @Test func notSatisfiableWithAnotherSizeIsAnotherObject() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, offset: 655_360, .status(416, code: "InvalidRange", headers: ["Content-Range": "bytes */655360"]))
            #expect(await failure { _ = try await fetch(server) } is ObjectChanged)
            #expect(scratch.names == [])
        }
    }

    @Test(arguments: [false, true])
    func anObjectThatIsReplacedHalfWayFailsCleanly(ignoresPrecondition: Bool) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"first\"")
            let other = randomBytes(700_001, seed: 22)
            server.onRequest { request, _ in
                guard request.method == "GET" else { return nil }
                if request.range?.lowerBound == 262_144 { server.put("db.dump", other, etag: "\"second\"") }
                return ignoresPrecondition ? .ignorePrecondition : nil
            }
            let error = await failure { _ = try await fetch(server) }
            #expect(error is ObjectChanged && error?.isTransient == false)
            #expect(scratch.names == [])
        }
    }

    @Test func anObjectThatIsDeletedHalfWayFailsCleanly() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in
                if request.range?.lowerBound == 262_144 { server.remove("db.dump") }
                return nil
            }
            #expect(await failure { _ = try await fetch(server) } is ObjectChanged)
            #expect(scratch.names == [])
        }
    }

    @Test func aKeptVersionIsReadByItsIDAlthoughThereIsANewerOne() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body, versionID: "v1")
            _ = try await fetch(server)
            #expect(server.requests.dropFirst().allSatisfy { $0.query["versionId"] == "v1" })
        }
    }

    @Test(arguments: [0, 1, 30_000, 65_535])
    func aTruncatedBodyIsCompletedFromWhereItBroke(_ count: Int) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, .truncate(after: count))
            #expect(try await fetch(server).retries == 1)
            #expect(try scratch.bytes("out") == body)
            #expect(server.requests.contains { $0.range?.lowerBound == 131_072 + count })
        }
    }

    @Test func aFlippedByteFailsByItsHashAndNothingIsLeft() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, .flip(at: 4_711))
            let error = await failure { _ = try await fetch(server, sha256: sha256(body)) }
            #expect(error is ContentMismatch)
            #expect(scratch.names == [])
        }
    }

    @Test func aFlippedByteFailsByTheMD5ThatIsTheETag() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"\(md5(body))\"")
            #expect(try await fetch(server).sha256 == sha256(body))
            hit(server, .flip(at: 4_711))
            let error = await failure { _ = try await fetch(server) }
            #expect(error is ContentMismatch && error?.message.contains("MD5") == true)
        }
    }

    /// Of several parts, encrypted with a key of somebody's own, or of a store that has a SHA-256.
    @Test func anETagThatIsNoMD5IsNotTakenForOne() async throws {
        try await withServer { server async throws in
            let other = String(repeating: "a", count: 32), sum = Data(SHA256.hash(data: body)).base64EncodedString()
            func md5(etag: String, _ headers: [String: String] = [:]) async throws -> String? {
                server.put("db.dump", body, etag: "\"\(etag)\"", headers: headers)
                return try await server.store().head("db.dump").md5
            }
            #expect(try await md5(etag: other) == other)
            #expect(try await md5(etag: other, ["x-amz-server-side-encryption": "AES256"]) == other)
            #expect(try await md5(etag: other + "-2") == nil)
            #expect(try await md5(etag: String(repeating: "g", count: 32)) == nil)
            #expect(try await md5(etag: other, ["x-amz-server-side-encryption": "aws:kms"]) == nil)
            #expect(try await md5(etag: other, ["x-amz-server-side-encryption-customer-algorithm": "AES256"]) == nil)
            #expect(try await md5(etag: other, ["x-amz-checksum-sha256": sum]) == nil)
        }
    }

    @Test(arguments: [
        (503, "SlowDown"), (503, "ServiceUnavailable"), (429, "TooManyRequests"), (500, "InternalError"), (502, ""), (503, ""),
        (400, "RequestTimeout"),
    ])
    func aBusyStoreIsAskedAgain(_ status: Int, _ code: String) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, times: 3, .status(status, code: code))
            #expect(try await fetch(server).retries == 3)
            #expect(try scratch.bytes("out") == body)
        }
    }

    @Test func aStoreThatStaysBusyIsGivenUpAfterABoundedNumberOfAttempts() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, times: .max, .status(503, code: "SlowDown"))
            let error = await failure { _ = try await fetch(server) }
            #expect(error?.code == "store.throttled" && error?.exitStatus == .unreachable && error?.isTransient == true)
            #expect(server.requests.filter { $0.range?.lowerBound == 131_072 }.count == 5)
            // What was finished stays for the next attempt.
            #expect(scratch.names == ["out.reprise-fetch", "out.reprise-partial"])
        }
    }

    @Test func aResetConnectionIsMadeAgain() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, times: 2, .reset)
            // libcurl makes up for a kept connection that is dead by itself, so who asked again is left open.
            #expect(try await fetch(server).retries <= 2)
            #expect(server.requests.count { $0.range?.lowerBound == 131_072 } == 3)
            #expect(try scratch.bytes("out") == body)
        }
    }

    @Test func aStalledConnectionIsLeftForANewOne() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            hit(server, .stall(after: 1000))
            #expect(try await fetch(server).retries == 1)
            #expect(try scratch.bytes("out") == body)
        }
    }

    @Test func aDripBelowTheLeastRateIsGivenUp() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in (131_072..<196_608).contains(request.range?.lowerBound ?? 0) ? .drip(10) : nil }
            let error = await failure { _ = try await fetch(server, quickOptions(retries: 1)) }
            #expect(error?.code == "store.timed-out")
        }
    }

    @Test func whatTheStoreAsksForIsWaitedButNotForEver() {
        let policy = RetryPolicy(retries: 5, firstDelay: .milliseconds(100), longestDelay: .seconds(1))
        #expect(policy.delay(afterFailures: 1, jitter: 0) == .milliseconds(50))
        #expect(policy.delay(afterFailures: 1, jitter: 1) == .milliseconds(100))
        #expect(policy.delay(afterFailures: 3, jitter: 1) == .milliseconds(400))
        #expect(policy.delay(afterFailures: 40, jitter: 1) == .seconds(1))
        #expect(policy.delay(afterFailures: 1, jitter: 0, askedSeconds: 7) == .seconds(7))
        #expect(policy.delay(afterFailures: 1, jitter: 0, askedSeconds: 86_400) == .seconds(60))
    }

    @Test(arguments: [
        ("RequestTimeTooSkewed", 403, "store.wrong-clock"), ("ExpiredToken", 400, "store.expired-token"),
        ("SignatureDoesNotMatch", 403, "store.signature-mismatch"), ("InvalidAccessKeyId", 403, "store.bad-credentials"),
        ("NoSuchBucket", 404, "store.no-such-bucket"), ("NoSuchKey", 404, "store.no-such-key"),
        ("AccessDenied", 403, "store.access-denied"), ("PermanentRedirect", 301, "store.wrong-region"),
        ("AuthorizationHeaderMalformed", 400, "store.wrong-region"), ("InvalidObjectState", 403, "store.archived"),
        ("InvalidToken", 400, "store.bad-credentials"), ("Nonsense", 418, "store.unexpected"),
    ])
    func refusalsAreNamedWithoutAnotherAttempt(_ code: String, _ status: Int, _ expected: String) async throws {
        try await withServer { server async throws in
            server.onRequest { _, _ in .status(status, code: code) }
            let store = try server.store()
            let head = await failure { _ = try await store.head("db.dump") }
            let list = await failure { _ = try await store.list(prefix: "") }
            #expect(head?.code == expected && list?.code == expected)
            if expected != "store.unexpected" { #expect(list?.hints.isEmpty == false) }
            // HEAD and its explanation by GET, and one listing.
            #expect(server.requests.count == 3)
        }
    }

    @Test func theClockErrorSaysByHowMuch() async throws {
        try await withServer { server async throws in
            server.onRequest { _, _ in
                .status(403, code: "RequestTimeTooSkewed", headers: ["Date": "Mon, 23 Nov 2026 03:00:00 GMT"])
            }
            let early = S3Store(
                try S3Location(bucket: "backups", endpoint: Endpoint(server.endpoint)), credentials: FixedCredentials(),
                now: { Date(timeIntervalSince1970: 1_795_399_200) })
            let error = await failure { _ = try await early.list(prefix: "") }
            #expect(error?.message.contains("3600 s behind") == true)
        }
    }

    @Test func theRegionErrorNamesTheRightOne() async throws {
        try await withServer { server async throws in
            server.onRequest { _, _ in
                .status(301, code: "PermanentRedirect", headers: ["x-amz-bucket-region": "ap-southeast-1"])
            }
            let error = await failure { _ = try await server.store().head("x") }
            #expect(error?.description.contains("set the store's region to ap-southeast-1") == true)
        }
    }

    @Test func anEmptyBucketListsNothing() async throws {
        try await withServer { server async throws in
            let listed = try await server.store().list(prefix: "")
            #expect(listed.isEmpty)
        }
    }

    @Test func aTokenThatRanOutIsReadAnewFromItsSource() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in
                request.headers["x-amz-security-token"] == "new" ? nil : .status(400, code: "ExpiredToken")
            }
            let store = S3Store(
                try S3Location(bucket: "backups", endpoint: Endpoint(server.endpoint)), credentials: RenewedCredentials())
            let version = try await store.head("db.dump")
            _ = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: quickOptions())
            #expect(try scratch.bytes("out") == body)
        }
    }

    private actor RenewedCredentials: CredentialSource {
        nonisolated let name = "a source that renews"
        private var reads = 0
        func credentials() -> Credentials? {
            reads += 1
            return FixedCredentials(token: reads == 1 ? "old" : "new").credentials()
        }
    }

    // MARK: Full disks

    @Test(.enabled(if: SmallDisk.isPossible, "SKIPPED: a full disk needs root to mount a small file system"))
    func aDiskWithoutRoomIsFoundBeforeTheFirstByte() async throws {
        try await withServer { server async throws in
            let small = try SmallDisk(bytes: 512 * 1024)
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            let before = server.requests.count
            let error = await failure {
                _ = try await Fetch(from: store).fetch(version, to: small.path + "/out", options: quickOptions())
            }
            #expect((error as? FileFailure)?.isDiskFull == true)
            #expect(server.requests.count == before)
        }
    }

    @Test(.enabled(if: SmallDisk.isPossible, "SKIPPED: a full disk needs root to mount a small file system"))
    func aDiskThatFillsInTheMiddleIsResumedWhenThereIsRoom() async throws {
        try await withServer { server async throws in
            let small = try SmallDisk(bytes: 1 << 20)
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            let ballast = small.path + "/ballast"
            try Data(count: 700_000).write(to: URL(fileURLWithPath: ballast))
            var options = quickOptions(concurrency: 1)
            options.reservesRoom = false
            options.durability = .processCrash
            let unreserved = options
            let error = await failure {
                _ = try await Fetch(from: store).fetch(version, to: small.path + "/out", options: unreserved)
            }
            #expect((error as? FileFailure)?.isDiskFull == true)
            // Not removed: a program that another test starts just now may have inherited it, and would keep its room.
            truncate(ballast, 0)
            let file = try await Fetch(from: store).fetch(version, to: small.path + "/out", options: unreserved)
            #expect(file.sha256 == sha256(body))
            #expect(file.reusedBytes >= 65_536)
        }
    }
}

final class Counter: Sendable {
    private let recorder = Recorder<Void>()
    func next() -> Int {
        recorder.append(())
        return recorder.values.count
    }
}
