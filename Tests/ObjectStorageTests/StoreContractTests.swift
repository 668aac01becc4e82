import BlockingIO
import Foundation
import Glibc
import class LoopbackSSH.LoopbackServer
import ObjectStorage
import RunCore
import SSH
import Testing

/// What every store holds to. A store that is added is added here.
@Suite struct StoreContractTests {
    enum Kind: Sendable, CaseIterable {
        case s3, s3WithPrefix, folder, folderOnHost

        /// Without an sshd the folder on a host is left out, loudly.
        static var available: [Kind] { LoopbackServer.isAvailable ? allCases : [.s3, .s3WithPrefix, .folder] }
    }

    static let objects: [String: [UInt8]] = [
        "database/db_20261101_020000.dump.gz": randomBytes(100_000, seed: 41),
        "database/db_20261102_020000.dump.gz": randomBytes(200_000, seed: 42),
        "files/files_20261102_020000.tar.gz": randomBytes(10, seed: 43), "zürich & co.txt": [], "a": [1, 2, 3],
    ]

    private func withStore(_ kind: Kind, _ body: (any ObjectStore, (String, [UInt8]) throws -> Void) async throws -> Void) async throws {
        switch kind {
        case .folder, .folderOnHost:
            let scratch = try Scratch()
            func put(_ key: String, _ bytes: [UInt8]) throws {
                let path = scratch.file(key)
                try FileManager.default.createDirectory(
                    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                try Data(bytes).write(to: URL(fileURLWithPath: path), options: .atomic)
            }
            for (key, bytes) in Self.objects { try put(key, bytes) }
            guard kind == .folderOnHost else { return try await body(DirectoryStore(path: scratch.path + "/"), put) }
            try await withHost { try await body(HostDirectoryStore(path: scratch.path + "/", reach: $0), put) }
        case .s3, .s3WithPrefix:
            let prefix = kind == .s3 ? "" : "prod/eu/"
            try await withServer { server async throws in
                func put(_ key: String, _ bytes: [UInt8]) { server.put(prefix + key, bytes, etag: "\"\(sha256(bytes))\"") }
                for (key, bytes) in Self.objects { put(key, bytes) }
                if kind == .s3WithPrefix { server.put("prod/other", [9]) }
                server.setPageSize(2)
                try await body(try server.store(prefix: kind == .s3 ? "" : "prod/eu"), put)
            }
        }
    }

    private func all(_ store: any ObjectStore, _ version: ObjectVersion, _ range: Range<Int64>) async throws -> [UInt8] {
        let bytes = Recorder<[UInt8]>()
        try await store.read(version, range: range, limits: ReadLimits(stallSeconds: 120)) { bytes.append(Array($0)) }
        return bytes.values.flatMap { $0 }
    }

    @Test(arguments: Kind.available) func listingHasAllPagesSortedByKey(_ kind: Kind) async throws {
        try await withStore(kind) { store, _ in
            let listed = try await store.list(prefix: "")
            #expect(listed.map(\.key) == Self.objects.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
            #expect(listed.allSatisfy { Int64(Self.objects[$0.key]?.count ?? -1) == $0.sizeBytes && !$0.etag.isEmpty })
            #expect(try await store.list(prefix: "database/db_").count == 2)
            #expect(try await store.list(prefix: "data").count == 2)
            #expect(try await store.list(prefix: "nothing").isEmpty)
        }
    }

    @Test(arguments: Kind.available) func everyRangeReadsItsBytes(_ kind: Kind) async throws {
        try await withStore(kind) { store, _ in
            let key = "database/db_20261102_020000.dump.gz"
            let expected = try #require(Self.objects[key])
            let version = try await store.head(key)
            #expect(version.sizeBytes == 200_000 && version.key == key)
            for range: Range<Int64> in [0..<200_000, 0..<1, 199_999..<200_000, 70_000..<150_001, 5..<5] {
                #expect(try await all(store, version, range) == Array(expected[Int(range.lowerBound)..<Int(range.upperBound)]))
            }
            #expect(try await all(store, try await store.head("zürich & co.txt"), 0..<0) == [])
        }
    }

    @Test(arguments: Kind.available, ["nothing", "../a", "database", "database/../a", "/a", "", "a/", "x\u{0}y"])
    func whatIsNotThereIsNamed(_ kind: Kind, _ key: String) async throws {
        try await withStore(kind) { store, _ in
            #expect(await failure { _ = try await store.head(key) }?.code == "store.no-such-key")
        }
    }

    @Test(arguments: Kind.available) func aReplacedObjectIsNotTheVersionThatWasPinned(_ kind: Kind) async throws {
        try await withStore(kind) { store, put in
            let version = try await store.head("a")
            try put("a", [4, 5, 6])
            #expect(await failure { _ = try await all(store, version, 0..<3) } is ObjectChanged)
            let fresh = try await store.head("a")
            #expect(try await all(store, fresh, 0..<3) == [4, 5, 6])
        }
    }

    @Test(arguments: Kind.available) func fetchingWorksFromEveryStore(_ kind: Kind) async throws {
        try await withStore(kind) { store, _ in
            let scratch = try Scratch()
            for (key, bytes) in Self.objects {
                let file = try await Fetch(from: store).fetch(
                    try await store.head(key), to: scratch.file("out"), options: quickOptions())
                #expect(file.sha256 == sha256(bytes))
            }
            #expect(scratch.names == ["out"])
        }
    }

    @Test(arguments: Kind.available) func theNewestBackupComesFirst(_ kind: Kind) async throws {
        try await withStore(kind) { store, _ in
            let found = try await BackupNaming.runbookDatabase.backups(in: store)
            #expect(found.map(\.object.key) == ["database/db_20261102_020000.dump.gz", "database/db_20261101_020000.dump.gz"])
        }
    }

    @Test func aFolderGivesNothingOutsideOfItself() async throws {
        let scratch = try Scratch()
        try scratch.write("secret", "canary")
        try FileManager.default.createDirectory(atPath: scratch.file("root"), withIntermediateDirectories: true)
        try scratch.write("root/inside", "fine")
        symlink("../secret", scratch.file("root/out"))
        symlink("inside", scratch.file("root/latest"))
        mkfifo(scratch.file("root/pipe"), 0o600)
        let store = DirectoryStore(path: scratch.file("root"))
        #expect(try await store.list(prefix: "").map(\.key) == ["inside", "latest"])
        #expect(try await store.head("latest").sizeBytes == 4)
        for key in ["out", "pipe", "../secret"] {
            #expect(await failure { _ = try await store.head(key) }?.code == "store.no-such-key")
        }
        let presigned = try await store.presign(try await store.head("inside"), range: nil, expires: .seconds(1))
        #expect(presigned == nil)
    }

    @Test func aMissingFolderIsNamed() async throws {
        let store = DirectoryStore(path: "/nonexistent/reprise")
        #expect(await failure { _ = try await store.list(prefix: "") }?.code == "store.no-such-bucket")
        guard LoopbackServer.isAvailable else { return }
        try await withHost { reach in
            let store = HostDirectoryStore(path: "/nonexistent/reprise", reach: reach)
            #expect(await failure { _ = try await store.list(prefix: "") }?.code == "store.no-such-bucket")
            #expect(await failure { _ = try await store.head("a") }?.code == "store.no-such-bucket")
        }
    }

    @Test(.enabled(if: LoopbackServer.isAvailable)) func aFolderOnAHostGivesNothingOutsideOfItself() async throws {
        let scratch = try Scratch()
        try scratch.write("secret", "canary")
        try FileManager.default.createDirectory(atPath: scratch.file("root"), withIntermediateDirectories: true)
        try scratch.write("root/inside", "fine")
        try scratch.write("root/it's\na \"$(touch pwned)\" file", "odd")
        symlink("../secret", scratch.file("root/out"))
        symlink("inside", scratch.file("root/latest"))
        mkfifo(scratch.file("root/pipe"), 0o600)
        try await withHost { reach in
            let store = HostDirectoryStore(path: scratch.file("root"), reach: reach)
            #expect(try await store.list(prefix: "").map(\.key) == ["inside", "it's\na \"$(touch pwned)\" file", "latest"])
            #expect(try await store.head("latest").sizeBytes == 4)
            let odd = try await store.head("it's\na \"$(touch pwned)\" file")
            #expect(try await all(store, odd, 0..<3) == Array("odd".utf8))
            for key in ["out", "pipe", "../secret"] {
                #expect(await failure { _ = try await store.head(key) }?.code == "store.no-such-key")
            }
            let pinned = try await store.head("inside")
            try FileManager.default.removeItem(atPath: scratch.file("root/inside"))
            symlink("../secret", scratch.file("root/inside"))
            #expect(await failure { _ = try await all(store, pinned, 0..<4) } is ObjectChanged)
        }
    }

    /// The file is made shorter and written to while it is read, behind a reader that is slow.
    @Test(.enabled(if: LoopbackServer.isAvailable), arguments: [true, false]) func aFileThatChangesWhileItIsReadGivesNoOtherBytes(shrinks: Bool) async throws {
        let scratch = try Scratch()
        let bytes = randomBytes(24 << 20, seed: 77)
        try scratch.write("big", bytes)
        try await withHost { reach in
            let store = HostDirectoryStore(path: scratch.path, reach: reach)
            let version = try await store.head("big")
            let seen = Recorder<[UInt8]>()
            let error = await failure {
                try await store.read(version, range: 0..<version.sizeBytes, limits: ReadLimits(stallSeconds: 120)) { chunk in
                    if seen.values.isEmpty {
                        if shrinks { truncate(scratch.file("big"), 16 << 20) } else { utimes(scratch.file("big"), nil) }
                    }
                    seen.append(Array(chunk))
                }
            }
            #expect(error is ObjectChanged, "\(String(describing: error))")
            let got = seen.values.flatMap { $0 }
            #expect(got == Array(bytes.prefix(got.count)))
        }
    }

    @Test(.enabled(if: LoopbackServer.isAvailable)) func aLostSessionIsTransientAndMadeAnew() async throws {
        let scratch = try Scratch()
        try scratch.write("a", "abc")
        let server = try LoopbackServer()
        let sessions = Recorder<SSHSession>()
        let lost = Recorder<Bool>()
        let reach = HostDirectoryStore.Reach(
            host: "loopback", becomesRoot: false,
            connect: {
                if let last = sessions.values.last, lost.values.count < sessions.values.count { return last }
                let session = try await SSHSession.connect(to: server.target(), deadline: Deadline(after: .seconds(120)))
                sessions.append(session)
                return session
            }, lost: { lost.append(true) })
        let store = HostDirectoryStore(path: scratch.path, reach: reach)
        let version = try await store.head("a")
        // The server's process for this session, which is its only child.
        let children = try String(contentsOfFile: "/proc/\(server.process)/task/\(server.process)/children", encoding: .utf8)
        for child in children.split(separator: " ").compactMap({ pid_t($0) }) { kill(child, SIGKILL) }
        let error = await failure { _ = try await all(store, version, 0..<3) }
        #expect(error?.isTransient == true, "\(String(describing: error))")
        #expect(try await all(store, version, 0..<3) == Array("abc".utf8))
        #expect(sessions.values.count == 2)
        for session in sessions.values { await session.close() }
    }

    /// A session to an sshd of the test's own, one test at a time: a busy machine would make sessions of many fall silent.
    private func withHost(_ body: (HostDirectoryStore.Reach) async throws -> Void) async throws {
        await HostTurn.shared.enter()
        do {
            try await withSession(body)
            await HostTurn.shared.leave()
        } catch {
            await HostTurn.shared.leave()
            throw error
        }
    }

    private func withSession(_ body: (HostDirectoryStore.Reach) async throws -> Void) async throws {
        let server = try LoopbackServer()
        let session = try await SSHSession.connect(to: server.target(), deadline: Deadline(after: .seconds(120)))
        do {
            try await body(HostDirectoryStore.Reach(host: "loopback", becomesRoot: false, connect: { session }, lost: {}))
        } catch {
            await session.close()
            throw error
        }
        await session.close()
    }

    @Test func aListingThatNeverEndsIsRefused() async throws {
        try await withServer { server async throws in
            server.onRequest { _, _ in
                .status(200, xml: "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>")
            }
            #expect(await failure { _ = try await server.store().list(prefix: "") }?.code == "store.malformed-answer")
        }
    }

    @Test(arguments: [
        "", "hello", "<html><body>login</body></html>", "<ListBucketResult>", "<ListBucketResult></ListBucketResul>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult/>", "<ListBucketResult>&a;</ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>", "<ListBucketResult/><x/>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "<ListBucketResult a=b/>",
        "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size><LastModified>2026-11-23T02:14:07Z</LastModified></Contents></ListBucketResult>",
        String(repeating: "<a>", count: 100_000), "<ListBucketResult>&#xD800;</ListBucketResult>",
    ])
    func anAnswerThatIsNoListingIsRefused(_ xml: String) async throws {
        try await withServer { server async throws in
            server.onRequest { _, _ in .status(200, xml: xml) }
            #expect(await failure { _ = try await server.store().list(prefix: "") }?.code == "store.malformed-answer")
        }
    }
}

private actor HostTurn {
    static let shared = HostTurn()
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func enter() async {
        guard isTaken else { return isTaken = true }
        await withCheckedContinuation { waiting.append($0) }
    }

    func leave() {
        if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() }
    }
}
