package import PostgreSQL

/// What becomes of each kind of difference of one table. The default brings back rows that are gone and touches no other.
package struct MergePolicy: Sendable, Hashable, Codable {
    package var missing = Missing.insert(where: nil)
    /// Missing rows outside of it stay away.
    package var since: TimeWindow?
    package var changed = Changed.keepLive
    /// Rules of single columns, before `changed`.
    package var columns: [SQLIdentifier: Changed] = [:]
    /// The column by which `newest` goes, also where it is no rule yet; nil: none was named.
    package var newestBy: SQLIdentifier?
    /// True: rows that the backup does not have are deleted. Needs `mostDeletes` as well.
    package var deletesExtra = false
    /// Rows that a merge may insert, change and delete at most; more than that stops it before it begins. nil: any number.
    package var mostInserts: Int?
    package var mostUpdates: Int?
    package var mostDeletes = 0
    /// False: a live row that differs from the backup in a unique value beside the key is taken for somebody else's and left alone.
    package var mergesOtherRows = false
    /// True: values of columns of type oid are numbers as others. False: of large objects, and a row whose object is gone is left alone.
    package var ignoresLargeObjects = false

    package init() {}

    /// Rows of the backup that the live table does not have.
    package enum Missing: Sendable, Hashable, Codable {
        /// - where: SQL over the columns of the row as it was backed up, since some rows were deleted on purpose.
        case insert(where: String?)
        case skip
    }

    /// Rows that both have, with other values.
    package enum Changed: Sendable, Hashable, Codable {
        case keepLive
        case takeBackup
        /// The backup's values where that column is later there.
        case newest(SQLIdentifier)
        /// The backup's value wherever the live one is NULL.
        case fillNulls
        /// Nothing is done before a person has decided row by row.
        case decide
    }
}

/// Rows whose value of a column lies within: not before `from`, and before `to`. A row that has none lies outside.
package struct TimeWindow: Sendable, Hashable, Codable {
    package let column: SQLIdentifier
    /// Values of the column's type, as PostgreSQL reads them; nil: open on that side. Never part of a statement but as literals.
    package let from: String?
    package let to: String?

    package init(column: SQLIdentifier, from: String?, to: String?) {
        self.column = column
        self.from = from
        self.to = to
    }
}

/// How two values are held against each other.
package enum ComparisonMode: String, Sendable, Hashable, Codable, CaseIterable {
    /// What is stored, byte by byte: 1.0 is not 1.00, and 'A' in citext is not 'a'.
    case exact
    /// What the type's own `=` says; where it has none, what is stored. NULL is the same as NULL.
    case semantic
}
