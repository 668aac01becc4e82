internal import BlockingIO
internal import PostgreSQL

extension ArchiveTOC {
    /// What an archive says of its rows' encoding is the encoding of the database that was dumped.
    func requireUTF8() throws {
        guard let entry = entries.first(where: { $0.kind == "ENCODING" }), !entry.definition.uppercased().contains("'UTF8'") else { return }
        throw ReconcileRefused(
            "reconcile.encoding", "the archive is not in UTF8: \(entry.definition.split(separator: "\n").first ?? "")",
            hints: ["lay its tables beside the live ones instead: reprise start plans/table-restore.yaml"])
    }

    /// Whether a key or unique index of the table says that no two rows have the same values in these columns.
    func isUnique(_ columns: [SQLIdentifier], in table: QualifiedName) -> Bool {
        let wanted = Set(columns.map(\.name))
        return entries.contains { entry in
            guard entry.schema == table.schema.name, entry.kind == "CONSTRAINT" || entry.kind == "INDEX" else { return false }
            return UniqueColumns(entry.definition, of: table).columns == wanted
        }
    }
}

/// The columns of a statement that makes a key or a unique index, as pg_dump writes it.
struct UniqueColumns {
    /// nil where it is another statement, or one with expressions or a condition.
    let columns: Set<String>?

    init(_ statement: String, of table: QualifiedName) {
        columns = Self.constraint(statement, table) ?? Self.index(statement, table)
    }

    private static func constraint(_ statement: String, _ table: QualifiedName) -> Set<String>? {
        var reader = TableDefinition.Reader(statement)
        guard reader.skip("ALTER TABLE ONLY ") || reader.skip("ALTER TABLE "), reader.name() == table, reader.skip("\n    ADD CONSTRAINT "),
            reader.identifier() != nil, reader.skip(" PRIMARY KEY") || reader.skip(" UNIQUE")
        else { return nil }
        return list(&reader)
    }

    private static func index(_ statement: String, _ table: QualifiedName) -> Set<String>? {
        var reader = TableDefinition.Reader(statement)
        guard reader.skip("CREATE UNIQUE INDEX "), reader.identifier() != nil, reader.skip(" ON ONLY ") || reader.skip(" ON "), reader.name() == table,
            reader.skip(" USING btree"), let columns = list(&reader), !reader.rest.contains(" WHERE ")
        else { return nil }
        return columns
    }

    private static func list(_ reader: inout TableDefinition.Reader) -> Set<String>? {
        reader.columns().flatMap { $0.isEmpty ? nil : Set($0.map(\.name)) }
    }
}

extension TableShape {
    /// The columns as a CREATE TABLE takes them, generated ones as plain ones: name, type, collation.
    func columnDefinitions(_ connection: PostgresConnection, deadline: Deadline) async throws -> String {
        let found = try await connection.query(
            """
            SELECT pg_catalog.format('%I %s%s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                       CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.format(' COLLATE %I.%I', s.nspname, l.collname) END) AS definition
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                 LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_catalog.pg_namespace s ON s.oid = l.collnamespace
            WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """, [.text(name.sql)], deadline: deadline)
        return try found.rows.map { try $0.string("definition") }.joined(separator: ", ")
    }
}
