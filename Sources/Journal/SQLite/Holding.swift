internal import Foundation
internal import GRDB
package import RunCore

extension SQLiteJournal {
    package func create(
        run: RunID, first: JournalEntry, operator identity: OperatorIdentity, label: String, atLeast: Fence
    ) async throws -> Hold {
        try JournalLimits.check([first], label: label, snapshot: nil)
        return try await onThread { try $0.create(run, first: first, identity: identity, label: label, atLeast: atLeast) }
    }

    package func acquire(
        run: RunID, operator identity: OperatorIdentity, takeOver: String?, atLeast: Fence
    ) async throws -> Hold {
        try await onThread { try $0.acquire(run, identity: identity, takeOver: takeOver, atLeast: atLeast) }
    }

    package func release(_ hold: Hold) async throws {
        try await onThread { try $0.release(hold) }
    }
}

/// One row of `holds`: who held which run, under which fence. Kept after the release, for the record.
struct HoldRow {
    let number: Int64
    let run: Int64
    let fence: Fence
    let identity: OperatorIdentity
}

extension JournalCore {
    func create(
        _ run: RunID, first: JournalEntry, identity: OperatorIdentity, label: String, atLeast: Fence
    ) throws -> Hold {
        try withNewHold { number, transaction in
            guard try runRow(run, in: &transaction) == nil else { throw RunExists(run: run) }
            let last = try Row.fetchOne(transaction.db, sql: "SELECT max(number) FROM runs")?.optionalInteger(0) ?? 0
            guard last < RecordKey.runLimit else { throw EntryRefused(message: "the journal is full") }
            let fence = try nextFence(after: 0, atLeast)
            var row = RunRow(number: last + 1, id: run, created: options.now(), fence: fence, hold: number, label: label)
            try transaction.db.execute(
                sql: "INSERT INTO runs (\(RunRow.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", arguments: row.arguments)
            _ = try insert([first], into: &row, in: &transaction)
            try update(row, in: &transaction)
            try insertHold(number, row: row, identity: identity, reason: nil, replacing: 0, in: transaction.db)
            return Hold(run: run, fence: fence, holderNonce: identity.processNonce, replaced: nil, number: number)
        }
    }

    func acquire(_ run: RunID, identity: OperatorIdentity, takeOver: String?, atLeast: Fence) throws -> Hold {
        try withNewHold { number, transaction in
            guard var row = try runRow(run, in: &transaction) else { throw RunNotFound(wanted: run.rawValue) }
            let previous = try holder(of: row, in: transaction.db)
            if let previous, previous.isAlive, takeOver == nil { throw HeldByAnother(run: run, holder: previous) }
            let replaced = row.hold
            row.fence = try nextFence(after: row.fence, atLeast)
            row.hold = number
            transaction.places = ["hold-taken"]
            try update(row, in: &transaction)
            try insertHold(number, row: row, identity: identity, reason: takeOver, replacing: replaced, in: transaction.db)
            return Hold(
                run: run, fence: row.fence, holderNonce: identity.processNonce, replaced: previous?.identity, number: number)
        }
    }

    func release(_ hold: Hold) throws {
        // Also where that cannot be written: who has let go is at work no more, and the run is free for whoever comes next, this
        // process included. The entry that then stays is that of a dead holder.
        defer { holders.unlock(hold.number) }
        try write { transaction in
            guard var row = try runRow(hold.run, in: &transaction), row.hold == hold.number else { return }
            row.hold = 0
            transaction.places = ["hold-released"]
            try update(row, in: &transaction)
        }
    }

    /// Who holds the run of `row`, dead or alive; nil once released.
    func holder(of row: RunRow, in db: Database) throws -> Holder? {
        guard row.hold != 0 else { return nil }
        guard let hold = try holdRow(row.hold, in: db), hold.run == row.number, hold.fence == row.fence else {
            throw RecordDamaged(
                damage: JournalDamage(run: row.id, sequence: nil, finding: "the entry of its holder is missing or wrong"))
        }
        return Holder(identity: hold.identity, fence: hold.fence, isAlive: try holders.isAlive(hold.number))
    }

    private func holdRow(_ number: Int64, in db: Database) throws -> HoldRow? {
        let rows = try Row.fetchCursor(
            db.cachedStatement(sql: "SELECT run, fence, operator FROM holds WHERE number = ?"), arguments: [number])
        do {
            guard let row = try rows.next() else { return nil }
            let identity = try JSONDecoder().decode(OperatorIdentity.self, from: Data(row.bytes(2)))
            return HoldRow(number: number, run: try row.integer(0), fence: try row.integer(1), identity: identity)
        } catch is UnreadableColumn {
            return nil
        } catch is DecodingError {
            return nil
        }
    }

    /// Runs `body` with the number of a new hold, whose proof of life is locked before anybody can see the hold.
    private func withNewHold(_ body: (Int64, inout Transaction) throws -> Hold) throws -> Hold {
        var locked: Int64?
        do {
            return try write { transaction in
                let last = try Row.fetchOne(transaction.db, sql: "SELECT max(number) FROM holds")?.optionalInteger(0) ?? 0
                // A number may be locked already where an older copy of the journal was put back. Skip it.
                var number = last + 1
                while try !holders.lock(number) { number += 1 }
                locked = number
                return try body(number, &transaction)
            }
        } catch {
            if let locked { holders.unlock(locked) }
            throw error
        }
    }

    private func insertHold(
        _ number: Int64, row: RunRow, identity: OperatorIdentity, reason: String?, replacing: Int64, in db: Database
    ) throws {
        let operatorText = String(decoding: try JSONEncoder().encode(identity), as: UTF8.self)
        try db.execute(
            sql: "INSERT INTO holds (number, run, fence, operator, reason, acquired, replaced) VALUES (?, ?, ?, ?, ?, ?, ?)",
            arguments: [number, row.number, row.fence, operatorText, reason, options.now(), replacing])
    }

    private func nextFence(after fence: Fence, _ atLeast: Fence) throws -> Fence {
        let highest = max(fence, atLeast)
        guard highest >= 0, highest < Fence.max else {
            throw EntryRefused(message: "a fence of \(highest) leaves no room for a higher one")
        }
        return highest + 1
    }
}
