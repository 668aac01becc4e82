internal import PostgreSQL

/// SQL about rows of one pair of tables. Names and operators are quoted and qualified; values never stand in it.
struct RowSQL {
    let pair: TablePair

    var key: TableShape.Key? { pair.key }

    /// `"a", "b"`, with an alias before each where one is given.
    func list(_ names: [SQLIdentifier], of alias: String? = nil) -> String {
        names.map { (alias.map { "\($0)." } ?? "") + $0.sql }.joined(separator: ", ")
    }

    var columnNames: [SQLIdentifier] { pair.columns.map(\.name) }

    /// The row as text, column by column, under the session's pinned settings: what the types' own output functions write. NULL stays
    /// NULL, also for a composite all of whose members are NULL and which is none itself. Images are the same byte by byte, whatever the
    /// column's collation holds for the same.
    func image(_ alias: String) -> String {
        "ARRAY[" + pair.columns.map { imageOf($0, "\(alias).\($0.name.sql)") }.joined(separator: ", ") + "]::text[]"
    }

    /// The image of a live row, and after it what only live rows hold.
    func wholeImage(_ alias: String) -> String { pair.others == nil ? image(alias) : "\(image(alias)) || \(imageOfOthers(alias))" }

    /// What only live rows hold, as text.
    func imageOfOthers(_ alias: String) -> String {
        "ARRAY[\((pair.others ?? []).map { imageOf($0, "\(alias).\($0.name.sql)") }.joined(separator: ", "))]::text[]"
    }

    private func imageOf(_ column: TableShape.Column, _ value: String) -> String {
        if column.castIsOutput { return "\(value)::pg_catalog.text COLLATE pg_catalog.\"C\"" }
        return "CASE WHEN pg_catalog.num_nulls(\(value)) = 0 THEN pg_catalog.format('%s', \(value)) COLLATE pg_catalog.\"C\" END"
    }

    /// The row as one value that is the same for rows that mean the same: by each type's own equality, and as text where it has none,
    /// or no order by which rows can be put together.
    func meaning(_ alias: String) -> String {
        "ROW(" + pair.columns.map { column in
            let value = "\(alias).\(column.name.sql)", collation = column.collation.map { " COLLATE \($0)" } ?? ""
            return column.equality == nil || column.hasNoOrder == true ? imageOf(column, value) : value + collation
        }.joined(separator: ", ") + ")"
    }

    /// True where two rows have the same key, as the key's own index holds keys for the same.
    func sameKey(_ left: String, _ right: String) -> String {
        guard let key else { return "false" }
        return zip(key.columns, key.equality).map { $1.holds("\(left).\($0.sql)", "\(right).\($0.sql)") }.joined(separator: " AND ")
    }

    /// True where the rows differ, or where they do in one column.
    func differs(_ left: String, _ right: String, _ mode: ComparisonMode, only: TableShape.Column? = nil) -> String {
        let columns = only.map { [$0] } ?? pair.columns
        let exact = columns.filter { mode == .exact || $0.equality == nil }, meant = columns.filter { mode == .semantic && $0.equality != nil }
        var terms: [String] = meant.map { column in
            let (a, b) = ("\(left).\(column.name.sql)", "\(right).\(column.name.sql)")
            return "CASE pg_catalog.num_nulls(\(a), \(b)) WHEN 0 THEN NOT (\(column.equality!.holds(a, b))) WHEN 1 THEN true ELSE false END"
        }
        if !exact.isEmpty {
            // The operator's function: between two rows that are written out, the operator would be taken apart column by column.
            terms.append("pg_catalog.record_image_ne(ROW(\(list(exact.map(\.name), of: left))), ROW(\(list(exact.map(\.name), of: right))))")
        }
        return "(\(terms.joined(separator: " OR ")))"
    }

    /// True where no row of any table leads to this one: deleting it takes nothing else along, whatever its constraints do on a delete.
    func isUnreferenced(_ alias: String) -> String { Self.isUnreferenced(alias, by: pair.live.children) }

    static func isUnreferenced(_ alias: String, by children: [TableShape.Child]) -> String {
        let references = children.map { child in
            "NOT EXISTS (SELECT FROM \(child.from) AS child WHERE \(child.leads(from: "child", to: alias)))"
        }
        return references.isEmpty ? "true" : references.joined(separator: " AND ")
    }

    /// Rows in the order of their keys, the same on every server: text by its bytes.
    func order(_ alias: String) -> String {
        guard let key else { return "true" }
        return key.columns.map { ordered($0, "\(alias).\($0.sql)") }.joined(separator: ", ")
    }

    /// The value of a column as something to order by.
    func ordered(_ column: SQLIdentifier, _ value: String) -> String {
        pair.live.column(column)?.collation == nil ? value : value + " COLLATE \"C\""
    }
}

extension RowSQL {
    /// A text that comes out of a catalog or out of this program; never NUL, which neither can hold.
    static func text(_ value: String) -> String { (try? SQLLiteral(value).sql) ?? "''" }

    /// Rows `relid`: a table, and all parts that it has.
    static func parts(of table: String) -> String {
        "(SELECT \(table)::pg_catalog.oid AS relid UNION SELECT relid FROM pg_catalog.pg_partition_tree(\(table)))"
    }

    static func texts(_ values: [String]) -> String { "ARRAY[\(values.map(text).joined(separator: ", "))]::text[]" }
}

extension TableShape.Column {
    /// The server casts the type to text by its output function; others, such as boolean and character(n), have a cast that writes
    /// something else. Asking the output function by name of the type takes several times as long.
    var castIsOutput: Bool {
        let base = type.hasSuffix("[]") ? type.dropLast(2) : type[...]
        return Self.castTypes.contains(String(base.prefix { $0 != "(" }))
            || base.hasPrefix("timestamp") && (base.hasSuffix(" time zone") || base == "timestamp")
    }

    /// As `format_type` writes them; a type of that name in another schema has the schema before it.
    private static let castTypes: Set<String> = [
        "smallint", "integer", "bigint", "numeric", "real", "double precision", "text", "character varying", "date", "uuid", "json", "jsonb", "bytea",
    ]
}

extension TableShape {
    /// By what two values are held for one.
    package struct Equality: Sendable, Hashable, Codable {
        /// `OPERATOR(schema.=)`, after a collation where there is one. Written with its schema, since the `=` that a search path finds for
        /// citext is the one of text.
        package let comparing: String
        /// Of enumerations the type: their operator knows no domains over them (and the server no foreign keys of those). Empty for others.
        package var type = ""

        func holds(_ left: String, _ right: String) -> String {
            type.isEmpty ? "\(left) \(comparing) \(right)" : "(\(left))::\(type) \(comparing) (\(right))::\(type)"
        }

        static func read(_ row: PostgresRow) throws -> [Equality] {
            zip(try row.strings("equality"), try row.strings("enumerations")).map { Equality(comparing: $0, type: $1) }
        }
    }
}
