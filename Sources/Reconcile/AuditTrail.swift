package import BlockingIO
package import PostgreSQL

/// What merges have done to a database: kept in it, in the transactions that did it.
///
/// Values are kept as text, as the types' own output functions write them under the session's pinned settings: jsonb would lose the
/// spelling of json, the zero's sign and the bounds of arrays.
package enum AuditTrail {
    package static let schema = "reprise_audit"

    /// Idempotent. Also brings one up to date that an older version made.
    static func make(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        // Asked first: to add what is there already would hold back everybody who reads it, until the end of a merge.
        guard try await !isMade(connection, deadline) else { return }
        // The lock keeps two that make it at once from meeting each other's half-made names. It ends with the transaction.
        try await connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(7233179126)", deadline: deadline)
        for statement in statements { try await connection.execute(statement, deadline: deadline) }
    }

    private static func isMade(_ connection: isolated PostgresConnection, _ deadline: Deadline) async throws -> Bool {
        try await connection.query(
            """
            SELECT pg_catalog.num_nulls(\(tables.map { "pg_catalog.to_regclass('reprise_audit.\($0)')" }.joined(separator: ", "))) = 0
                   AND EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass('reprise_audit.merges')
                               AND attname = 'xid' AND NOT attisdropped) AS made
            """, deadline: deadline
        ).only().bool("made")
    }

    private static let tables = ["changes", "skips", "objects", "object_pieces"]

    private static let statements = [
        "SET LOCAL client_min_messages = warning",
        "CREATE SCHEMA IF NOT EXISTS reprise_audit",
        """
        CREATE TABLE IF NOT EXISTS reprise_audit.merges (
            id text PRIMARY KEY, preview text NOT NULL, merged_at timestamptz NOT NULL DEFAULT pg_catalog.now(), undone_at timestamptz)
        """,
        // The plan as JSON: all that an undo needs beside the changes. The transaction that merged, by which its rows are known.
        "ALTER TABLE reprise_audit.merges ADD COLUMN IF NOT EXISTS plan text, ADD COLUMN IF NOT EXISTS xid bigint",
        """
        CREATE TABLE IF NOT EXISTS reprise_audit.changes (
            merge text NOT NULL REFERENCES reprise_audit.merges, place bigint NOT NULL, schema_name text NOT NULL, table_name text NOT NULL,
            operation text NOT NULL CHECK (operation IN ('insert', 'update', 'delete')), columns text[] NOT NULL, before text[], after text[],
            PRIMARY KEY (merge, place))
        """,
        """
        CREATE TABLE IF NOT EXISTS reprise_audit.skips (
            merge text NOT NULL REFERENCES reprise_audit.merges, schema_name text NOT NULL, table_name text NOT NULL,
            reason text NOT NULL, columns text[] NOT NULL, backup text[], live text[])
        """,
        // Digests of the contents, and the pieces of those that were overwritten.
        """
        CREATE TABLE IF NOT EXISTS reprise_audit.objects (
            merge text NOT NULL REFERENCES reprise_audit.merges, number oid NOT NULL, operation text NOT NULL CHECK (operation IN ('insert', 'update')),
            before bytea, after bytea NOT NULL, PRIMARY KEY (merge, number))
        """,
        """
        CREATE TABLE IF NOT EXISTS reprise_audit.object_pieces (
            merge text NOT NULL, number oid NOT NULL, place integer NOT NULL, data bytea NOT NULL, PRIMARY KEY (merge, number, place),
            FOREIGN KEY (merge, number) REFERENCES reprise_audit.objects)
        """,
    ]

    /// Whether a merge is in the database, and whether it was taken back.
    package enum Mark: Sendable, Hashable { case absent, merged(preview: String), undone }

    /// Decides what became of a merge whose answer was lost: its mark was written by the very transaction that merged.
    package static func mark(_ id: String, _ connection: PostgresConnection, deadline: Deadline) async throws -> Mark {
        guard try await isThere(connection, deadline: deadline) else { return .absent }
        let found = try await connection.query(
            "SELECT preview, undone_at IS NOT NULL AS undone FROM reprise_audit.merges WHERE id = $1", [.text(id)], deadline: deadline)
        guard let row = found.rows.first else { return .absent }
        return try row.bool("undone") ? .undone : .merged(preview: row.string("preview"))
    }
}
