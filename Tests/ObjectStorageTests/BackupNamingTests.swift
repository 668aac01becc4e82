import Foundation
import ObjectStorage
import TestSupport
import Testing

@Suite struct BackupNamingTests {
    private func time(_ key: String, _ pattern: String = "database/db_{time}.dump*", zone: String? = nil) throws -> String? {
        try BackupNaming(pattern: pattern, zone: zone).time(of: key)?.ISO8601Format()
    }

    @Test func theRunbooksNamesAreUnderstood() throws {
        #expect(try time("database/db_20261123_021407.dump.gz") == "2026-11-23T02:14:07Z")
        #expect(try time("database/db_20261123_021407.dump") == "2026-11-23T02:14:07Z")
        #expect(try time("files/files_20240229_235959.tar.gz", "files/files_{time}.tar*") == "2024-02-29T23:59:59Z")
        #expect(try time("x/2026-11-23_02-14-07Z.sql", "*/{time}.sql") == "2026-11-23T02:14:07Z")
        #expect(try time("x/a_20261123T021407", "?/*{time}") == "2026-11-23T02:14:07Z")
    }

    @Test(arguments: [
        "database/db_20261123.dump", "database/db_20261323_021407.dump", "database/db_20260229_021407.dump",
        "database/db_20261123_250000.dump", "database/db_20261123_021407.tar", "database/db_20261123_021407.dump/x",
        "db_20261123_021407.dump", "database/db_2026１123_021407.dump", "database/db_{time}.dump", "",
    ])
    func otherNamesAreNotBackups(_ key: String) throws { #expect(try time(key) == nil) }

    @Test func aZoneShiftsTheTime() throws {
        #expect(try time("database/db_20261123_021407.dump", zone: "Asia/Manila") == "2026-11-22T18:14:07Z")
        #expect(try time("database/db_20260701_120000.dump", zone: "Europe/Berlin") == "2026-07-01T10:00:00Z")
        #expect(try time("database/db_20261201_120000.dump", zone: "Europe/Berlin") == "2026-12-01T11:00:00Z")
        #expect(try time("database/db_20261123_021407Z.dump", zone: "Asia/Manila") == "2026-11-23T02:14:07Z")
    }

    @Test func theNewestIsFirstWhateverTheListingsOrder() throws {
        let seed = seed(#function)
        var generator = SeededGenerator(seed)
        let keys = (1...28).map { "database/db_202602\($0 < 10 ? "0" : "")\($0)_030000.dump.gz" }
        let objects = (keys + ["database/readme.txt"]).shuffled(using: &generator).map {
            ObjectSummary(key: $0, sizeBytes: 1, lastModified: Date(timeIntervalSince1970: 0), etag: "")
        }
        let found = BackupNaming.runbookDatabase.backups(among: objects)
        #expect(found.map(\.object.key) == keys.reversed(), "seed \(seed)")
    }

    @Test(arguments: ["", "db.dump", "{time}{time}"]) func aPatternWithoutOneTimeIsRefused(_ pattern: String) async {
        #expect(await failure { _ = try BackupNaming(pattern: pattern) } is BackupPatternRefused)
        #expect(await failure { _ = try BackupNaming(pattern: "{time}", zone: "Mars/Base") } is BackupPatternRefused)
    }

    @Test func listingStartsAtTheFixedPartOfThePattern() throws {
        #expect(BackupNaming.runbookFiles.listingPrefix == "files/files_")
        #expect(try BackupNaming(pattern: "*/{time}").listingPrefix == "")
    }
}

@Suite struct UnwrapTests {
    let scratch: Scratch
    let body = randomBytes(500_000, seed: 51) + [UInt8](repeating: 0, count: 500_000)
    init() throws { scratch = try Scratch() }

    /// Nil, loudly, where the program is missing.
    private func wrapped(_ wrapper: Wrapper) async throws -> String? {
        try scratch.write("plain", body)
        guard let program = wrapper.program else { return scratch.file("plain") }
        let (status, _) = try await Command.run("sh", ["-c", "\(program) -c \"$1\" > \"$2\"", "sh", scratch.file("plain"), scratch.file("wrapped")])
        guard status == 0 else {
            print("SKIPPED: \(program) is not installed")
            return nil
        }
        return scratch.file("wrapped")
    }

    @Test(arguments: Wrapper.allCases) func whatWasWrappedComesBack(_ wrapper: Wrapper) async throws {
        guard let path = try await wrapped(wrapper) else { return }
        #expect(try Unwrapper.detect(path) == wrapper)
        let file = try await Unwrapper.unwrap(path, to: scratch.file("out"))
        #expect(file.wrapper == wrapper && file.sizeBytes == 1_000_000 && file.sha256 == sha256(body))
        #expect(try Data(contentsOf: URL(fileURLWithPath: file.path)) == Data(body))
        #expect(!scratch.names.contains { $0.hasSuffix("unwrapping") })
    }

    @Test(.enabled(if: SmallDisk.isPossible, "SKIPPED: a small disk needs root to mount a small file system"))
    func aBombTakesNoMoreThanHalfOfTheDisk() async throws {
        let path = try #require(try await wrapped(.gzip))
        let small = try SmallDisk(bytes: 1_900_000)
        let error = await failure { _ = try await Unwrapper.unwrap(path, to: small.file("out")) }
        #expect((error as? UnwrapFailed)?.kind == .noRoom)
        #expect(small.names == [] && scratch.names == ["plain", "wrapped"])
        try small.grow(toBytes: 2_100_000)
        #expect(try await Unwrapper.unwrap(path, to: small.file("out")).sizeBytes == 1_000_000)
    }

    @Test func aTruncatedFileIsDamaged() async throws {
        let path = try #require(try await wrapped(.gzip))
        try scratch.write("wrapped", Array(try scratch.bytes("wrapped").dropLast(9)))
        let error = await failure { _ = try await Unwrapper.unwrap(path, to: scratch.file("out")) }
        #expect((error as? UnwrapFailed)?.kind == .damaged)
        #expect(scratch.names == ["plain", "wrapped"])
    }

    @Test func namesAreNotBelieved() throws {
        try scratch.write("db.dump.gz", "PGDMP plain")
        #expect(try Unwrapper.detect(scratch.file("db.dump.gz")) == .none)
        #expect(Wrapper.detect([]) == .none && Wrapper.detect([0x1F, 0x8B]) == .none)
    }
}
