package import BlockingIO
package import PostgreSQL

/// A table as the catalogs of its database describe it, as far as a comparison and a merge need to know.
package struct TableShape: Sendable, Hashable, Codable {
    package let name: QualifiedName
    /// A partitioned table is read and written through its root; a plain one without the tables that inherit from it.
    package let isPartitioned: Bool
    package let columns: [Column]
    /// Unique, valid, immediate, without conditions or expressions, and with no NULL in any column: what rows can be told apart by.
    /// The primary key is the first, where there is one.
    package let keys: [Key]
    package let foreignKeys: [ForeignKey]
    /// Whose foreign keys lead here, the table's own included.
    package let children: [Child]
    /// Every unique index, keys included, with the expressions that must not repeat.
    package let uniqueIndexes: [UniqueIndex]
    /// Names of the triggers that people made, as far as they fire.
    package let triggers: [SQLIdentifier]

    package struct Column: Sendable, Hashable, Codable {
        package let name: SQLIdentifier
        /// With its modifier: `numeric(12,3)`.
        package let type: String
        package let isNullable: Bool
        /// Worked out from other columns; never written.
        package let isGenerated: Bool
        /// `GENERATED ALWAYS AS IDENTITY`: written only when the row is made.
        package let isIdentityAlways: Bool
        /// `OPERATOR(schema.=)` of the type's own default equality; nil for types that have none, such as json and point. Written with
        /// its schema, since the `=` that a search path finds for citext is the one of text.
        package let equality: String?
    }

    package struct Key: Sendable, Hashable, Codable {
        package let index: SQLIdentifier
        package let isPrimary: Bool
        package let columns: [SQLIdentifier]
        /// For each column the operator by which the index itself holds two values for one.
        package let equality: [String]
    }

    package struct ForeignKey: Sendable, Hashable, Codable {
        package let name: SQLIdentifier
        package let columns: [SQLIdentifier]
        package let parent: QualifiedName
        package let parentColumns: [SQLIdentifier]
        /// For each column the operator between the parent's value (on the left) and the child's.
        package let equality: [String]
        package let isDeferrable: Bool
    }

    /// A foreign key of another table's, or of this one's, that leads here.
    package struct Child: Sendable, Hashable, Codable {
        package let table: QualifiedName
        package let columns: [SQLIdentifier]
        package let parentColumns: [SQLIdentifier]
        /// For each column the operator between the parent's value (on the left) and the child's.
        package let equality: [String]
    }

    package struct UniqueIndex: Sendable, Hashable, Codable {
        package let name: SQLIdentifier
        /// SQL over the table's own columns, in the index's order.
        package let expressions: [String]
        /// For each expression the operator by which the index holds two values for one.
        package let equality: [String]
        /// What the expressions and the predicate are made of.
        package let columns: [SQLIdentifier]
        /// SQL over the table's own columns: rows that the index is about.
        package let predicate: String?
        package let nullsAreEqual: Bool

        /// The values that must not repeat, as columns `"e 0"`, `"e 1"` of a SELECT from the table.
        var values: String { expressions.enumerated().map { "(\($1)) AS \"e \($0)\"" }.joined(separator: ", ") }
        /// The WHERE of that SELECT; empty where the index is about every row.
        var condition: String { predicate.map { " WHERE \($0)" } ?? "" }
    }

    /// How the table stands in a FROM clause.
    package var from: String { isPartitioned ? name.sql : "ONLY \(name.sql)" }

    package func column(_ name: SQLIdentifier) -> Column? { columns.first { $0.name == name } }
}

