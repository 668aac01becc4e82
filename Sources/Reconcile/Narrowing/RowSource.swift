package import BlockingIO
package import PostgreSQL

/// Rows as COPY writes them in text format: one line a row, fields apart by tabs.
package struct RowChunk: Sendable {
    /// The columns, in the order in which the fields stand.
    package let columns: [SQLIdentifier]
    /// Whole lines, each with its newline.
    package let bytes: [UInt8]

    package init(columns: [SQLIdentifier], bytes: [UInt8]) {
        self.columns = columns
        self.bytes = bytes
    }
}

/// Where the rows of one side of a comparison come from.
package protocol RowSource: Sendable {
    /// Reads all rows once, in whatever order. `take` runs on the source's own thread and may block; what it throws ends the reading
    /// and is passed on. Only after this returned were those all.
    ///
    /// - Returns: how many rows there were.
    func read(deadline: Deadline, _ take: @escaping @Sendable (RowChunk) throws -> Void) async throws -> Int
}

/// The rows of a table, out of one snapshot.
package struct TableRows: RowSource {
    private let connection: PostgresConnection
    private let columns: [SQLIdentifier]
    private let sql: String

    /// - Parameters:
    ///   - columns: which of them, in the order of the fields.
    ///   - contents: columns that name large objects, the digests of whose contents follow as further fields.
    ///   - order: what rows are sorted by, as SQL; nil: as they lie.
    package init(
        _ table: TableShape, columns: [SQLIdentifier], contents: [SQLIdentifier] = [], order: String? = nil, _ connection: PostgresConnection
    ) {
        self.connection = connection
        self.columns = columns + NamedContents.fields(contents)
        let list = (columns.map(\.sql) + contents.map { NamedContents.digest(of: "t.\($0.sql)") }).joined(separator: ", ")
        if order == nil, contents.isEmpty, !table.isPartitioned {
            // Without those that inherit from it, as ONLY would say, and faster than a query.
            sql = "COPY \(table.name.sql) (\(list)) TO STDOUT"
        } else {
            sql = "COPY (SELECT \(list) FROM \(table.from) AS t\(order.map { " ORDER BY \($0)" } ?? "")) TO STDOUT"
        }
    }

    package func read(deadline: Deadline, _ take: @escaping @Sendable (RowChunk) throws -> Void) async throws -> Int {
        let columns = columns
        return try await connection.copyOut(sql, deadline: deadline) { try take(RowChunk(columns: columns, bytes: $0)) }
    }
}
