import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Triggers that change a row only after it was looked at: those of another table, and those that are put off to the end.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct LateTriggerTests {
    @Test func aTriggerOfOneTableThatRewritesAnotherIsFound() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY, visits int); CREATE TABLE v (id int PRIMARY KEY, p int REFERENCES p);
            INSERT INTO p VALUES (1, 1); INSERT INTO v VALUES (1, 1);
            """)
        try await bench.backUp("p", "v")
        try await bench.run(
            """
            TRUNCATE p, v;
            CREATE FUNCTION visit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE app.p SET visits = visits + 1 WHERE id = NEW.p; RETURN NULL; END$$;
            CREATE TRIGGER visit AFTER INSERT ON v FOR EACH ROW EXECUTE FUNCTION visit()
            """)
        let plan = try MergePlan([try await bench.diff("p"), try await bench.diff("v")])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.rewritten" && refused?.message.contains("app.p") == true)
        #expect(try await bench.rows("p").isEmpty)
        let visits = try QualifiedName(schema: "app", name: "v"), trigger = try SQLIdentifier("visit")
        _ = try await bench.merge(plan.disabling([visits: [trigger]]))
        #expect(try await bench.rows("p") == ["(1,1)"])
    }

    @Test func aTriggerThatIsPutOffToTheEndIsFound() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
        try await bench.backUp("t")
        try await bench.run(
            """
            DELETE FROM t;
            CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE app.t SET n = 7 WHERE id = NEW.id; RETURN NULL; END$$;
            CREATE CONSTRAINT TRIGGER later AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later()
            """)
        let plan = try MergePlan([try await bench.diff("t")])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.rewritten")
        #expect(try await bench.rows("t").isEmpty)
    }

    /// It is deleted once and not for ever.
    @Test func aDeletedRowThatATriggerEntersAgainIsFound() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
        try await bench.backUp("t")
        try await bench.run(
            """
            INSERT INTO t VALUES (2, 2); CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.t VALUES (OLD.*); RETURN NULL; END$$;
            CREATE TRIGGER again AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION again()
            """)
        var policy = MergePolicy()
        (policy.deletesExtra, policy.mostDeletes) = (true, 1)
        let plan = try MergePlan([try await bench.diff("t", policy: policy)])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.rewritten" && refused?.hints.first?.contains("again") == true)
        #expect(try await bench.rows("t") == ["(1,1)", "(2,2)"])
    }

    /// With constraints put off, something is pending when the triggers come back: a table then takes none.
    @Test func triggersComeBackInACircleToo() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
            ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE; INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1;
            CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
            CREATE TRIGGER nothing BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION nothing()
            """)
        try await bench.backUp("a", "b")
        try await bench.run("TRUNCATE a, b")
        let table = try QualifiedName(schema: "app", name: "a"), trigger = try SQLIdentifier("nothing")
        _ = try await bench.merge([try await bench.diff("a"), try await bench.diff("b")], disabling: [table: [trigger]])
        #expect(try await [bench.rows("a"), bench.rows("b")] == [["(1,1)"], ["(1,1)"]])
        _ = try await AuditTrail.undo("m", disabling: [table: [trigger]], bench.connection, deadline: soon())
        #expect(try await bench.value("SELECT tgenabled FROM pg_trigger WHERE tgname = 'nothing'") == "O")
    }
}
