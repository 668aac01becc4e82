internal import BlockingIO
internal import Foundation
internal import Synchronization

/// How a journal is opened.
package struct JournalOptions: Sendable {
    /// Opens for reading only: takes no lock, and blocks no writer.
    package var readOnly = false
    /// How long to wait for another process that writes, before `WriterBlocked`.
    package var lockTimeout: Duration = .seconds(10)
    /// Who opens it: named to others who wait for the writer lock.
    package var identity: OperatorIdentity = .current
    /// A person accepts that acknowledged records are gone: opens a journal that ends before its head file, and says so in
    /// `notices`. Use only after `journal.lost-records`.
    package var acceptLoss = false
    /// A person accepts a journal whose head file is gone or unreadable; it is made anew.
    package var remakeHeadFile = false
    /// Wall clock, milliseconds since 1970 UTC, for the records' times. Nothing is decided by it.
    package var now: @Sendable () -> Int64 = { Int64(Date().timeIntervalSince1970 * 1000) }

    package init(readOnly: Bool = false) { self.readOnly = readOnly }
}

/// The journal in one SQLite file, with five small files beside it:
/// `-wal` and `-shm` (SQLite's), `-lock` (the writer lock), `-holders` (proof of life of holds), `-head` (see `HeadFile`).
///
/// Folder 0700, files 0600, on a local file system. All work is done on one thread of its own, so a slow disk blocks nobody
/// else, and appends of callers that wait together share one commit. A commit is one write transaction in WAL mode with
/// `synchronous = FULL`: the records are flushed before `append` returns.
package final class SQLiteJournal: LocalJournalStore {
    package let path: String
    let thread: DedicatedThread
    let core: JournalCore
    let spool: WordSpool
    let pending = Mutex<[AppendRequest]>([])

    private init(path: String, thread: DedicatedThread, core: JournalCore) {
        (self.path, self.thread, self.core) = (path, thread, core)
        spool = WordSpool(database: path)
    }

    /// Opens the journal at `path`, and creates it, with its folder, unless `options.readOnly`.
    ///
    /// Safe to call while other processes use the journal. A journal that was refused is left as it was.
    /// - Throws: `JournalUnusable`, `RecordDamaged`, `WriterBlocked`.
    package static func open(path: String, options: JournalOptions = JournalOptions()) async throws -> SQLiteJournal {
        let thread = DedicatedThread(name: "journal")
        let core = try await thread.run { try JournalOpening(path: path, options: options).open() }
        return SQLiteJournal(path: path, thread: thread, core: core)
    }

    package static func open(path: String, readOnly: Bool) async throws -> SQLiteJournal {
        try await open(path: path, options: JournalOptions(readOnly: readOnly))
    }

    /// What a person should know of the opening: a torn tail, a head file that was behind.
    package var notices: [JournalNotice] {
        get async throws { try await onThread { $0.notices } }
    }

    /// Ends all use of the journal and gives up its holds, as the end of the process would. Idempotent.
    package func close() async throws {
        try await onThread { try $0.close() }
    }

    /// Runs on the journal's thread, which cancellation of the calling task does not stop.
    func onThread<Value: Sendable>(_ body: @escaping @Sendable (JournalCore) throws -> Value) async throws -> Value {
        let core = core
        return try await thread.run { try body(core) }
    }
}
