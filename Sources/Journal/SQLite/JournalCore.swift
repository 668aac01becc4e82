internal import BlockingIO
internal import Foundation
internal import GRDB
internal import Glibc
internal import RunCore

/// The open journal, as its one thread sees it.
///
/// `@unchecked Sendable`: every method is called by `SQLiteJournal` on its `DedicatedThread` only, one at a time.
final class JournalCore: @unchecked Sendable {
    let files: JournalFiles
    let options: JournalOptions
    let holders: HolderLocks
    /// What a person should know of the opening.
    var notices: [JournalNotice] = []
    private let registration: OpenJournal
    private let identity: JournalFiles.FileIdentity
    private var queue: DatabaseQueue?
    /// Nil in a store that only reads.
    private let writerLock: WriterLock?
    private let head: HeadFile
    private var walIdentity: JournalFiles.FileIdentity?
    private var walBytes: Int64
    private let walRoom: WALRoom
    private var poison: JournalPoisoned?
    private var bytesSinceCheckpoint = 0
    /// SQLite's count of the commits of other connections, as of this one's last; nil where that is not known.
    private var dataVersion: Int64?
    /// The newest record and the rows of runs, as they are while that count stands. The head file does not tell: a transaction
    /// that appends nothing leaves it behind what others wrote.
    private var last: LastRecord
    private var rows: [RunID: RunRow] = [:]

    /// After about this many bytes in the WAL it is written back to the database.
    private static let checkpointBytes = 8 << 20

    init(
        files: JournalFiles, options: JournalOptions, registration: OpenJournal, identity: JournalFiles.FileIdentity,
        queue: DatabaseQueue, writerLock: WriterLock?, holders: HolderLocks, head: HeadFile
    ) {
        (self.files, self.options, self.registration, self.identity) = (files, options, registration, identity)
        (self.queue, self.writerLock, self.holders, self.head) = (queue, writerLock, holders, head)
        last = head.content.last
        let wal = JournalFiles.look(at: files.wal)
        (walIdentity, walBytes) = (wal?.identity, wal?.bytes ?? 0)
        walRoom = WALRoom(wal: files.wal)
    }

    // MARK: Reading

    /// Runs `body` in one read transaction.
    func read<Value>(_ body: (Database) throws -> Value) throws -> Value {
        let queue = try openQueue()
        do {
            return try queue.writeWithoutTransaction { db in
                try db.cachedStatement(sql: "BEGIN DEFERRED").execute()
                defer { try? db.rollback() }
                return try body(db)
            }
        } catch let error as DatabaseError {
            throw failure(of: error)
        } catch is UnreadableColumn {
            throw Self.unreadable
        }
    }

    private static let unreadable = RecordDamaged(
        damage: JournalDamage(run: nil, sequence: nil, finding: "a value in its tables has the wrong type"))

    private func openQueue() throws -> DatabaseQueue {
        if let poison { throw poison }
        guard let queue else { throw JournalNotWritable(message: "the journal \(files.database) was closed") }
        return queue
    }

    // MARK: Writing

    /// A write transaction under way.
    struct Transaction {
        let db: Database
        /// The newest record, as `append` advances it.
        var last: LastRecord
        /// Rows of runs that are known already.
        var rows: [RunID: RunRow]
        var bytes = 0
        /// What is being written, for the failpoints around the commit.
        var places: [String] = []
    }

    /// Runs `body` in one transaction under the writer lock; durable when it returns.
    ///
    /// An error of `body` rolls everything back. A failure to write, other than for want of room or of a lock, poisons.
    func write<Value>(_ body: (inout Transaction) throws -> Value) throws -> Value {
        let queue = try openQueue()
        guard let writerLock else { throw JournalNotWritable(message: "the journal \(files.database) is open for reading only") }
        try writerLock.lock(timeout: options.lockTimeout)
        defer { writerLock.unlock() }
        do {
            let value = try queue.writeWithoutTransaction { try commit($0, body) }
            try checkpointIfDue(queue)
            return value
        } catch let error as DatabaseError {
            throw writeFailure(of: error)
        } catch is UnreadableColumn {
            throw Self.unreadable
        } catch let error as SystemCallFailed {
            throw poisoned(error.message)
        }
    }

    private func commit<Value>(_ db: Database, _ body: (inout Transaction) throws -> Value) throws -> Value {
        if let walIdentity { try walRoom.keep(walIdentity, bytes: walBytes) }
        try db.cachedStatement(sql: "BEGIN IMMEDIATE").execute()
        do {
            var transaction = try transaction(db)
            let last = transaction.last
            let value = try body(&transaction)
            Failpoint.hit("journal.before-commit", each: transaction.places)
            try db.cachedStatement(sql: "COMMIT").execute()
            Failpoint.hit("journal.after-commit", each: transaction.places)
            (self.last, rows) = (transaction.last, transaction.rows)
            try checkFilesAreOurs()
            if transaction.last != last {
                try head.advance(to: transaction.last, othersWrote: last != head.content.last)
            }
            Failpoint.hit("journal.after-head", each: transaction.places)
            // Pages that are changed a second time are written again: the tree's path, not only the record.
            bytesSinceCheckpoint += transaction.bytes + 3 * 4096
            return value
        } catch {
            dataVersion = nil
            do { try db.rollback() } catch let rollback { throw poisoned("it could not roll back: \(Self.reason(rollback))") }
            throw error
        }
    }

