import Foundation
import GRDB
import Glibc
import Journal
import RunCore
import Testing

/// Fault 13: what cannot be used is refused with a reason and a remedy, and stays as it was.
@Suite struct OpeningTests {
    private let scratch = Scratch()

    /// Expects both kinds of opening to be refused with `code`, and no byte to change.
    private func expectRefusal(_ code: String, readOnlyToo: Bool = true) async throws {
        let before = try scratch.files()
        let permissions = try mode(scratch.folder + "/state")
        for readOnly in readOnlyToo ? [false, true] : [false] {
            let error = await #expect(throws: JournalUnusable.self) {
                _ = try await scratch.open(JournalOptions(readOnly: readOnly))
            }
            #expect(error?.code == "journal.\(code)" && error?.exitStatus == .usage)
            if let error { #expect(error.message.first?.isUppercase == false && !error.hints.isEmpty) }
        }
        #expect(try scratch.files() == before)
        #expect(try mode(scratch.folder + "/state") == permissions)
    }

    private func mode(_ path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    @Test func aMissingFolderIsCreatedForItsOwnerAlone() async throws {
        umask(0o022)
        let path = scratch.folder + "/a/b/journal.db"
        let journal = try await SQLiteJournal.open(path: path, readOnly: false)
        for folder in ["/a", "/a/b"] { #expect(try mode(scratch.folder + folder) == 0o700) }
        _ = try await journal.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
        for suffix in ["", "-wal", "-shm", "-lock", "-holders", "-head"] { #expect(try mode(path + suffix) == 0o600) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.folder + "/a/b").count == 6)
        #expect(try await journal.notices.isEmpty)
    }

    @Test func readingAJournalThatIsNotThereCreatesNothing() async throws {
        let error = await #expect(throws: JournalUnusable.self) { _ = try await scratch.open(JournalOptions(readOnly: true)) }
        #expect(error?.code == "journal.missing")
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.folder).isEmpty)
    }

    @Test(arguments: [("", mode_t(0o640)), ("-head", 0o644), ("", 0o400), ("-lock", 0o666)])
    func aFileOfAnotherModeIsRefused(suffix: String, wrong: mode_t) async throws {
        try await scratch.fill(2)
        chmod(scratch.journal + suffix, wrong)
        try await expectRefusal("wrong-mode")
    }

    @Test(arguments: [mode_t(0o755), 0o500, 0o770])
    func aFolderOfAnotherModeIsRefused(wrong: mode_t) async throws {
        try await scratch.fill(2)
        chmod(scratch.folder + "/state", wrong)
        try await expectRefusal("wrong-mode")
        chmod(scratch.folder + "/state", 0o700)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to give files away"), arguments: ["", "-wal", "-head", "/.."])
    func aFileOfAnotherOwnerIsRefused(suffix: String) async throws {
        try await scratch.fillAndDie(2)
        let path = suffix == "/.." ? scratch.folder + "/state" : scratch.journal + suffix
        #expect(chown(path, 12_345, 12_345) == 0)
        try await expectRefusal("wrong-owner")
    }

    @Test func aSymbolicLinkInPlaceOfAFileIsRefused() async throws {
        try await scratch.fill(2)
        try FileManager.default.moveItem(atPath: scratch.journal, toPath: scratch.folder + "/elsewhere.db")
        symlink(scratch.folder + "/elsewhere.db", scratch.journal)
        let error = await #expect(throws: JournalUnusable.self) { _ = try await scratch.open() }
        #expect(error?.code == "journal.not-a-file")
    }

    @Test(arguments: ["text", "empty", "another database", "short"])
    func whatIsNotAJournalIsRefused(kind: String) async throws {
        try FileManager.default.createDirectory(
            atPath: scratch.folder + "/state", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        switch kind {
        case "another database":
            let other = try DatabaseQueue(path: scratch.journal)
            try await other.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)")
            }
            try other.close()
        case "empty": try Data().write(to: URL(fileURLWithPath: scratch.journal))
        case "short": try Data("SQLite format 3\0".utf8).write(to: URL(fileURLWithPath: scratch.journal))
        default: try Data(String(repeating: "not a journal\n", count: 99).utf8).write(to: URL(fileURLWithPath: scratch.journal))
        }
        chmod(scratch.journal, 0o600)
        // A writer makes its lock file before it looks; nothing that was there changes.
        let before = try Data(contentsOf: URL(fileURLWithPath: scratch.journal))
        for readOnly in [true, false] {
            let error = await #expect(throws: JournalUnusable.self) {
                _ = try await scratch.open(JournalOptions(readOnly: readOnly))
            }
            #expect(error?.code == "journal.not-a-journal")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.journal)) == before)
        #expect(try scratch.files()["journal.db-wal"] == nil)
    }

    @Test func aJournalOfANewerVersionIsRefused() async throws {
        try await scratch.fill(2)
        let queue = try DatabaseQueue(path: scratch.journal)
        try await queue.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA user_version = 2") }
        try queue.close()
        try await expectRefusal("newer-version")
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to mount"))
    func aReadOnlyFileSystemIsRefused() async throws {
        try await scratch.fill(3)
        let mount = try Mount(scratch.folder + "/state", options: "bind")
        defer { mount.unmount() }
        try mount.remount("bind,ro")
        let error = await #expect(throws: JournalUnusable.self) { _ = try await scratch.open() }
        #expect(error?.code == "journal.unreachable")
        #expect(error.map { $0.message.contains("Read-only file system") } == true)
    }

    @Test func settingsThatMakeItDurableReadBack() async throws {
        try await scratch.fill(1)
        let mode = try await DatabaseQueue(path: scratch.journal).read { db in try String.fetchOne(db, sql: "PRAGMA journal_mode")
        }
        #expect(mode == "wal")
        // The rest is asserted at each opening; that the assertion can fail is seen with the setting left at NORMAL.
        let probe = try Child(
            probePath(), ["serve", scratch.journal], environment: ["REPRISE_MUTANT": "journal.synchronous-normal"])
        #expect(try await probe.line()?.hasPrefix("ready") == true)
    }

    @Test func aClosedStoreSaysSo() async throws {
        let journal = try await scratch.open()
        try await journal.close()
        try await journal.close()
        await #expect(throws: JournalNotWritable.self) { _ = try await journal.runs(limit: 1) }
        try await scratch.fill(2)
        let reader = try await scratch.open(JournalOptions(readOnly: true))
        await #expect(throws: JournalNotWritable.self) { _ = try await reader.acquire(run: Scratch.run, operator: .current) }
    }

    /// The journal's other files outlive it: then it was not new, it was lost.
    @Test func aLostJournalIsNotTakenForANewOne() async throws {
        try await scratch.fill(4)
        unlink(scratch.journal)
        for readOnly in [false, true] {
            let error = await #expect(throws: JournalUnusable.self) {
                _ = try await scratch.open(JournalOptions(readOnly: readOnly))
            }
            #expect(error?.code == "journal.missing")
        }
    }
}
