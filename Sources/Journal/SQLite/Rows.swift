internal import Foundation
internal import GRDB
internal import RunCore

/// A column that does not hold what the schema says: the file was damaged or written by something else.
struct UnreadableColumn: Error {
    let column: Int
}

/// Reads columns without trusting them: GRDB's own conversions end the process on a value of the wrong type.
extension Row {
    func integer(_ column: Int) throws -> Int64 {
        guard let value = try optionalInteger(column) else { throw UnreadableColumn(column: column) }
        return value
    }

    func optionalInteger(_ column: Int) throws -> Int64? {
        switch (self[column] as DatabaseValue).storage {
        case .int64(let value): value
        case .null: nil
        case .double, .string, .blob: throw UnreadableColumn(column: column)
        }
    }

    /// A blob's bytes, or a text's: SQLite hands out both without conversion.
    func optionalBytes(_ column: Int) throws -> [UInt8]? {
        if hasNull(atIndex: column) { return nil }
        return try withUnsafeData(atIndex: column) { $0.map(Array.init) ?? [] }
    }

    func bytes(_ column: Int) throws -> [UInt8] {
        guard let value = try optionalBytes(column) else { throw UnreadableColumn(column: column) }
        return value
    }

    func text(_ column: Int) throws -> String {
        guard let value = try optionalText(column) else { throw UnreadableColumn(column: column) }
        return value
    }

    func optionalText(_ column: Int) throws -> String? {
        guard let bytes = try optionalBytes(column) else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw UnreadableColumn(column: column) }
        return text
    }
}

/// The key of a record: its run's number and its sequence in one integer.
enum RecordKey {
    private static let sequenceBits: Int64 = 36
    static let sequenceLimit: Int64 = (1 << sequenceBits) - 1
    static let runLimit: Int64 = 1 << (62 - sequenceBits)

    static func key(run number: Int64, sequence: Int64) -> Int64 { (number << sequenceBits) &+ min(sequence, sequenceLimit) }
    /// Not between 1 and `sequenceLimit` if `key` is another run's.
    static func sequence(_ key: Int64, in number: Int64) -> Int64 { key &- (number << sequenceBits) }
}

/// One row of `runs`.
struct RunRow {
    let number: Int64
    let id: RunID
    let created: Int64
    var lastTime: Int64
    var headSequence: Int64
    /// Journal-wide number of the run's last record.
    var headPosition: Int64
    var headHash: [UInt8]
    var fence: Fence
    /// 0 if nobody holds the run.
    var hold: Int64
    var label: String

    static let columns = "number, id, created, last_time, head_sequence, head_hash, fence, hold, label, seal, head_position"

    /// Detects a changed row, as the chain does for records. Not a secret: it guards against damage, not against a forger.
    var seal: [UInt8] {
        var encoder = CanonicalEncoder(domain: "reprise.run.1")
        for value in [number, created, lastTime, headSequence, headPosition, fence, hold] { encoder.append(value) }
        encoder.append(id.rawValue)
        encoder.append(headHash)
        encoder.append(label)
        return encoder.sha256
    }

    var head: RunHead { RunHead(sequence: headSequence, hash: headHash) }

    var arguments: StatementArguments {
        [number, id.rawValue, created, lastTime, headSequence, Data(headHash), fence, hold, label, Data(seal), headPosition]
    }

    /// - Throws: `RecordDamaged` if the row is not what was written.
    init(_ row: Row) throws {
        var id: RunID?
        do {
            id = RunID(try row.text(1))
            guard let id else { throw UnreadableColumn(column: 1) }
            (self.id, number, created) = (id, try row.integer(0), try row.integer(2))
            (lastTime, headSequence, headHash) = (try row.integer(3), try row.integer(4), try row.bytes(5))
            (fence, hold, label) = (try row.integer(6), try row.integer(7), try row.text(8))
            headPosition = try row.integer(10)
            guard try row.bytes(9) == seal else { throw UnreadableColumn(column: 9) }
        } catch is UnreadableColumn {
            throw RecordDamaged(
                damage: JournalDamage(run: id, sequence: nil, finding: "its entry in the list of runs does not fit its seal"))
        }
    }

