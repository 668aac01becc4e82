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
    /// Every unique index, keys included, and every exclusion constraint, with the expressions that must not meet.
    package let uniqueIndexes: [UniqueIndex]
    /// What a row must fulfil by itself.
    package var checks: [Check] = []
    /// Names of the triggers that people made, as far as they fire.
    package let triggers: [SQLIdentifier]

    package struct Column: Sendable, Hashable, Codable {
        package let name: SQLIdentifier
        /// With its modifier: `numeric(12,3)`.
        package let type: String
        /// Of a domain the type below it, without a modifier; nil for others.
        package var typeOfDomain: String?
        package let isNullable: Bool
        /// Worked out from other columns; never written.
        package let isGenerated: Bool
        /// `GENERATED ALWAYS AS IDENTITY`: written only when the row is made.
        package let isIdentityAlways: Bool
        /// The type's own default equality; nil for types that have none, such as json and point.
        package let equality: Equality?
        /// True: no value of the type comes before another, as of xid or point.
        package var hasNoOrder: Bool?
        /// As SQL; nil for types that know none.
        package var collation: String?
        /// Of a generated column: what it is worked out by, as SQL over the table's own columns.
        package var generation: String?
        /// The columns that `generation` reads.
        package var sources: [SQLIdentifier] = []
        /// A row that is made without a value gets another than NULL.
        package var hasDefault = false
        /// Of type oid or a domain over it, such as lo: its values are taken for numbers of large objects.
        package var refersToLargeObjects = false

        /// As what a value that was written out is read to be compared: a domain's condition need not be asked again.
        var plainType: String { typeOfDomain ?? type }
    }

    package struct Key: Sendable, Hashable, Codable {
        package let index: SQLIdentifier
        package let isPrimary: Bool
        package let columns: [SQLIdentifier]
        /// For each column the operator by which the index itself holds two values for one.
        package let equality: [Equality]
    }

    package struct ForeignKey: Sendable, Hashable, Codable {
        package let name: SQLIdentifier
        package let columns: [SQLIdentifier]
        package let parent: QualifiedName
        package let parentColumns: [SQLIdentifier]
        /// For each column the operator between the parent's value (on the left) and the child's.
        package let equality: [Equality]
        package let isDeferrable: Bool
        package var parentIsPartitioned = false
        /// Of a key that a single part of the table has: true for the rows that lie there, as SQL over the table's own columns.
        package var condition: String?
        /// MATCH FULL: either all of its columns are NULL or none is. nil: one that is NULL is enough.
        package var namesWholeParents: Bool?

        /// True where the row `parent` is the one that the row `child` names.
        func leads(from child: String, to parent: String) -> String {
            columns.indices.map {
                equality[$0].holds("\(parent).\(parentColumns[$0].sql)", "\(child).\(columns[$0].sql)")
            }.joined(separator: " AND ")
        }

        /// How the parent stands in a FROM clause: tables that inherit from it hold no parents.
        var from: String { TableShape.from(parent, isPartitioned: parentIsPartitioned) }
    }

    /// A foreign key of another table's, or of this one's, that leads here.
    package struct Child: Sendable, Hashable, Codable {
        package let table: QualifiedName
        package let columns: [SQLIdentifier]
        package let parentColumns: [SQLIdentifier]
        /// For each column the operator between the parent's value (on the left) and the child's.
        package let equality: [Equality]
        package var isPartitioned = false

        var from: String { TableShape.from(table, isPartitioned: isPartitioned) }
    }

    package struct UniqueIndex: Sendable, Hashable, Codable {
        package let name: SQLIdentifier
        /// SQL over the table's own columns, in the index's order.
        package let expressions: [String]
        /// For each expression the operator by which the index holds two values for one, with the index's collation before it; of an
        /// exclusion constraint that constraint's operator.
        package let equality: [Equality]
        /// Of an exclusion constraint: what it tells apart is no number of a row.
        package var isExclusion = false
        /// What the expressions and the predicate are made of.
        package let columns: [SQLIdentifier]
        /// SQL over the table's own columns: rows that the index is about.
        package let predicate: String?
        package let nullsAreEqual: Bool
        /// Of an index that a single part of the table has: that one. `predicate` says which rows lie there.
        package var part: QualifiedName?

        /// For people.
        var title: String { "\(name)" + (part.map { " of \($0)" } ?? "") }

        /// The values that must not repeat, as columns `"e 0"`, `"e 1"` of a SELECT from the table.
        var values: String { expressions.enumerated().map { "(\($1)) AS \"e \($0)\"" }.joined(separator: ", ") }
        /// The WHERE of that SELECT; empty where the index is about every row.
        var condition: String { predicate.map { " WHERE \($0)" } ?? "" }
    }

    /// A condition that makes the server refuse a row which does not fulfil it.
    package struct Check: Sendable, Hashable, Codable {
        /// Why such a row is left alone.
        package let reason: String
        /// SQL over the table's own columns; only false refuses.
        package let expression: String
        package let columns: [SQLIdentifier]
    }

    /// How the table stands in a FROM clause.
    package var from: String { Self.from(name, isPartitioned: isPartitioned) }

    static func from(_ name: QualifiedName, isPartitioned: Bool) -> String { isPartitioned ? name.sql : "ONLY \(name.sql)" }

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
                hints: [
                    "tables are named as schema.table; see those that there are with: psql -c '\\dt *.*'",
                    "one that is gone comes back whole, and not row by row: see the step kind postgres-restore-tables",
                ])
        }
        let reader = ShapeReader(connection: connection, oid: .text(try row.string("oid")), deadline: deadline)
        return TableShape(
            name: name, isPartitioned: try row.string("relkind") == "p", columns: try await reader.columns(), keys: try await reader.keys(),
            foreignKeys: try await reader.foreignKeys(), children: try await reader.children(), uniqueIndexes: try await reader.uniqueIndexes(),
            checks: try await reader.checks(), triggers: try await reader.triggers())
    }
}

