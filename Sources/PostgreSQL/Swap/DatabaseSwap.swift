package import BlockingIO
internal import RunCore

/// Puts a restored database in the place of a damaged one by exchanging their names.
///
/// Both renames happen in one transaction, so that the production name leads to exactly one database at every instant. Whether
/// it happened is decided from the catalog alone, by the databases' OIDs: names move, OIDs stay. Everything here may be
/// repeated after a crash at any point.
package struct DatabaseSwap: Sendable, Hashable, Codable {
    /// What the application connects to.
    package let productionName: String
    /// The restored database's name until the swap.
    package let scratchName: String
    /// The damaged database's name after the swap.
    package let retiredName: String
    package let damagedOID: UInt32
    package let restoredOID: UInt32

    /// - Throws: `InvalidSQLName`, and `DatabaseSwapFailure` where names or OIDs are not distinct.
    package init(productionName: String, scratchName: String, retiredName: String, damagedOID: UInt32, restoredOID: UInt32) throws {
        for name in [productionName, scratchName, retiredName] { _ = try SQLIdentifier(name) }
        guard Set([productionName, scratchName, retiredName]).count == 3, damagedOID != restoredOID else {
            throw DatabaseSwapFailure.misuse("a swap needs three different names and two different databases")
        }
        self.productionName = productionName
        self.scratchName = scratchName
        self.retiredName = retiredName
        self.damagedOID = damagedOID
        self.restoredOID = restoredOID
    }

    /// Records which databases are meant, before anything is changed. To be journaled before `swap`.
    ///
    /// - Throws: `DatabaseSwapFailure` where a database is missing or the retired name is taken.
    package static func plan(
        production: String, scratch: String, retired: String, catalog: Catalog
    ) async throws -> DatabaseSwap {
        guard let damaged = try await catalog.database(named: production) else { throw DatabaseSwapFailure.missing(production) }
        guard let restored = try await catalog.database(named: scratch) else { throw DatabaseSwapFailure.missing(scratch) }
        if try await catalog.database(named: retired) != nil {
            throw DatabaseSwapFailure.misuse("a database named \"\(retired)\" exists already")
        }
        return try DatabaseSwap(
            productionName: production, scratchName: scratch, retiredName: retired, damagedOID: damaged.oid, restoredOID: restored.oid)
    }

    package enum State: Sendable, Hashable {
        case notSwapped
        case swapped
        /// Somebody else renamed or dropped a database; the evidence says what stands where.
        case inconsistent(evidence: String)
    }

    /// Decides from the catalog alone whether the swap happened. Changes nothing.
    package func state(_ catalog: Catalog) async throws -> State {
        let databases = try await catalog.databases()
        let names = Dictionary(databases.map { ($0.oid, $0.name) }, uniquingKeysWith: { first, _ in first })
        let owners = Dictionary(databases.map { ($0.name, $0.oid) }, uniquingKeysWith: { first, _ in first })
        if names[damagedOID] == productionName, names[restoredOID] == scratchName { return .notSwapped }
        if names[damagedOID] == retiredName, names[restoredOID] == productionName { return .swapped }
        func place(_ what: String, _ oid: UInt32) -> String {
            "\(what) (\(oid)) \(names[oid].map { "is called \"\($0)\"" } ?? "no longer exists")"
        }
        let production = owners[productionName].map { "\"\(productionName)\" is \($0)" } ?? "nothing is called \"\(productionName)\""
        return .inconsistent(
            evidence: [place("the damaged database", damagedOID), place("the restored one", restoredOID), production].joined(separator: "; "))
    }

    /// The swap that brings the former state back. What was restored keeps the scratch name afterwards.
    package var undo: DatabaseSwap {
        get throws {
            try DatabaseSwap(
                productionName: productionName, scratchName: retiredName, retiredName: scratchName, damagedOID: restoredOID,
                restoredOID: damagedOID)
        }
    }

    /// What forbids the swap or goes wrong after it, by looking only.
    package struct Obstacles: Sendable, Hashable, Codable {
        /// RENAME refuses while there are any.
        package var preparedTransactions: [String] = []
        /// They stay with the damaged database and retain WAL.
        package var logicalSlots: [String] = []
        /// They stay with the damaged database and go on writing into it.
        package var subscriptions: [String] = []
        /// pg_cron names databases by name: its jobs then run in the restored one.
        package var hasCronJobs = false
        package var standbys: [Catalog.Standby] = []
        package var sessions: [Catalog.Session] = []

        package var blocking: [String] {
            preparedTransactions.map { "prepared transaction \"\($0)\"" } + logicalSlots.map { "logical replication slot \"\($0)\"" }
        }
    }

    package func obstacles(_ catalog: Catalog) async throws -> Obstacles {
        var result = Obstacles()
        for oid in [damagedOID, restoredOID] {
            guard let database = try await catalog.database(oid: oid) else { continue }
            result.preparedTransactions += try await catalog.preparedTransactions(inDatabase: database.name)
            result.logicalSlots += try await catalog.logicalSlots(inDatabase: database.name)
            result.subscriptions += try await catalog.subscriptions(inDatabase: oid) ?? []
            result.sessions += try await catalog.sessions(inDatabase: oid)
        }
        result.hasCronJobs = try await catalog.hasCronJobs()
        result.standbys = try await catalog.standbys()
        return result
    }

    /// Exchanges the names. Idempotent: where the swap has happened already, it only says so.
    ///
    /// RENAME holds a lock that makes new logins wait, and refuses while a session is inside; a second connection ends sessions
    /// until it succeeds. A lost connection around COMMIT is decided from the catalog.
    /// - Parameters:
    ///   - target: the server; the database in it is replaced by `maintenanceDatabase`.
    ///   - attempts: rename attempts before giving up.
    /// - Returns: the attempts it took, 0 where nothing was left to do. Always ends with the catalog showing the swap.
    /// - Throws: `DatabaseSwapFailure`: `…-blocked` (prepared transactions, logical slots), `…-busy` (sessions keep coming
    ///   back), `…-inconsistent`; then the catalog is as it was.
    package func swap(
        target: PostgresTarget, session: PostgresSession, maintenanceDatabase: String = "postgres", attempts: Int = 40,
        deadline: Deadline
    ) async throws -> Int {
        let place = target.database(maintenanceDatabase)
        var last = "the deadline passed"
        for attempt in 1...max(1, attempts) {
            guard !deadline.hasPassed else { break }
            do {
                // Connections of its own for each attempt: the server may have been restarted.
                let evictor = try await PostgresConnection.connect(to: place, session: session, deadline: deadline)
                if try await isDone(Catalog(evictor)) { return attempt - 1 }
                try await renameOnce(place, session, evictor: evictor, deadline: deadline)
            } catch let error as any RepriseError where Self.mayBeRepeated(error) {
                last = error.message
                try await Task.sleep(for: .milliseconds(min(1000, 50 * attempt)))
            }
        }
        let evictor = try await PostgresConnection.connect(to: place, session: session, deadline: Deadline(after: .seconds(10)))
        if try await isDone(Catalog(evictor)) { return attempts }
        throw DatabaseSwapFailure.busy(productionName, last)
    }

    private func isDone(_ catalog: Catalog) async throws -> Bool {
        switch try await state(catalog) {
        case .swapped: return true
        case .inconsistent(let evidence): throw DatabaseSwapFailure.inconsistent(evidence)
        case .notSwapped: break
        }
        let blocking = try await obstacles(catalog).blocking
        guard blocking.isEmpty else { throw DatabaseSwapFailure.blocked(blocking) }
        return false
    }

    /// Sessions inside, a lock not granted, a deadlock, a lost connection, an unknown outcome: the catalog decides what is next.
    private static func mayBeRepeated(_ error: any RepriseError) -> Bool {
        error.isTransient || error is PostgresCommitUnknown
    }
}
