internal import BlockingIO
package import PostgreSQL

/// Large objects of a backup, laid beside the live ones as rows of tables: those that rows of the backup name.
///
/// Objects of the database's own would take numbers that live ones have or need, and would outlive the schema.
package struct RescuedObjects: Sendable, Hashable, Codable {
    /// One row for each: `number`, `digest` of the content, and `rights` as JSON of `ObjectRights`, or NULL.
    package let known: QualifiedName
    /// `number`, `place`, `data`: the contents in pieces of `pieceBytes`; the last one is shorter, and may be empty.
    package let pieces: QualifiedName
    /// Where the differences are kept.
    package let diff: QualifiedName
    /// `number`, `digest`: of live rows' objects those that the backup does not have. Only where nothing but a look is wanted.
    var extra: QualifiedName { get throws { try QualifiedName(schema: known.schema.name, name: "reprise extra objects") } }
    /// How many were loaded; nil before that.
    package var count: Int64?

    package init(in schema: SQLIdentifier) throws {
        known = try QualifiedName(schema: schema.name, name: "reprise objects")
        pieces = try QualifiedName(schema: schema.name, name: "reprise object pieces")
        diff = try QualifiedName(schema: schema.name, name: "reprise diff objects")
    }
}

extension QualifiedName {
    /// Large objects are shown, counted and audited as if they were the rows of this table.
    package static func largeObjects() throws -> QualifiedName { try QualifiedName(schema: "pg_catalog", name: "pg_largeobject") }
}

/// SQL about the content of one large object, piece by piece: memory does not grow with it, and no right is needed but to read it.
enum ObjectSQL {
    static let pieceBytes = 256 * 1024

    /// True where there is such an object.
    static func exists(_ number: String) -> String { "EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid = \(number))" }

    /// Rows `place`, `digest` of the pieces of an object that exists. Where the last piece is full, an empty one follows: `lo_get` has no
    /// other way to say that there is no more.
    static func pieces(of number: String) -> String {
        let data = { (place: String) in "(SELECT pg_catalog.lo_get(\(number), \(place), \(pieceBytes)) AS data OFFSET 0) AS x" }
        return """
            (WITH RECURSIVE p(place, digest, bytes) AS (
                SELECT 0, pg_catalog.sha256(x.data), pg_catalog.length(x.data) FROM \(data("0"))
                UNION ALL
                SELECT p.place + 1, pg_catalog.sha256(x.data), pg_catalog.length(x.data)
                FROM p, LATERAL \(data("(p.place + 1) * \(pieceBytes)::bigint")) WHERE p.bytes = \(pieceBytes))
             SELECT place, digest FROM p)
            """
    }

    /// Of an object that exists; NULL where it does not.
    static func digest(of number: String) -> String {
        "(CASE WHEN \(exists(number)) THEN (SELECT \(all("q.digest")) FROM \(pieces(of: number)) AS q) END)"
    }

    /// Of an object whose pieces are rows `place`, `data` of a table.
    static var digestOfRows: String { all("pg_catalog.sha256(data)") }

    private static func all(_ digest: String) -> String {
        "pg_catalog.sha256(coalesce(pg_catalog.string_agg(\(digest), ''::bytea ORDER BY place), ''::bytea))"
    }

    /// Empties the objects whose numbers `rows` selects as `number`. Each is closed before the next one is opened.
    static func emptying(_ rows: String) -> String {
        """
        SELECT pg_catalog.count(CASE WHEN pg_catalog.lo_truncate(o.opened, 0) = 0 THEN pg_catalog.lo_close(o.opened) END)
        FROM (SELECT pg_catalog.lo_open(r.number, 131072) AS opened FROM \(rows) AS r OFFSET 0) AS o
        """
    }

    /// Writes rows `number`, `place`, `data` into the objects.
    static func writing(_ rows: String) -> String {
        "SELECT pg_catalog.count(pg_catalog.lo_put(r.number, r.place * \(pieceBytes)::bigint, r.data)) FROM \(rows) AS r"
    }
}