struct ShapeReader {
    let connection: PostgresConnection
    let oid: PostgresParameter
    let deadline: Deadline

    func ask(_ sql: String) async throws -> [PostgresRow] { try await connection.query(sql, [oid], deadline: deadline).rows }

    func columns() async throws -> [TableShape.Column] {
        try await ask(
            """
            SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, CASE t.typtype WHEN 'd' THEN pg_catalog.format_type(b.oid, -1) END AS plain, NOT a.attnotnull AS nullable, a.attgenerated <> '' AS generated,
                   a.attidentity = 'a' AS always, \(Self.collation("a.attcollation")) AS collation,
                   CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(v.adbin, v.adrelid) END AS generation,
                   a.attgenerated = '' AND (v.oid IS NOT NULL OR a.attidentity <> '' OR t.typdefault IS NOT NULL) AS has_default,
                   ARRAY(SELECT DISTINCT s.attname::text FROM pg_catalog.pg_depend d
                         JOIN pg_catalog.pg_attribute s ON s.attrelid = d.refobjid AND s.attnum = d.refobjsubid
                         WHERE a.attgenerated <> '' AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.attrelid
                               AND d.refobjsubid > 0 AND d.refobjsubid <> a.attnum
                               AND (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = v.oid
                                    OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum)
                   ) AS sources,
                   b.oid = 'pg_catalog.oid'::pg_catalog.regtype AS large_objects,
                   CASE WHEN \(Self.isComparable) THEN (\(Self.equality)) END AS equality, \(Self.enumeration("t.oid")) AS enumeration,
                   \(Self.isOrdered) AS ordered
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                 JOIN pg_catalog.pg_type b ON b.oid = \(Self.baseType("t.oid"))
                 LEFT JOIN pg_catalog.pg_attrdef v ON v.adrelid = a.attrelid AND v.adnum = a.attnum
            WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """
        ).map { row in
            TableShape.Column(
                name: try SQLIdentifier(row.string("attname")), type: try row.string("type"), typeOfDomain: try row.optionalString("plain"), isNullable: try row.bool("nullable"),
                isGenerated: try row.bool("generated"), isIdentityAlways: try row.bool("always"),
                equality: try row.optionalString("equality").map { try TableShape.Equality(comparing: $0, type: row.string("enumeration")) },
                hasNoOrder: try row.bool("ordered") ? nil : true, collation: try row.optionalString("collation"), generation: try row.optionalString("generation"),
                sources: try row.strings("sources").map(SQLIdentifier.init), hasDefault: try row.bool("has_default"),
                refersToLargeObjects: try row.bool("large_objects"))
        }
    }

