internal import BlockingIO
package import PostgreSQL
internal import RunCore

extension MergePreview {
    /// A row of which a person has to say something.
    package struct Undecided: Sendable, Hashable, Codable {
        /// The same as long as the same is compared: its place among the table's differences, in the order of the key.
        package let number: Int
        package let table: QualifiedName
        package let key: [SQLIdentifier: String]
        /// Only the columns that wait.
        package let differs: [SQLIdentifier: Values]

        /// Cut off after 200 characters; nil: NULL.
        package struct Values: Sendable, Hashable, Codable {
            package let backup: String?
            package let live: String?
        }

        /// The line of JSON in which `take` is to be filled in with `backup` or `live`.
        package var line: String {
            let values = differs.map { name, values -> (String, JSONValue) in
                (name.name, ["backup": values.backup.map { .string($0) } ?? .null, "live": values.live.map { .string($0) } ?? .null])
            }
            let row: JSONValue = [
                "number": .integer(Int64(number)), "table": .string("\(table.schema.name).\(table.name.name)"),
                "key": .object(Dictionary(uniqueKeysWithValues: key.map { ($0.key.name, .string($0.value)) })), "take": "",
                "differs": .object(Dictionary(uniqueKeysWithValues: values)),
            ]
            return (try? sortedJSON(row)) ?? ""
        }
    }

    /// A line for each row that waits, as far as they are listed.
    package var undecidedLines: String { tables.flatMap(\.undecided).map(\.line).joined(separator: "\n") }

    static let undecidedLimit = 1000
    private static let waits = "d.kind = 'changed' AND d.verdict IN ('decide', 'update') AND pg_catalog.array_position(d.take, NULL) IS NOT NULL"

    static func undecidedCount(_ diff: TableDiff, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> Int {
        let found = try await connection.query("SELECT pg_catalog.count(*) AS rows FROM \(diff.table.sql) AS d WHERE \(waits)", deadline: deadline)
        return try found.only().integer("rows")
    }

    static func undecided(_ diff: TableDiff, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> [Undecided] {
        guard let key = diff.pair.key else { return [] }
        let keys = key.columns.indices.map { "pg_catalog.format('%s', d.\(diff.keyAlias($0))) AS \"k \($0)\"" }
        let short = { (side: String, index: Int) in "pg_catalog.left(d.\(side)[\(index + 1)], 200) AS \"\(side) \(index)\"" }
        let values = diff.pair.columns.indices.map { "d.take[\($0 + 1)] IS NULL AS \"waits \($0)\", \(short("backup", $0)), \(short("live", $0))" }
        return try await connection.query(
            """
            SELECT d.seq, \((keys + values).joined(separator: ", ")) FROM \(diff.table.sql) AS d WHERE \(waits)
            ORDER BY d.seq LIMIT \(undecidedLimit)
            """, deadline: deadline
        ).rows.map { row in
            var differs: [SQLIdentifier: Undecided.Values] = [:]
            for (index, column) in diff.pair.columns.enumerated() where try row.bool("waits \(index)") {
                differs[column.name] = Undecided.Values(
                    backup: try row.optionalString("backup \(index)"), live: try row.optionalString("live \(index)"))
            }
            return Undecided(
                number: try row.integer("seq"), table: diff.pair.live.name,
                key: Dictionary(uniqueKeysWithValues: try key.columns.enumerated().map { ($1, try row.string("k \($0)")) }), differs: differs)
        }
    }
}
