internal import BlockingIO
internal import PostgreSQL

/// Many rows that are looked up in tables of which the server may think that nothing is in them.
///
/// After most rows of a table were deleted autovacuum analyzes it, and until it comes again the server goes by what it saw then: as it
/// reckons, to hold each of many rows against each that has come back since costs as little as any other way to join them.
struct Lookup {
    /// A table of ours, analyzed.
    let rows: QualifiedName
    let tables: [QualifiedName]

    /// So few rows are expected of a table that any way to join with it seems good. From ten on a loop over many rows is reckoned ten times
    /// as dear as a hash table of them.
    private static let fewRows = 10
    /// Looked-up rows times pages of the table. A page holds 291 rows at most, so at worst some millions of pairs are compared below it, which
    /// takes about a second.
    private static let bearable = 10_000
    /// So many rows that come back take a page at least.
    private static let rowsOfPage = 291

    /// Keeps the server from holding each row against each until the transaction ends, or until it is asked again, where it would misjudge one
    /// of these. What it does instead takes time in proportion to both.
    ///
    /// It goes by what the server knows at that moment. No rights are needed but to look at the catalogs, and nothing is locked longer than it
    /// takes to see how large it is.
    static func chooseJoins(_ lookups: [Lookup], _ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        let pairs = lookups.flatMap { lookup in
            lookup.tables.map { "(\(RowSQL.text(lookup.rows.sql)), \(RowSQL.text($0.schema.name)), \(RowSQL.text($0.name.name)))" }
        }
        guard !pairs.isEmpty else { return }
        // A table that is not there any more is for others to name.
        try await connection.execute(
            """
            SELECT pg_catalog.set_config('enable_nestloop', CASE WHEN EXISTS (
                SELECT FROM (VALUES \(pairs.joined(separator: ", "))) AS x (rows, schema, name)
                JOIN pg_catalog.pg_class AS r ON r.oid = pg_catalog.to_regclass(x.rows)
                JOIN pg_catalog.pg_namespace AS n ON n.nspname = x.schema JOIN pg_catalog.pg_class AS l ON l.relnamespace = n.oid AND l.relname = x.name
                CROSS JOIN LATERAL (
                    SELECT c.reltuples / c.relpages AS density, pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint AS pages
                    FROM \(RowSQL.parts(of: "l.oid")) AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
                    WHERE c.relpages > 0 AND c.reltuples >= 0) AS t
                WHERE t.density * t.pages < \(fewRows) AND r.reltuples * (t.pages + r.reltuples / \(rowsOfPage)) > \(bearable)
            ) THEN 'off' ELSE (SELECT s.reset_val FROM pg_catalog.pg_settings AS s WHERE s.name = 'enable_nestloop') END, true)
            """, deadline: deadline)
    }
}

extension PostgresConnection {
    /// Until the transaction ends, or the joins are chosen anew. For statements of which the server misjudges what comes out of their own parts,
    /// and in which nothing is looked up row by row.
    func forbidNestedLoops(deadline: Deadline) async throws {
        try await execute("SET LOCAL enable_nestloop = off", deadline: deadline)
    }

    /// As in any session: for statements that look nothing up in live tables, and at which triggers run, whose own statements the choice would
    /// hold for too.
    func allowNestedLoops(deadline: Deadline) async throws {
        try await execute("SET LOCAL enable_nestloop TO DEFAULT", deadline: deadline)
    }
}

extension TableDiff {
    /// Lets the server know of verdicts that were given in bulk: it expects one row of a verdict that there was none of when it looked.
    ///
    /// - Parameter rows: how many got another one.
    func noteVerdicts(of rows: Int, _ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        guard rows >= Self.worthNoting else { return }
        // Whoever cleans it up or analyzes it at this moment is not waited for.
        try await connection.execute("ANALYZE (SKIP_LOCKED) \(table.sql) (kind, verdict, reason)", deadline: deadline)
    }

    /// Fewer are held against others in no time.
    private static let worthNoting = 100

    private var lookedInto: [QualifiedName] {
        Set([pair.live.name] + pair.live.foreignKeys.map(\.parent) + pair.live.children.map(\.table)).sorted()
    }

    var lookup: Lookup { Lookup(rows: table, tables: lookedInto) }
}

extension MergePlan {
    /// See `Lookup.chooseJoins`.
    func chooseJoins(_ connection: isolated PostgresConnection, deadline: Deadline) async throws {
        try await Lookup.chooseJoins(diffs.map(\.lookup), connection, deadline: deadline)
    }
}
