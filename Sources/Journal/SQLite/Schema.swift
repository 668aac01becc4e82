internal import BlockingIO
internal import Foundation
internal import GRDB
internal import RunCore

/// The tables of a journal, format 1, and how connections to it are set up.
///
/// Readers outside this program may rely on the view `events`. `records` can only be added to: triggers refuse the rest.
enum Schema {
    private static let statements = [
        "CREATE TABLE journal (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), id BLOB NOT NULL) STRICT",
        // `hold` is the number of the hold that was not released, else 0. `seal` is a hash over the other columns.
        """
        CREATE TABLE runs (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, last_time INTEGER NOT NULL,
            head_sequence INTEGER NOT NULL, head_position INTEGER NOT NULL, head_hash BLOB NOT NULL, fence INTEGER NOT NULL, hold INTEGER NOT NULL,
            label TEXT NOT NULL, seal BLOB NOT NULL) STRICT
        """,
        // `key` is run number * 2^36 + sequence: one tree finds and orders records, so a commit writes one page less than
        // with an index. `position` numbers the records of all runs in the order of their commits, without gaps.
        """
        CREATE TABLE records (
            key INTEGER PRIMARY KEY, position INTEGER NOT NULL, time INTEGER NOT NULL, fence INTEGER NOT NULL, kind TEXT NOT NULL, step TEXT, attempt INTEGER,
            payload BLOB NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL) STRICT
        """,
        """
        CREATE TABLE snapshots (
            run INTEGER PRIMARY KEY REFERENCES runs (number), sequence INTEGER NOT NULL, record_hash BLOB NOT NULL,
            state BLOB NOT NULL, seal BLOB NOT NULL) STRICT
        """,
        """
        CREATE TABLE holds (
            number INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (number), fence INTEGER NOT NULL,
            operator TEXT NOT NULL, reason TEXT, acquired INTEGER NOT NULL, replaced INTEGER NOT NULL) STRICT
        """,
        """
        CREATE VIEW events AS
        SELECT runs.id AS run, key & 68719476735 AS sequence, datetime(time / 1000, 'unixepoch') AS utc, records.fence, kind,
            step, attempt, CAST(payload AS TEXT) AS payload
        FROM records JOIN runs ON runs.number = key >> 36
        """,
        """
        CREATE TRIGGER records_are_not_changed BEFORE UPDATE ON records
        BEGIN SELECT RAISE(ABORT, 'records are not changed'); END
        """,
        """
        CREATE TRIGGER records_are_not_deleted BEFORE DELETE ON records
        BEGIN SELECT RAISE(ABORT, 'records are not deleted'); END
        """,
    ]

    /// Creates an empty journal, durable, at a path where nothing is. The caller holds the writer lock.
    ///
    /// It is built under another name and renamed into place whole: a kill leaves no journal or a finished one.
    static func create(_ files: JournalFiles) throws {
        let temporary = JournalFiles(database: temporaryName(files))
        for path in [temporary.database, temporary.wal, temporary.sharedMemory, temporary.database + "-journal"] {
            if unlink(path) != 0 && errno != ENOENT { throw SystemCallFailed("unlink \(path)", errno: errno) }
        }
        // SQLite would create the file with the process's umask.
        _ = try SideFile(temporary.database, flags: O_RDWR | O_CREAT | O_EXCL)
        let id = (0..<HeadFile.journalIDBytes).map { _ in UInt8.random(in: .min ... .max) }
        let queue = try DatabaseQueue(
            path: temporary.database, configuration: configuration(readOnly: false, busyTimeout: .seconds(5)))
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA synchronous = EXTRA")
            try db.inTransaction(.immediate) {
                try db.execute(sql: "PRAGMA application_id = \(JournalFiles.applicationID)")
                try db.execute(sql: "PRAGMA user_version = \(JournalFiles.formatVersion)")
                for statement in statements { try db.execute(sql: statement) }
                try db.execute(sql: "INSERT INTO journal VALUES (1, ?)", arguments: [Data(id)])
                return .commit
            }
            try db.execute(sql: "PRAGMA journal_mode = WAL")
        }
        try queue.close()
        try HeadFile.create(path: files.head, content: .empty(journal: id))
        try JournalFiles.renameWithoutReplacing(temporary.database, to: files.database)
    }

    static func temporaryName(_ files: JournalFiles) -> String { files.database + "-new" }

    static func configuration(readOnly: Bool, busyTimeout: Duration) -> Configuration {
        var configuration = Configuration()
        configuration.readonly = readOnly
        // A transaction that even a rollback cannot end poisons the store; without this it would end the process.
        configuration.allowsUnsafeTransactions = true
        configuration.label = readOnly ? "journal-reader" : "journal-writer"
        let parts = busyTimeout.components
        configuration.busyMode = .timeout(Double(parts.seconds) + Double(parts.attoseconds) / 1e18)
        return configuration
    }

    /// Sets what makes a commit durable, and asserts that it took.
    ///
    /// GRDB sets `synchronous = NORMAL` after its own preparation, so this comes after opening. Checkpoints are only made by
    /// who holds the writer lock, because SQLite before 3.51.3 can corrupt a WAL that two connections reset at once.
    static func prepareWriter(_ db: Database) throws {
        try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
        try db.execute(sql: "PRAGMA synchronous = \(Failpoint.mutant("journal.synchronous-normal") ? "NORMAL" : "FULL")")
        try db.execute(sql: "PRAGMA trusted_schema = OFF")
        try db.execute(sql: "PRAGMA cell_size_check = ON")
        let settings = try ["journal_mode", "synchronous", "wal_autocheckpoint"].map {
            try DatabaseValue.fetchOne(db, sql: "PRAGMA \($0)").map { "\($0.storage.value ?? "none")" } ?? "none"
        }
        let wanted = ["wal", Failpoint.mutant("journal.synchronous-normal") ? "1" : "2", "0"]
        guard settings == wanted else {
            throw JournalUnusable(
                "not-durable", "SQLite did not take the settings that make the journal durable: \(settings) instead of \(wanted)")
        }
    }
}
