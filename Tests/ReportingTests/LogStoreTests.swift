import Foundation
import Reporting
import RunCore
import TestSupport
import Testing

@Suite struct LogStoreTests {
    private final class Folder: Sendable {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("reprise-logs-\(UUID().uuidString)").path
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private let folder = Folder()
    private let run = RunID("20261123-021407-abcd")!
    private let key = LogStore.Key(step: StepID("restore")!, attempt: 2, isUndo: false, host: "db1", part: nil)

    private func store(_ redact: @escaping @Sendable (String) -> String = { $0 }) -> LogStore {
        LogStore(folder: folder.path, run: run, redact: redact, now: { 1_795_400_047_123 })
    }

    private var texts: [String] { LogReader(folder: folder.path, run: run).lines().map(\.text) }

    @Test func repeatedBytesAreDroppedAlsoInALaterProcess() {
        let first = store()
        #expect(first.append(key, .out, offset: 0, bytes: Array("one\ntw".utf8)) == ["one"])
        #expect(first.append(key, .out, offset: 4, bytes: Array("two\n".utf8)) == ["two"])
        #expect(first.append(key, .out, offset: 0, bytes: Array("one\ntwo\n".utf8)).isEmpty)
        let second = store()
        #expect(second.append(key, .out, offset: 0, bytes: Array("one\ntwo\nthree\n".utf8)) == ["three"])
        second.close()
        #expect(texts == ["one", "two", "three"])
    }

    @Test func aLineThatAKillCutOffIsWrittenAnew() throws {
        let first = store()
        first.append(key, .out, offset: 0, bytes: Array("one\ntwo\n".utf8))
        first.close()
        let path = "\(folder.path)/\(run)/restore.2.db1.log"
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        try data.dropLast(3).write(to: URL(fileURLWithPath: path))
        store().append(key, .out, offset: 0, bytes: Array("one\ntwo\n".utf8))
        #expect(texts == ["one", "two"])
    }

    @Test func streamsAreApartAndAnUnfinishedLineIsKeptAtTheEnd() {
        let store = store()
        store.append(key, .out, offset: 0, bytes: Array("out".utf8))
        store.append(key, .err, offset: 0, bytes: Array("err\n".utf8))
        store.close(step: key.step)
        let lines = LogReader(folder: folder.path, run: run).lines(step: key.step, attempt: 2)
        #expect(lines.map(\.text) == ["err", "out"])
        #expect(lines.map(\.stream) == [.err, .out])
        #expect(LogReader(folder: folder.path, run: run).lines(attempt: 1).isEmpty)
    }

    @Test func aSecretThatArrivesInPiecesIsFound() {
        let store = store { $0.replacingOccurrences(of: "secret", with: "[redacted]") }
        var shown: [String] = []
        for (offset, byte) in "a secret here\n".utf8.enumerated() { shown += store.append(key, .out, offset: offset, bytes: [byte]) }
        #expect(shown == ["a [redacted] here"])
        #expect(texts == ["a [redacted] here"])
    }

    @Test func linesWithoutEndAreBroken() {
        let store = store()
        store.append(key, .out, offset: 0, bytes: Array(repeating: UInt8(ascii: "x"), count: LogStore.longestLineBytes * 2 + 5))
        store.close()
        #expect(texts.map(\.utf8.count) == [LogStore.longestLineBytes, LogStore.longestLineBytes, 5])
    }

    @Test func controlCharactersCannotForgeLines() {
        let store = store()
        store.append(key, .out, offset: 0, bytes: Array("a\u{1B}[31m\rb\n".utf8))
        #expect(texts == ["a\\u{1b}[31m\\u{d}b"])
    }

    @Test func anUnwritableFolderIsReportedAndDisturbsNobody() {
        let store = LogStore(folder: "/proc/nowhere", run: run, redact: { $0 }, now: { 0 })
        #expect(store.append(key, .out, offset: 0, bytes: Array("x\n".utf8)) == ["x"])
        #expect(store.failure?.hasPrefix("cannot write /proc/nowhere/") == true)
    }

    /// However a stream is cut up, repeated and continued by another process, its lines come out once and in order.
    @Test func anyOrderOfPiecesGivesTheSameLog() {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        for round in 0..<40 {
            let folder = Folder()
            let lines = (0..<Int.random(in: 1...60, using: &random)).map { "line \($0) " + String(repeating: "é", count: Int.random(in: 0...9, using: &random)) }
            let stream = Array(lines.map { $0 + "\n" }.joined().utf8)
            var store = LogStore(folder: folder.path, run: run, redact: { $0 }, now: { 0 })
            var reached = 0
            while reached < stream.count {
                if Int.random(in: 0..<8, using: &random) == 0 {
                    // A killed process: what was not a whole line yet is lost, and the job sends everything again.
                    store = LogStore(folder: folder.path, run: run, redact: { $0 }, now: { 0 })
                    reached = 0
                }
                let start = Int.random(in: 0...reached, using: &random)
                let end = min(stream.count, reached + Int.random(in: 1...40, using: &random))
                store.append(key, .out, offset: start, bytes: Array(stream[start..<end]))
                reached = end
            }
            store.close()
            let read = LogReader(folder: folder.path, run: run).lines().map(\.text)
            #expect(read == lines, "seed \(seed), round \(round)")
        }
    }
}
