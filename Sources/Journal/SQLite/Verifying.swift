internal import BlockingIO
internal import GRDB
package import RunCore

extension SQLiteJournal {
    /// Reads everything over a connection and a thread of its own, as of one moment, so that appends go on meanwhile.
    package func verify(run: RunID?) async throws -> VerificationReport {
        // A closed or poisoned store says so, and the thread that reads does not outlive an open one.
        try await onThread { _ = try $0.read { _ in } }
        let path = path
        return try await DedicatedThread(name: "journal-verify").run {
            let queue = try DatabaseQueue(
                path: path, configuration: Schema.configuration(readOnly: true, busyTimeout: .seconds(10)))
            defer { try? queue.close() }
            return try queue.read { db in
                var verification = Verification(db: db)
                try verification.run(only: run)
                return verification.report
            }
        }
    }
}

/// Recomputes chains in bounded memory: one run after the other, one record at a time.
private struct Verification {
    let db: Database
    private var runsChecked = 0
    private var recordsChecked: Int64 = 0
    private var damage: [JournalDamage] = []
    private var head: JournalHead?
    private static let damageLimit = 100

    init(db: Database) { self.db = db }

    var report: VerificationReport {
        VerificationReport(runsChecked: runsChecked, recordsChecked: recordsChecked, damage: damage, head: head)
    }

    private mutating func note(_ finding: JournalDamage) {
        if damage.count < Self.damageLimit { damage.append(finding) }
    }

    /// Notes what `body` finds instead of throwing it.
    private mutating func noting(_ run: RunID?, _ body: (inout Self) throws -> Void) throws {
        do {
            try body(&self)
        } catch let error as RecordDamaged {
            note(error.damage)
        } catch is UnreadableColumn {
            note(JournalDamage(run: run, sequence: nil, finding: "a value has the wrong type"))
        } catch let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode) {
            note(JournalDamage(run: run, sequence: nil, finding: "the file is malformed (\(JournalCore.reason(error)))"))
        }
    }

    mutating func run(only: RunID?) throws {
        if let only {
            var found = false
            try noting(only) { found = try $0.checkRuns(where: "id = ?", [only.rawValue]) }
            if !found && damage.isEmpty { throw RunNotFound(wanted: only.rawValue) }
        } else {
            try noting(nil) { _ = try $0.checkRuns(where: "number >= ?", [0]) }
            try noting(nil) { try $0.checkJournal() }
        }
        try noting(nil) { try $0.findHead() }
    }

    /// - Returns: false if there is no such run.
    private mutating func checkRuns(where condition: String, _ arguments: StatementArguments) throws -> Bool {
        let rows = try Row.fetchCursor(
            db, sql: "SELECT \(RunRow.columns) FROM runs WHERE \(condition) ORDER BY number", arguments: arguments)
        var found = false
        while let row = try rows.next() {
            found = true
            runsChecked += 1
            try noting(nil) { verification in
                let run = try RunRow(row)
                try verification.noting(run.id) { try $0.check(run) }
            }
        }
        return found
    }

    private mutating func check(_ run: RunRow) throws {
        var checker = ChainChecker(run: run, after: 0)
        let rows = try Row.fetchCursor(
            db.cachedStatement(sql: "SELECT \(JournalRecord.columns) FROM records WHERE key BETWEEN ? AND ? ORDER BY key"),
            arguments: [RecordKey.key(run: run.number, sequence: 0), RecordKey.key(run: run.number, sequence: .max)])
        let snapshot = try SnapshotRow.fetch(of: run, in: db)
        do {
            while let row = try rows.next() {
                guard let record = try checker.check(row) else { continue }
                recordsChecked += 1
                if record.sequence == snapshot?.sequence, record.hash != snapshot?.recordHash {
                    throw RecordDamaged(
                        damage: JournalDamage(
                            run: run.id, sequence: record.sequence, finding: "the snapshot was taken of another record"))
                }
            }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
            throw checker.damage("it cannot be read (\(JournalCore.reason(error)))")
        }
        try checker.finish(mayEndEarly: false)
    }

    /// What no single run shows: whole runs or records that are missing or belong to nobody, and SQLite's own structure.
    private mutating func checkJournal() throws {
        func numbers(_ sql: String) throws -> [Int64] {
            guard let row = try Row.fetchOne(db, sql: sql) else { return [] }
            return try (0..<row.count).map { try row.optionalInteger($0) ?? 0 }
        }
        let runs = try numbers("SELECT count(*), max(number) FROM runs")
        if runs[0] != runs[1] { note(JournalDamage(run: nil, sequence: nil, finding: "\(runs[1] &- runs[0]) runs are missing")) }
        let records = try numbers("SELECT count(*), max(position), CAST(total(position) AS INTEGER) FROM records")
        if records[0] != records[1] {
            note(JournalDamage(run: nil, sequence: nil, finding: "\(records[1] &- records[0]) records are missing"))
        }
        if records[0] == records[1], records[2] != records[1] * (records[1] + 1) / 2 {
            note(JournalDamage(run: nil, sequence: nil, finding: "the order of the records of different runs was changed"))
        }
        if damage.isEmpty && records[0] != recordsChecked {
            note(JournalDamage(run: nil, sequence: nil, finding: "\(records[0] - recordsChecked) records belong to no run"))
        }
        let structure = try String.fetchAll(db, sql: "PRAGMA integrity_check(1)")
        if structure != ["ok"] { note(JournalDamage(run: nil, sequence: nil, finding: "SQLite finds the file malformed")) }
    }

    private mutating func findHead() throws {
        let last = try LastRecord.fetch(db)
        head = last.position == 0 ? nil : JournalHead(position: last.position, hash: last.hash)
    }
}
