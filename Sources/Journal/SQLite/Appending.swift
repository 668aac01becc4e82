package import BlockingIO
internal import Foundation
internal import GRDB
internal import RunCore
internal import Synchronization

/// One caller's append while it waits for a commit.
final class AppendRequest: Sendable {
    let entries: [JournalEntry]
    let hold: Hold
    let label: String?
    let snapshot: [UInt8]?
    private let outcome = Mutex<Result<[JournalRecord], any Error>?>(nil)

    init(entries: [JournalEntry], hold: Hold, label: String?, snapshot: [UInt8]?) {
        (self.entries, self.hold, self.label, self.snapshot) = (entries, hold, label, snapshot)
    }

    func finish(_ result: Result<[JournalRecord], any Error>) { outcome.withLock { $0 = result } }

    /// - Throws: what the append threw.
    func records() throws -> [JournalRecord] {
        guard let result = outcome.withLock({ $0 }) else { preconditionFailure("an append was left without an outcome") }
        return try result.get()
    }
}

extension SQLiteJournal {
    package func append(
        _ entries: [JournalEntry], hold: Hold, label: String?, snapshot: [UInt8]?
    ) async throws -> [JournalRecord] {
        try JournalLimits.check(entries, label: label, snapshot: snapshot)
        let request = AppendRequest(entries: entries, hold: hold, label: label, snapshot: snapshot)
        pending.withLock { $0.append(request) }
        // Whichever caller's turn comes first writes for all who wait by then; the others find their outcome there.
        try await onThread { [self] core in
            let batch = pending.withLock { pending in
                let batch = pending
                pending.removeAll(keepingCapacity: true)
                return batch
            }
            if !batch.isEmpty { core.append(batch) }
        }
        return try request.records()
    }

    package var executor: DedicatedThread { thread }

    package func appendHere(
        _ entries: [JournalEntry], hold: Hold, label: String? = nil, snapshot: [UInt8]? = nil
    ) throws -> [JournalRecord] {
        thread.preconditionIsolated("appendHere was called on another thread than the journal's")
        try JournalLimits.check(entries, label: label, snapshot: snapshot)
        let request = AppendRequest(entries: entries, hold: hold, label: label, snapshot: snapshot)
        core.append([request])
        return try request.records()
    }
}

#if DEBUG || REPRISE_FAILPOINTS
    extension JournalEntry {
        /// What is written, the same in every run of one plan: tells the failpoints around a commit apart.
        fileprivate var place: String {
            struct About: Decodable {
                var key: String?
                var host: String?
            }
            let about = try? JSONDecoder().decode(About.self, from: Data(payload))
            let subject = step.map { step in "\(step)" + (attempt.map { "#\($0)" } ?? "") }
            return [kind, subject, about?.key, about?.host].compactMap { $0 }.joined(separator: " ")
        }
    }
#endif

extension JournalLimits {
    /// - Throws: `EntryRefused`.
    static func check(_ entries: [JournalEntry], label: String?, snapshot: [UInt8]?) throws {
        guard !entries.isEmpty, entries.count <= entriesPerAppend else {
            throw EntryRefused(message: "an append takes 1 to \(entriesPerAppend) entries, not \(entries.count)")
        }
        for entry in entries {
            guard isPlain(entry.kind, limit: kindBytes, allowEmpty: false) else {
                throw EntryRefused(message: "an entry's kind is 1 to \(kindBytes) printable ASCII characters")
            }
            guard entry.payload.count <= payloadBytes else {
                throw EntryRefused(
                    message: "an entry of kind \(entry.kind) has \(entry.payload.count) bytes; the limit is \(payloadBytes)")
            }
            guard entry.attempt ?? 1 > 0 else { throw EntryRefused(message: "attempts are numbered from 1") }
        }
        guard isPlain(label ?? "", limit: labelBytes, allowEmpty: true) else {
            throw EntryRefused(message: "a label is at most \(labelBytes) printable ASCII characters")
        }
        guard snapshot?.count ?? 0 <= snapshotBytes else {
            throw EntryRefused(message: "a snapshot has \(snapshot?.count ?? 0) bytes; the limit is \(snapshotBytes)")
        }
    }

    private static func isPlain(_ text: String, limit: Int, allowEmpty: Bool) -> Bool {
        text.utf8.count <= limit && (allowEmpty || !text.isEmpty) && text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }
}

extension JournalCore {
    /// Writes all requests in one transaction. One whose hold is stale is refused alone; a failure to write is everybody's.
    func append(_ batch: [AppendRequest]) {
        do {
            let results = try write { transaction in
                try batch.map { request -> Result<[JournalRecord], any Error> in
                    do {
                        return .success(try append(request, in: &transaction))
                    } catch let error as any RepriseError {
                        // Thrown before the request's first write; a failure to write is no `RepriseError` here.
                        return .failure(error)
                    }
                }
            }
            for (request, result) in zip(batch, results) { request.finish(result) }
        } catch {
            for request in batch { request.finish(.failure(error)) }
        }
    }

