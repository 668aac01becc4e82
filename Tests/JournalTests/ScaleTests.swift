import Foundation
import Journal
import RunCore
import Testing

/// Fault 14. The whole size, one million events, takes a release build: `JournalProbe fill`, then `JournalProbe load`.
@Suite struct ScaleTests {
    private let scratch = Scratch()
    private static let events = ProcessInfo.processInfo.environment["REPRISE_SCALE_EVENTS"].flatMap { Int($0) } ?? 40_000

    private func peakMegabytes(_ line: String) throws -> Int {
        #expect(line.hasPrefix("opened"), "\(line)")
        let words = line.split(separator: " ")
        return try #require(words.dropLast().last.flatMap { Int($0) })
    }

    /// - Parameter runs: one run with all events, or many small ones.
    @Test(arguments: [1, 400])
    func aLargeJournalIsLoadedInBoundedMemory(runs: Int) async throws {
        let fill = try Child(probePath(), ["fill", scratch.journal, "\(runs)", "\(Self.events / runs)", "500"])
        #expect(try await fill.rest().isEmpty)
        #expect(await fill.wait() == 0)
        let load = try Child(probePath(), ["load", scratch.journal])
        let line = try await load.line(within: .seconds(240)) ?? ""
        print(line)
        #expect(try peakMegabytes(line) < 100)
        #expect(line.contains("of \(Self.events / runs) events"))
        let journal = try await scratch.open(JournalOptions(readOnly: true))
        let report = try await journal.verify(run: nil)
        #expect(report.isIntact && report.runsChecked == runs && report.recordsChecked == Int64(Self.events / runs * runs))
        #expect(try await journal.runs(limit: 20).count == min(20, runs))
    }

    @Test func theLogIsWrittenBackAndStaysSmall() async throws {
        let journal = try await scratch.open()
        let hold = try await journal.create(run: Scratch.run, first: Conformance.entry(1), operator: .current, label: "")
        let entry = JournalEntry(kind: "big", payload: [UInt8](repeating: 2, count: 200_000))
        for _ in 0..<300 { _ = try await journal.append([entry], hold: hold) }
        let bytes = try #require(try scratch.files()["journal.db-wal"]?.count)
        #expect(bytes < 20 << 20, "60 MB went through a log of \(bytes) bytes")
    }
}
