internal import BlockingIO
internal import Foundation
internal import PostgreSQL
internal import RunCore

/// Large objects that rows of a backup name which is streamed. What tells their contents apart goes with the rows; of those that rows
/// name which differ, what is known is noted beside the live tables, and the contents themselves only where they are needed there.
struct StreamedObjects {
    let objects: RescuedObjects
    private let source: Source
    private let live: PostgresConnection
    private let deadline: Deadline

    private enum Source {
        case archive(ArchiveObjects, ObjectDigests, [UInt32: ObjectRights])
        case database(PostgresConnection)
    }

    /// - Parameter schema: where tables are made.
    /// - Returns: nil where the backup holds no contents: nothing can be said of them then.
    init?(
        of backup: TableComparison.Backup, _ live: PostgresConnection, in schema: SQLIdentifier, deadline: Deadline,
        report: @escaping @Sendable (Narrowing.Progress) -> Void
    ) async throws {
        switch backup {
        case .archive(let path, let contents):
            let entries = contents.objectDataIDs
            guard !entries.isEmpty else { return nil }
            let archive = ArchiveObjects(at: path, entries)
            source = .archive(archive, try await archive.digests(ObjectReading(report), deadline: deadline), contents.objectRights)
        case .database(let other): source = .database(other)
        case .sameDatabase: return nil
        }
        (self.live, self.deadline) = (live, deadline)
        objects = try RescuedObjects(in: schema)
        try await live.execute("DROP TABLE IF EXISTS \(objects.known.sql), \(objects.pieces.sql), \(try objects.extra.sql)", deadline: deadline)
        try await objects.make(live, deadline: deadline)
    }

    /// The backup's rows, with the digests as further fields. Those of a server come with theirs.
    func rows(_ rows: any RowSource, _ columns: [SQLIdentifier]) -> any RowSource {
        guard case .archive(_, let digests, _) = source, !columns.isEmpty else { return rows }
        return NamedContents.Rows(rows: rows, columns: columns, digests: digests)
    }

    /// Notes which objects rows of the backup name, and what tells their contents apart.
    ///
    /// - Parameters:
    ///   - lines: with the fields `fields`, those of the digests among them.
    ///   - columns: that name objects.
    func note(_ lines: RowLines, _ fields: [SQLIdentifier], _ columns: [SQLIdentifier]) async throws {
        let staging = try await stage(lines, fields, columns)
        try await live.execute(
            """
            INSERT INTO \(objects.known.sql) (number, digest) SELECT number, pg_catalog.decode(digest, 'hex') FROM \(staging.sql)
            ON CONFLICT DO NOTHING
            """, deadline: deadline)
        try await live.execute("ANALYZE \(objects.known.sql) (number)", deadline: deadline)
    }

    /// Notes which objects live rows name that the backup does not have.
    func noteExtra(_ lines: RowLines, _ fields: [SQLIdentifier], _ columns: [SQLIdentifier]) async throws {
        let staging = try await stage(lines, fields, columns), extra = try objects.extra.sql
        try await live.execute("CREATE TABLE IF NOT EXISTS \(extra) (number oid PRIMARY KEY, digest bytea)", deadline: deadline)
        let unknown = "SELECT s.number FROM \(staging.sql) AS s WHERE NOT EXISTS (SELECT FROM \(objects.known.sql) AS k WHERE k.number = s.number) ORDER BY s.number"
        let numbers = try await live.query(unknown, deadline: deadline).rows.map { try $0.integer("number", as: UInt32.self) }
        for batch in numbers.batches {
            let lacking = Set(batch).subtracting(try await there(of: batch)).sorted().map { "\($0)" }
            guard !lacking.isEmpty else { continue }
            try await live.execute(
                """
                INSERT INTO \(extra) SELECT number, pg_catalog.decode(digest, 'hex') FROM \(staging.sql) WHERE number IN (\(lacking.joined(separator: ", ")))
                ON CONFLICT DO NOTHING
                """, deadline: deadline)
        }
    }

    /// Those of them that the backup has.
    private func there(of numbers: [UInt32]) async throws -> [UInt32] {
        switch source {
        case .archive(_, let digests, _): try numbers.filter { try digests.digest(of: $0) != nil }
        case .database(let other):
            try await other.query(ObjectRights.there(numbers), deadline: deadline).rows.map { try $0.integer("number", as: UInt32.self) }
        }
    }

    /// A table with a row `number`, `digest` for each object that is named by these lines, and there.
    private func stage(_ lines: RowLines, _ fields: [SQLIdentifier], _ columns: [SQLIdentifier]) async throws -> QualifiedName {
        let read = try QualifiedName(schema: objects.known.schema.name, name: "reprise read objects")
        let named = try QualifiedName(schema: objects.known.schema.name, name: "reprise named objects")
        try await live.execute("DROP TABLE IF EXISTS \(read.sql), \(named.sql)", deadline: deadline)
        try await live.execute("CREATE TABLE \(read.sql) (number oid, digest text)", deadline: deadline)
        for (column, digest) in zip(columns, NamedContents.fields(columns)) {
            let lines = try lines.projected(fields, to: [column, digest])
            _ = try await live.copyIn("COPY \(read.sql) FROM STDIN", deadline: deadline, nextChunk: lines.portions())
        }
        try await live.execute(
            """
            CREATE TABLE \(named.sql) AS
            SELECT DISTINCT ON (number) number, digest FROM \(read.sql) WHERE pg_catalog.num_nulls(number, digest) = 0 ORDER BY number, digest
            """, deadline: deadline)
        try await live.execute("DROP TABLE \(read.sql)", deadline: deadline)
        return named
    }

