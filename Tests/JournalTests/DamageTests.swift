import Foundation
import GRDB
import Glibc
import Journal
import RunCore
import Testing

/// Faults 9 to 12 on the journal's own files.
@Suite struct DamageTests {
    private let scratch = Scratch()

    private func tamper(_ sql: String) async throws {
        let queue = try DatabaseQueue(path: scratch.journal)
        try await queue.writeWithoutTransaction { db in
            try db.execute(sql: "DROP TRIGGER records_are_not_changed; DROP TRIGGER records_are_not_deleted")
            try db.execute(sql: sql)
        }
        try queue.close()
    }

    @Test(arguments: [
        "UPDATE records SET payload = CAST('{\"number\":9}' AS BLOB) WHERE key & 0xfffffffff = 3",
        "UPDATE records SET kind = 'step.other' WHERE key & 0xfffffffff = 3",
        "UPDATE records SET step = NULL WHERE key & 0xfffffffff = 3",
        "UPDATE records SET attempt = 2 WHERE key & 0xfffffffff = 3",
        "UPDATE records SET time = time + 1 WHERE key & 0xfffffffff = 3",
        "UPDATE records SET fence = fence + 1 WHERE key & 0xfffffffff = 3",
        "UPDATE records SET previous = zeroblob(32) WHERE key & 0xfffffffff = 3",
        "UPDATE records SET hash = zeroblob(32) WHERE key & 0xfffffffff = 3",
        "DELETE FROM records WHERE key & 0xfffffffff = 3",
    ])
    func aChangedRecordIsRefusedByNumber(_ sql: String) async throws {
        try await scratch.fill(5)
        try await tamper(sql)
        let journal = try await scratch.open()
        let error = await #expect(throws: RecordDamaged.self) { _ = try await journal.load(run: Scratch.run) }
        #expect(error?.damage.run == Scratch.run && error?.damage.sequence == 3)
        await #expect(throws: RecordDamaged.self) { _ = try await journal.records(run: Scratch.run, after: 1, limit: 3) }
        let report = try await journal.verify(run: nil)
        #expect(report.firstBad?.run == Scratch.run && report.firstBad?.sequence == 3 && !report.isIntact)
        #expect(try await journal.verify(run: Scratch.run).firstBad?.sequence == 3)
        // What comes before the bad record can still be read.
        #expect(try await journal.records(run: Scratch.run, after: 0, limit: 2).map(\.sequence) == [1, 2])
    }

    @Test(arguments: [
        "DELETE FROM records WHERE key & 0xfffffffff = 5",
        "UPDATE runs SET head_sequence = 4, head_hash = (SELECT previous FROM records WHERE key & 0xfffffffff = 5)",
        "UPDATE runs SET fence = 0", "UPDATE runs SET label = 'SUCCEEDED'", "UPDATE snapshots SET state = x'08'",
        "UPDATE snapshots SET sequence = 2", "DELETE FROM runs", "UPDATE records SET position = position + 1 WHERE position = 2",
    ])
    func damageOutsideOfRecordsIsFoundToo(_ sql: String) async throws {
        try await scratch.fill(5, snapshotAt: 3)
        try await tamper("PRAGMA foreign_keys = OFF; " + sql)
        do {
            let report = try await scratch.open().verify(run: nil)
            #expect(!report.isIntact)
        } catch is RecordDamaged {
            // Found while opening, which is as good.
        } catch let error as JournalUnusable {
            #expect(error.code == "journal.lost-records")
        }
    }

    @Test func recordsCannotBeChangedByAccident() async throws {
        try await scratch.fill(3)
        let queue = try DatabaseQueue(path: scratch.journal)
        for sql in ["UPDATE records SET kind = 'x'", "DELETE FROM records"] {
            #expect(throws: DatabaseError.self) { try queue.writeWithoutTransaction { db in try db.execute(sql: sql) } }
        }
        try queue.close()
        #expect(try await scratch.open().verify(run: nil).isIntact)
    }

    @Test func aDeletedLogIsNoticed() async throws {
        try await scratch.fillAndDie(20)
        unlink(scratch.journal + "-wal")
        unlink(scratch.journal + "-shm")
        let before = try scratch.files()
        for readOnly in [false, true] {
            let error = await #expect(throws: JournalUnusable.self) {
                _ = try await scratch.open(JournalOptions(readOnly: readOnly))
            }
            #expect(error?.code == "journal.lost-records" && error?.message.contains("20 records") == true)
        }
        // Only who took the writer lock last is noted.
        for (name, content) in before where name != "journal.db-lock" { #expect(try scratch.files()[name] == content) }
        var options = JournalOptions()
        options.acceptLoss = true
        let journal = try await scratch.open(options)
        #expect(try await journal.notices == [.acceptedLoss(records: 20)])
        try await journal.close()
        #expect(try await scratch.open().notices.isEmpty)
    }

