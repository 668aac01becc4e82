import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Archives into which somebody wrote what pg_dump does not: of those, names, types and values come to the server, and nothing is run.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct CraftedArchiveTests {
    private static let schema = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'one'); CREATE TABLE u (id int); INSERT INTO u VALUES (7)"
    private static let evil = "CREATE TABLE app.evil ();\n"

    private func name(_ name: String) throws -> QualifiedName { try QualifiedName(schema: "app", name: name) }

    /// A dump whose parts lie open in a folder. Removed with the cluster.
    private func dump(_ bench: Bench) async throws -> String {
        let path = "\(bench.cluster.folder)/crafted-\(UUID().uuidString)"
        try await bench.cluster.must("pg_dump -Fd -Z0 -f '\(path)' '\(bench.database)'")
        return path
    }

    private func contents(_ path: String) throws -> ArchiveTOC { try ArchiveTOC(bytes: Array(Data(contentsOf: URL(fileURLWithPath: path + "/toc.dat")))) }

    /// Puts one text of the table of contents in place of another.
    private func write(_ text: String, insteadOf old: String, in path: String) throws {
        func stored(_ text: String) -> Data { Data([0] + withUnsafeBytes(of: UInt32(text.utf8.count).littleEndian, Array.init) + Array(text.utf8)) }
        let file = URL(fileURLWithPath: path + "/toc.dat")
        var bytes = try Data(contentsOf: file)
        bytes.replaceSubrange(try #require(bytes.range(of: stored(old))), with: stored(text))
        try bytes.write(to: file)
    }

    /// As a step does it, whatever comes of it.
    private func load(_ path: String, _ bench: Bench) async throws -> Outcome {
        let contents = try contents(path), rescue = try RescueTables([name("t"), name("u")], from: contents, into: try SQLIdentifier("rescue"))
        for table in rescue.tables { try await bench.run(table.definition) }
        return try await bench.cluster.run(rescue.loadingScript(from: contents, archive: "'\(path)'", database: "'\(bench.database)'"))
    }

    /// What psql itself might take for the end of the rows: after it, everything would be statements to it. A NUL hides from it where a
    /// long line goes on.
    @Test(arguments: ["", "\\.\n", "\\.\r\n", "\\.\r", "2\tx\n\\.\n\\.\n", "2\tx\n\0" + String(repeating: "x", count: 8179) + "\\.\n", "\\.", "\\.x\n"])
    func rowsThatEndTheDataAreFollowedByNothing(end: String) async throws {
        let bench = try await Bench(Self.schema), path = try await dump(bench)
        let data = try #require(try contents(path).entries.first { $0.kind == "TABLE DATA" && $0.tag == "t" })
        guard case .file(let file) = data.dataState else { return #expect(Bool(false), "\(data.dataState)") }
        try Data("1\tone\n\(end)\(end.isEmpty ? "" : Self.evil + "\\! touch '\(path)/evil'\n")\\.\n\n\n".utf8).write(to: URL(fileURLWithPath: "\(path)/\(file)"))
        let outcome = try await load(path, bench)
        #expect(try await bench.value("SELECT to_regclass('app.evil') IS NULL") == "t")
        #expect(!FileManager.default.fileExists(atPath: "\(path)/evil"))
        guard end.isEmpty else { return }
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try await bench.value("SELECT (SELECT count(*) FROM rescue.t), (SELECT id FROM rescue.u)") == "1|7")
    }

    @Test(arguments: [
        "COPY app.t (id, name) FROM stdin;\n\\.\n\(CraftedArchiveTests.evil)COPY app.t (id, name) FROM stdin;\n", "COPY app.t (id, name) FROM PROGRAM 'id';\n",
        "COPY app.t (id, name) FROM stdin; \(CraftedArchiveTests.evil)", "COPY app.u (id) FROM stdin;\n", "COPY app.t (id, \"a\nb\") FROM stdin;\n",
    ])
    func dataThatBeginsOtherwiseIsRefused(statement: String) async throws {
        let bench = try await Bench(Self.schema), path = try await dump(bench)
        try write(statement, insteadOf: "COPY app.t (id, name) FROM stdin;\n", in: path)
        let refused = try #require(throws: ReconcileRefused.self) { try RescueTables([name("t")], from: contents(path), into: SQLIdentifier("rescue")) }
        #expect(refused.code == "reconcile.odd-data")
    }

    /// What a column could be made to do: before rows come, with each row, or by ending the statement.
    @Test(arguments: [
        ("id integer DEFAULT app.f() NOT NULL,\n    name text", "\"id\" integer NOT NULL, \"name\" text"),
        ("id integer,\n    name text CHECK (app.f() > 0),\n    CONSTRAINT c CHECK ((app.f() > 0))", "\"id\" integer, \"name\" text"),
        ("id integer DEFAULT '\\' NOT NULL,\n    name text DEFAULT ')'::text COLLATE pg_catalog.\"C\"", "\"id\" integer NOT NULL, \"name\" text COLLATE \"pg_catalog\".\"C\""),
        ("id integer,\n    name text GENERATED ALWAYS AS ((upper('a)'::text) || '\\')) STORED", "\"id\" integer, \"name\" text GENERATED ALWAYS AS ((upper('a)'::text) || '\\')) STORED"),
        ("id integer,\n    name text GENERATED ALWAYS AS (E'\\')); \(CraftedArchiveTests.evil)--')) STORED", nil),
        ("id integer,\n    name text GENERATED ALWAYS AS ($$)$$) STORED", nil), ("id integer,\n    name text DEFAULT 1 -- )\n)", nil),
        ("id integer default app.f(),\n    name text", "\"id\" integer, \"name\" text"), ("id varchar(app.f()),\n    name text", nil),
        ("id integer,\n    name text", "\"id\" integer, \"name\" text"), ("id integer,\n    name text) AS SELECT app.f(), ''; --", "\"id\" integer, \"name\" text"),
    ] as [(String, String?)])
    func ofATableOnlyNamesAndTypesAreMade(columns: String, made: String?) async throws {
        let definition = TableDefinition("CREATE TABLE app.t (\n    \(columns)\n);\n")
        guard let made else {
            let refused = try #require(throws: ReconcileRefused.self) { try definition.parts(of: name("t")) }
            return #expect(refused.code == "reconcile.odd-table")
        }
        #expect(try definition.parts(of: name("t")).columns.joined(separator: ", ") == made)
    }

    @Test func typesOfAllKindsAreMadeAsTheyWere() async throws {
        let bench = try await Bench(
            #"""
            CREATE DOMAIN "Odd (domain)" AS numeric(10,2) CHECK (value > 0); CREATE TYPE pair AS (a int, b text); CREATE TYPE mood AS ENUM ('it''s', 'ok');
            CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, c "char" DEFAULT '(', n numeric(10,2)[] DEFAULT '{}', z timestamp(3) with time zone DEFAULT now(),
                "time, zone" time(2) without time zone, i interval day to second(3), y interval year to month, b bit varying(8), d "Odd (domain)" NOT NULL DEFAULT 1,
                p pair, m mood DEFAULT 'it''s', v varchar(20) COLLATE "C" DEFAULT E'\\(''' NOT NULL, f double precision, x xml, "na""me" bpchar(3),
                g text GENERATED ALWAYS AS (upper(v) || E')\\''') STORED, CHECK (f <> 'NaN'), CONSTRAINT "a, b" CHECK ("na""me" <> ')'))
            """#)
        let rescue = try RescueTables([name("t")], from: contents(try await dump(bench)), into: try SQLIdentifier("rescue"))
        try await bench.run(rescue.tables[0].definition)
        let columns = { (schema: String) in
            try await bench.value(
                """
                SELECT attname, format_type(atttypid, atttypmod), attcollation, attnotnull, attgenerated FROM pg_attribute
                WHERE attrelid = '\(schema).t'::regclass AND attnum > 0 ORDER BY attnum
                """)
        }
        #expect(try await columns("rescue") == columns("app"))
        #expect(try await bench.value("SELECT count(*) FROM pg_constraint WHERE conrelid = 'rescue.t'::regclass") == "0")
    }

    @Test func tablesThatInheritFromThemselvesAreRefused() async throws {
        let bench = try await Bench("CREATE TABLE a (id int); CREATE TABLE b () INHERITS (a)"), path = try await dump(bench)
        try write("CREATE TABLE app.a (\n    id integer\n)\nINHERITS (app.b);\n", insteadOf: "CREATE TABLE app.a (\n    id integer\n);\n", in: path)
        let refused = try #require(throws: ReconcileRefused.self) { try RescueTables([name("b")], from: contents(path), into: SQLIdentifier("rescue")) }
        #expect(refused.message.contains("inherits from itself"))
    }

    /// Columns' names stand in it, and columns come out of the archive.
    @Test func theQueryForNumbersIsNothingToTheShell() async throws {
        let bench = try await Bench("CREATE TABLE t (id int)"), objects = try RescuedObjects(in: try SQLIdentifier("rescue")), sign = "\(bench.cluster.folder)/\(UUID().uuidString)"
        let (path, contents) = try await bench.dump()
        try await objects.make(bench.connection, deadline: soon())
        let numbers = "SELECT 1::oid AS \"x\nQUERY\ntouch '\(sign)'\n: 'it\""
        let outcome = try await bench.cluster.run(objects.loadingScript(numbers, dataIDs: contents.objectDataIDs, archive: "'\(path)'", database: "'\(bench.database)'"))
        #expect(outcome.status == 0 && !FileManager.default.fileExists(atPath: sign), "\(outcome.errors)")
    }
}
