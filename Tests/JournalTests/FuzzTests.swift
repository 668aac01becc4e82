import Foundation
import Journal
import RunCore
import TestSupport
import Testing

/// Random damage to random files: never a crash, and never other records than those that were written.
@Suite struct FuzzTests {
    private let scratch = Scratch()
    static let rounds = ProcessInfo.processInfo.environment["REPRISE_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 120

    @Test func randomDamageIsNeverSilentlyAccepted() async throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        try await scratch.fillAndDie(60)
        let crashed = try scratch.files()
        let original = try await read(JournalOptions())
        #expect(original.count == 60)
        let closed = try scratch.files()
        var refused = 0
        for round in 0..<Self.rounds {
            let base = Bool.random(using: &random) ? crashed : closed
            let (files, what) = damage(base, &random)
            try scratch.restore(files)
            do {
                let records = try await read(JournalOptions(readOnly: Bool.random(using: &random)))
                // Accepted, then nothing was lost: an unacknowledged tail does not exist in this journal.
                #expect(records == original, "seed \(seed), round \(round): \(what)")
            } catch let error as any RepriseError {
                refused += 1
                #expect(!error.message.isEmpty)
            }
        }
        print("\(refused) of \(Self.rounds) refused")
        #expect(refused > 0)
    }

    /// All records of the run, found as a resume finds them.
    private func read(_ options: JournalOptions) async throws -> [JournalRecord] {
        let journal = try await scratch.open(options)
        // Closed before the files are changed again, also after damage was found.
        let result: Result<[JournalRecord], any Error>
        do { result = .success(try await read(journal)) } catch { result = .failure(error) }
        try? await journal.close()
        return try result.get()
    }

    private func read(_ journal: SQLiteJournal) async throws -> [JournalRecord] {
        let run = try await journal.resolve(prefix: "r")
        let loaded = try await journal.load(run: run)
        _ = try await journal.runs(limit: 10)
        // It runs to its end whatever it finds, and finds nothing less than `load`.
        _ = try await journal.verify(run: nil)
        return loaded.tail
    }

    private func damage(_ base: [String: Data], _ random: inout SeededGenerator) -> ([String: Data], String) {
        var files = base
        let names = base.keys.filter { base[$0]?.isEmpty == false && !$0.hasSuffix("-lock") && !$0.hasSuffix("-shm") }.sorted()
        files["journal.db-shm"] = nil
        let name = names.randomElement(using: &random)!
        var content = files[name]!
        let offset = Int.random(in: 0..<content.count, using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            files[name] = nil
            return (files, "deleted \(name)")
        case 1, 2:
            files[name] = content.prefix(offset)
            return (files, "truncated \(name) to \(offset)")
        case 3:
            let end = min(content.count, offset + 4096)
            for index in offset..<end { content[index] = .random(in: .min ... .max, using: &random) }
            files[name] = content
            return (files, "scrambled \(name) from \(offset) to \(end)")
        default:
            let bit = UInt8(1) << UInt8.random(in: 0..<8, using: &random)
            content[offset] ^= bit
            files[name] = content
            return (files, "flipped \(bit) at \(offset) of \(name)")
        }
    }
}
