import Foundation
import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ArchiveTOCTests {
    @Test(arguments: ["custom.dump", "folder.dump/toc.dat", "tar.dump"])
    func theContentsAreWhatPgRestoreLists(_ name: String) async throws {
        let cluster = try await Cluster.server()
        let archives = try await Planted.archives.value
        let contents = try ArchiveTOC(bytes: archives.bytes(name))
        let file = name.split(separator: "/")[0]
        let listing = try await cluster.must("pg_restore -l \(archives.path(String(file)))").text
        let expected = listing.split(separator: "\n").filter { !$0.hasPrefix(";") }.map(String.init)
        let hidden: Set<String> = ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"]
        let found = contents.entries.filter { !hidden.contains($0.kind) && !($0.kind == "ACL" && $0.tag.hasPrefix("DATABASE")) }.map {
            "\($0.dumpID); \($0.tableOID) \($0.objectOID) \($0.kind) \($0.schema ?? "-") \($0.tag) \($0.owner ?? "")"
        }
        #expect(Set(found) == Set(expected))
        #expect(contents.formatVersion?.description == "1.14")
        #expect(contents.compression == (name == "tar.dump" ? .none : .gzip))
        #expect(contents.dumpMajorVersion == 15)
        let database = try await Planted.shared.value
        #expect(contents.databaseName == database)
        #expect(contents.createdLocalTime?.hasPrefix("20") == true)
        let format: ArchiveTOC.Format = name == "custom.dump" ? .custom : name == "tar.dump" ? .tar : .directory
        #expect(contents.format == format)
        if name == "custom.dump" {
            let members = try #require(contents.dataTables.first { $0.name.name.name == "members" })
            #expect(try #require(members.storedBytes) > 10_000)
        }
    }

    @Test func theFactsThatARestoreNeedsAreNamed() async throws {
        let archives = try await Planted.archives.value
        let contents = try ArchiveTOC(bytes: archives.bytes("custom.dump"))
        #expect(contents.roles == ["Mixed Reader", "planted_owner", "planted_policy", "postgres"])
        #expect(contents.extensions == ["citext"])
        #expect(contents.languages == ["plpgsql"])
        #expect(contents.encoding == "UTF8")
        #expect(contents.usesStandardStrings == true)
        #expect(contents.locale?.encoding == "UTF8")
        #expect(contents.locale?.provider == "libc")
        #expect(contents.locale?.collate == "C.UTF-8")
        #expect(contents.hasLargeObjects)
        #expect(contents.dataTables.count == 10)
        #expect(contents.dataTables.allSatisfy { $0.isCopy })
        #expect(contents.dataTables.contains { $0.name.name.name == "naïve \"quoted\" – 日本" })
    }

    @Test func aPlainDumpHasTheSameObjects() async throws {
        let cluster = try await Cluster.server()
        let archives = try await Planted.archives.value
        let plain = try ArchiveTOC(bytes: archives.bytes("plain.sql"))
        let custom = try ArchiveTOC(bytes: archives.bytes("custom.dump"))
        let hidden: Set<String> = ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"]
        func keys(_ contents: ArchiveTOC) -> Set<String> {
            Set(contents.entries.filter { !hidden.contains($0.kind) }.map { "\($0.kind)|\($0.schema ?? "-")|\($0.tag)|\($0.owner ?? "")" })
        }
        #expect(keys(plain) == keys(custom))
        #expect(plain.dataTables.map(\.name).sorted() == custom.dataTables.map(\.name).sorted())
        #expect(plain.encoding == "UTF8")
        #expect(plain.dumpMajorVersion == 15)
        #expect(Set(plain.roles).isSuperset(of: ["Mixed Reader", "planted_owner", "planted_policy"]))
        let cut = try archives.bytes("plain.sql").dropLast(200)
        #expect(throws: ArchiveUnreadable.self) { try ArchiveTOC(bytes: Array(cut)) }
        // What the host sends when the dump is too large to send.
        let outline = try await runJob(.outline(ofPlainDumpAt: archives.path("plain.sql.gz")), cluster)
        #expect(outline.status == 0, "\(outline.errors)")
        let sent = try ArchiveTOC(bytes: outline.output)
        #expect(keys(sent) == keys(custom))
        #expect(!outline.text.contains("m17@example.org"))
    }

    @Test func everyTruncationAndManyDamagesAreRefusedOrReadButNeverCrash() async throws {
        let archives = try await Archives(of: try await Planted.shared.value, on: try await Cluster.server(), options: "--schema-only", formats: ["custom.dump", "tar.dump"])
        let whole = try archives.bytes("custom.dump")
        for length in stride(from: 0, to: whole.count, by: 97) {
            #expect(throws: ArchiveUnreadable.self, "\(length)") { try ArchiveTOC(bytes: Array(whole.prefix(length))) }
        }
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        var refused = 0
        for _ in 0..<400 {
            var damaged = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                damaged[Int.random(in: 5..<damaged.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            do { _ = try ArchiveTOC(bytes: damaged) } catch { refused += 1 }
        }
        #expect(refused > 0, "seed \(seed)")
        let tar = try archives.bytes("tar.dump")
        for length in stride(from: 0, to: 60_000, by: 511) where length < tar.count {
            _ = try? ArchiveTOC(bytes: Array(tar.prefix(length)))
        }
        #expect(throws: ArchiveUnreadable.self) { try ArchiveTOC(bytes: Array("hello".utf8)) }
    }

    @Test(arguments: 12...16)
    func everyVersionOfTheFormatIsRead(_ minor: Int) throws {
        var writer = TOCWriter(minor: minor)
        writer.header(entries: 1)
        writer.entry()
        let contents = try ArchiveTOC(bytes: writer.bytes)
        let entry = try #require(contents.entries.first)
        #expect(contents.formatVersion?.description == "1.\(minor)")
        #expect(contents.compression == (minor >= 15 ? .zstd : .gzip))
        #expect(contents.createdLocalTime == "2026-11-23 02:14:07")
        #expect(entry.tag == "members" && entry.owner == "chms" && entry.dependencies == [7, 9])
        #expect(entry.accessMethod == (minor >= 14 ? "heap" : nil))
        #expect(entry.relationKind == (minor >= 16 ? "r" : nil))
        #expect(entry.dataState == .at(offset: 0x0102_0304_0506))
    }

    /// Which pg_restore reads what is decided by the format, not by the age of the program that wrote it.
    @Test(arguments: [
        (13, "10.23", 9, true), (14, "13.4", 11, false), (14, "13.4", 12, true), (14, "99.1", 15, true), (15, "16.1", 15, false), (15, "16.1", 16, true),
        (16, "17.2", 16, false), (16, "17.2", 17, true), (16, "18.0", 17, true), (14, "13.4", 18, true),
    ])
    func anOlderPgRestoreReadsTheFormatsThatItKnows(minor: Int, dumper: String, reader: Int, isReadable: Bool) throws {
        var writer = TOCWriter(minor: minor)
        writer.header(entries: 0, version: dumper)
        #expect(try ArchiveTOC(bytes: writer.bytes).isReadable(byPgRestore: reader) == isReadable)
    }

    @Test func aHostileHeaderAsksForNoMemory() throws {
        for minor in [11, 17] {
            var writer = TOCWriter(minor: minor)
            writer.header(entries: 0)
            #expect(throws: ArchiveUnreadable.self) { try ArchiveTOC(bytes: writer.bytes) }
        }
        var many = TOCWriter(minor: 14)
        many.header(entries: 2_000_000_000)
        #expect(throws: ArchiveUnreadable.self) { try ArchiveTOC(bytes: many.bytes) }
        var long = TOCWriter(minor: 14)
        long.header(entries: 1)
        long.integer(1)
        long.integer(0)
        long.integer(Int(Int32.max))
        #expect(throws: ArchiveUnreadable.self) { try ArchiveTOC(bytes: long.bytes) }
    }
}

/// Writes the layout by hand, for versions whose pg_dump is not installed here.
struct TOCWriter {
    var bytes: [UInt8]
    let minor: Int

    init(minor: Int) {
        self.minor = minor
        bytes = Array("PGDMP".utf8) + [1, UInt8(minor), 0, 4, 8, 1]
    }

    mutating func integer(_ value: Int) {
        bytes.append(value < 0 ? 1 : 0)
        for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: abs(value) >> (8 * shift))) }
    }

    mutating func text(_ value: String?) {
        integer(value.map(\.utf8.count) ?? -1)
        bytes += Array((value ?? "").utf8)
    }

    mutating func header(entries: Int, version: String = "16.1") {
        if minor >= 15 { bytes.append(3) } else { integer(-1) }
        for number in [7, 14, 2, 23, 10, 126, 0] { integer(number) }
        ["chms", version, version].forEach { text($0) }
        integer(entries)
    }

    mutating func entry() {
        integer(3)
        integer(1)
        ["1259", "16385", "members", "TABLE"].forEach { text($0) }
        integer(2)
        ["CREATE TABLE", "DROP TABLE", "COPY", "public", ""].forEach { text($0) }
        if minor >= 14 { text("heap") }
        if minor >= 16 { integer(114) }
        ["chms", "false", "7", "9", nil].forEach { text($0) }
        bytes.append(2)
        bytes += [6, 5, 4, 3, 2, 1, 0, 0]
    }
}

/// Runs a hashing job as the host would: the program on perl's standard input.
func runJob(_ job: ContentHashJob, _ cluster: Cluster, environment: [String: String] = [:]) async throws -> Outcome {
    try await cluster.run("perl -", environment: environment, input: job.program)
}
