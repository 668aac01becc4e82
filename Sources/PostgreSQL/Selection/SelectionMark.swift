package import BlockingIO
internal import Foundation
internal import RunCore

/// What a restore of a selection left in its database, in the transaction that restored: there, and all of it happened; not there, and
/// nothing did.
package struct SelectionMark: Sendable, Hashable {
    package let selection: TableSelection
    /// Each table's own rows, without those of its parts or children.
    package let rows: [QualifiedName: Int]
    package let isUndone: Bool

    /// The statement that the transaction begins with, so that its end can be waited for.
    static func lock(_ id: String) throws -> String {
        "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(\(try SQLLiteral(id).sql), 7233179127))"
    }

    /// Where marks stand. Idempotent; the lock is the one under which merges make the same schema.
    static let tables = """
        SET LOCAL client_min_messages = warning;
        SELECT pg_catalog.pg_advisory_xact_lock(7233179126);
        CREATE SCHEMA IF NOT EXISTS reprise_audit;
        CREATE TABLE IF NOT EXISTS reprise_audit.restores (
            id text PRIMARY KEY, selection text NOT NULL, restored_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
            transaction xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), undone_at timestamptz);
        CREATE TABLE IF NOT EXISTS reprise_audit.restored_tables (
            restore text NOT NULL REFERENCES reprise_audit.restores, schema_name text NOT NULL, table_name text NOT NULL,
            root text NOT NULL, rows bigint NOT NULL, expected bigint, PRIMARY KEY (restore, schema_name, table_name));
        """

    static func text(_ selection: TableSelection) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(selection), as: UTF8.self)
    }

    /// The mark of an earlier attempt, once whatever of it still runs in the server has ended; nil where it did nothing.
    package static func read(_ id: String, _ connection: PostgresConnection, deadline: Deadline) async throws -> SelectionMark? {
        try await connection.transaction(deadline: deadline) { connection in
            try await connection.execute(lock(id), deadline: deadline)
            return try await read(id, in: connection, deadline)
        }
    }

    private static func read(_ id: String, in connection: isolated PostgresConnection, _ deadline: Deadline) async throws -> SelectionMark? {
        let there = try await connection.query("SELECT pg_catalog.to_regclass('reprise_audit.restores') IS NOT NULL AS there", deadline: deadline)
        guard try there.only().bool("there") else { return nil }
        let found = try await connection.query(
            "SELECT selection, undone_at IS NOT NULL AS undone FROM reprise_audit.restores WHERE id = $1", [.text(id)], deadline: deadline)
        guard let row = found.rows.first else { return nil }
        let tables = try await connection.query(
            "SELECT schema_name, table_name, rows FROM reprise_audit.restored_tables WHERE restore = $1", [.text(id)], deadline: deadline)
        let rows = try tables.rows.map {
            (try QualifiedName(schema: $0.string("schema_name"), name: $0.string("table_name")), try $0.integer("rows", as: Int.self))
        }
        return SelectionMark(
            selection: try JSONDecoder().decode(TableSelection.self, from: Data(row.string("selection").utf8)),
            rows: Dictionary(rows, uniquingKeysWith: { first, _ in first }), isUndone: try row.bool("undone"))
    }

    // MARK: Taking it back

    /// Drops what the restore made, where nobody has written into it since. One transaction; idempotent.
    ///
    /// - Returns: what was dropped, or nil where there is nothing (any more) to drop.
    /// - Throws: `SelectionNotUndone` where a table is not as it was restored; `PostgresError` where something else stands on it by now.
    package static func undo(_ id: String, lockTimeout: Duration, _ connection: PostgresConnection, deadline: Deadline) async throws -> SelectionMark? {
        try await connection.transaction(deadline: deadline) { connection in
            try await connection.execute(lock(id), deadline: deadline)
            guard let mark = try await read(id, in: connection, deadline), !mark.isUndone else { return nil }
            let milliseconds = lockTimeout.components.seconds * 1000
            try await connection.execute("SET LOCAL lock_timeout = \(max(1, milliseconds))", deadline: deadline)
            try await requireUnwritten(id, mark, connection, deadline)
            // All in one command, so that what leads from one to another does not stand in the way; anything else does.
            try await connection.execute("DROP TABLE \(mark.selection.tables.map(\.sql).joined(separator: ", "))", deadline: deadline)
            for statement in mark.selection.dropStatements { try await connection.execute(statement, deadline: deadline) }
            try await connection.execute("UPDATE reprise_audit.restores SET undone_at = pg_catalog.now() WHERE id = $1", [.text(id)], deadline: deadline)
            return mark
        }
    }

    /// A row of the restore bears its transaction's number; whoever writes a row puts their own there.
    private static func requireUnwritten(
        _ id: String, _ mark: SelectionMark, _ connection: isolated PostgresConnection, _ deadline: Deadline
    ) async throws {
        // Numbers come round again after four thousand million transactions: by then nothing can be told from them.
        let age = try await connection.query(
            """
            SELECT transaction::pg_catalog.text::pg_catalog.numeric % 4294967296 AS number,
                   pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.numeric - transaction::pg_catalog.text::pg_catalog.numeric < 4000000000 AS fresh
            FROM reprise_audit.restores WHERE id = $1
            """, [.text(id)], deadline: deadline).only()
        var written: [String] = try age.bool("fresh") ? [] : ["too long ago to tell"]
        for table in mark.selection.tables {
            let exists = try await connection.query("SELECT pg_catalog.to_regclass($1) IS NOT NULL AS there", [.text(table.sql)], deadline: deadline)
            guard try exists.only().bool("there") else {
                written.append("\(table) is gone")
                continue
            }
            try await connection.execute("LOCK TABLE ONLY \(table.sql) IN ACCESS EXCLUSIVE MODE", deadline: deadline)
            let row = try await connection.query(
                "SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE xmin::pg_catalog.text <> $1) AS written FROM ONLY \(table.sql)",
                [.text(try age.string("number"))], deadline: deadline).only()
            let (rows, others): (Int, Int) = try (row.integer("rows"), row.integer("written"))
            if rows != mark.rows[table] || others > 0 { written.append("\(table) has \(counted(others, "row")) written since, and \(countText(rows)) of \(counted(mark.rows[table] ?? 0, "row"))") }
        }
        guard written.isEmpty else { throw SelectionNotUndone(written: written) }
    }
}

/// The restored tables are not as they were restored: dropping them would lose what was written since.
package struct SelectionNotUndone: RepriseError, Equatable {
    package let written: [String]
    package let code = "postgresql.selection-written"
    package var message: String { "the restored tables are in use and are not dropped: \(written.prefix(5).joined(separator: "; "))" }
    package var hints: [String] { ["keep them; or, when nobody needs what is in them, drop them by hand"] }
}