    init(number: Int64, id: RunID, created: Int64, fence: Fence, hold: Int64, label: String) {
        (self.number, self.id, self.created, lastTime) = (number, id, created, created)
        (headSequence, headPosition, headHash) = (0, 0, JournalChain.origin(of: id))
        (self.fence, self.hold, self.label) = (fence, hold, label)
    }
}

extension JournalRecord {
    static let columns = "key, time, fence, kind, step, attempt, payload, previous, hash"

    /// - Throws: `UnreadableColumn`. Whether the record fits its hash is for the caller to check.
    init(_ row: Row, run: RunRow) throws {
        func step(_ column: Int) throws -> StepID? {
            guard let text = try row.optionalText(column) else { return nil }
            guard let step = StepID(text) else { throw UnreadableColumn(column: column) }
            return step
        }
        self.init(
            run: run.id, sequence: try RecordKey.sequence(row.integer(0), in: run.number), timeMilliseconds: try row.integer(1),
            fence: try row.integer(2),
            kind: try row.text(3), step: try step(4), attempt: try row.optionalInteger(5).map { AttemptNumber($0) },
            payload: try row.bytes(6), previousHash: try row.bytes(7), hash: try row.bytes(8))
    }
}

/// One row of `snapshots`, sealed as `RunRow` is.
struct SnapshotRow {
    let runID: RunID
    let sequence: Int64
    /// Hash of the record after which it was taken.
    let recordHash: [UInt8]
    let state: [UInt8]

    var seal: [UInt8] {
        var encoder = CanonicalEncoder(domain: "reprise.snapshot.1", reserving: state.count + 256)
        encoder.append(runID.rawValue)
        encoder.append(sequence)
        encoder.append(recordHash)
        encoder.append(state)
        return encoder.sha256
    }

    /// - Throws: `RecordDamaged` if the snapshot is not what was written.
    static func fetch(of run: RunRow, in db: Database) throws -> SnapshotRow? {
        let rows = try Row.fetchCursor(
            db.cachedStatement(sql: "SELECT sequence, record_hash, state, seal FROM snapshots WHERE run = ?"),
            arguments: [run.number])
        guard let row = try rows.next() else { return nil }
        do {
            let snapshot = SnapshotRow(
                runID: run.id, sequence: try row.integer(0), recordHash: try row.bytes(1), state: try row.bytes(2))
            guard try row.bytes(3) == snapshot.seal, snapshot.sequence <= run.headSequence else {
                throw UnreadableColumn(column: 3)
            }
            return snapshot
        } catch is UnreadableColumn {
            throw RecordDamaged(damage: JournalDamage(run: run.id, sequence: nil, finding: "its snapshot does not fit its seal"))
        }
    }
}

extension LastRecord {
    /// - Throws: `UnreadableColumn`, `RecordDamaged`.
    static func fetch(_ db: Database) throws -> LastRecord {
        let newest = "SELECT number, head_sequence, head_position, max(head_position) FROM runs"
        guard let row = try Row.fetchOne(db, sql: newest), let position = try row.optionalInteger(2) else { return .none }
        let key = RecordKey.key(run: try row.integer(0), sequence: try row.integer(1))
        // What was not sealed is not calculated with before it was looked at.
        guard (1...1 << 62).contains(position), let last = try fetch(db, key: key), last.position == position else {
            throw RecordDamaged(
                damage: JournalDamage(
                    run: nil, sequence: nil, finding: "entry \(position), the last that the list of runs names, is missing"))
        }
        return last
    }

    /// The record with `key`, or nil.
    static func fetch(_ db: Database, key: Int64) throws -> LastRecord? {
        guard let row = try Row.fetchOne(db, sql: "SELECT position, hash FROM records WHERE key = ?", arguments: [key]) else {
            return nil
        }
        return LastRecord(position: try row.integer(0), key: key, hash: try row.bytes(1))
    }
}
