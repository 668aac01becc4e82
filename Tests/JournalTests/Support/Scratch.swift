import Foundation
import Glibc
import Journal
import RunCore

/// A folder of one test, deleted with the last reference.
final class Scratch: Sendable {
    let folder: String
    var journal: String { folder + "/state/journal.db" }

    init() {
        let base = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        var template = Array("\(base)/reprise-journal-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "cannot create a folder in \(base)")
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func open(_ options: JournalOptions = JournalOptions()) async throws -> SQLiteJournal {
        try await SQLiteJournal.open(path: journal, options: options)
    }

    /// All files of the journal with their content; `-shm` is an index that SQLite makes anew.
    func files() throws -> [String: Data] {
        let folder = folder + "/state"
        return try FileManager.default.contentsOfDirectory(atPath: folder).reduce(into: [:]) { files, name in
            files[name] = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)"))
        }
    }

    /// Puts `files` in place of what is there.
    func restore(_ files: [String: Data]) throws {
        let folder = folder + "/state"
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            try FileManager.default.removeItem(atPath: "\(folder)/\(name)")
        }
        for (name, content) in files {
            try content.write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
            chmod("\(folder)/\(name)", 0o600)
        }
    }

    /// A journal with one run `r` of `count` records, closed again.
    func fill(_ count: Int, snapshotAt: Int? = nil) async throws {
        let store = try await open()
        let hold = try await store.create(
            run: Self.run, first: Conformance.entry(1), operator: Conformance.alice, label: "RUNNING")
        for number in 2..<max(2, count + 1) {
            _ = try await store.append(
                [Conformance.entry(number)], hold: hold, label: nil, snapshot: number == snapshotAt ? [7] : nil)
        }
        try await store.close()
    }

    /// The same, left as a killed process leaves it: the records are in the `-wal`, and the hold was not released.
    func fillAndDie(_ count: Int) async throws {
        let probe = try await Child.probe(journal)
        _ = try await probe.ask("create r")
        if count > 1 {
            await probe.say("append \(count - 1)")
            for _ in 1..<count { _ = try await probe.line() }
        }
        _ = await probe.end()
    }

    static let run = RunID("r")!
}
