import Foundation
import Journal
import RunCore
import Testing

/// The log is lengthened ahead of what is written to it, so that few flushes have to note a new length.
@Suite struct WALRoomTests {
    private let scratch = Scratch()

    private func walBytes() throws -> Int { try #require(try scratch.files()["journal.db-wal"]?.count) }

    @Test func fewCommitsChangeTheLengthOfTheLog() async throws {
        let journal = try await scratch.open()
        let hold = try await journal.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
        var lengths: Set<Int> = []
        for number in 2...100 {
            _ = try await journal.append([Conformance.entry(number)], hold: hold)
            lengths.insert(try walBytes())
        }
        #expect(lengths.count < 10, "\(lengths.count) of 99 commits changed the log's length")
        // A header, then frames of a page each: a rest would look like one that was torn off.
        #expect(lengths.allSatisfy { ($0 - 32) % 4120 == 0 }, "\(lengths)")
        #expect(try await journal.verify(run: nil).isIntact)
    }

    /// What a killed process leaves of its room is no unfinished transaction.
    @Test func roomThatWasNotUsedIsNoTornTail() async throws {
        try await scratch.fillAndDie(20)
        let wal = try #require(try scratch.files()["journal.db-wal"])
        #expect(wal.suffix(100_000).allSatisfy { $0 == 0 } && wal.count > 200_000)
        for _ in 0..<2 {
            let journal = try await scratch.open()
            #expect(try await journal.notices.isEmpty)
            #expect(try await journal.load(run: Scratch.run).head.sequence >= 20)
            let hold = try await journal.acquire(run: Scratch.run, operator: Conformance.bob, takeOver: "test", atLeast: 0)
            _ = try await journal.append([Conformance.entry(21)], hold: hold)
            #expect(try await journal.verify(run: nil).isIntact)
            try await journal.close()
        }
    }

    /// A row that is remembered from one append to the next is not used once another connection has written.
    @Test func whatAnotherConnectionWroteIsSeenByTheNextAppend() async throws {
        let first = try await scratch.open()
        let old = try await first.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
        _ = try await first.append([Conformance.entry(2)], hold: old)
        let second = try await scratch.open()
        let new = try await second.acquire(run: Scratch.run, operator: Conformance.bob, takeOver: "test", atLeast: 0)
        _ = try await second.append([Conformance.entry(3)], hold: new)
        await #expect(throws: StaleHold.self) { _ = try await first.append([Conformance.entry(4)], hold: old) }
        let newest = try await first.acquire(run: Scratch.run, operator: .current, takeOver: "test", atLeast: 0)
        #expect(try await first.append([Conformance.entry(4)], hold: newest)[0].sequence == 4)
        await #expect(throws: StaleHold.self) { _ = try await second.append([Conformance.entry(5)], hold: new) }
        #expect(try await first.verify(run: nil).isIntact)
    }
}
