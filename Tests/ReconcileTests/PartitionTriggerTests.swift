import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// A trigger of a partitioned table is one of each part too, and each is on or off by itself.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct PartitionTriggerTests {
    private static let states = "SELECT string_agg(tgrelid::regclass::text || tgenabled::text, ' ' ORDER BY tgrelid::regclass::text COLLATE \"C\") FROM pg_trigger WHERE tgname = 'touch'"

    /// How each comes first: of the whole table, of a part, of one with parts of its own, and of that one's.
    @Test(arguments: [["ENABLE", "DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA"], ["DISABLE", "ENABLE", "DISABLE", "ENABLE ALWAYS"], ["ENABLE REPLICA", "DISABLE", "DISABLE", "ENABLE"]])
    func eachIsOffAndAsItWas(words: [String]) async throws {
        let bench = try await Bench(
            """
            CREATE TABLE t (id int PRIMARY KEY, at text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
            CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id); CREATE TABLE t21 PARTITION OF t2 DEFAULT;
            INSERT INTO t VALUES (1, 'then'), (11, 'then')
            """)
        try await bench.backUp("t")
        try await bench.run(
            """
            TRUNCATE t; CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.at := 'touched'; RETURN NEW; END$$;
            CREATE TRIGGER touch BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch();
            \(zip(["t", "t1", "t2", "t21"], words).map { "ALTER TABLE ONLY \($0) \($1) TRIGGER touch" }.joined(separator: ";\n"))
            """)
        let states = try await bench.value(Self.states), table = try QualifiedName(schema: "app", name: "t"), touch = try SQLIdentifier("touch")
        _ = try await bench.merge([try await bench.diff("t")], disabling: [table: [touch]])
        #expect(try await bench.value(Self.states) == states)
        #expect(try await bench.rows("t") == ["(1,then)", "(11,then)"])
        _ = try await AuditTrail.undo("m", disabling: [table: [touch]], bench.connection, deadline: soon())
        #expect(try await bench.value(Self.states) == states)
        #expect(try await bench.rows("t").isEmpty)
    }

    /// A part's own trigger by the name of one that the whole table has of its statements is another one, and nobody named it.
    @Test func anotherOneOfThatNameStaysOn() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t DEFAULT; INSERT INTO t VALUES (1, 1)")
        try await bench.backUp("t")
        try await bench.run(
            """
            TRUNCATE t; CREATE TABLE seen (id int);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.seen VALUES (NEW.id); RETURN NEW; END$$;
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'it is on'; END$$;
            CREATE TRIGGER touch AFTER INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION note();
            CREATE TRIGGER touch BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION fail()
            """)
        let table = try QualifiedName(schema: "app", name: "t"), touch = try SQLIdentifier("touch")
        _ = try await bench.merge([try await bench.diff("t")], disabling: [table: [touch]])
        #expect(try await bench.rows("seen") == ["(1)"])
    }
}