    /// The equality of the default operator class of type `b`: its own, one of a type that it is binary the same as, or that of its kind.
    static let equality = """
        SELECT \(comparing("a.attcollation"))
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

    /// The operators by which an index holds two values for one, column by column: of its own operator classes, or of its constraint.
    private static let indexEquality = """
        ARRAY(SELECT \(comparing("u.sorting"))
              FROM ROWS FROM (pg_catalog.unnest(i.indclass::oid[]), pg_catalog.unnest(i.indcollation::oid[]), pg_catalog.unnest(
                       (SELECT k.conexclop FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype = 'x')))
                       WITH ORDINALITY AS u(class, sorting, exclusion, place)
                   JOIN pg_catalog.pg_opclass c ON c.oid = u.class
                   LEFT JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype
                        AND p.amoprighttype = c.opcintype AND p.amopstrategy = 3 AND u.exclusion IS NULL
                   JOIN pg_catalog.pg_operator o ON o.oid = coalesce(u.exclusion, p.amopopr)
                   JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
              ORDER BY u.place)
        """

    /// What the values of an index's columns are enumerations of.
    private static let indexEnumerations = """
        ARRAY(SELECT \(enumeration("a.atttypid")) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = i.indexrelid AND a.attnum BETWEEN 1 AND i.indnkeyatts ORDER BY a.attnum)
        """

    func keys() async throws -> [TableShape.Key] {
        try await ask(
            """
            SELECT x.relname, i.indisprimary, \(Self.columnNames("i.indkey", "i.indrelid", count: "i.indnkeyatts")) AS columns,
                   \(Self.indexEquality) AS equality, \(Self.indexEnumerations) AS enumerations
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                  AND NOT EXISTS (SELECT FROM pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS u(place)
                                  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.place AND NOT a.attnotnull)
            ORDER BY i.indisprimary DESC, i.indnkeyatts, x.relname
            """
        ).map { row in
            TableShape.Key(
                index: try SQLIdentifier(row.string("relname")), isPrimary: try row.bool("indisprimary"),
                columns: try row.strings("columns").map(SQLIdentifier.init), equality: try TableShape.Equality.read(row))
        }
    }

    func foreignKeys() async throws -> [TableShape.ForeignKey] {
        try await ask(
            """
            SELECT k.conname, n.nspname, p.relname, p.relkind = 'p' AS partitioned, k.condeferrable, k.confmatchtype = 'f' AS whole, \(Self.constraintEquality) AS equality,
                   \(Self.columnNames("k.conkey", "k.conrelid")) AS columns,
                   \(Self.columnNames("k.confkey", "k.confrelid")) AS parents, r.bounds
            FROM \(Self.tableAndParts) AS r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.relid
                 JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
            WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname, r.schema, r.part
            """
        ).map { row in
            TableShape.ForeignKey(
                name: try SQLIdentifier(row.string("conname")), columns: try row.strings("columns").map(SQLIdentifier.init),
                parent: try QualifiedName(schema: row.string("nspname"), name: row.string("relname")),
                parentColumns: try row.strings("parents").map(SQLIdentifier.init), equality: try row.strings("equality").map { TableShape.Equality(comparing: $0) },
                isDeferrable: try row.bool("condeferrable"), parentIsPartitioned: try row.bool("partitioned"), condition: try row.optionalString("bounds"),
                namesWholeParents: try row.bool("whole") ? true : nil)
        }
    }

    func children() async throws -> [TableShape.Child] {
        try await ask(
            """
            SELECT n.nspname, c.relname, c.relkind = 'p' AS partitioned, \(Self.constraintEquality) AS equality, \(Self.columnNames("k.conkey", "k.conrelid")) AS columns,
                   \(Self.columnNames("k.confkey", "k.confrelid")) AS parents
            FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE k.confrelid IN (SELECT r.relid FROM \(Self.tableAndParts) AS r) AND k.contype = 'f' AND k.conparentid = 0 ORDER BY n.nspname, c.relname, k.conname
            """
        ).map { row in
            TableShape.Child(
                table: try QualifiedName(schema: row.string("nspname"), name: row.string("relname")),
                columns: try row.strings("columns").map(SQLIdentifier.init), parentColumns: try row.strings("parents").map(SQLIdentifier.init),
                equality: try row.strings("equality").map { TableShape.Equality(comparing: $0) }, isPartitioned: try row.bool("partitioned"))
        }
    }

    /// The operators of a foreign key `k`, column by column, with the collation of the parent's column: as the server looks for parents.
    private static let constraintEquality = """
        ARRAY(SELECT \(comparing("a.attcollation"))
              FROM ROWS FROM (pg_catalog.unnest(k.conpfeqop), pg_catalog.unnest(k.confkey)) WITH ORDINALITY AS u(operator, parent, place)
                   JOIN pg_catalog.pg_operator o ON o.oid = u.operator JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.parent
              ORDER BY u.place)
        """

    func uniqueIndexes() async throws -> [TableShape.UniqueIndex] {
        // PostgreSQL 15 brought NULLS NOT DISTINCT; as JSON, so that older servers are asked the same.
        try await ask(
            """
            SELECT x.relname, i.indisexclusion, coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_equal,
                   CASE WHEN r.part IS NULL THEN pg_catalog.pg_get_expr(i.indpred, i.indrelid)
                        ELSE pg_catalog.concat_ws(' AND ', '(' || r.bounds || ')', '(' || pg_catalog.pg_get_expr(i.indpred, i.indrelid) || ')') END AS predicate,
                   r.schema, r.part,
                   ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, g, false) FROM pg_catalog.generate_series(1, i.indnkeyatts) AS g) AS expressions,
                   \(Self.indexEquality) AS equality, \(Self.indexEnumerations) AS enumerations,
                   ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                         WHERE a.attrelid = i.indrelid AND a.attnum > 0
                               AND (a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                                    OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                               AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)
                                    OR r.part IS NOT NULL AND NOT a.attisdropped)
                         ORDER BY a.attnum) AS columns
            FROM \(Self.tableAndParts) AS r JOIN pg_catalog.pg_index i ON i.indrelid = r.relid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
            WHERE (i.indisunique OR i.indisexclusion) AND i.indisvalid
                  -- Those that belong to an index of the whole table are the same one.
                  AND (r.part IS NULL OR NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid))
            ORDER BY x.relname, r.schema, r.part
            """
        ).map { row in
            TableShape.UniqueIndex(
                name: try SQLIdentifier(row.string("relname")), expressions: try row.strings("expressions"),
                equality: try TableShape.Equality.read(row), isExclusion: try row.bool("indisexclusion"),
                columns: try row.strings("columns").map(SQLIdentifier.init), predicate: try row.optionalString("predicate").flatMap { $0.isEmpty ? nil : $0 },
                nullsAreEqual: try row.bool("nulls_equal"), part: try Self.part(row))
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
    static func columnNames(_ places: String, _ table: String, count: String? = nil) -> String {
        """
        ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(\(places)::int2[]) WITH ORDINALITY AS u(place, rank)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = \(table) AND a.attnum = u.place
              \(count.map { "WHERE u.rank <= \($0)" } ?? "") ORDER BY u.rank)
        """
    }
}
