internal import BlockingIO
internal import Foundation
internal import GRDB
internal import Glibc
internal import RunCore

/// Opens a journal: first only looking, and only if all is well for writing.
struct JournalOpening {
    let files: JournalFiles
    let options: JournalOptions

    init(path: String, options: JournalOptions) {
        files = JournalFiles(database: path)
        self.options = options
    }

    func open() throws -> JournalCore {
        do {
            return options.readOnly ? try openForReading() : try openForWriting()
        } catch let error as SystemCallFailed {
            throw JournalUnusable("unreachable", "cannot open journal \(files.database): \(error.message)")
        } catch let error as DatabaseError {
            throw refusal(error)
        }
    }

    private func openForReading() throws -> JournalCore {
        guard try files.check() else {
            throw JournalUnusable(
                "missing", "there is no journal at \(files.database)", "start a run first, or name the journal with --journal")
        }
        let (registration, identity) = try register()
        let queue = try DatabaseQueue(
            path: files.database, configuration: Schema.configuration(readOnly: true, busyTimeout: options.lockTimeout))
        // The head file is read before the database: what it names is then already committed.
        let head = try headFile(flags: O_RDONLY) ?? unusableHead(of: queue)
        let core = JournalCore(
            files: files, options: options, registration: registration, identity: identity, queue: queue, writerLock: nil,
            holders: HolderLocks(file: try SideFile(files.holders, flags: O_RDONLY)), head: head)
        core.notices = try compare(head.content, with: queue).notices.filter {
            if case .headFileBehind = $0 { false } else { true }
        }
        return core
    }

    private func openForWriting() throws -> JournalCore {
        _ = try files.check()
        try files.createDirectory()
        // A folder that was just made passes; one that another process made in the meantime is looked at here.
        _ = try files.check()
        let lock = WriterLock(
            file: try SideFile(files.lock, flags: O_RDWR | O_CREAT), journalPath: files.database, owner: options.identity)
        try lock.lock(timeout: options.lockTimeout)
        defer { lock.unlock() }
        if try !files.check() { try Schema.create(files) }
        // Left where the process that created the journal died between giving it its name and taking the old one away.
        unlink(Schema.temporaryName(files))
        let holders = HolderLocks(file: try SideFile(files.holders, flags: O_RDWR | O_CREAT))
        let (registration, identity) = try register()
        // Looking is done by a connection that cannot write: closing a writing one would change a journal that is refused.
        let (head, findings) = try inspect()
        let queue = try DatabaseQueue(
            path: files.database, configuration: Schema.configuration(readOnly: false, busyTimeout: options.lockTimeout))
        try queue.writeWithoutTransaction(Schema.prepareWriter)
        let core = JournalCore(
            files: files, options: options, registration: registration, identity: identity, queue: queue, writerLock: lock,
            holders: holders, head: head)
        if findings.last != head.content.last { try head.advance(to: findings.last, othersWrote: true) }
        let frames = try core.checkpoint(queue)
        let torn = try WALTail.tornBytes(wal: files.wal, committedFrames: frames)
        core.notices = findings.notices + (torn > 0 ? [.tornTail(bytes: torn)] : [])
        return core
    }

    private func register() throws -> (OpenJournal, JournalFiles.FileIdentity) {
        guard let identity = JournalFiles.identity(of: files.database) else {
            throw JournalUnusable("missing", "journal \(files.database) vanished while it was opened")
        }
        return (try OpenJournal(identity) { try files.checkHeader() }, identity)
    }

    private func inspect() throws -> (HeadFile, Findings) {
        let queue = try DatabaseQueue(
            path: files.database, configuration: Schema.configuration(readOnly: true, busyTimeout: options.lockTimeout))
        defer { try? queue.close() }
        let existing = try headFile(flags: O_RDWR)
        if existing == nil && !options.remakeHeadFile { _ = try unusableHead(of: queue) as HeadFile }
        guard let existing else {
            let journal = try queue.read(Self.journalID)
            try HeadFile.create(path: files.head, content: .empty(journal: journal))
            guard let made = try headFile(flags: O_RDWR) else {
                throw JournalUnusable("head-file-missing", "\(files.head) could not be made anew")
            }
            var findings = try compare(made.content, with: queue)
            findings.notices = [.headFileRemade]
            return (made, findings)
        }
        return (existing, try compare(existing.content, with: queue))
    }

