import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Rows of another server, which writes, reads and sorts in another way: what is the same is found the same, and what is not is merged.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct TwoServersTests {
    /// All types whose text hangs on a setting, and the keys whose order hangs on a locale.
    private static let tables = """
        CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (at timestamptz, share float8);
        CREATE TABLE a (id text PRIMARY KEY, at timestamptz, local timestamp, d date, i interval, f float8, r real, b bytea, m money, x xml, n numeric,
            ats timestamptz[], p pair, during tstzrange, texts text[], e mood, j jsonb);
        CREATE TABLE b (at timestamptz PRIMARY KEY, n int); CREATE TABLE c (word text, n float8)
        """
    private static let rows = """
        SET client_encoding = UTF8; SET xmloption = content; SET lc_monetary = 'C'; SET array_nulls = on;
        INSERT INTO a SELECT k || g, '2026-03-29 00:30:00+00'::timestamptz + g * interval '7 hours', '2026-10-25 02:30:00', '2026-02-01', interval '1 year -3 days 04:05:06.7' * g,
            1 / (g + 0.1)::float8, 1 / (g + 0.3)::real, decode('00ff5c27', 'hex'), 1234.5::money, '<a/>text<b/>', g / 7.0, ARRAY['infinity', NULL, '1890-01-01 12:00:00+00']::timestamptz[],
            ROW('2026-01-01 00:00:00+00'::timestamptz, 0.1::float8 * 3)::pair, tstzrange('2026-01-01 00:00:00+00', NULL), ARRAY['NULL', NULL, 'é, "ü"', ''], 'sad', '{"é": 1e2}'
        FROM generate_series(1, 400) AS g, unnest(ARRAY['z', 'Z', 'é', 'e', '_', 'ß ']) AS k;
        INSERT INTO b SELECT '2026-03-28 22:00:00+00'::timestamptz + g * interval '10 minutes', g FROM generate_series(1, 500) AS g;
        INSERT INTO c SELECT 'ü' || g % 7, 0.1::float8 * (g % 5) FROM generate_series(1, 300) AS g
        """

    @Test func whatAnotherServerHoldsIsFoundTheSameHoweverItWritesIt() async throws {
        let bench = try await Bench(""), source = try await Cluster()
        let old = "old_\(UInt32.random(in: 0 ... .max))"
        try await source.psql("CREATE DATABASE \(old) TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try await bench.cluster.psql("CREATE DATABASE \(old) TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kf-upper' LOCALE 'C.UTF-8'")
        for (server, settings) in [
            (source, ["TimeZone": "Asia/Tokyo", "DateStyle": "SQL, DMY", "IntervalStyle": "iso_8601", "extra_float_digits": "-3", "bytea_output": "escape", "xmloption": "document", "array_nulls": "off"]),
            (bench.cluster, ["TimeZone": "America/St_Johns", "DateStyle": "German", "IntervalStyle": "sql_standard", "extra_float_digits": "0", "xmloption": "document", "standard_conforming_strings": "off", "array_nulls": "off"]),
        ] {
            for (name, value) in settings { try await server.psql("ALTER DATABASE \(old) SET \(name) = '\(value)'") }
            try await server.psql("CREATE SCHEMA app; SET search_path TO app; \(Self.tables); \(Self.rows)", database: old)
        }
        let (live, backup) = (try await bench.cluster.connect(old), try await source.connect(old))
        try await bench.cluster.psql("CREATE SCHEMA rescue", database: old)
        let names = try ["a", "b", "c"].map { try QualifiedName(schema: "app", name: $0) }.map { TableComparison.Names(backup: $0, live: $0) }
        let comparison = TableComparison(with: .database(backup), of: live, in: try SQLIdentifier("rescue"))
        let same = try await comparison.compare(names, deadline: soon())
        #expect(same.map(\.rows?.candidates) == [0, 0, 0])
        #expect(same.map(\.rows?.backupRows) == [2400, 500, 300] && same.map(\.way) == [.ordered, .ordered, .unordered])

        let whole = "SELECT string_agg(md5(t::text), ' ' ORDER BY md5(t::text)) FROM (SELECT a::text FROM app.a UNION ALL SELECT b::text FROM app.b UNION ALL SELECT c::text FROM app.c) AS t"
        let before = try await bench.cluster.psql(whole, database: old)
        try await bench.cluster.psql(
            """
            DELETE FROM app.a WHERE id ~ '5$'; UPDATE app.a SET f = f + 1e-16, d = d + 1 WHERE id ~ '^é.*6$'; UPDATE app.b SET n = -n WHERE n % 100 = 0; DELETE FROM app.b WHERE n = 7;
            DELETE FROM app.c WHERE word = 'ü3'
            """, database: old)
        var rules = MergeRuleSet()
        rules.all.changed = .takeBackup
        let compared = try await comparison.compare(names, by: rules, deadline: soon())
        let plan = try MergePlan(compared.map(\.diff)), preview = try await plan.prepare(live, deadline: soon())
        #expect(preview.tables.map { [$0.rows(.insert), $0.rows(.update)] } == [[240, 40], [1, 5], [43, 0]])
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, live, deadline: soon())
        #expect(outcome.tables.allSatisfy { $0.skipped.isEmpty })
        #expect(try await bench.cluster.psql(whole, database: old) == before)
        #expect(try await comparison.compare(names, deadline: soon()).map(\.rows?.candidates) == [0, 0, 0])
    }
}