extension TableShape {
    /// Reads a table's shape.
    ///
    /// - Throws: `ReconcileRefused` (`reconcile.no-table`) where there is no such table.
    package static func read(_ name: QualifiedName, _ connection: PostgresConnection, deadline: Deadline) async throws -> TableShape {
        let schema = PostgresParameter.text(name.schema.name), table = PostgresParameter.text(name.name.name)
        let found = try await connection.query(
            """
            SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE CASE $1 WHEN 'pg_temp' THEN n.oid = pg_catalog.pg_my_temp_schema() ELSE n.nspname = $1 END AND c.relname = $2 AND c.relkind IN ('r', 'p')
            """, [schema, table], deadline: deadline)
        guard let row = found.rows.first else {
            throw ReconcileRefused(
                "reconcile.no-table", "database \(connection.target.database) has no table \(name)",
                hints: ["tables are named as schema.table; see those that there are with: psql -c '\\dt *.*'"])
        }
        let reader = ShapeReader(connection: connection, oid: .text(try row.string("oid")), deadline: deadline)
        return TableShape(
            name: name, isPartitioned: try row.string("relkind") == "p", columns: try await reader.columns(), keys: try await reader.keys(),
            foreignKeys: try await reader.foreignKeys(), children: try await reader.children(), uniqueIndexes: try await reader.uniqueIndexes(), triggers: try await reader.triggers())
    }
}

private struct ShapeReader {
    let connection: PostgresConnection
    let oid: PostgresParameter
    let deadline: Deadline

    private func ask(_ sql: String) async throws -> [PostgresRow] { try await connection.query(sql, [oid], deadline: deadline).rows }

    func columns() async throws -> [TableShape.Column] {
        try await ask(
            """
            SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable, a.attgenerated <> '' AS generated,
                   a.attidentity = 'a' AS always, (\(Self.equality)) AS equality
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                 JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
            WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """
        ).map { row in
            TableShape.Column(
                name: try SQLIdentifier(row.string("attname")), type: try row.string("type"), isNullable: try row.bool("nullable"),
                isGenerated: try row.bool("generated"), isIdentityAlways: try row.bool("always"), equality: try row.optionalString("equality"))
        }
    }

    /// The equality of the default operator class of type `b`: its own, one of a type that it is binary the same as, or that of its kind.
    private static let equality = """
        SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)
        FROM pg_catalog.pg_opclass c
             JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname IN ('btree', 'hash')
             JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
                  AND p.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END
             JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
        WHERE c.opcdefault
              AND (c.opcintype = b.oid
                   OR EXISTS (SELECT FROM pg_catalog.pg_cast k WHERE k.castsource = b.oid AND k.casttarget = c.opcintype AND k.castmethod = 'b' AND k.castcontext = 'i')
                   OR c.opcintype = CASE WHEN b.typcategory = 'A' AND b.typlen = -1 THEN 'anyarray'::pg_catalog.regtype
                                         WHEN b.typtype = 'e' THEN 'anyenum'::pg_catalog.regtype WHEN b.typtype = 'c' THEN 'record'::pg_catalog.regtype
                                         WHEN b.typtype = 'r' THEN 'anyrange'::pg_catalog.regtype WHEN b.typtype = 'm' THEN 'anymultirange'::pg_catalog.regtype END)
        ORDER BY c.opcintype = b.oid DESC, m.amname, c.opcintype LIMIT 1
        """

    /// The equality operators of an index's own operator classes, column by column.
    private static let indexEquality = """
        ARRAY(SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)
              FROM pg_catalog.unnest(i.indclass::oid[]) WITH ORDINALITY AS u(class, place)
                   JOIN pg_catalog.pg_opclass c ON c.oid = u.class
                   JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype AND p.amoprighttype = c.opcintype
                        AND p.amopstrategy = 3
                   JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
              ORDER BY u.place)
        """

    func keys() async throws -> [TableShape.Key] {
        try await ask(
            """
            SELECT x.relname, i.indisprimary, \(Self.columnNames("i.indkey", "i.indrelid", count: "i.indnkeyatts")) AS columns,
                   \(Self.indexEquality) AS equality
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                  AND NOT EXISTS (SELECT FROM pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS u(place)
                                  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.place AND NOT a.attnotnull)
            ORDER BY i.indisprimary DESC, i.indnkeyatts, x.relname
            """
        ).map { row in
            TableShape.Key(
                index: try SQLIdentifier(row.string("relname")), isPrimary: try row.bool("indisprimary"),
                columns: try row.strings("columns").map(SQLIdentifier.init), equality: try row.strings("equality"))
        }
    }

