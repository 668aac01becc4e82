internal import BlockingIO
package import PostgreSQL
internal import RunCore

extension MergePreview {
    /// A foreign key without an index: for each row that is deleted the server looks through all of the table that has it.
    package struct SlowDeletes: Sendable, Hashable, Codable {
        /// From which rows are deleted: by the merge where its policy says so, and by an undo those that it brings back.
        package let table: QualifiedName
        package let child: QualifiedName
        /// The child's, that lead to the table.
        package let columns: [SQLIdentifier]
        /// The child's rows, as the server reckons.
        package let childRows: Int
        /// An estimate, at `rowsPerSecond`.
        package let mergeSeconds: Int
        package let undoSeconds: Int

        /// Rows of a child that are looked at, on a small machine (docs/recovery-tables.md).
        package static let rowsPerSecond = 6_000_000
        /// Less is not worth a word.
        static let leastSeconds = 5

        /// - Returns: nil where it does not take long.
        init?(_ child: TableShape.Child, rows childRows: Int, of merged: Table) {
            func seconds(_ deleted: Int) -> Int { Int((Double(deleted) * Double(childRows) / Double(Self.rowsPerSecond)).rounded()) }
            table = merged.name
            self.child = child.table
            columns = child.columns
            self.childRows = childRows
            mergeSeconds = seconds(merged.rows(.delete))
            undoSeconds = seconds(merged.rows(.insert as TableDiff.Verdict))
            guard max(mergeSeconds, undoSeconds) >= Self.leastSeconds else { return nil }
        }

        var text: String {
            let who = [(mergeSeconds, "the merge"), (undoSeconds, "an undo")].filter { $0.0 >= Self.leastSeconds }.map { "\($0.1) about \(countText($0.0)) s" }
            let index = columns.map(\.description).joined(separator: ", ")
            return "Each row that is deleted from \(table) is looked for in all \(countText(childRows)) rows of \(child), which takes "
                + "\(who.joined(separator: " and ")): its foreign key (\(index)) has no index; to be quicker, first "
                + "CREATE INDEX CONCURRENTLY ON \(child) (\(index))"
        }
    }
}

extension TableDiff {
    /// Foreign keys of others because of which it takes long to delete what this merge, or its undo, would delete. It only asks the catalogs.
    func slowDeletes(
        _ merged: MergePreview.Table, _ connection: PostgresConnection, deadline: Deadline
    ) async throws -> [MergePreview.SlowDeletes] {
        guard merged.rows(.insert as Verdict) + merged.rows(.delete) > 0 else { return [] }
        var found: [MergePreview.SlowDeletes] = []
        for child in pair.live.children {
            guard let rows = try await Self.rowsWithoutIndex(child, connection, deadline) else { continue }
            if let slow = MergePreview.SlowDeletes(child, rows: rows, of: merged) { found.append(slow) }
        }
        return found
    }

    /// - Returns: how many rows there are, as the server reckons; nil where an index leads to those that name a parent.
    private static func rowsWithoutIndex(_ child: TableShape.Child, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> Int? {
        try await connection.query(
            """
            SELECT (SELECT coalesce(sum(greatest(part.reltuples, 0)), 0)::bigint
                    FROM \(RowSQL.parts(of: "c.oid")) AS p JOIN pg_catalog.pg_class AS part ON part.oid = p.relid WHERE part.relkind <> 'p') AS rows
            FROM pg_catalog.pg_class AS c
            WHERE c.oid = pg_catalog.to_regclass($1) AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = c.oid AND i.indisvalid AND a.attname = ANY (\(RowSQL.texts(child.columns.map(\.name))))
                      AND coalesce(pg_catalog.strpos(pg_catalog.pg_get_expr(i.indpred, i.indrelid), 'IS NOT NULL') > 0, true))
            """, [.text(child.table.sql)], deadline: deadline
        ).rows.first?.integer("rows")
    }
}
