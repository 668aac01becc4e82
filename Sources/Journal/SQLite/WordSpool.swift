internal import Foundation
internal import Glibc
package import RunCore

/// A word that an operator left for the process that holds a run.
package struct LeftWord: Hashable, Sendable {
    package let kind: String
    package let payload: [UInt8]
    /// Identifies it until it is answered.
    package let name: String
}

/// What became of a word.
package enum WordFate: Hashable, Sendable {
    /// No holder has answered yet.
    case waiting
    case taken
    /// It did not fit the run any more; why.
    case refused(String)
}

/// Words for a live holder, as files beside the journal: only the holder may write to a run's journal, so others leave theirs here
/// and the holder journals them. A word is a file of its own, renamed into place whole. Who renames it next has it: the holder, who
/// then answers, or the one who left it, who takes it back. A holder that dies in between leaves it claimed, and no later one takes it.
struct WordSpool: Sendable {
    let folder: String

    init(database: String) { folder = database + "-words" }

    /// - Returns: the word's name.
    func leave(_ run: RunID, kind: String, payload: [UInt8]) throws -> String {
        let place = "\(folder)/\(run)"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        // Names sort in the order in which words were left.
        let instant = UInt64(Date().timeIntervalSince1970 * 1_000_000)
        let name = "\(instant)-\(String(UInt32.random(in: .min ... .max), radix: 36))"
        let content = Data(kind.utf8) + Data([0x0A]) + Data(payload)
        let temporary = "\(place)/.\(name)"
        guard FileManager.default.createFile(atPath: temporary, contents: content, attributes: [.posixPermissions: 0o600]) else {
            throw JournalNotWritable(message: "no word can be left in \(place)")
        }
        try FileManager.default.moveItem(atPath: temporary, toPath: "\(place)/\(name).word")
        return name
    }

    /// The words that wait for an answer, oldest first.
    func words(_ run: RunID) -> [LeftWord] {
        let place = "\(folder)/\(run)"
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: place) else { return [] }
        return names.filter { $0.hasSuffix(".word") && !$0.hasPrefix(".") }.sorted().compactMap { file in
            guard let data = FileManager.default.contents(atPath: "\(place)/\(file)"), data.count <= 1 << 20,
                let end = data.firstIndex(of: 0x0A)
            else { return nil }
            return LeftWord(
                kind: String(decoding: data[..<end], as: UTF8.self), payload: Array(data[(end + 1)...]), name: String(file.dropLast(5)))
        }
    }

    func claim(_ run: RunID, _ name: String) -> Bool { rename(run, name, ".word", ".claimed") }

    func putBack(_ run: RunID, _ name: String) { _ = rename(run, name, ".claimed", ".word") }

    func withdraw(_ run: RunID, _ name: String) -> Bool {
        guard rename(run, name, ".word", ".withdrawn") else { return false }
        try? FileManager.default.removeItem(atPath: "\(folder)/\(run)/\(name).withdrawn")
        return true
    }

    /// An answer is a file with the word's name, there whole or not at all: a word is never taken as obeyed for want of a file.
    func answer(_ run: RunID, _ name: String, refusal: String?) {
        guard let refusal else {
            _ = rename(run, name, ".claimed", ".taken")
            return
        }
        let place = "\(folder)/\(run)/\(name)"
        guard FileManager.default.createFile(
            atPath: place + ".answer", contents: Data(refusal.utf8), attributes: [.posixPermissions: 0o600])
        else { return }
        guard rename(run, name, ".answer", ".refused") else { return }
        try? FileManager.default.removeItem(atPath: place + ".claimed")
    }

    func fate(_ run: RunID, _ name: String) -> WordFate {
        let place = "\(folder)/\(run)/\(name)"
        if let refusal = FileManager.default.contents(atPath: place + ".refused") {
            try? FileManager.default.removeItem(atPath: place + ".refused")
            return .refused(String(decoding: refusal, as: UTF8.self))
        }
        guard FileManager.default.fileExists(atPath: place + ".taken") else { return .waiting }
        try? FileManager.default.removeItem(atPath: place + ".taken")
        return .taken
    }

    /// One of several that rename the same file succeeds.
    private func rename(_ run: RunID, _ name: String, _ from: String, _ to: String) -> Bool {
        let place = "\(folder)/\(run)/\(name)"
        return Glibc.rename(place + from, place + to) == 0
    }
}

extension SQLiteJournal {
    package func leaveWord(run: RunID, kind: String, payload: [UInt8]) async throws -> String {
        try spool.leave(run, kind: kind, payload: payload)
    }

    package func leftWords(run: RunID) async throws -> [LeftWord] { spool.words(run) }

    package func claimWord(run: RunID, name: String) async throws -> Bool { spool.claim(run, name) }

    package func putWordBack(run: RunID, name: String) async throws { spool.putBack(run, name) }

    package func withdrawWord(run: RunID, name: String) async throws -> Bool { spool.withdraw(run, name) }

    package func answerWord(run: RunID, name: String, refusal: String?) async throws { spool.answer(run, name, refusal: refusal) }

    package func fateOfWord(run: RunID, name: String) async throws -> WordFate { spool.fate(run, name) }
}