    func foreignKeys() async throws -> [TableShape.ForeignKey] {
        try await ask(
            """
            SELECT k.conname, n.nspname, p.relname, k.condeferrable, \(Self.constraintEquality) AS equality,
                   \(Self.columnNames("k.conkey", "k.conrelid")) AS columns,
                   \(Self.columnNames("k.confkey", "k.confrelid")) AS parents
            FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
            WHERE k.conrelid = $1 AND k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname
            """
        ).map { row in
            TableShape.ForeignKey(
                name: try SQLIdentifier(row.string("conname")), columns: try row.strings("columns").map(SQLIdentifier.init),
                parent: try QualifiedName(schema: row.string("nspname"), name: row.string("relname")),
                parentColumns: try row.strings("parents").map(SQLIdentifier.init), equality: try row.strings("equality"),
                isDeferrable: try row.bool("condeferrable"))
        }
    }

    func children() async throws -> [TableShape.Child] {
        try await ask(
            """
            SELECT n.nspname, c.relname, \(Self.constraintEquality) AS equality, \(Self.columnNames("k.conkey", "k.conrelid")) AS columns,
                   \(Self.columnNames("k.confkey", "k.confrelid")) AS parents
            FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE k.confrelid = $1 AND k.contype = 'f' AND k.conparentid = 0 ORDER BY n.nspname, c.relname, k.conname
            """
        ).map { row in
            TableShape.Child(
                table: try QualifiedName(schema: row.string("nspname"), name: row.string("relname")),
                columns: try row.strings("columns").map(SQLIdentifier.init), parentColumns: try row.strings("parents").map(SQLIdentifier.init),
                equality: try row.strings("equality"))
        }
    }

    /// The operators of a foreign key `k`, column by column.
    private static let constraintEquality = """
        ARRAY(SELECT pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname)
              FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY AS u(operator, place) JOIN pg_catalog.pg_operator o ON o.oid = u.operator
                   JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace ORDER BY u.place)
        """

    func uniqueIndexes() async throws -> [TableShape.UniqueIndex] {
        // PostgreSQL 15 brought NULLS NOT DISTINCT; as JSON, so that older servers are asked the same.
        try await ask(
            """
            SELECT x.relname, coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_equal,
                   pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
                   ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, g, false) FROM pg_catalog.generate_series(1, i.indnkeyatts) AS g) AS expressions,
                   \(Self.indexEquality) AS equality,
                   ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                         WHERE a.attrelid = i.indrelid AND a.attnum > 0
                               AND (a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                                    OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                               AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))
                         ORDER BY a.attnum) AS columns
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid ORDER BY x.relname
            """
        ).map { row in
            TableShape.UniqueIndex(
                name: try SQLIdentifier(row.string("relname")), expressions: try row.strings("expressions"),
                equality: try row.strings("equality"), columns: try row.strings("columns").map(SQLIdentifier.init),
                predicate: try row.optionalString("predicate"), nullsAreEqual: try row.bool("nulls_equal"))
        }
    }

    func triggers() async throws -> [SQLIdentifier] {
        try await ask(
            """
            SELECT tgname FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgenabled IN ('O', 'A') ORDER BY tgname
            """
        ).map { try SQLIdentifier($0.string("tgname")) }
    }

    /// The names of the columns whose numbers `places` holds, in that order.
    private static func columnNames(_ places: String, _ table: String, count: String? = nil) -> String {
        """
        ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(\(places)::int2[]) WITH ORDINALITY AS u(place, rank)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = \(table) AND a.attnum = u.place
              \(count.map { "WHERE u.rank <= \($0)" } ?? "") ORDER BY u.rank)
        """
    }
}
