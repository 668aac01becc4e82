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
        Planted(type: "text", backup: "repeat('x', 1000000)", live: "repeat('x', 999999) || 'y'", differsInMeaning: true),
    ]

    static let types = """
        CREATE EXTENSION citext SCHEMA public; CREATE TYPE pair AS (a int, b text); CREATE TYPE mood AS ENUM ('glad', 'sad');
        CREATE DOMAIN short AS varchar(5);
        """

    @Test func everyKindIsFoundExactlyAndJudgedByMeaningAsDocumented() async throws {
        let columns = Self.planted.enumerated().map { "c\($0) \($1.type)" }.joined(separator: ", ")
        let bench = try await Bench("\(Self.types) CREATE TABLE t (id int PRIMARY KEY, \(columns))")
        // The first row is the same on both sides, and holds what is most like a difference; each other differs in one column alone.
        func fill(_ side: (Planted) -> String) -> String {
            let rows = Self.planted.indices.map { row in
                "(\(row + 1), \(Self.planted.enumerated().map { $0 == row ? side($1) : $1.live }.joined(separator: ", ")))"
            }
            return "TRUNCATE t; INSERT INTO t VALUES (0, \(Self.planted.map(\.live).joined(separator: ", "))), \(rows.joined(separator: ", "));"
        }
        try await bench.run(fill(\.backup))
        try await bench.backUp("t")
        try await bench.run(fill(\.live))
        for mode in ComparisonMode.allCases {
            let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup), mode: mode)])
            let preview = try await plan.prepare(bench.connection, deadline: soon())
            let found = try await bench.value("SELECT string_agg(d.\"key 1\"::text, ' ' ORDER BY d.\"key 1\") FROM rescue.\"diff of t\" AS d WHERE kind = 'changed'")
            let expected = Self.planted.indices.filter { mode == .exact || Self.planted[$0].differsInMeaning }.map { "\($0 + 1)" }
            #expect(found.split(separator: " ").map(String.init) == expected, "\(mode)")
            #expect(preview.tables[0].rows(.update) == expected.count, "\(mode)")
        }
    }

    @Test func afterTakingTheBackupNothingDiffersAndUndoGivesEveryByteBack() async throws {
        let columns = Self.planted.enumerated().map { "c\($0) \($1.type)" }.joined(separator: ", ")
        let bench = try await Bench("\(Self.types) CREATE TABLE t (id int PRIMARY KEY, \(columns))")
        try await bench.run("INSERT INTO t VALUES (1, \(Self.planted.map(\.backup).joined(separator: ", "))), (2, \(Self.planted.map(\.backup).joined(separator: ", ")))")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES (1, \(Self.planted.map(\.live).joined(separator: ", ")))")
        let before = try await bench.rows("t")
        let (plan, preview, outcome) = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        #expect(preview.tables[0].changedColumns.count == Self.planted.count)
        #expect(outcome.tables[0].inserted == 1 && outcome.tables[0].updated == 1)
        let left = try await plan.prepare(bench.connection, deadline: soon())
        #expect(left.tables[0].counts.isEmpty, "\(left)")
        try await bench.run("CREATE TABLE rescue.live AS TABLE rescue.t")
        _ = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == before)
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