    // MARK: The head file

    private func headFile(flags: Int32) throws -> HeadFile? {
        guard JournalFiles.identity(of: files.head) != nil else { return nil }
        return try HeadFile(file: SideFile(files.head, flags: flags))
    }

    private func unusableHead<Value>(of queue: DatabaseQueue) throws -> Value {
        try queue.close()
        throw JournalUnusable(
            "head-file-missing",
            "\(files.head), which remembers how far journal \(files.database) had come, is missing or unreadable",
            "put it back; or, if the journal was moved without it, accept what is there with `reprise journal verify --remake-head`"
        )
    }

    private struct Findings {
        var last: LastRecord
        var notices: [JournalNotice]
    }

    private static func journalID(_ db: Database) throws -> [UInt8] {
        guard let id = try Row.fetchOne(db, sql: "SELECT id FROM journal").flatMap({ try $0.optionalBytes(0) }) else {
            throw RecordDamaged(damage: JournalDamage(run: nil, sequence: nil, finding: "its own id is missing"))
        }
        return id
    }

    /// Holds the end of the database against what the head file remembers.
    private func compare(_ head: HeadFile.Content, with queue: DatabaseQueue) throws -> Findings {
        do {
            return try queue.read { db in
                guard try Self.journalID(db) == head.journal else {
                    throw JournalUnusable(
                        "other-journal", "\(files.head) belongs to another journal than \(files.database)",
                        "put the files of one journal together again")
                }
                return try compare(head, in: db)
            }
        } catch is UnreadableColumn {
            throw RecordDamaged(damage: JournalDamage(run: nil, sequence: nil, finding: "its last records cannot be read"))
        }
    }

    private func compare(_ head: HeadFile.Content, in db: Database) throws -> Findings {
        let last = try LastRecord.fetch(db)
        let remembered = head.last
        if last.position >= remembered.position {
            guard try remembered.position == 0 || LastRecord.fetch(db, key: remembered.key) == remembered else {
                throw fork(at: remembered.position)
            }
            let behind = last.position - remembered.position
            return Findings(last: last, notices: behind > 0 ? [.headFileBehind(records: behind)] : [])
        }
        let lost = remembered.position - last.position
        guard options.acceptLoss else { throw lostRecords(lost, last: last.position) }
        return Findings(last: last, notices: [.acceptedLoss(records: lost)])
    }

    private func fork(at position: Int64) -> RecordDamaged {
        RecordDamaged(
            damage: JournalDamage(
                run: nil, sequence: nil,
                finding: "entry \(position) is another one than was acknowledged; perhaps an old copy was put back and written to"
            ))
    }

    private func lostRecords(_ count: Int64, last: Int64) -> JournalUnusable {
        let wal = JournalFiles.identity(of: files.wal) == nil ? "\(files.wal) is missing" : "\(files.wal) is damaged"
        return JournalUnusable(
            "lost-records",
            "journal \(files.database) ends \(counted(count, "record")) before what was acknowledged (entry \(last + count)): "
                + "\(wal), or an old copy was put back",
            "put the newest files back, all together",
            "if they are lost: `reprise journal verify --accept-loss` goes on without those records; hosts know what ran on them")
    }

    private func refusal(_ error: DatabaseError) -> any Error {
        switch error.resultCode {
        case .SQLITE_NOTADB, .SQLITE_CORRUPT:
            return RecordDamaged(
                damage: JournalDamage(run: nil, sequence: nil, finding: "the file is malformed (\(JournalCore.reason(error)))"))
        case .SQLITE_FULL: return JournalDiskFull(path: files.database)
        case .SQLITE_BUSY:
            return WriterBlocked(
                path: files.database, writer: nil, waitedSeconds: Double(options.lockTimeout.components.seconds))
        default:
            return JournalUnusable(
                "unreachable", "cannot open journal \(files.database): \(JournalCore.reason(error))",
                "the folder must be writable, also for reading (SQLite keeps an index of the log there)")
        }
    }
}