    /// Lays the contents of those beside the live tables that are gone there or differ.
    func bringContents() async throws {
        let gone = try await numbers("NOT \(ObjectSQL.exists("k.number"))")
        let differing = try await numbers("\(ObjectSQL.digest(of: "k.number")) IS DISTINCT FROM k.digest")
        guard !differing.isEmpty else { return }
        let lines: RowLines
        switch source {
        case .archive(let archive, _, let rights):
            lines = try await archive.pieces(of: Set(differing), deadline: deadline)
            try await objects.noteRights(rights, live, deadline: deadline)
        case .database(let other):
            lines = try RowLines()
            for batch in differing.batches { try await copy(batch, other, into: lines) }
            for batch in gone.batches { try await objects.noteRights(try await ObjectRights.read(of: batch, other, deadline: deadline), live, deadline: deadline) }
        }
        _ = try await live.copyIn("COPY \(objects.pieces.sql) (number, place, data) FROM STDIN", deadline: deadline, nextChunk: lines.portions())
        try await live.execute("ANALYZE \(objects.pieces.sql) (number, place)", deadline: deadline)
    }

    private func numbers(_ condition: String) async throws -> [UInt32] {
        try await live.query("SELECT k.number FROM \(objects.known.sql) AS k WHERE \(condition) ORDER BY k.number", deadline: deadline)
            .rows.map { try $0.integer("number", as: UInt32.self) }
    }

    private func copy(_ numbers: [UInt32], _ other: PostgresConnection, into lines: RowLines) async throws {
        let data = "pg_catalog.lo_get(n.number, p.place * \(ObjectSQL.pieceBytes)::bigint, \(ObjectSQL.pieceBytes))"
        let sql = """
            COPY (SELECT n.number, p.place, \(data) FROM (\(ObjectRights.there(numbers))) AS n, LATERAL \(ObjectSQL.pieces(of: "n.number")) AS p) TO STDOUT
            """
        _ = try await other.copyOut(sql, deadline: deadline) { try lines.append($0) }
    }
}

extension [UInt32] {
    /// So that no statement grows with them.
    fileprivate var batches: [[UInt32]] { stride(from: 0, to: count, by: 1000).map { Array(self[$0..<Swift.min($0 + 1000, count)]) } }
}

extension RescuedObjects {
    /// Notes whose the objects were, and who might do what with them. Those of which nothing is said keep what was noted.
    func noteRights(_ all: [UInt32: ObjectRights], _ connection: PostgresConnection, deadline: Deadline) async throws {
        let loaded = try await connection.query("SELECT number FROM \(known.sql) ORDER BY number", deadline: deadline).rows
        let encoder = JSONEncoder()
        let rights = try loaded.compactMap { row -> JSONValue? in
            let number = try row.integer("number", as: UInt32.self)
            guard let own = all[number] else { return nil }
            return ["number": .integer(Int64(number)), "rights": .string(String(decoding: try encoder.encode(own), as: UTF8.self))]
        }
        try await connection.execute(
            """
            UPDATE \(known.sql) AS o SET rights = x ->> 'rights' FROM pg_catalog.jsonb_array_elements($1::jsonb) AS x
            WHERE o.number = (x ->> 'number')::pg_catalog.oid
            """, [.text(try sortedJSON(JSONValue.array(rights)))], deadline: deadline)
    }
}

extension ObjectRights {
    /// Rows `number` of those that a server has.
    fileprivate static func there(_ numbers: [UInt32]) -> String {
        "SELECT m.oid AS number FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid IN (\(numbers.map { "\($0)" }.joined(separator: ", ")))"
    }

    /// As a server has them. An object with rights of its own has those alone: its owner may have lost some.
    fileprivate static func read(of numbers: [UInt32], _ other: PostgresConnection, deadline: Deadline) async throws -> [UInt32: ObjectRights] {
        let rows = try await other.query(
            """
            SELECT n.number, pg_catalog.pg_get_userbyid(m.lomowner) AS owner, m.lomacl IS NOT NULL AS has_own, x.privilege_type AS privilege,
                   x.is_grantable AS grantable, coalesce(x.grantee = 0, false) AS everybody, r.rolname AS role
            FROM (\(there(numbers))) AS n JOIN pg_catalog.pg_largeobject_metadata AS m ON m.oid = n.number
                 LEFT JOIN LATERAL pg_catalog.aclexplode(m.lomacl) WITH ORDINALITY AS x(grantor, grantee, privilege_type, is_grantable, place) ON true
                 LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
            ORDER BY n.number, x.place
            """, deadline: deadline
        ).rows
        var rights: [UInt32: ObjectRights] = [:]
        for row in rows {
            let number = try row.integer("number", as: UInt32.self), owner = try row.string("owner")
            var own = rights[number] ?? ObjectRights(owner: owner)
            if try row.bool("has_own"), own.grants.isEmpty { own.grants.append(Grant(isGiven: false, privileges: ["ALL"], role: owner, withGrantOption: false)) }
            if let privilege = try row.optionalString("privilege") {
                let role = try row.optionalString("role"), isForAll = try row.bool("everybody"), mayGrant = try row.bool("grantable")
                if role != nil || isForAll {
                    own.grants.append(Grant(isGiven: true, privileges: [privilege], role: role, withGrantOption: role != owner && mayGrant))
                }
            }
            rights[number] = own
        }
        return rights
    }
}