    private func append(_ request: AppendRequest, in transaction: inout Transaction) throws -> [JournalRecord] {
        // Everything that can refuse this request alone comes before the first write.
        guard var row = try runRow(request.hold.run, in: &transaction) else {
            throw RunNotFound(wanted: request.hold.run.rawValue)
        }
        try checkHold(request.hold, row: row, in: transaction.db)
        let records = try insert(request.entries, into: &row, in: &transaction)
        if let label = request.label { row.label = label }
        try update(row, in: &transaction)
        if let snapshot = request.snapshot {
            try store(snapshot, row: row, in: transaction.db)
            transaction.bytes += snapshot.count
        }
        return records
    }

    private func checkHold(_ hold: Hold, row: RunRow, in db: Database) throws {
        guard row.fence != hold.fence || row.hold != hold.number else { return }
        if Failpoint.mutant("journal.no-fence-check") { return }
        throw StaleHold(run: hold.run, fence: hold.fence, newest: row.fence, holder: try holder(of: row, in: db))
    }

    /// Chains `entries` to the run's head and advances it.
    func insert(_ entries: [JournalEntry], into row: inout RunRow, in transaction: inout Transaction) throws -> [JournalRecord] {
        let statement = try transaction.db.cachedStatement(
            sql: """
                INSERT INTO records (key, position, time, fence, kind, step, attempt, payload, previous, hash)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        var records: [JournalRecord] = []
        records.reserveCapacity(entries.count)
        let now = options.now()
        for entry in entries {
            let record = JournalRecord(
                run: row.id, sequence: row.headSequence + 1, timeMilliseconds: now, fence: row.fence, entry: entry,
                previousHash: row.headHash)
            guard record.sequence <= RecordKey.sequenceLimit else { throw EntryRefused(message: "run \(row.id) is full") }
            let key = RecordKey.key(run: row.number, sequence: record.sequence)
            transaction.last = LastRecord(position: transaction.last.position + 1, key: key, hash: record.hash)
            try statement.execute(arguments: [
                key, transaction.last.position, now, row.fence, entry.kind, entry.step?.rawValue,
                entry.attempt, Data(entry.payload), Data(record.previousHash), Data(record.hash),
            ])
            transaction.bytes += entry.payload.count
            #if DEBUG || REPRISE_FAILPOINTS
                transaction.places.append(entry.place)
            #endif
            (row.headSequence, row.headPosition, row.headHash) = (record.sequence, transaction.last.position, record.hash)
            row.lastTime = now
            records.append(record)
        }
        return records
    }

    func update(_ row: RunRow, in transaction: inout Transaction) throws {
        transaction.rows[row.id] = row
        try transaction.db.cachedStatement(
            sql: """
                UPDATE runs SET last_time = ?, head_sequence = ?, head_position = ?, head_hash = ?, fence = ?, hold = ?, label = ?, seal = ?
                WHERE number = ?
                """
        ).execute(arguments: [
            row.lastTime, row.headSequence, row.headPosition, Data(row.headHash), row.fence, row.hold, row.label,
            Data(row.seal), row.number,
        ])
    }

    private func store(_ state: [UInt8], row: RunRow, in db: Database) throws {
        let snapshot = SnapshotRow(runID: row.id, sequence: row.headSequence, recordHash: row.headHash, state: state)
        try db.cachedStatement(
            sql: """
                INSERT INTO snapshots (run, sequence, record_hash, state, seal) VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT (run) DO UPDATE SET sequence = ?2, record_hash = ?3, state = ?4, seal = ?5
                """
        ).execute(arguments: [row.number, snapshot.sequence, Data(snapshot.recordHash), Data(state), Data(snapshot.seal)])
    }

    /// As the other one, but from what this connection knows where nobody else wrote since.
    func runRow(_ run: RunID, in transaction: inout Transaction) throws -> RunRow? {
        if let row = transaction.rows[run] { return row }
        let row = try runRow(run, in: transaction.db)
        transaction.rows[run] = row
        return row
    }

    /// The run's row, or nil if there is no such run.
    /// - Throws: `RecordDamaged`.
    func runRow(_ run: RunID, in db: Database) throws -> RunRow? {
        let rows = try Row.fetchCursor(
            db.cachedStatement(sql: "SELECT \(RunRow.columns) FROM runs WHERE id = ?"), arguments: [run.rawValue])
        guard let row = try rows.next().map({ try RunRow($0) }) else { return nil }
        guard row.id == run else {
            throw RecordDamaged(damage: JournalDamage(run: run, sequence: nil, finding: "the index of runs leads to another run"))
        }
        return row
    }
}
