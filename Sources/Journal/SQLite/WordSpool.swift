internal import Foundation
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
    /// The holder has not looked yet.
    case waiting
    case taken
    /// It did not fit the run any more; why.
    case refused(String)
}

/// Words for a live holder, as files beside the journal: only the holder may write to a run's journal, so others leave theirs here
/// and the holder journals them. A word is a file of its own, renamed into place whole; its answer takes its place.
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

    func answer(_ run: RunID, _ name: String, refusal: String?) {
        let place = "\(folder)/\(run)/\(name)"
        if let refusal {
            let isThere = FileManager.default.createFile(
                atPath: place + ".refused", contents: Data(refusal.utf8), attributes: [.posixPermissions: 0o600])
            // Without room for the refusal the word stays unanswered: taken away, it would look as if it had been obeyed.
            guard isThere || FileManager.default.fileExists(atPath: place + ".refused") else { return }
        }
        try? FileManager.default.removeItem(atPath: place + ".word")
    }

    func fate(_ run: RunID, _ name: String) -> WordFate {
        let place = "\(folder)/\(run)/\(name)"
        if let refusal = FileManager.default.contents(atPath: place + ".refused") {
            try? FileManager.default.removeItem(atPath: place + ".refused")
            return .refused(String(decoding: refusal, as: UTF8.self))
        }
        return FileManager.default.fileExists(atPath: place + ".word") ? .waiting : .taken
    }
}

extension SQLiteJournal {
    package func leaveWord(run: RunID, kind: String, payload: [UInt8]) async throws -> String {
        try spool.leave(run, kind: kind, payload: payload)
    }

    package func leftWords(run: RunID) async throws -> [LeftWord] { spool.words(run) }

    package func answerWord(run: RunID, name: String, refusal: String?) async throws { spool.answer(run, name, refusal: refusal) }

    package func fateOfWord(run: RunID, name: String) async throws -> WordFate { spool.fate(run, name) }
}
