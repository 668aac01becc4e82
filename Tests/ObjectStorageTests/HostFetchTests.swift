import Foundation
import Glibc
import ObjectStorage
import RunCore
import TestSupport
import Testing

/// The script for hosts, run here by sh with curl, as a host would.
@Suite struct HostFetchTests {
    let scratch: Scratch
    let body = randomBytes(700_001, seed: 61)
    init() throws { scratch = try Scratch() }

    private func options(expected: String? = nil, quotaBytes: Int64 = 1 << 30) -> HostFetchScript.Options {
        HostFetchScript.Options(
            rangeSizeBytes: 65_536, parallel: 3, quotaBytes: quotaBytes, retries: 2,
            limits: ReadLimits(minimumBytesPerSecond: 1000, stallSeconds: 2), expectedSHA256: expected)
    }

    private func start(_ job: HostFetchJob, shell: String = "sh", path: String? = nil) throws -> Command.Child {
        try scratch.write("job.sh", job.script)
        try scratch.write("job.in", job.standardInput.reveal())
        var environment = ProcessInfo.processInfo.environment
        if let path { environment["PATH"] = path }
        let program = shell == "sh" ? "/bin/sh" : shell
        return try Command.start(program, [scratch.file("job.sh")], inputPath: scratch.file("job.in"), environment: environment)
    }

    private func run(_ server: FaultServer, _ options: HostFetchScript.Options, shell: String = "sh", path: String? = nil)
        async throws -> HostFetchScript.Outcome
    {
        let store = try server.store()
        let job = try await HostFetchScript.make(
            try await store.head("db.dump"), from: store, to: scratch.file("it's $here/out"), options: options)
        try FileManager.default.createDirectory(atPath: scratch.file("it's $here"), withIntermediateDirectories: true)
        let ended = try await start(job, shell: shell, path: path).wait()
        #expect(!ended.output.contains("X-Amz-Signature"), "an address is in the output")
        return try HostFetchScript.outcome(exitStatus: ended.status, output: ended.output, name: "db.dump")
    }

    private func fetched(_ outcome: HostFetchScript.Outcome) throws -> HostFetchResult {
        guard case .fetched(let result) = outcome else { throw NotFetched(outcome: outcome) }
        return result
    }
    private struct NotFetched: Error { let outcome: HostFetchScript.Outcome }

    private var left: [String] { (try? FileManager.default.contentsOfDirectory(atPath: scratch.file("it's $here")).sorted()) ?? [] }
    private func arrived() throws -> [UInt8] { try scratch.bytes("it's $here/out") }

