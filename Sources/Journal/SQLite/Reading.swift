internal import Foundation
internal import GRDB
package import RunCore

extension SQLiteJournal {
    package func load(run: RunID) async throws -> LoadedRun {
        try await onThread { try $0.load(run) }
    }

    package func records(run: RunID, after: Int64, limit: Int) async throws -> [JournalRecord] {
        precondition(after >= 0 && limit >= 0, "a sequence and a limit are not negative")
        return try await onThread { core in
            try core.read { db in
                let row = try core.existingRun(run, in: db)
                guard after < row.headSequence else { return [] }
                return try core.chain(of: row, after: after, limit: limit, in: db)
            }
        }
    }

    package func runs(limit: Int) async throws -> [RunSummary] {
        precondition(limit >= 0, "a limit is not negative")
        return try await onThread { core in
            try core.read { db in
                let rows = try Row.fetchCursor(
                    db, sql: "SELECT \(RunRow.columns) FROM runs ORDER BY number DESC LIMIT ?", arguments: [limit])
                var summaries: [RunSummary] = []
                while let row = try rows.next() { summaries.append(try core.summary(of: RunRow(row), in: db)) }
                return summaries
            }
        }
    }

    package func summary(run: RunID) async throws -> RunSummary {
        try await onThread { core in
            try core.read { db in try core.summary(of: core.existingRun(run, in: db), in: db) }
        }
    }

    package func resolve(prefix: String?) async throws -> RunID {
        try await onThread { core in try core.read { try core.resolve(prefix, in: $0) } }
    }
}

extension JournalCore {
    /// - Throws: `RunNotFound`, `RecordDamaged`.
    func existingRun(_ run: RunID, in db: Database) throws -> RunRow {
        guard let row = try runRow(run, in: db) else { throw RunNotFound(wanted: run.rawValue) }
        return row
    }

    func summary(of row: RunRow, in db: Database) throws -> RunSummary {
        RunSummary(
            run: row.id, createdMilliseconds: row.created, lastEventMilliseconds: row.lastTime, head: row.head, fence: row.fence,
            label: row.label, holder: try holder(of: row, in: db))
    }

    func load(_ run: RunID) throws -> LoadedRun {
        try read { db in
            let row = try existingRun(run, in: db)
            let snapshot = try SnapshotRow.fetch(of: row, in: db)
            let tail = try chain(of: row, after: snapshot?.sequence ?? 0, limit: .max, in: db, anchor: snapshot?.recordHash)
            return LoadedRun(
                run: run, snapshot: snapshot.map { LoadedRun.Snapshot(state: $0.state, atSequence: $0.sequence) }, tail: tail,
                head: row.head, fence: row.fence, label: row.label)
        }
    }

    /// The verified records above `after`, which is below or at the run's head.
    ///
    /// The record at `after` is read too, so that the first one returned is known to follow it, and where the run's head is
    /// reached, it has to be the one that the list of runs names.
    /// - Parameter anchor: what the hash of the record at `after` must be, if the caller knows.
    func chain(
        of run: RunRow, after: Int64, limit: Int, in db: Database, anchor: [UInt8]? = nil
    ) throws -> [JournalRecord] {
        var checker = ChainChecker(run: run, after: after, anchor: anchor)
        let wanted = limit < Int.max ? limit + 1 : limit
        let rows = try Row.fetchCursor(
            db.cachedStatement(
                sql: "SELECT \(JournalRecord.columns) FROM records WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?"),
            arguments: [
                RecordKey.key(run: run.number, sequence: max(1, after)), RecordKey.key(run: run.number, sequence: .max),
                after == 0 ? limit : wanted,
            ])
        var records: [JournalRecord] = []
        do {
            while let row = try rows.next() {
                if let record = try checker.check(row) { records.append(record) }
            }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
            throw checker.damage("it cannot be read (\(Self.reason(error)))")
        }
        try checker.finish(mayEndEarly: records.count == limit)
        return records
    }

    func resolve(_ prefix: String?, in db: Database) throws -> RunID {
        guard let prefix else {
            guard let row = try Row.fetchOne(db, sql: "SELECT \(RunRow.columns) FROM runs ORDER BY number DESC LIMIT 1") else {
                throw RunNotFound(wanted: nil, in: files.database)
            }
            return try RunRow(row).id
        }
        // What is no beginning of a run's id is in no index either, and a prefix may end in the character "-".
        guard !prefix.isEmpty, RunID(prefix) != nil else { throw RunNotFound(wanted: prefix, in: files.database) }
        let rows = try Row.fetchAll(
            db, sql: "SELECT \(RunRow.columns) FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 5",
            arguments: [prefix, prefix + "~"])
        let candidates = try rows.map { try RunRow($0).id }
        if let run = RunID(prefix), try runRow(run, in: db) != nil { return run }
        guard let first = candidates.first else { throw RunNotFound(wanted: prefix, in: files.database) }
        guard candidates.count == 1 else { throw RunAmbiguous(prefix: prefix, candidates: candidates) }
        return first
    }
}

/// Follows a run's chain record by record.
struct ChainChecker {
    private let run: RunRow
    private let after: Int64
    /// Sequence of the record that must come next.
    private var next: Int64
    /// What its previous hash must be; nil where unknown.
    private var expected: [UInt8]?
    private let anchor: [UInt8]?

    /// Begins with the record at `after` itself, or with the run's first one if `after` is 0.
    init(run: RunRow, after: Int64, anchor: [UInt8]? = nil) {
        (self.run, self.after, self.anchor) = (run, after, anchor)
        next = max(1, after)
        expected = next == 1 ? JournalChain.origin(of: run.id) : nil
    }

    /// - Returns: the record, or nil for the one at `after`, which is only held on to.
    /// - Throws: `RecordDamaged` naming it.
    mutating func check(_ row: Row) throws -> JournalRecord? {
        let record: JournalRecord
        do {
            record = try JournalRecord(row, run: run)
        } catch is UnreadableColumn {
            throw damage("it cannot be read")
        }
        guard record.sequence == next else { throw damage("it is missing; record \(record.sequence) stands in its place") }
        guard record.isIntact else { throw damage("its hash does not fit its content") }
        guard expected == nil || record.previousHash == expected else { throw damage("it does not follow the record before it") }
        if record.sequence == after, let anchor, record.hash != anchor {
            throw damage("the snapshot was taken of another record")
        }
        guard record.fence <= run.fence else { throw damage("its fence is higher than any that was given out") }
        (next, expected) = (next + 1, record.hash)
        return record.sequence == after ? nil : record
    }

    /// - Parameter mayEndEarly: the caller asked for no more.
    func finish(mayEndEarly: Bool) throws {
        if next > run.headSequence {
            guard next == run.headSequence + 1, expected == run.headHash else {
                throw RecordDamaged(
                    damage: JournalDamage(
                        run: run.id, sequence: next - 1, finding: "it is not the one that the list of runs names as the last"))
            }
        } else if !mayEndEarly {
            throw damage("it is missing")
        }
    }

    func damage(_ finding: String) -> RecordDamaged {
        RecordDamaged(damage: JournalDamage(run: run.id, sequence: next, finding: finding))
    }
}
