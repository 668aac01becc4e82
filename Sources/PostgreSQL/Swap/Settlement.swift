package import BlockingIO
internal import Foundation
package import RunCore

/// What is changed on purpose in a restored database before it takes production's place, and what was changed.
///
/// An older database runs queued jobs a second time and revives sessions and tokens that were revoked since. All of it is one
/// transaction in the restored database, whose mark is the comment of the schema that it makes: the mark is there, and then
/// everything happened, or it is not, and then nothing did.
package struct Settlement: Sendable, Hashable, Codable {
    package struct Table: Sendable, Hashable, Codable {
        package let name: QualifiedName
        /// Rows that the table had; it has none now.
        package let rows: Int
        /// Where these rows stand now; nil where they were removed.
        package let heldAs: QualifiedName?
    }

    /// The schema that holds the mark and the rows that are kept aside.
    package let schema: SQLIdentifier
    package let tables: [Table]
    /// Names in the wish that no table has.
    package let absent: [String]

    /// What is to be done, by table: `name` (of schema `public`) or `schema.name`, as stored.
    package struct Wish: Sendable, Hashable {
        /// Their rows are moved into a side table.
        package var held: [String]
        /// Their rows are removed.
        package var emptied: [String]

        package init(held: [String], emptied: [String]) {
            self.held = held
            self.emptied = emptied
        }
    }

    // MARK: Carrying it out

    /// Does all that is wished for, or finds that it was done. Idempotent, also after a lost answer to COMMIT.
    ///
    /// - Parameters:
    ///   - mark: names who does it, for example run and step; what another one did does not count as done.
    ///   - connection: to the restored database, as a superuser.
    /// - Throws: `SettlementRefused` where a name is not one table or a table is wanted twice, `PostgresError` (for example where a
    ///   foreign key of a table that is not named leads to one that is), `PostgresCommitUnknown`.
    package static func carryOut(
        _ wish: Wish, mark: String, connection: PostgresConnection, deadline: Deadline
    ) async throws -> (settlement: Settlement, isNew: Bool) {
        try await connection.transaction(deadline: deadline) { connection in
            // A transaction of an earlier attempt may still be at work: its end is waited for, then its mark is seen.
            _ = try await connection.query("SELECT pg_catalog.pg_advisory_xact_lock(7311, 1)", deadline: deadline)
            if let known = try await recorded(mark, connection, deadline) { return (known, false) }
            // Triggers of the application are for what people do; foreign keys are heeded by TRUNCATE all the same.
            try await connection.execute("SET LOCAL session_replication_role = replica", deadline: deadline)
            let settlement = try await perform(wish, connection, deadline)
            let text = markText(mark) + String(decoding: try JSONEncoder().encode(settlement), as: UTF8.self)
            try await connection.execute("COMMENT ON SCHEMA \(settlement.schema.sql) IS \(try SQLLiteral(text).sql)", deadline: deadline)
            return (settlement, true)
        }
    }

    private static func markText(_ mark: String) -> String { "settled by reprise for \(mark): " }

    private static func recorded(
        _ mark: String, _ connection: isolated PostgresConnection, _ deadline: Deadline
    ) async throws -> Settlement? {
        let start = markText(mark)
        let rows = try await connection.query(
            """
            SELECT pg_catalog.obj_description(oid, 'pg_namespace') AS comment FROM pg_catalog.pg_namespace
            WHERE pg_catalog.starts_with(pg_catalog.obj_description(oid, 'pg_namespace'), $1)
            """, [.text(start)], deadline: deadline).rows
        guard let text = try rows.first?.string("comment") else { return nil }
        return try JSONDecoder().decode(Settlement.self, from: Data(text.dropFirst(start.count).utf8))
    }

    private static func perform(_ wish: Wish, _ connection: isolated PostgresConnection, _ deadline: Deadline) async throws -> Settlement {
        let schema = try await freeSchema(connection, deadline)
        try await connection.execute("CREATE SCHEMA \(schema.sql)", deadline: deadline)
        var tables: [Table] = [], absent: [String] = []
        for (name, isHeld) in wish.held.map({ ($0, true) }) + wish.emptied.map({ ($0, false) }) {
            guard let found = try await find(name, connection, deadline) else {
                absent.append(name)
                continue
            }
            guard !tables.contains(where: { $0.name == found.name }) else { throw SettlementRefused.twice(found.name) }
            try await connection.execute("LOCK TABLE \(found.name.sql) IN ACCESS EXCLUSIVE MODE", deadline: deadline)
            let rows = try await count(found.name, connection, deadline)
            let place = isHeld ? try await keepAside(found, rows, schema, isFirst: !tables.contains { $0.heldAs != nil }, connection, deadline) : nil
            tables.append(Table(name: found.name, rows: rows, heldAs: place))
        }
        if !tables.isEmpty {
            // All in one command, so that foreign keys among them do not stand in the way; others do, and nothing happens.
            try await connection.execute("TRUNCATE TABLE \(tables.map(\.name.sql).joined(separator: ", "))", deadline: deadline)
        }
        return Settlement(schema: schema, tables: tables, absent: absent)
    }

    /// A backup that was made after an earlier recovery may hold such a schema already.
    private static func freeSchema(_ connection: isolated PostgresConnection, _ deadline: Deadline) async throws -> SQLIdentifier {
        let row = try await connection.query(
            """
            SELECT name FROM (SELECT 'reprise_settled' || CASE n WHEN 1 THEN '' ELSE '_' || n END AS name, n FROM pg_catalog.generate_series(1, 1000) n) c
            WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = c.name) ORDER BY n LIMIT 1
            """, deadline: deadline).only()
        return try SQLIdentifier(row.string("name"))
    }

    private struct Found { let name: QualifiedName, owner: SQLIdentifier }

    private static func find(_ text: String, _ connection: isolated PostgresConnection, _ deadline: Deadline) async throws -> Found? {
        let rows = try await connection.query(
            """
            SELECT n.nspname AS schema, c.relname AS name, c.relkind::pg_catalog.text AS kind, pg_catalog.pg_get_userbyid(c.relowner) AS owner
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
              AND ((n.nspname = 'public' AND c.relname = $1) OR n.nspname || '.' || c.relname = $1)
            """, [.text(text)], deadline: deadline).rows
        guard let row = rows.first else { return nil }
        guard rows.count == 1, ["r", "p"].contains(try row.string("kind")) else { throw SettlementRefused.noTable(text) }
        return Found(
            name: try QualifiedName(schema: row.string("schema"), name: row.string("name")), owner: try SQLIdentifier(row.string("owner")))
    }

    private static func count(_ table: QualifiedName, _ connection: isolated PostgresConnection, _ deadline: Deadline) async throws -> Int {
        try await connection.query("SELECT pg_catalog.count(*) AS count FROM \(table.sql)", deadline: deadline).only().integer("count")
    }

    private static func keepAside(
        _ found: Found, _ rows: Int, _ schema: SQLIdentifier, isFirst: Bool, _ connection: isolated PostgresConnection, _ deadline: Deadline
    ) async throws -> QualifiedName {
        let isPublic = found.name.schema.name == "public"
        let place = try QualifiedName(schema: schema.name, name: isPublic ? found.name.name.name : "\(found.name.schema.name)_\(found.name.name.name)")
        try await connection.execute("CREATE TABLE \(place.sql) AS TABLE \(found.name.sql)", deadline: deadline)
        // Whoever owns the queue can put its rows back.
        try await connection.execute("ALTER TABLE \(place.sql) OWNER TO \(found.owner.sql)", deadline: deadline)
        if isFirst { try await connection.execute("ALTER SCHEMA \(schema.sql) OWNER TO \(found.owner.sql)", deadline: deadline) }
        guard try await count(place, connection, deadline) == rows else { throw SettlementRefused.lostRows(found.name) }
        return place
    }

    // MARK: Proving it

    /// What a database must hold that had `expected` and was then settled: emptied tables hold nothing, and what was kept aside is
    /// what the table held, row by row.
    package func applied(to expected: ContentSummary) -> ContentSummary {
        var result = expected
        for change in tables {
            guard let index = result.tables.firstIndex(where: { $0.name == change.name }) else { continue }
            let before = result.tables[index]
            // No row: the sum of no hashes, and the MD5 of no text.
            result.tables[index] = .init(
                name: before.name, columns: before.columns, rows: 0, hash: String(repeating: "0", count: 32),
                stream: "d41d8cd98f00b204e9800998ecf8427e", bytes: 0)
            if let place = change.heldAs {
                result.tables.append(
                    .init(name: place, columns: before.columns, rows: before.rows, hash: before.hash, stream: before.stream, bytes: before.bytes))
            }
        }
        return result
    }

    /// The tables of the archive that hold what `tables` must hold.
    package func sources(of tables: [QualifiedName]) -> [QualifiedName] {
        let held = Dictionary(self.tables.compactMap { change in change.heldAs.map { ($0, change.name) } }, uniquingKeysWith: { first, _ in first })
        return tables.map { held[$0] ?? $0 }
    }

    /// What stands in the settlement's schema and is not of it; a line for each.
    package func findings(_ catalog: Catalog) async throws -> [String] {
        let rows = try await catalog.ask(
            """
            SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relkind NOT IN ('t', 'i', 'I') ORDER BY 1
            """, [.text(schema.name)])
        let expected = Set(tables.compactMap { $0.heldAs?.name.name })
        return try rows.map { try $0.string("name") }.filter { !expected.contains($0) }.map { "\(schema).\(visible($0)) was not made by the settlement" }
    }

    /// One line for people.
    package var text: String {
        var parts = tables.map { table in
            let rows = "\(counted(table.rows, "row")) of \(table.name)"
            return table.heldAs.map { "\(rows) held in \($0)" } ?? "\(rows) removed"
        }
        if !absent.isEmpty { parts.append("no such table: \(absent.map(visible).joined(separator: ", "))") }
        return parts.isEmpty ? "nothing to settle" : parts.joined(separator: "; ")
    }
}

/// The settlement did not happen; nothing was changed.
package struct SettlementRefused: RepriseError, Equatable {
    package let code: String
    package let message: String
    package let hints: [String]
    package let exitStatus: ExitStatus

    private init(_ code: String, _ message: String, _ hint: String, _ exitStatus: ExitStatus = .usage) {
        self.code = "postgresql.settle-\(code)"
        self.message = message
        hints = [hint]
        self.exitStatus = exitStatus
    }

    static func noTable(_ text: String) -> Self {
        .init("no-table", "\"\(visible(text))\" does not name one table of the restored database", "name a table as `name` (of schema public) or `schema.name`")
    }
    static func twice(_ name: QualifiedName) -> Self { .init("twice", "\(name) is named twice", "name each table once") }
    static func lostRows(_ name: QualifiedName) -> Self {
        .init("lost-rows", "the side table of \(name) does not have all of its rows", "look at the database host's log", .failed)
    }
}
