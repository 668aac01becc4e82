import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Between what a person has agreed to and the merge, hours may pass: rows lead to the rows to which they led, or stay as they are.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct SinceThePreviewTests {
    private static let otherParent = "its parent is another row by now, by "

    /// A deleted parent had set its children's column to NULL; after the preview somebody else is given the parent's number.
    @Test(arguments: [MergePolicy.Changed.fillNulls, .takeBackup])
    func aChildIsNotUpdatedOntoSomebodyElse(rule: MergePolicy.Changed) async throws {
        let bench = try await Bench(
            """
            CREATE TABLE org (id int PRIMARY KEY, name text); CREATE TABLE member (id int PRIMARY KEY, org int REFERENCES org ON DELETE SET NULL);
            INSERT INTO org VALUES (5, 'Theirs'); INSERT INTO member VALUES (1, 5)
            """)
        try await bench.backUp("org", "member")
        try await bench.run("DELETE FROM org")
        let plan = try MergePlan([try await bench.diff("org"), try await bench.diff("member", policy: MergePolicy(rule))])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables.map { $0.rows(.insert) + $0.rows(.update) } == [1, 1])
        try await bench.run("INSERT INTO org VALUES (5, 'Somebody else')")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.map(\.skipped) == [["changed since the preview": 1], ["\(Self.otherParent)member_org_fkey": 1]])
        #expect(try await bench.rows("member") == ["(1,)"])
    }

    @Test func aChildInTheSameTableIsNotHungOnAStranger() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, boss int REFERENCES t, name text); INSERT INTO t VALUES (1, NULL, 'A'), (2, 1, 'B'), (3, 2, 'C')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        let plan = try MergePlan([try await bench.diff("t")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables[0].rows(.insert) == 3)
        try await bench.run("INSERT INTO t VALUES (1, NULL, 'stranger')")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == 0 && outcome.tables[0].skipped.values.reduce(0, +) == 3, "\(outcome.tables[0].skipped)")
        #expect(try await bench.rows("t") == ["(1,,stranger)"])
    }

    @Test func aCircleIsNotClosedOverAStranger() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a, name text);
            ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE; INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (7, 1, 'ours'); UPDATE a SET b = 7
            """)
        try await bench.backUp("a", "b")
        try await bench.run("TRUNCATE a, b")
        let plan = try MergePlan([try await bench.diff("a"), try await bench.diff("b")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables.map { $0.rows(.insert) } == [1, 1])
        try await bench.run("INSERT INTO b VALUES (7, NULL, 'somebody else')")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.map(\.inserted) == [0, 0])
        #expect(try await bench.rows("a").isEmpty)
    }

    /// The parent's own change is left alone, and with it the rows that needed it.
    @Test func whatNeedsAParentsChangeStaysAwayWithIt() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE org (id int PRIMARY KEY, code text UNIQUE, name text); CREATE TABLE m (id int PRIMARY KEY, code text REFERENCES org (code));
            INSERT INTO org VALUES (1, 'A', 'x'); INSERT INTO m VALUES (1, 'A')
            """)
        try await bench.backUp("org", "m")
        try await bench.run("TRUNCATE m, org; INSERT INTO org VALUES (1, 'Z', 'x')")
        var policy = MergePolicy(.takeBackup)
        policy.mergesOtherRows = true
        let plan = try MergePlan([try await bench.diff("org", policy: policy), try await bench.diff("m")])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables.map { $0.rows(.insert) + $0.rows(.update) } == [1, 1])
        try await bench.run("UPDATE org SET name = 'renamed'")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.map(\.skipped) == [["changed since the preview": 1], ["its parent is not there, by m_code_fkey": 1]])
        #expect(try await bench.rows("org") == ["(1,Z,renamed)"])
    }

    /// A trigger of the parent makes rows that are to come back too: nothing is merged until it is named.
    @Test func rowsThatATriggerMakesAreNotTakenForOthers() async throws {
        let bench = try await Bench("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a, n int); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 5)")
        try await bench.backUp("a", "b")
        try await bench.run(
            """
            TRUNCATE a, b;
            CREATE FUNCTION make() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.b VALUES (NEW.id, 0); RETURN NULL; END$$;
            CREATE TRIGGER make AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION make()
            """)
        let plan = try MergePlan([try await bench.diff("a"), try await bench.diff("b")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.made-meanwhile" && refused?.message.contains("app.b") == true, "\(String(describing: refused))")
        #expect(try await bench.rows("a").isEmpty)
        _ = try await bench.merge(plan.disabling([try QualifiedName(schema: "app", name: "a"): [try SQLIdentifier("make")]]))
        #expect(try await bench.rows("b") == ["(1,5)"])
    }

    /// A row could go of which nobody has seen all, or take others along.
    @Test(arguments: ["ALTER TABLE c ADD FOREIGN KEY (t) REFERENCES t ON DELETE CASCADE", "ALTER TABLE t ADD note text; UPDATE t SET note = 'precious' WHERE id = 2"])
    func aTableThatWasReshapedIsNotMerged(change: String) async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, t int); INSERT INTO t VALUES (1)")
        try await bench.backUp("t")
        try await bench.run("INSERT INTO t VALUES (2); INSERT INTO c VALUES (1, 2)")
        var policy = MergePolicy()
        (policy.deletesExtra, policy.mostDeletes) = (true, 10)
        let plan = try MergePlan([try await bench.diff("t", policy: policy)]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables[0].rows(.delete) == 1)
        try await bench.run(change)
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.reshaped" && refused?.message.contains("app.t") == true, "\(String(describing: refused))")
        #expect(try await bench.value("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM c)") == "2|1")
    }
}
