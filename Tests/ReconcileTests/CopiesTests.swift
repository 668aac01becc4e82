import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Rows without a key are what others write too: only as many come back as are missing when they do.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct CopiesTests {
    private static let changed = "changed since the preview"

    /// A table whose backup has `x` three times and `y` once, and of which these are left.
    private func bench(leaving rows: String...) async throws -> Bench {
        let bench = try await Bench("CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), ('x'), ('x'), ('y')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; \(rows.map { "INSERT INTO t VALUES ('\($0)');" }.joined())")
        return bench
    }

    private func copies(_ bench: Bench) async throws -> String { try await bench.value("SELECT string_agg(a, ' ' ORDER BY a) FROM t") }

    @Test(arguments: [
        ("INSERT INTO t VALUES ('x'), ('x')", 2, 2, "x x x y"), ("INSERT INTO t SELECT 'x' FROM generate_series(1, 7)", 1, 3, "x x x x x x x y"),
        ("INSERT INTO t VALUES ('x'), ('x'), ('x'), ('y'), ('z')", 0, 4, "x x x y z"), ("INSERT INTO t VALUES ('X')", 4, 0, "X x x x y"),
    ])
    func whatSomebodyEntersAgainAfterThePreviewDoesNotComeTwice(since: String, inserted: Int, left: Int, rows: String) async throws {
        let bench = try await bench()
        let plan = try MergePlan([try await bench.diff("t")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables[0].rows(.insert) == 4)
        try await bench.run(since)
        let before = try await copies(bench)
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == inserted && outcome.tables[0].skipped == (left > 0 ? [Self.changed: left] : [:]))
        #expect(try await copies(bench) == rows)
        #expect(try await bench.value("SELECT count(*) FROM reprise_audit.skips") == "\(left)")
        let proof = try await AuditTrail.prove("m", bench.connection, deadline: soon())
        #expect(proof.isProven, "\(proof.text)")
        #expect(try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables[0].deleted == inserted)
        #expect(try await copies(bench) == before)
    }

    /// And never more than was agreed to.
    @Test func whatSomebodyDeletesAfterThePreviewIsTheirs() async throws {
        let bench = try await bench(leaving: "x", "x", "y")
        let plan = try MergePlan([try await bench.diff("t")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        try await bench.run("TRUNCATE t")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == 1 && outcome.tables[0].skipped.isEmpty)
        #expect(try await copies(bench) == "x")
    }

    /// Whoever has written and not committed is waited for and counted; whoever comes after the count waits.
    @Test func nobodyWritesBetweenTheCountAndTheEnd() async throws {
        let bench = try await bench()
        _ = try await bench.merge([try await bench.diff("t")], as: "the first makes the audit")
        try await bench.run("TRUNCATE t")
        let plan = try MergePlan([try await bench.diff("t")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        let early = try await bench.connectAgain(as: "early"), late = try await bench.connectAgain(as: "late"), gate = try await bench.connectAgain(as: "gate")
        for sql in ["BEGIN", "INSERT INTO app.t VALUES ('x')"] { try await early.execute(sql, deadline: soon()) }
        for sql in ["BEGIN", "LOCK TABLE reprise_audit.changes IN SHARE MODE"] { try await gate.execute(sql, deadline: soon()) }
        let merge = Task { try await plan.merge(as: "m", agreed: agreed.hash, lockTimeout: .seconds(60), bench.connection, deadline: soon()) }
        try await bench.untilItWaits(bench.connection)
        try await early.execute("COMMIT", deadline: soon())
        // It has counted, and cannot write its audit yet.
        try await bench.until("SELECT count(*) FROM pg_locks WHERE relation = 'reprise_audit.changes'::regclass AND NOT granted")
        let writing = Task { try await late.execute("INSERT INTO app.t VALUES ('x')", deadline: soon()) }
        try await bench.untilItWaits(late)
        try await gate.execute("ROLLBACK", deadline: soon())
        let outcome = try await merge.value
        #expect(outcome.tables[0].inserted == 3 && outcome.tables[0].skipped == [Self.changed: 1])
        #expect(try await writing.value == 1)
        #expect(try await copies(bench) == "x x x x y")
        for connection in [early, late, gate] { await connection.close() }
    }

    @Test func severalTablesWithoutAKeyAreCountedInOneMerge() async throws {
        let bench = try await Bench("CREATE TABLE t (a text); CREATE TABLE u (a text); INSERT INTO t VALUES ('x'), ('x'); INSERT INTO u VALUES ('y')")
        try await bench.backUp("t", "u")
        try await bench.run("TRUNCATE t, u")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t"), try await bench.diff("u")])
        #expect(outcome.tables.map(\.inserted) == [2, 1])
    }

    /// Where nothing is to come back nobody has to wait.
    @Test func aTableThatGetsNothingHoldsNobodyBack() async throws {
        let bench = try await bench(leaving: "x", "x", "x", "y", "z")
        let other = try await bench.connectAgain()
        for sql in ["BEGIN", "INSERT INTO app.t VALUES ('x')"] { try await other.execute(sql, deadline: soon()) }
        let plan = try MergePlan([try await bench.diff("t")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, lockTimeout: .milliseconds(200), bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == 0)
        await other.close()
    }

    /// Rows of another server's table, of which only those that may differ are laid beside the live one.
    @Test func copiesThatWereStreamedAreCountedAgainToo() async throws {
        let bench = try await bench(leaving: "x"), other = try await bench.cluster.newDatabase("source")
        try await bench.cluster.psql("CREATE SCHEMA app; CREATE TABLE app.t (a text); INSERT INTO app.t VALUES ('x'), ('x'), ('x'), ('y')", database: other)
        let source = try await bench.cluster.connect(other), name = try QualifiedName(schema: "app", name: "t")
        let compared = try await TableComparison(with: .database(source), of: bench.connection, in: try SQLIdentifier("rescue"))
            .compare([.init(backup: name, live: name)], deadline: soon())
        let plan = try MergePlan(compared.map(\.diff)), agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables[0].rows(.insert) == 3)
        try await bench.run("INSERT INTO t VALUES ('x')")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == 2 && outcome.tables[0].skipped == [Self.changed: 1])
        #expect(try await copies(bench) == "x x x y")
        await source.close()
    }

    /// A row that is entered after the streams and before the preview: the comparison has not seen it, and counting has.
    @Test func whatIsEnteredBetweenTheStreamsAndThePreviewDoesNotComeTwice() async throws {
        let bench = try await bench(leaving: "x"), other = try await bench.cluster.newDatabase("source")
        try await bench.cluster.psql("CREATE SCHEMA app; CREATE TABLE app.t (a text); INSERT INTO app.t VALUES ('x'), ('x'), ('x'), ('y')", database: other)
        let source = try await bench.cluster.connect(other), name = try QualifiedName(schema: "app", name: "t")
        let compared = try await TableComparison(with: .database(source), of: bench.connection, in: try SQLIdentifier("rescue"))
            .compare([.init(backup: name, live: name)], deadline: soon())
        try await bench.run("INSERT INTO t VALUES ('x'), ('y')")
        let plan = try MergePlan(compared.map(\.diff)), agreed = try await plan.prepare(bench.connection, deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == 1 && outcome.tables[0].skipped == [Self.changed: 2])
        #expect(try await copies(bench) == "x x x y")
        await source.close()
    }

    /// What is entered after the preview may be written in another way: where rows stand for others that mean the same, it counts.
    @Test(arguments: [
        ("", 3, "1.0 1.00 2.0"), ("INSERT INTO t VALUES (1)", 2, "1 1.00 2.0"), ("INSERT INTO t VALUES (1), (1.000)", 1, "1 1.000 2.0"),
        ("INSERT INTO t VALUES (1.0)", 2, "1.0 1.00 2.0"), ("INSERT INTO t VALUES (1.00)", 2, "1.0 1.00 2.0"), ("INSERT INTO t VALUES (1), (1), (1), (2)", 0, "1 1 1 2"), ("INSERT INTO t VALUES (3)", 3, "1.0 1.00 2.0 3"),
    ])
    func whatIsEnteredInAnotherWayCountsWhereItMeansTheSame(since: String, inserted: Int, rows: String) async throws {
        let bench = try await Bench("CREATE TABLE t (n numeric, seen xid); INSERT INTO t VALUES (1.0), (1.00), (2.0)")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        let plan = try MergePlan([try await bench.diff("t", mode: .semantic)]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.tables[0].rows(.insert) == 3)
        try await bench.run(since)
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == inserted && outcome.tables[0].skipped == (inserted < 3 ? [Self.changed: 3 - inserted] : [:]))
        #expect(try await bench.value("SELECT string_agg(n::text, ' ' ORDER BY n, n::text) FROM t") == rows)
    }

    /// Before the commit: afterwards an undo would not know its rows any more.
    @Test(arguments: [
        "NEW.a := 'touched'; RETURN NEW; END$$; CREATE TRIGGER odd BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION odd()",
        "IF pg_trigger_depth() = 1 THEN INSERT INTO app.t VALUES (NEW.a); END IF; RETURN NULL; END$$; CREATE TRIGGER odd AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION odd()",
        """
        UPDATE app.t SET a = 'late' WHERE a = 'x'; RETURN NULL; END$$;
        CREATE CONSTRAINT TRIGGER odd AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION odd()
        """,
    ])
    func aTriggerThatRewritesCopiesIsFoundAndNothingIsMergedUntilItIsNamed(trigger: String) async throws {
        let bench = try await bench(leaving: "x")
        try await bench.run("CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \(trigger)")
        let plan = try MergePlan([try await bench.diff("t")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.rewritten" && refused?.hints.first?.contains("odd") == true, "\(String(describing: refused))")
        #expect(try await copies(bench) == "x")
        let disabled = [try QualifiedName(schema: "app", name: "t"): [try SQLIdentifier("odd")]]
        _ = try await bench.merge(plan.disabling(disabled))
        #expect(try await copies(bench) == "x x x y")
        _ = try await AuditTrail.undo("m", disabling: disabled, bench.connection, deadline: soon())
        #expect(try await copies(bench) == "x")
    }
}