    @Test(arguments: ["sh", "bash"]) func anObjectArrivesWholeAndVerified(_ shell: String) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let result = try fetched(try await run(server, options(expected: sha256(body)), shell: shell))
            #expect(result.bytes == 700_001 && result.sha256 == sha256(body))
            #expect(result.wrapper == .none && result.unwrappedBytes == 700_001 && result.unwrappedSHA256 == sha256(body))
            #expect(try arrived() == body)
            #expect(left == ["out"])
        }
    }

    @Test(arguments: [Wrapper.gzip, .zstd, .xz]) func aWrappedObjectIsUnwrappedOnTheWay(_ wrapper: Wrapper) async throws {
        let program = try #require(wrapper.program)
        try scratch.write("plain", body)
        let wrapped = try await Command.run("sh", ["-c", "\(program) -c \"$1\" > \"$2\"", "sh", scratch.file("plain"), scratch.file("wrapped")])
        guard wrapped.status == 0 else { return print("SKIPPED: \(program) is not installed") }
        let bytes = try scratch.bytes("wrapped")
        try await withServer { server async throws in
            server.put("db.dump", bytes)
            let result = try fetched(try await run(server, options(expected: sha256(bytes))))
            #expect(result.wrapper == wrapper && result.sha256 == sha256(bytes) && result.bytes == Int64(bytes.count))
            #expect(result.unwrappedSHA256 == sha256(body) && result.unwrappedBytes == 700_001)
            #expect(try arrived() == body)
        }
    }

    @Test func anEmptyObjectIsAnEmptyFile() async throws {
        try await withServer { server async throws in
            server.put("db.dump", [])
            let result = try fetched(try await run(server, options()))
            #expect(result.bytes == 0 && result.sha256 == sha256([]))
            #expect(try arrived().isEmpty)
        }
    }

    @Test func addressesThatRunOutEndTheJobAndFinishedRangesStay() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in
                (request.range?.lowerBound ?? 0) >= 400_000 ? .status(403, code: "AccessDenied") : nil
            }
            #expect(try await run(server, options()) == .expired(detail: "HTTP 403 AccessDenied"))
            #expect(left == ["out.reprise-ranges"])
            let first = server.requests.count
            server.onRequest { _, _ in nil }
            let result = try fetched(try await run(server, options()))
            #expect(result.sha256 == sha256(body))
            let again = server.requests.dropFirst(first).filter { $0.method == "GET" }
            #expect(!again.isEmpty && again.count < 11)
            #expect(try arrived() == body)
        }
    }

    @Test func aKilledJobGoesOnWithItsFinishedRanges() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"one\"")
            server.onRequest { request, _ in (request.range?.lowerBound ?? 0) >= 400_000 ? .stall(after: 10) : nil }
            let store = try server.store()
            let version = try await store.head("db.dump")
            let job = try await HostFetchScript.make(version, from: store, to: scratch.file("out"), options: options())
            let child = try start(job)
            try await eventually("six ranges are there") {
                (try? FileManager.default.contentsOfDirectory(atPath: scratch.file("out.reprise-ranges")))?
                    .count { $0.hasSuffix(".part") } ?? 0 >= 6
            }
            for process in Self.descendants(of: child.process) { kill(process, SIGKILL) }
            _ = try await child.wait()
            server.onRequest { _, _ in nil }
            let first = server.requests.count
            let ended = try await start(job).wait()
            let result = try fetched(try HostFetchScript.outcome(exitStatus: ended.status, output: ended.output, name: "x"))
            #expect(result.sha256 == sha256(body))
            #expect(server.requests.count - first <= 5)
        }
    }

    @Test func aReplacedObjectEndsTheJob() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in
                if request.method == "GET", request.range?.lowerBound == 196_608 { server.put("db.dump", [1, 2]) }
                return nil
            }
            #expect(await failure { _ = try await run(server, options()) } is ObjectChanged)
            #expect(left == [])
        }
    }

    @Test func aFlippedByteFailsByItsHash() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.range?.lowerBound == 131_072 ? .flip(at: 5) : nil }
            let error = await failure { _ = try await run(server, options(expected: sha256(body))) }
            #expect(error?.code == "host-fetch.content-mismatch" && error?.exitStatus == .verificationMismatch)
            #expect(left == [])
        }
    }

    @Test func aFlippedByteFailsByTheMD5ThatIsTheETag() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body, etag: "\"\(md5(body))\"")
            #expect(try fetched(try await run(server, options())).sha256 == sha256(body))
            server.onRequest { request, _ in request.range?.lowerBound == 131_072 ? .flip(at: 5) : nil }
            let error = await failure { _ = try await run(server, options()) }
            #expect(error?.code == "host-fetch.content-mismatch" && error?.message.contains("MD5") == true)
            #expect(left == ["out"], "the file of the fetch before is not touched")
        }
    }

    @Test func aBombIsStoppedAtTheQuota() async throws {
        try scratch.write("plain", [UInt8](repeating: 0, count: 50_000_000))
        let bytes = try await gzipped("plain")
        try await withServer { server async throws in
            server.put("db.dump", bytes)
            let error = await failure { _ = try await run(server, options(quotaBytes: 1_000_000)) }
            #expect(error?.code == "host-fetch.quota" && error?.hints.contains { $0.contains("raise `most-bytes`") } == true)
            #expect(left == [])
        }
    }

    /// A bomb of 50 MB, and a backup that unwraps to three times its size, on a disk with 12 MB.
    @Test(.enabled(if: SmallDisk.isPossible, needsRoot)) func aBombTakesNoMoreThanHalfOfTheDiskAndAnHonestBackupGoesOn() async throws {
        try scratch.write("plain", [UInt8](repeating: 0, count: 50_000_000))
        try scratch.write("dump", body + body + body)
        let bomb = try await gzipped("plain"), dump = try await gzipped("dump")
        let small = try SmallDisk(bytes: 12 << 20)
        try await withServer { server async throws in
            server.put("db.dump", bomb)
            let store = try server.store()
            func fetch() async throws -> HostFetchScript.Outcome {
                let job = try await HostFetchScript.make(try await store.head("db.dump"), from: store, to: small.file("out"), options: options(quotaBytes: HostFetchScript.unlimitedBytes))
                return try await outcome(of: job, server).outcome
            }
            // What an attempt that was killed left of it takes no room from the next one.
            // Written by a child: what another test starts meanwhile might inherit a file that is open here, and keep its room from the disk.
            _ = try await Command.run("sh", ["-c", "head -c 9437184 /dev/zero > \"$1\"", "sh", small.file("out.reprise-unwrapping")])
            let error = await failure { _ = try await fetch() }
            #expect(error?.code == "host-fetch.no-room" && error?.message.contains("half of what is free") == true, "\(String(describing: error))")
            #expect(small.names == ["out.reprise-ranges"], "a retry need not fetch it again")
            let limit = try #require(error?.message.firstMatch(of: /more than (\d+) bytes/)?.1)
            #expect((5_900_000...6_300_000).contains(Int(limit) ?? 0), "\(limit)")
            server.put("db.dump", dump)
            let result = try fetched(try await fetch())
            #expect(result.unwrappedBytes == 2_100_003 && small.names == ["out"])
        }
    }

    private func gzipped(_ name: String) async throws -> [UInt8] {
        _ = try await Command.run("sh", ["-c", "gzip -c \"$1\" > \"$2\"", "sh", scratch.file(name), scratch.file(name + ".gz")])
        return try scratch.bytes(name + ".gz")
    }

    @Test func aTruncatedWrapperIsDamaged() async throws {
        try scratch.write("plain", body)
        let bytes = Array(try await gzipped("plain").dropLast(100))
        try await withServer { server async throws in
            server.put("db.dump", bytes)
            #expect(await failure { _ = try await run(server, options(expected: sha256(bytes))) }?.code == "host-fetch.damaged")
            #expect(left == [])
        }
    }

    @Test(arguments: [
        FaultServer.Fault.status(503, code: "SlowDown"), .status(429, code: "TooManyRequests"), .status(429), .truncate(after: 100), .reset,
        .stall(after: 100), .drip(10), .contentRange("bytes 0-65535/700001"), .excess,
    ])
    func aPassingFaultIsTriedAgain(_ fault: FaultServer.Fault) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let count = Counter()
            server.onRequest { request, _ in
                request.method == "GET" && request.range?.lowerBound == 131_072 && count.next() <= 1 ? fault : nil
            }
            let result = try fetched(try await run(server, options()))
            #expect(result.sha256 == sha256(body))
        }
    }

    /// By itself the host would ask again after less than two seconds.
    @Test func whatTheStoreAsksForIsWaited() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let times = Recorder<ContinuousClock.Instant>()
            server.onRequest { request, _ in
                guard request.range?.lowerBound == 131_072 else { return nil }
                times.append(.now)
                return times.values.count == 1 ? .status(429, code: "SlowDown", headers: ["Retry-After": "3"]) : nil
            }
            let result = try fetched(try await run(server, options()))
            #expect(result.sha256 == sha256(body))
            let asked = times.values
            #expect(asked.count == 2 && asked[0].duration(to: asked[1]) >= .seconds(3))
        }
    }

    @Test(arguments: ["bytes 0-65535/700001", "bytes x", "", "bytes 131072-196607", "bytes \"0-1\\/700001"])
    func aStoreThatGoesOnSendingOtherPartsIsNamed(_ contentRange: String) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.range?.lowerBound == 131_072 ? .contentRange(contentRange) : nil }
            let error = await failure { _ = try await run(server, options()) }
            #expect(error?.code == "host-fetch.wrong-range" && error?.isTransient == true)
            #expect(error?.message.contains("bytes=131072-196607 was asked for") == true)
            #expect(left == ["out.reprise-ranges"])
        }
    }

    @Test func aPartOfAnotherSizeIsAnotherObject() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.range?.lowerBound == 131_072 ? .contentRange("bytes 131072-196607/700002") : nil }
            #expect(await failure { _ = try await run(server, options()) } is ObjectChanged)
            #expect(left == [])
        }
    }

    @Test func aStoreThatStaysBusyIsUnreachable() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.range?.lowerBound == 131_072 ? .status(503) : nil }
            let error = await failure { _ = try await run(server, options()) }
            #expect(error?.code == "host-fetch.unreachable" && error?.isTransient == true)
            #expect(left == ["out.reprise-ranges"])
        }
    }

    /// As the step does it: in ranges, and in one piece once the store has shown that it sends none.
    private func runAsTheStepDoes(_ server: FaultServer, _ options: HostFetchScript.Options) async throws -> HostFetchResult {
        let first = try await run(server, options)
        guard case .rangesIgnored = first else { throw NotFetched(outcome: first) }
        #expect(left == [], "ranges of another size are of no use")
        return try fetched(try await run(server, options.inOnePiece(try await server.store().head("db.dump"))))
    }

    @Test func theWholeInsteadOfAPartIsFetchedAgainInOnePiece() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.range != nil ? .ignoreRange : nil }
            #expect(try await runAsTheStepDoes(server, options()).sha256 == sha256(body))
            #expect(try arrived() == body && left == ["out"])
        }
    }

    @Test func aStoreWithoutRangesThatBreaksOffIsReadFromZeroAgain() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let whole = Counter()
            server.onRequest { request, _ in
                if request.range != nil { return .ignoreRange }
                return request.method == "GET" && whole.next() == 1 ? .truncate(after: 300_000) : nil
            }
            #expect(try await runAsTheStepDoes(server, options(expected: sha256(body))).sha256 == sha256(body))
            #expect(try arrived() == body)
        }
    }

    /// With the size that is known, or without any: this store has the object, and no parts of it.
    @Test(arguments: [[:], ["Content-Range": "bytes */700001"], ["Content-Range": "bytes */*"]])
    func notSatisfiableAtTheEndLetsSizeAndHashDecide(_ headers: [String: String]) async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in
                request.range?.lowerBound == 655_360 ? .status(416, code: "InvalidRange", headers: headers) : nil
            }
            #expect(try await runAsTheStepDoes(server, options(expected: sha256(body))).sha256 == sha256(body))
            #expect(try arrived() == body)
        }
    }

    @Test func notSatisfiableWithAnotherSizeIsAnotherObject() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in
                guard request.range?.lowerBound == 655_360 else { return nil }
                return .status(416, code: "InvalidRange", headers: ["Content-Range": "bytes */655360"])
            }
            let error = await failure { _ = try await run(server, options()) }
            #expect(error is ObjectChanged && error?.message.contains("655360 bytes instead of 700001") == true)
            #expect(left == [])
        }
    }

    /// A store that refuses the whole as well is tried a bounded number of times.
    @Test func aWholeThatIsNotSatisfiableIsGivenUp() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let version = try await server.store().head("db.dump")
            server.onRequest { request, _ in request.query["X-Amz-Signature"] != nil ? .status(416, code: "InvalidRange") : nil }
            let error = await failure { _ = try await run(server, options().inOnePiece(version)) }
            #expect(error?.code == "host-fetch.unreachable" && error?.message.contains("HTTP 416") == true)
        }
    }

    @Test func aHostWithoutCurlIsNamed() async throws {
        try FileManager.default.createDirectory(atPath: scratch.file("bin"), withIntermediateDirectories: true)
        for tool in ["cat", "mkdir", "rm", "stat", "tr", "tail", "df", "mkfifo"] {
            symlink("/usr/bin/\(tool)", scratch.file("bin/\(tool)"))
        }
        try await withServer { server async throws in
            server.put("db.dump", body)
            let error = await failure { _ = try await run(server, options(), path: scratch.file("bin")) }
            #expect(error?.code == "host-fetch.no-program" && error?.message.contains("curl") == true)
        }
    }

    private static let needsRoot: Comment = "SKIPPED: a full disk needs root to mount a small file system"

    /// Has `job` run, and tells how it ended and how many ranges it asked for.
    private func outcome(of job: HostFetchJob, _ server: FaultServer) async throws -> (outcome: HostFetchScript.Outcome, reads: Int) {
        let first = server.requests.count
        let ended = try await start(job).wait()
        return (
            try HostFetchScript.outcome(exitStatus: ended.status, output: ended.output, name: "db.dump"), server.requests.count - first
        )
    }

    @Test(.enabled(if: SmallDisk.isPossible, needsRoot)) func aFullDiskOfTheHostIsNamedAndItsFinishedRangesStay() async throws {
        let small = try SmallDisk(bytes: 2 << 20)
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            let job = try await HostFetchScript.make(version, from: store, to: small.file("out"), options: options())
            try Data(count: 1 << 20).write(to: URL(fileURLWithPath: small.file("ballast")))
            let error = await failure { _ = try await outcome(of: job, server) }
            #expect(error?.code == "host-fetch.disk-full")
            let kept = try FileManager.default.contentsOfDirectory(atPath: small.file("out.reprise-ranges")).count { $0.hasSuffix(".part") }
            #expect(kept > 0)
            // Not removed: a program that another test starts just now may have inherited it, and would keep its room.
            truncate(small.file("ballast"), 0)
            let again = try await outcome(of: job, server)
            #expect(try fetched(again.outcome).sha256 == sha256(body))
            #expect(again.reads == job.rangeCount - kept)
        }
    }

    /// With room for the ranges and the file, and for one, two or none of the sums that are written beside them.
    @Test(.enabled(if: SmallDisk.isPossible, needsRoot)) func aDiskThatIsFullAtTheVeryEndDoesNotMakeTheBackupADamagedOne() async throws {
        let body = Array(body.prefix(200_001))
        let page = 4096
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            let version = try await store.head("db.dump")
            var wasFull = 0
            // The ranges and the file take 49 pages each; what is noted beside them one or two more.
            for pages in 97...105 {
                let small = try SmallDisk(bytes: pages * page)
                let job = try await HostFetchScript.make(version, from: store, to: small.file("out"), options: options(expected: sha256(body)))
                do {
                    #expect(try fetched(try await outcome(of: job, server).outcome).sha256 == sha256(body))
                } catch let error as any RepriseError {
                    #expect(error.code == "host-fetch.disk-full", "\(pages) pages: \(error.message)")
                    wasFull += 1
                    try small.grow(toBytes: 1 << 20)
                    #expect(try fetched(try await outcome(of: job, server).outcome).sha256 == sha256(body))
                }
            }
            #expect(wasFull > 0 && wasFull < 9, "the sizes do not reach from too small to large enough")
        }
    }

    /// An unwrapping program that is ended from outside, as where memory runs out, says nothing about the backup.
    @Test func aProgramThatIsKilledDoesNotMakeTheBackupADamagedOne() async throws {
        try FileManager.default.createDirectory(atPath: scratch.file("bin"), withIntermediateDirectories: true)
        try scratch.write("bin/gzip", "#!/bin/sh\nkill -KILL $$\n")
        chmod(scratch.file("bin/gzip"), 0o755)
        try await withServer { server async throws in
            server.put("db.dump", [0x1F, 0x8B, 0x08] + body)
            let path = scratch.file("bin") + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")
            let error = await failure { _ = try await run(server, options(), path: path) }
            #expect(error?.code == "host-fetch.unexpected" && error?.message.contains("signal 9") == true)
        }
    }

    /// While it runs: the addresses are in no argument list and no environment of any process of the job.
    @Test func addressesAreNeverInArgumentsOrEnvironments() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            server.onRequest { request, _ in request.method == "GET" ? .stall(after: 100) : nil }
            let store = try server.store()
            let version = try await store.head("db.dump")
            var patient = options()
            patient.limits = ReadLimits(minimumBytesPerSecond: 1, stallSeconds: 600)
            let job = try await HostFetchScript.make(version, from: store, to: scratch.file("out"), options: patient)
            #expect(!job.script.contains("X-Amz-Signature"))
            let child = try start(job)
            var processes: [pid_t] = []
            // Three ranges are under way, and stay so.
            try await eventually("three of curl run") {
                processes = Self.descendants(of: child.process)
                return server.requests.count >= 4 && processes.count { Self.text($0, "cmdline").hasPrefix("curl") } == 3
            }
            for process in processes {
                let text = Self.text(process, "cmdline") + Self.text(process, "environ")
                #expect(!text.contains("X-Amz") && !text.contains(FaultServer.secretKey))
            }
            for process in processes { kill(process, SIGKILL) }
            try await child.wait()
        }
    }

    @Test func progressLinesAreUnderstood() {
        let progress = HostFetchScript.progress("reprise-progress 5 10")
        #expect(progress?.doneBytes == 5 && progress?.totalBytes == 10)
        for line in ["", "reprise-progress 5", "reprise-progress x 10", "other 5 10"] { #expect(HostFetchScript.progress(line) == nil) }
    }

    @Test func aFolderAndARelativePathAreRefused() async throws {
        try scratch.write("file", "x")
        let folder = DirectoryStore(path: scratch.path)
        let version = try await folder.head("file")
        #expect(await failure { _ = try await HostFetchScript.make(version, from: folder, to: "/x") }?.code == "store.configuration")
        #expect(await failure { _ = try await HostFetchScript.make(version, from: folder, to: "x") }?.code == "store.configuration")
    }

    @Test func theScriptPassesShellcheck() async throws {
        try await withServer { server async throws in
            server.put("db.dump", body)
            let store = try server.store()
            let job = try await HostFetchScript.make(try await store.head("db.dump"), from: store, to: "/x")
            try scratch.write("job.sh", "#!/bin/sh\n" + job.script)
            let (status, output) = try await Command.run("shellcheck", [scratch.file("job.sh")])
            if status == 127 { return print("SKIPPED: shellcheck is not installed") }
            #expect(status == 0, "\(output)")
        }
    }

    private static func text(_ process: pid_t, _ file: String) -> String {
        String(decoding: FileManager.default.contents(atPath: "/proc/\(process)/\(file)") ?? Data(), as: UTF8.self)
    }

    private static func descendants(of process: pid_t) -> [pid_t] {
        var parents: [pid_t: pid_t] = [:]
        for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let id = pid_t(entry), let text = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
                let end = text.lastIndex(of: ")")
            else { continue }
            parents[id] = text[text.index(after: end)...].split(separator: " ").dropFirst().first.flatMap { pid_t($0) }
        }
        func children(_ parent: pid_t) -> [pid_t] {
            [parent] + parents.filter { $0.value == parent }.flatMap { children($0.key) }
        }
        return children(process)
    }
}
