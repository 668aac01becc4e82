import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// One differing value of each kind that is easy to miss.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct PlantedDifferenceTests {
    struct Planted: Sendable, CustomTestStringConvertible {
        let type: String
        let backup: String
        let live: String
        /// Found by a comparison by meaning.
        let differsInMeaning: Bool
        var testDescription: String { "\(type): \(backup) | \(live)" }
    }

    static let planted = [
        Planted(type: "numeric", backup: "1.0", live: "1.00", differsInMeaning: false),
        Planted(type: "text", backup: "NULL", live: "''", differsInMeaning: true),
        Planted(type: "float8", backup: "-0.0::float8", live: "0", differsInMeaning: false),
        Planted(type: "public.citext", backup: "'Ann'", live: "'ann'", differsInMeaning: false),
        Planted(type: "jsonb", backup: "'{\"a\": 1.0}'", live: "'{\"a\": 1.00}'", differsInMeaning: false),
        Planted(type: "json", backup: "'{\"a\":1}'", live: "'{\"a\": 1}'", differsInMeaning: true),
        Planted(type: "text", backup: "'x'", live: "'x '", differsInMeaning: true),
        Planted(type: "char(3)", backup: "'x'", live: "'y'", differsInMeaning: true),
        Planted(type: "text", backup: "E'u\\u0308'", live: "E'\\u00fc'", differsInMeaning: true),
        Planted(type: "timestamptz", backup: "'infinity'", live: "'-infinity'", differsInMeaning: true),
        Planted(type: "date", backup: "'0044-03-15 BC'", live: "'0044-03-15'", differsInMeaning: true),
        Planted(type: "bytea", backup: "'\\x00'", live: "'\\x0000'", differsInMeaning: true),
        Planted(type: "text[]", backup: "'{NULL}'", live: "'{\"NULL\"}'", differsInMeaning: true),
        Planted(type: "int[]", backup: "'[0:1]={1,2}'", live: "'{1,2}'", differsInMeaning: true),
        Planted(type: "int4range", backup: "'[1,5)'", live: "'[1,6)'", differsInMeaning: true),
        Planted(type: "app.pair", backup: "ROW(NULL, NULL)", live: "NULL", differsInMeaning: true),
        Planted(type: "app.mood", backup: "'sad'", live: "'glad'", differsInMeaning: true),
        Planted(type: "point", backup: "'(1,2)'", live: "'(1,2.5)'", differsInMeaning: true),
        Planted(type: "interval", backup: "'1 month'", live: "'30 days'", differsInMeaning: false),
        Planted(type: "app.short", backup: "'a'", live: "'b'", differsInMeaning: true),
        Planted(type: "interval", backup: "'1 day'", live: "'24 hours'", differsInMeaning: false),
        Planted(type: "numeric", backup: "'NaN'", live: "0", differsInMeaning: true),
        Planted(type: "float4", backup: "'1e-40'", live: "0", differsInMeaning: true),
        Planted(type: "date", backup: "'infinity'", live: "'-infinity'", differsInMeaning: true),
        Planted(type: "timestamp", backup: "'0044-03-15 12:00 BC'", live: "'0044-03-15 12:00'", differsInMeaning: true),
        Planted(type: "timestamptz", backup: "'2026-01-01 00:00:00.000001+00'", live: "'2026-01-01 00:00:00+00'", differsInMeaning: true),
        Planted(type: "timetz", backup: "'12:00+00'", live: "'13:00+01'", differsInMeaning: true),
        Planted(type: "xml", backup: "'<a/>'", live: "'<a></a>'", differsInMeaning: true),
        Planted(type: "bit(3)", backup: "B'101'", live: "B'100'", differsInMeaning: true),
        Planted(type: "bit varying", backup: "B'10'", live: "B'100'", differsInMeaning: true),
        Planted(type: "inet", backup: "'10.0.0.1/24'", live: "'10.0.0.1'", differsInMeaning: true),
        Planted(type: "cidr", backup: "'10.0.0.0/8'", live: "'10.0.0.0/16'", differsInMeaning: true),
        Planted(type: "macaddr", backup: "'08:00:2b:01:02:03'", live: "'08:00:2b:01:02:04'", differsInMeaning: true),
        Planted(type: "macaddr8", backup: "'08:00:2b:01:02:03:04:05'", live: "'08:00:2b:01:02:03:04:06'", differsInMeaning: true),
        Planted(type: "money", backup: "1.00", live: "1.01", differsInMeaning: true),
        Planted(type: "tsvector", backup: "'a:1'", live: "'a:1A'", differsInMeaning: true),
        Planted(type: "tsquery", backup: "'a & b'", live: "'b & a'", differsInMeaning: true),
        Planted(type: "int4multirange", backup: "'{[1,3)}'", live: "'{[1,3),[5,6)}'", differsInMeaning: true),
        Planted(type: "numrange", backup: "'[1.0,2)'", live: "'[1.00,2)'", differsInMeaning: false),
        Planted(type: "numeric[]", backup: "'{1.0}'", live: "'{1.00}'", differsInMeaning: false),
        Planted(type: "public.citext[]", backup: "'{A}'", live: "'{a}'", differsInMeaning: false),
        Planted(type: "app.amount", backup: "ROW(1.0)", live: "ROW(1.00)", differsInMeaning: false),
        Planted(type: "int[]", backup: "NULL", live: "'{}'", differsInMeaning: true),
        Planted(type: "int[]", backup: "'{{1,2}}'", live: "'{1,2}'", differsInMeaning: true),
        Planted(type: "json", backup: "'{\"a\":1,\"a\":2}'", live: "'{\"a\":2}'", differsInMeaning: true),
        Planted(type: "json", backup: "'\"\\u0041\"'", live: "'\"A\"'", differsInMeaning: true),
        Planted(type: "jsonpath", backup: "'$.a'", live: "'$.b'", differsInMeaning: true),
        Planted(type: "box", backup: "'(0,0),(1,2)'", live: "'(0,0),(2,1)'", differsInMeaning: true),
        Planted(type: "text", backup: "E'x\\n'", live: "'x'", differsInMeaning: true),
        Planted(type: "text", backup: "U&'\\FF21'", live: "'A'", differsInMeaning: true),
        Planted(type: "uuid", backup: "'00000000-0000-0000-0000-000000000001'", live: "'00000000-0000-0000-0000-000000000010'", differsInMeaning: true),
    ]

    /// The same in a domain over each type.
    static let domains = planted.enumerated().map { place, planted in
        Planted(type: "app.domain\(place)", backup: planted.backup, live: planted.live, differsInMeaning: planted.differsInMeaning)
    }

    /// Other spellings of one value: no difference, in no mode.
    static let spellings = [
        ("char(3)", "'x'", "'x  '"), ("jsonb", "'{\"a\": 1, \"b\": 2}'", "'{\"b\":2,\"a\":3,\"a\":1}'"), ("int4range", "'(0,5)'", "'[1,5)'"),
        ("timestamptz", "'2026-01-01 00:00+00'", "'2026-01-01 01:00+01'"), ("tsvector", "'b a'", "'a b a'"), ("numeric", "1e2", "100"),
        ("macaddr", "'08002b:010203'", "'08:00:2b:01:02:03'"), ("inet", "'10.0.0.1'", "'10.0.0.1/32'"), ("bytea", "'\\x41'", "'A'"),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'a0eebc999c0b4ef8bb6d6bb9bd380a11'"), ("interval", "'1 day 00:00'", "'P1D'"),
        ("date", "'2026-01-01 AD'", "'20260101'"), ("int4multirange", "'{[1,3),[3,5)}'", "'{[1,5)}'"), ("money", "'$1'", "1.00"),
        ("bit(3)", "B'101'", "X'A'::bit(3)"),
    ]

    static let types = """
        CREATE EXTENSION citext SCHEMA public; CREATE TYPE pair AS (a int, b text); CREATE TYPE mood AS ENUM ('glad', 'sad');
        CREATE DOMAIN short AS varchar(5); CREATE TYPE amount AS (n numeric);
        \(planted.enumerated().map { "CREATE DOMAIN domain\($0) AS \($1.type);" }.joined(separator: " "))
        """

    @Test(arguments: [false, true]) func everyKindIsFoundExactlyAndJudgedByMeaningAsDocumented(inDomains: Bool) async throws {
        let planted = inDomains ? Self.domains : Self.planted
        let columns = planted.enumerated().map { "c\($0) \($1.type)" }.joined(separator: ", ")
        let bench = try await Bench("\(Self.types) CREATE TABLE t (id int PRIMARY KEY, \(columns))")
        // The first row is the same on both sides, and holds what is most like a difference; each other differs in one column alone.
        func fill(_ side: (Planted) -> String) -> String {
            let rows = planted.indices.map { row in
                "(\(row + 1), \(planted.enumerated().map { $0 == row ? side($1) : $1.live }.joined(separator: ", ")))"
            }
            return "TRUNCATE t; INSERT INTO t VALUES (0, \(planted.map(\.live).joined(separator: ", "))), \(rows.joined(separator: ", "));"
        }
        try await bench.run(fill(\.backup))
        try await bench.backUp("t")
        try await bench.run(fill(\.live))
        for mode in ComparisonMode.allCases {
            let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup), mode: mode)])
            let preview = try await plan.prepare(bench.connection, deadline: soon())
            let found = try await bench.value("SELECT string_agg(d.\"key 1\"::text, ' ' ORDER BY d.\"key 1\") FROM rescue.\"diff of t\" AS d WHERE kind = 'changed'")
            let expected = planted.indices.filter { mode == .exact || planted[$0].differsInMeaning }.map { "\($0 + 1)" }
            #expect(found.split(separator: " ").map(String.init) == expected, "\(mode)")
            #expect(preview.tables[0].rows(.update) == expected.count, "\(mode)")
        }
    }

    @Test(arguments: [false, true]) func afterTakingTheBackupNothingDiffersAndUndoGivesEveryByteBack(inDomains: Bool) async throws {
        let planted = inDomains ? Self.domains : Self.planted
        let columns = planted.enumerated().map { "c\($0) \($1.type)" }.joined(separator: ", ")
        let bench = try await Bench("\(Self.types) CREATE TABLE t (id int PRIMARY KEY, \(columns))")
        try await bench.run("INSERT INTO t VALUES (1, \(planted.map(\.backup).joined(separator: ", "))), (2, \(planted.map(\.backup).joined(separator: ", ")))")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES (1, \(planted.map(\.live).joined(separator: ", ")))")
        let before = try await bench.rows("t")
        let (plan, preview, outcome) = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        #expect(preview.tables[0].changedColumns.count == planted.count)
        #expect(outcome.tables[0].inserted == 1 && outcome.tables[0].updated == 1)
        let left = try await plan.prepare(bench.connection, deadline: soon())
        #expect(left.tables[0].counts.isEmpty, "\(left)")
        try await bench.run("CREATE TABLE rescue.live AS TABLE rescue.t")
        _ = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == before)
    }

    @Test func otherSpellingsOfAValueAreNoDifference() async throws {
        let columns = Self.spellings.enumerated().map { "c\($0) \($1.0)" }.joined(separator: ", ")
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, \(columns))")
        try await bench.run("INSERT INTO t VALUES (1, \(Self.spellings.map(\.1).joined(separator: ", ")))")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES (1, \(Self.spellings.map(\.2).joined(separator: ", ")))")
        for mode in ComparisonMode.allCases {
            let preview = try await MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup), mode: mode)]).prepare(bench.connection, deadline: soon())
            #expect(preview.tables[0].counts.isEmpty, "\(mode): \(preview.tables[0].samples)")
        }
    }

    /// Whether the contrib type is there hangs on the server's packages.
    @Test func membersOfAnHstoreAreTold() async throws {
        let bench = try await Bench("CREATE TABLE nothing ()")
        guard try await bench.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'") == "1" else {
            return print("SKIPPED: the server has no hstore (Debian: it comes with postgresql-15)")
        }
        try await bench.run("CREATE EXTENSION hstore SCHEMA public; CREATE TABLE t (id int PRIMARY KEY, h public.hstore); SET search_path TO app, public; INSERT INTO t VALUES (1, 'a=>NULL'), (2, 'a=>1, b=>2')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES (1, 'a=>\"NULL\"'), (2, 'b=>2, a=>1')")
        for mode in ComparisonMode.allCases {
            let preview = try await MergePlan([try await bench.diff("t", mode: mode)]).prepare(bench.connection, deadline: soon())
            #expect(preview.tables[0].counts.map(\.rows) == [1] && preview.tables[0].rows(.changed) == 1, "\(mode)")
        }
    }

    /// Values that are written alike and stored otherwise: an array that still has the map of its former NULLs, a composite from before its
    /// type grew.
    @Test func whatIsOnlyStoredInAnotherWayIsCountedAndNeverMerged() async throws {
        let bench = try await Bench("CREATE TYPE pair AS (a int, b text); CREATE TABLE t (id int PRIMARY KEY, list int[], p pair)")
        try await bench.run("INSERT INTO t VALUES (1, '{1,2}', NULL), (2, NULL, ROW(1, 'a')), (3, '{3}', ROW(2, 'b'))")
        try await bench.run("CREATE TABLE rescue.t AS SELECT id, list, NULL::app.pair AS p FROM t; ALTER TYPE pair ADD ATTRIBUTE c int; UPDATE rescue.t AS b SET p = ROW((t.p).a, (t.p).b, NULL)::app.pair FROM t WHERE t.id = b.id AND t.id > 1")
        try await bench.run("UPDATE t SET list = '{1,NULL}' WHERE id = 1; UPDATE t SET list[2] = 2 WHERE id = 1; UPDATE t SET list = '{4}', p = NULL WHERE id = 3")
        let (_, preview, outcome) = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        #expect(preview.tables[0].rows(.representation) == 2 && preview.tables[0].rows(.changed) == 1)
        #expect(preview.tables[0].counts.filter { $0.kind == .representation }.allSatisfy { $0.verdict == .keep && $0.reason == "written the same" })
        #expect(outcome.tables[0].updated == 1 && outcome.tables[0].skipped.isEmpty)
        #expect(try await bench.rows("t") == ["(1,\"{1,2}\",)", "(2,,\"(1,a,)\")", "(3,{3},\"(2,b,)\")"])
    }

    @Test(arguments: ["text", "bytea"]) func oneByteInTheMiddleOfAMegabyteIsFound(type: String) async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, big \(type))")
        // Of numbers, so that nothing is compressed away.
        try await bench.run("INSERT INTO t SELECT r, (SELECT string_agg(md5((g * r)::text), '') FROM generate_series(1, 32768) g)::\(type) FROM generate_series(1, 2) r")
        try await bench.backUp("t")
        let former = try await bench.value("SELECT md5(big::\(type)) FROM t WHERE id = 1")
        try await bench.run("UPDATE t SET big = overlay(big PLACING '\(type == "text" ? "g" : "\\x67")'::\(type) FROM 524288 FOR 1) WHERE id = 1")
        #expect(try await bench.value("SELECT length(big) FROM t WHERE id = 1") == "1048576")
        for mode in ComparisonMode.allCases {
            let preview = try await MergePlan([try await bench.diff("t", mode: mode)]).prepare(bench.connection, deadline: soon())
            #expect(preview.tables[0].rows(.changed) == 1 && preview.tables[0].counts.count == 1)
        }
        _ = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        #expect(try await bench.value("SELECT md5(big::\(type)) FROM t WHERE id = 1") == former)
    }

    @Test(arguments: [("a|", "b", "a", "|b"), ("NULL", "''", "''", "NULL"), ("a,b", "", "a", ",b")])
    func valuesThatMoveAcrossAColumnsEdgeAreFound(values: (String, String, String, String)) async throws {
        let bench = try await Bench("CREATE TABLE t (a text, b text)")
        let quote = { (text: String) in text == "NULL" || text == "''" ? text : "'\(text)'" }
        try await bench.run("INSERT INTO t VALUES (\(quote(values.0)), \(quote(values.1)))")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES (\(quote(values.2)), \(quote(values.3)))")
        let preview = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(preview.tables[0].rows(.missing) == 1 && preview.tables[0].rows(.extra) == 1)
    }
}
