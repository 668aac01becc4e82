internal import PostgreSQL

/// What a row must fulfil by itself, and how types compare.
extension ShapeReader {
    /// Check constraints, and of a partitioned table that a partition takes the row.
    func checks() async throws -> [TableShape.Check] {
        let constraints = try await ask(
            """
            SELECT k.conname, pg_catalog.pg_get_expr(k.conbin, k.conrelid) AS expression, \(Self.columnNames("k.conkey", "k.conrelid")) AS columns
            FROM pg_catalog.pg_constraint k WHERE k.conrelid = $1 AND k.contype = 'c' AND NOT 0 = ANY (coalesce(k.conkey, '{}')) ORDER BY k.conname
            """
        ).map { row in
            TableShape.Check(
                reason: "the check constraint \(try SQLIdentifier(row.string("conname"))) forbids it", expression: try row.string("expression"),
                columns: try row.strings("columns").map(SQLIdentifier.init))
        }
        return constraints + (try await partitions()) + (try await rulesOfParts())
    }

    /// The table itself, whose `part` is NULL, and the parts of a partitioned one at every depth, with what is true of the rows that lie
    /// there; NULL where nothing else takes any.
    static let tableAndParts = """
        (SELECT $1::pg_catalog.oid AS relid, NULL::text AS schema, NULL::text AS part, NULL::text AS bounds
         UNION ALL
         SELECT l.relid, n.nspname::text, p.relname::text, pg_catalog.pg_get_partition_constraintdef(l.relid)
         FROM pg_catalog.pg_class c, pg_catalog.pg_partition_tree(c.oid) AS l JOIN pg_catalog.pg_class p ON p.oid = l.relid
              JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
         WHERE c.oid = $1 AND c.relkind = 'p' AND l.level > 0)
        """

    static func part(_ row: PostgresRow) throws -> QualifiedName? {
        guard let name = try row.optionalString("part") else { return nil }
        return try QualifiedName(schema: row.string("schema"), name: name)
    }

    /// What single parts refuse and the whole table does not: a row that would lie there must fulfil it.
    private func rulesOfParts() async throws -> [TableShape.Check] {
        try await ask(
            """
            SELECT r.schema, r.part, r.bounds, o.name, o.expression,
                   ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
            FROM \(Self.tableAndParts) AS r, LATERAL (
                SELECT k.conname::text AS name, pg_catalog.pg_get_expr(k.conbin, k.conrelid) AS expression
                FROM pg_catalog.pg_constraint k WHERE k.conrelid = r.relid AND k.contype = 'c' AND k.coninhcount = 0
                UNION ALL
                SELECT NULL, pg_catalog.format('pg_catalog.num_nulls(%I) = 0', a.attname) FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = r.relid AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped AND a.attinhcount > 0 AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_attribute u ON u.attrelid = h.inhparent AND u.attname = a.attname
                    WHERE h.inhrelid = r.relid AND u.attnotnull)) AS o
            WHERE r.part IS NOT NULL ORDER BY r.schema, r.part, o.name, o.expression
            """
        ).map { row in
            let part = try Self.part(row)!, bounds = try row.optionalString("bounds").map { "(\($0)) IS NOT TRUE OR " } ?? ""
            let what = try row.optionalString("name").map { "the check constraint \(try SQLIdentifier($0)) of \(part) forbids it" } ?? "\(part) takes no NULL there"
            return TableShape.Check(
                reason: what, expression: "\(bounds)(\(try row.string("expression")))", columns: try row.strings("columns").map(SQLIdentifier.init))
        }
    }

    private func partitions() async throws -> [TableShape.Check] {
        // A partition without bounds takes everything; what an expression divides by is not known column by column, so all of them.
        let found = try await ask(
            """
            SELECT pg_catalog.pg_get_partition_constraintdef(l.relid) AS bounds,
                   ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
            FROM pg_catalog.pg_class c, pg_catalog.pg_partition_tree(c.oid) AS l WHERE c.oid = $1 AND c.relkind = 'p' AND l.isleaf AND l.level > 0
            """)
        guard let first = found.first else { return [] }
        let bounds = try found.map { try $0.optionalString("bounds") }
        guard !bounds.contains(nil) else { return [] }
        return [
            TableShape.Check(
                reason: "no partition takes it", expression: bounds.map { "(\($0!))" }.joined(separator: " OR "),
                columns: try first.strings("columns").map(SQLIdentifier.init))
        ]
    }

    /// `OPERATOR(schema.name)` of the operator `o` in the schema `n`, after the collation that it compares by.
    static func comparing(_ collation: String) -> String {
        "pg_catalog.concat('COLLATE ' || \(self.collation(collation)) || ' ', pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname))"
    }

    static func collation(_ oid: String) -> String {
        """
        (SELECT pg_catalog.format('%I.%I', cn.nspname, cl.collname) FROM pg_catalog.pg_collation cl
         JOIN pg_catalog.pg_namespace cn ON cn.oid = cl.collnamespace WHERE cl.oid = \(oid))
        """
    }

    /// The type that a domain, or a domain over one, is over in the end.
    static func baseType(_ type: String) -> String {
        """
        (WITH RECURSIVE domains(type) AS (SELECT \(type) UNION ALL SELECT dt.typbasetype FROM domains JOIN pg_catalog.pg_type dt ON dt.oid = domains.type
                                          WHERE dt.typtype = 'd')
         SELECT dt.oid FROM domains JOIN pg_catalog.pg_type dt ON dt.oid = domains.type WHERE dt.typtype <> 'd')
        """
    }

    /// The enumeration that a type is or is a domain over; '' for every other.
    static func enumeration(_ type: String) -> String {
        """
        coalesce((SELECT pg_catalog.format_type(en.oid, -1) FROM pg_catalog.pg_type en WHERE en.oid = \(baseType(type)) AND en.typtype = 'e'), '')
        """
    }

    /// Whether all that a value of the column's type is made of has an equality: an array of points and a composite with json have one
    /// by their kind, and fail when it is used.
    static let isComparable = isMadeOfTypes(withClassesOf: "'btree', 'hash'")

    /// True where two values of type `t` can be put in order.
    static let isOrdered = isMadeOfTypes(withClassesOf: "'btree'")

    private static func isMadeOfTypes(withClassesOf methods: String) -> String {
        """
        NOT EXISTS (
            WITH RECURSIVE parts(type) AS (
                SELECT t.oid
                UNION SELECT u.type FROM parts JOIN pg_catalog.pg_type e ON e.oid = parts.type, LATERAL (
                    SELECT e.typbasetype WHERE e.typtype = 'd'
                    UNION ALL SELECT e.typelem WHERE e.typcategory = 'A' AND e.typlen = -1 AND e.typelem <> 0
                    UNION ALL SELECT m.atttypid FROM pg_catalog.pg_attribute m
                              WHERE e.typtype = 'c' AND m.attrelid = e.typrelid AND m.attnum > 0 AND NOT m.attisdropped) AS u(type))
            SELECT FROM parts JOIN pg_catalog.pg_type b ON b.oid = parts.type
            WHERE b.typtype = 'b' AND NOT (b.typcategory = 'A' AND b.typlen = -1) AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname IN (\(methods))
                WHERE c.opcdefault AND (c.opcintype = b.oid OR EXISTS (
                    SELECT FROM pg_catalog.pg_cast k WHERE k.castsource = b.oid AND k.casttarget = c.opcintype AND k.castmethod = 'b'))))
        """
    }
}
