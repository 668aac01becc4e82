internal import PostgreSQL
package import RunCore

/// Transactions that write into tables into which others write too, to merge or to take a merge back.
package enum LiveWrite {
    /// Somebody wrote at the same instant: nothing was written here, and the next try sees what they wrote.
    package static func isRace(_ error: any RepriseError) -> Bool {
        error is LockNotHad || (error as? PostgresError).map { races.contains($0.sqlState) } ?? false
    }

    /// A key, a range, a large object or a parent that was there, or was not, when it was looked at; a serialization failure; a deadlock; a
    /// lock that was not had in time.
    private static let races: Set<String> = ["23505", "23P01", "42710", "23503", "40001", "40P01", "55P03"]
}