    @Test func anOldCopyOfTheDatabaseIsNoticed() async throws {
        try await scratch.fill(3)
        let old = try Data(contentsOf: URL(fileURLWithPath: scratch.journal))
        var journal = try await scratch.open()
        let hold = try await journal.acquire(run: Scratch.run, operator: Conformance.bob)
        _ = try await journal.append([Conformance.entry(4)], hold: hold)
        try await journal.close()
        let head = try #require(try scratch.files()["journal.db-head"])
        try scratch.restore(["journal.db": old, "journal.db-head": head])
        let error = await #expect(throws: JournalUnusable.self) { _ = try await scratch.open() }
        #expect(error?.code == "journal.lost-records")
        // Written to elsewhere until it is as long as the real one, it is still another one.
        try scratch.restore(["journal.db": old])
        var options = JournalOptions()
        options.remakeHeadFile = true
        journal = try await scratch.open(options)
        #expect(try await journal.notices == [.headFileRemade])
        let other = try await journal.acquire(run: Scratch.run, operator: Conformance.bob)
        _ = try await journal.append([Conformance.entry(99)], hold: other)
        try await journal.close()
        try scratch.restore(["journal.db": try #require(try scratch.files()["journal.db"]), "journal.db-head": head])
        await #expect(throws: RecordDamaged.self) { _ = try await scratch.open() }
    }

    @Test func theHeadFileOfAnotherJournalIsRefused() async throws {
        try await scratch.fill(3)
        let other = Scratch()
        try await other.fill(3)
        var files = try scratch.files()
        files["journal.db-head"] = try other.files()["journal.db-head"]
        try scratch.restore(files)
        let error = await #expect(throws: JournalUnusable.self) { _ = try await scratch.open() }
        #expect(error?.code == "journal.other-journal")
    }

    /// The last transaction was not finished: what was acknowledged is there, the rest is cut off and reported.
    @Test func aTornTailIsCutOffAndReported() async throws {
        let probe = try await Child.probe(scratch.journal)
        _ = try await probe.ask("create r")
        #expect(try await probe.ask("append") == "ack 2")
        let acknowledged = try #require(try scratch.files()["journal.db-head"])
        #expect(try await probe.ask("append") == "ack 3")
        _ = await probe.end()
        // As if the machine had lost power while record 3 was written: its last frame is half there, the head file never heard.
        var files = try scratch.files()
        let wal = try #require(files["journal.db-wal"])
        // What was written ends where the room begins that the log has ahead of it.
        let salts = wal[16..<24]
        let frames = sequence(first: 32) { $0 + 4120 }.prefix { $0 + 16 <= wal.count && wal[($0 + 8)..<($0 + 16)] == salts }
        files["journal.db-wal"] = wal.prefix(32 + 4120 * Array(frames).count - 2000)
        files["journal.db-head"] = acknowledged
        files["journal.db-shm"] = nil
        try scratch.restore(files)
        let journal = try await scratch.open()
        guard case .tornTail(let bytes)? = try await journal.notices.first else {
            Issue.record("no torn tail was reported: \(try await journal.notices)")
            return
        }
        #expect(bytes > 2000 && bytes < 3 * 4120)
        #expect(try await journal.load(run: Scratch.run).head.sequence == 2)
        let hold = try await journal.acquire(run: Scratch.run, operator: Conformance.bob)
        #expect(try await journal.append([Conformance.entry(3)], hold: hold)[0].sequence == 3)
        #expect(try await journal.verify(run: nil).isIntact)
        try await journal.close()
        #expect(try await scratch.open().notices.isEmpty)
    }

    @Test func filesThatVanishWhileOpenStopTheStore() async throws {
        let journal = try await scratch.open()
        let hold = try await journal.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
        unlink(scratch.journal + "-wal")
        let error = await #expect(throws: JournalPoisoned.self) {
            _ = try await journal.append([Conformance.entry(2)], hold: hold)
        }
        #expect(error?.exitStatus == .interrupted)
        await #expect(throws: JournalPoisoned.self) { _ = try await journal.load(run: Scratch.run) }
    }
}
