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
        let isPartitioned: Bool
        /// The child's rows, as the server reckons, and those that the merge brings back.
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
            isPartitioned = child.isPartitioned
            self.childRows = childRows
            mergeSeconds = seconds(merged.rows(.delete))
            undoSeconds = seconds(merged.rows(.insert as TableDiff.Verdict))
            guard max(mergeSeconds, undoSeconds) >= Self.leastSeconds else { return nil }
        }

        var text: String {
            let who = [(mergeSeconds, "the merge"), (undoSeconds, "an undo")].filter { $0.0 >= Self.leastSeconds }.map { "\($0.1) about \(countText($0.0)) s" }
            let index = columns.map(\.description).joined(separator: ", ")
            // Reserved words are names too.
            let making = "ON \(child.sql) (\(columns.map(\.sql).joined(separator: ", ")))"
            return "Each row that is deleted from \(table) is looked for in all \(countText(childRows)) rows of \(child), which takes "
                + "\(who.joined(separator: " and ")): its foreign key (\(index)) has no index; to be quicker, first "
                + (isPartitioned ? "CREATE INDEX \(making), for which whoever writes it waits" : "CREATE INDEX CONCURRENTLY \(making)")
        }
    }
}

extension TableDiff {
    /// Foreign keys of others because of which it takes long to delete what this merge, or its undo, would delete. It only asks the catalogs.
    ///
    /// - Parameter all: what is merged of all tables.
    func slowDeletes(
        _ merged: MergePreview.Table, among all: [MergePreview.Table], _ connection: PostgresConnection, deadline: Deadline
    ) async throws -> [MergePreview.SlowDeletes] {
        guard merged.rows(.insert as Verdict) + merged.rows(.delete) > 0 else { return [] }
        var found: [MergePreview.SlowDeletes] = []
        for child in pair.live.children {
            guard let rows = try await Self.rowsWithoutIndex(child, connection, deadline) else { continue }
            let coming = all.first { $0.name == child.table }?.rows(.insert as Verdict) ?? 0
            if let slow = MergePreview.SlowDeletes(child, rows: rows + coming, of: merged) { found.append(slow) }
        }
        return found
    }

    /// Of a table that was never analyzed.
    private static let unknownRowBytes = 100

    /// - Returns: how many rows there are, as the server reckons; nil where an index leads to those that name a parent.
    private static func rowsWithoutIndex(_ child: TableShape.Child, _ connection: PostgresConnection, _ deadline: Deadline) async throws -> Int? {
        try await connection.query(
            """
            SELECT (SELECT coalesce(sum(CASE WHEN part.reltuples >= 0 THEN part.reltuples ELSE pg_catalog.pg_relation_size(part.oid) / \(Self.unknownRowBytes) END), 0)::bigint
                    FROM \(RowSQL.parts(of: "c.oid")) AS p JOIN pg_catalog.pg_class AS part ON part.oid = p.relid WHERE part.relkind <> 'p') AS rows
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relname = $2 AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                     JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am AS m ON m.oid = x.relam
                WHERE i.indrelid = c.oid AND i.indisvalid AND m.amname IN ('btree', 'hash') AND a.attname = ANY (\(RowSQL.texts(child.columns.map(\.name))))
                      AND coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid) = pg_catalog.format('(%I IS NOT NULL)', a.attname), true))
            """, [.text(child.table.schema.name), .text(child.table.name.name)], deadline: deadline
        ).rows.first?.integer("rows")
    }
}
