/// Whether what is in the connected database holds together.
extension Catalog {
    package struct SequencePosition: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package let lastValue: Int64
        package let isCalled: Bool
        package let increment: Int64
        package let maximum: Int64
        package let minimum: Int64
        /// The table and column that it feeds, where one owns it.
        package let table: QualifiedName?
        package let column: String?
    }

    package func sequences() async throws -> [SequencePosition] {
        let rows = try await ask(
            """
            SELECT n.nspname AS schema, c.relname AS name, s.seqincrement AS step, s.seqmax AS max, s.seqmin AS min,
                   tn.nspname AS tschema, t.relname AS tname, a.attname AS tcolumn
            FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
            LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
            LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE c.relpersistence <> 't' ORDER BY 1, 2
            """)
        var result: [SequencePosition] = []
        for row in rows {
            let name = try QualifiedName(schema: row.string("schema"), name: row.string("name"))
            let position = try await only("SELECT last_value, is_called FROM \(name.sql)")
            let table = try row.optionalString("tname").map { try QualifiedName(schema: row.string("tschema"), name: $0) }
            result.append(
                try SequencePosition(
                    name: name, lastValue: position.integer("last_value"), isCalled: position.bool("is_called"),
                    increment: row.integer("step"), maximum: row.integer("max"), minimum: row.integer("min"), table: table,
                    column: row.optionalString("tcolumn")))
        }
        return result
    }

    package struct SequenceBehind: Sendable, Hashable, Codable {
        package let sequence: QualifiedName
        package let nextValue: Int64
        package let column: String
        /// The largest key in the table (the smallest, where the sequence counts down).
        package let key: Int64
    }

    /// Sequences whose next number was already given to a row of the column that they feed.
    ///
    /// - Parameter tables: looks at the sequences of these only; without it at all.
    package func sequencesBehindTheirKeys(of tables: Set<QualifiedName>? = nil) async throws -> [SequenceBehind] {
        var result: [SequenceBehind] = []
        for sequence in try await sequences() {
            guard let table = sequence.table, let column = sequence.column, tables?.contains(table) ?? true else { continue }
            let quoted = try SQLIdentifier(column).sql
            let aggregate = sequence.increment > 0 ? "max" : "min"
            let row = try await only("SELECT pg_catalog.\(aggregate)(\(quoted)) AS key FROM \(table.sql)")
            guard let key = try row.optionalInteger("key", as: Int64.self) else { continue }
            let (next, overflow) = sequence.isCalled
                ? sequence.lastValue.addingReportingOverflow(sequence.increment) : (sequence.lastValue, false)
            if !overflow, sequence.increment > 0 ? next <= key : next >= key {
                result.append(SequenceBehind(sequence: sequence.name, nextValue: next, column: "\(table).\(column)", key: key))
            }
        }
        return result
    }

    package struct ForeignKey: Sendable, Hashable, Codable {
        package let name: String
        package let table: QualifiedName
        package let columns: [String]
        package let referencedTable: QualifiedName
        package let referencedColumns: [String]
        /// `NOT VALID` ones say false; true proves nothing (a disabled trigger leaves orphans).
        package let isMarkedValid: Bool
        /// Of rows that are partly NULL: true for MATCH FULL.
        package let matchesFull: Bool
    }

    /// Foreign keys as declared; those that partitions inherit are covered by their parent's.
    package func foreignKeys() async throws -> [ForeignKey] {
        func names(_ numbers: String, _ relation: String) -> String {
            """
            ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(\(numbers)) WITH ORDINALITY k(number, place)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = \(relation) AND a.attnum = k.number ORDER BY k.place)
            """
        }
        return try await ask(
            """
            SELECT c.conname AS name, n.nspname AS schema, t.relname AS table, rn.nspname AS rschema, r.relname AS rtable,
                   c.convalidated AS valid, c.confmatchtype = 'f' AS full,
                   \(names("c.conkey", "c.conrelid")) AS columns, \(names("c.confkey", "c.confrelid")) AS rcolumns
            FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace JOIN pg_catalog.pg_class r ON r.oid = c.confrelid
            JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
            WHERE c.contype = 'f' AND c.conparentid = 0 ORDER BY 2, 3, 1
            """
        ).map {
            try ForeignKey(
                name: $0.string("name"), table: QualifiedName(schema: $0.string("schema"), name: $0.string("table")),
                columns: $0.strings("columns"), referencedTable: QualifiedName(schema: $0.string("rschema"), name: $0.string("rtable")),
                referencedColumns: $0.strings("rcolumns"), isMarkedValid: $0.bool("valid"), matchesFull: $0.bool("full"))
        }
    }

    package struct Orphans: Sendable, Hashable, Codable {
        package let key: ForeignKey
        package let rows: Int
    }

    /// Counts rows without their parent by reading both tables, whatever the catalog says of the key.
    ///
    /// - Returns: only keys that have some.
    package func orphans() async throws -> [Orphans] {
        var result: [Orphans] = []
        for key in try await foreignKeys() {
            let pairs = try zip(key.columns, key.referencedColumns).map { (try SQLIdentifier($0).sql, try SQLIdentifier($1).sql) }
            let given = pairs.map { "c.\($0.0) IS NOT NULL" }.joined(separator: key.matchesFull ? " OR " : " AND ")
            let join = pairs.map { "p.\($0.1) = c.\($0.0)" }.joined(separator: " AND ")
            let row = try await only(
                """
                SELECT pg_catalog.count(*) AS count FROM \(key.table.sql) c
                WHERE (\(given)) AND NOT EXISTS (SELECT FROM \(key.referencedTable.sql) p WHERE \(join))
                """)
            let count: Int = try row.integer("count")
            if count > 0 { result.append(Orphans(key: key, rows: count)) }
        }
        return result
    }

    package struct IndexProblem: Sendable, Hashable, Codable {
        package let index: QualifiedName
        package let problem: String
    }

    /// True where the extension amcheck is installed in the connected database.
    package func hasAmcheck() async throws -> Bool {
        try await !ask("SELECT FROM pg_catalog.pg_extension WHERE extname = 'amcheck'").isEmpty
    }

    /// Checks every B-tree against its table (amcheck's `bt_index_check` with `heapallindexed`); nil without the extension.
    ///
    /// - Returns: damaged indexes, and those that are marked invalid.
    package func indexProblems() async throws -> [IndexProblem]? {
        guard let schema = try await ask(
            "SELECT n.nspname AS schema FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'"
        ).first?.string("schema") else { return nil }
        let check = try SQLIdentifier(schema).sql + ".bt_index_check"
        var result: [IndexProblem] = []
        for row in try await ask(
            """
            SELECT n.nspname AS schema, c.relname AS name, c.oid, i.indisvalid AS valid FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_am a ON a.oid = c.relam
            WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_toast' ORDER BY 1, 2
            """
        ) {
            let name = try QualifiedName(schema: row.string("schema"), name: row.string("name"))
            guard try row.bool("valid") else {
                result.append(IndexProblem(index: name, problem: "the index is marked invalid"))
                continue
            }
            do {
                _ = try await ask("SELECT \(check)($1::pg_catalog.oid::pg_catalog.regclass, true)", [.text(row.string("oid"))])
            } catch let error as PostgresError where ["XX001", "XX002"].contains(error.sqlState) {
                result.append(IndexProblem(index: name, problem: error.primary))
            }
        }
        return result
    }

    package struct CollationMismatch: Sendable, Hashable, Codable {
        package let collation: String
        package let recordedVersion: String
        package let actualVersion: String?
    }

    /// Collations whose version in the operating system is not the one that indexes were built with, the database's own included.
    package func collationMismatches() async throws -> [CollationMismatch] {
        var parts = [
            """
            SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname) AS name, c.collversion AS recorded,
                   pg_catalog.pg_collation_actual_version(c.oid) AS actual
            FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE c.collversion IS NOT NULL
            """
        ]
        if await connection.serverVersion >= 150_000 {
            parts.append(
                """
                SELECT 'the database''s default', datcollversion, pg_catalog.pg_database_collation_actual_version(oid)
                FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database() AND datcollversion IS NOT NULL
                """)
        }
        return try await ask(
            "SELECT * FROM (\(parts.joined(separator: " UNION ALL "))) v WHERE actual IS DISTINCT FROM recorded ORDER BY 1"
        ).map {
            try CollationMismatch(
                collation: $0.string("name"), recordedVersion: $0.string("recorded"), actualVersion: $0.optionalString("actual"))
        }
    }
}