    /// A transaction that has begun. What this connection knows is looked up anew only if another one wrote since: without an
    /// index on the positions the newest record takes a pass over all runs.
    private func transaction(_ db: Database) throws -> Transaction {
        let version = try Int64.fetchOne(db.cachedStatement(sql: "PRAGMA data_version"))
        if let version, version == dataVersion { return Transaction(db: db, last: last, rows: rows) }
        let last = try LastRecord.fetch(db)
        dataVersion = version
        return Transaction(db: db, last: last, rows: [:])
    }

    /// A file that was deleted or replaced while it was open takes the writes and loses them.
    private func checkFilesAreOurs() throws {
        let wal = JournalFiles.look(at: files.wal)
        walBytes = wal?.bytes ?? 0
        if walIdentity == nil, wal != nil {
            walIdentity = wal?.identity
            // SQLite flushes the folder of a new log too, but goes on where that fails.
            try JournalFiles.synchronizeDirectory(files.directory)
        }
        guard JournalFiles.identity(of: files.database) == identity, wal != nil, wal?.identity == walIdentity else {
            throw poisoned("its files were deleted or replaced while it was open")
        }
    }

    // MARK: Checkpoints

    private func checkpointIfDue(_ queue: DatabaseQueue) throws {
        guard bytesSinceCheckpoint >= Self.checkpointBytes else { return }
        bytesSinceCheckpoint = 0
        do {
            try checkpoint(queue)
        } catch let error as DatabaseError where isOutOfRoom(error) || error.resultCode == .SQLITE_BUSY {
            // The records are durable in the WAL. It is tried again later.
        }
    }

    /// Copies the WAL into the database as far as readers allow; the caller holds the writer lock.
    ///
    /// It also makes durable what an earlier process read back after a failed flush.
    @discardableResult
    func checkpoint(_ queue: DatabaseQueue) throws -> Int {
        let frames = try queue.writeWithoutTransaction { db in
            try Row.fetchOne(db, sql: "PRAGMA wal_checkpoint(PASSIVE)").map { try $0.integer(1) } ?? 0
        }
        try head.synchronize()
        return max(0, Int(frames))
    }

    /// Closes the journal and gives up all holds. Idempotent.
    func close() throws {
        guard let queue else { return }
        self.queue = nil
        guard let writerLock else { return try queue.close() }
        // The last connection writes the WAL back as it closes.
        try writerLock.lock(timeout: options.lockTimeout)
        defer { writerLock.unlock() }
        try? head.synchronize()
        try queue.close()
    }

    // MARK: Failures

    private func poisoned(_ cause: String) -> JournalPoisoned {
        let error = poison ?? JournalPoisoned(path: files.database, cause: cause)
        poison = error
        return error
    }

    /// Out of room is safe where SQLite rolled the transaction back; `commit` made sure of that. The index of the WAL is a
    /// memory-mapped file, for which running out of room has a code of its own.
    private func isOutOfRoom(_ error: DatabaseError) -> Bool {
        error.resultCode == .SQLITE_FULL || error.extendedResultCode == .SQLITE_IOERR_SHMSIZE
    }

    private func writeFailure(of error: DatabaseError) -> any Error {
        if isOutOfRoom(error) || error.resultCode == .SQLITE_BUSY { return failure(of: error) }
        return poisoned(Self.reason(error))
    }

    func failure(of error: DatabaseError) -> any Error {
        if isOutOfRoom(error) { return JournalDiskFull(path: files.database) }
        switch error.resultCode {
        case .SQLITE_BUSY:
            let parts = options.lockTimeout.components
            return WriterBlocked(path: files.database, writer: nil, waitedSeconds: Double(parts.seconds))
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return RecordDamaged(
                damage: JournalDamage(run: nil, sequence: nil, finding: "the file is malformed (\(Self.reason(error)))"))
        default:
            return JournalUnusable("unreadable", "cannot read journal \(files.database): \(Self.reason(error))")
        }
    }

    /// SQLite's own words for the code; never the statement or its values.
    static func reason(_ error: any Error) -> String {
        switch error {
        case let error as DatabaseError:
            "\(error.message ?? "unknown error") (SQLite code \(error.extendedResultCode.rawValue))"
        case let error as any RepriseError: error.message
        default: "unexpected failure"
        }
    }
}
