package import BlockingIO
internal import Foundation
package import PostgreSQL

/// A merge that a database remembers.
package struct RecordedMerge: Sendable, Hashable, Codable {
    package let id: String
    /// The hash of what was agreed to.
    package let preview: String
    /// RFC 3339, in UTC.
    package let mergedAt: String
    /// nil: it stands.
    package let undoneAt: String?
    /// False for a merge of an older version, which kept no plan: the run that made it can still undo it.
    package let keepsPlan: Bool
    /// What it did to each table, without what it left alone. A table of which it changed nothing is not there.
    package let tables: [MergeOutcome.Table]
}

extension AuditTrail {
    /// Every merge that the database remembers, oldest first; none where nothing was ever merged. It only reads.
    package static func merges(_ connection: PostgresConnection, deadline: Deadline) async throws -> [RecordedMerge] {
        guard try await isThere(connection, deadline: deadline) else { return [] }
        var changes: [String: [MergeOutcome.Table]] = [:]
        let rows = try await connection.query(
            """
            SELECT merge, schema_name, table_name, \(operationCounts) FROM reprise_audit.changes
            GROUP BY merge, schema_name, table_name ORDER BY merge, min(place)
            """, deadline: deadline
        ).rows
        for row in rows {
            var table = MergeOutcome.Table(name: try QualifiedName(schema: row.string("schema_name"), name: row.string("table_name")))
            try table.count(row)
            changes[try row.string("merge"), default: []].append(table)
        }
        let time = { (column: String) in "pg_catalog.to_char(\(column) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')" }
        return try await connection.query(
            """
            SELECT id, preview, \(time("merged_at")) AS merged, \(time("undone_at")) AS undone, \(keptPlan) IS NOT NULL AS keeps
            FROM reprise_audit.merges AS m ORDER BY merged_at, id
            """, deadline: deadline
        ).rows.map { row in
            let id = try row.string("id")
            return RecordedMerge(
                id: id, preview: try row.string("preview"), mergedAt: try row.string("merged"), undoneAt: try row.optionalString("undone"),
                keepsPlan: try row.bool("keeps"), tables: changes[id] ?? [])
        }
    }

    /// The plan by which a merge was made; nil where the database kept none.
    ///
    /// - Throws: `ReconcileRefused` (`reconcile.no-merge`) where there is no such merge.
    static func plan(of id: String, _ connection: PostgresConnection, deadline: Deadline) async throws -> MergePlan? {
        guard try await isThere(connection, deadline: deadline),
            let row = try await connection.query(
                "SELECT \(keptPlan) AS plan FROM reprise_audit.merges AS m WHERE id = $1", [.text(id)], deadline: deadline
            ).rows.first
        else { throw unknown(id) }
        guard let text = try row.optionalString("plan") else { return nil }
        do {
            return try JSONDecoder().decode(MergePlan.self, from: Data(text.utf8))
        } catch {
            throw ReconcileRefused(
                "reconcile.plan-unreadable", "the plan of merge \(id) was kept by another version of Reprise, and this one cannot read it",
                hints: ["use the version that merged", "every row before and after is in reprise_audit.changes"])
        }
    }

    /// For a merge that is named and is not there.
    package static func unknown(_ id: String) -> ReconcileRefused {
        ReconcileRefused(
            "reconcile.no-merge", "this database knows no merge \(id)",
            hints: ["see which it knows: psql -c 'SELECT id, merged_at FROM reprise_audit.merges'"])
    }

    static func isThere(_ connection: PostgresConnection, deadline: Deadline) async throws -> Bool {
        let found = try await connection.query(
            "SELECT pg_catalog.to_regclass('reprise_audit.merges') IS NOT NULL AS there", deadline: deadline)
        return try found.only().bool("there")
    }

    /// As JSON, so that a table of an older version, without the column, is asked the same.
    private static let keptPlan = "(pg_catalog.to_jsonb(m) ->> 'plan')"

    /// True where the live row `row` is the very version that a merge has written; false of every row where it is not known which those are.
    ///
    /// A row that a trigger has written once more in a block with exceptions has another version, and all have where the table was rewritten.
    static func wrote(_ row: String, in merge: String) -> String {
        """
        coalesce(\(row).xmin::text::bigint = (SELECT (pg_catalog.to_jsonb(m) ->> 'xid')::bigint & 4294967295 FROM reprise_audit.merges AS m
                                              WHERE m.id = \(RowSQL.text(merge))), false)
        """
    }

    /// Columns `inserted`, `updated` and `deleted` of a SELECT from the changes.
    static let operationCounts = ["insert", "update", "delete"].map {
        "pg_catalog.count(*) FILTER (WHERE operation = '\($0)') AS \($0 == "insert" ? "inserted" : $0 + "d")"
    }.joined(separator: ", ")
}

extension MergeOutcome.Table {
    /// Takes over the `operationCounts` of a row.
    mutating func count(_ row: PostgresRow) throws {
        inserted = try row.integer("inserted")
        updated = try row.integer("updated")
        deleted = try row.integer("deleted")
    }
}
