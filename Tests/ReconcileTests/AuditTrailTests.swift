import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// What the database itself remembers of its merges.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct AuditTrailTests {
    private static let table = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)"

    /// A merge that inserted one row and updated another.
    private func merged(_ schema: String = table) async throws -> Bench {
        let bench = try await Bench(schema)
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id = 3; UPDATE t SET n = 20 WHERE id = 2")
        _ = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        return bench
    }

    @Test func anUndoNeedsNothingButTheDatabase() async throws {
        let bench = try await merged()
        try await bench.run("DROP SCHEMA rescue CASCADE")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables.map(\.deleted) == [1] && undone.tables.map(\.updated) == [1])
        #expect(try await bench.rows("t") == ["(1,1)", "(2,20)"])
        #expect(try await AuditTrail.undo("m", bench.connection, deadline: soon()).wasDoneAlready)
    }

    @Test func theDatabaseListsItsMerges() async throws {
        let bench = try await Bench(Self.table)
        #expect(try await AuditTrail.merges(bench.connection, deadline: soon()).isEmpty)
        try await bench.backUp("t")
        for id in ["first", "second"] {
            try await bench.run("DELETE FROM t WHERE id = 3")
            _ = try await bench.merge([try await bench.diff("t")], as: id)
        }
        _ = try await AuditTrail.undo("second", bench.connection, deadline: soon())
        let merges = try await AuditTrail.merges(bench.connection, deadline: soon())
        #expect(merges.map(\.id) == ["first", "second"] && merges.allSatisfy(\.keepsPlan))
        #expect(merges[0].undoneAt == nil && merges[1].undoneAt != nil && merges[0].mergedAt.hasSuffix("Z"))
        #expect(merges[0].tables.map(\.name.description) == ["app.t"] && merges[0].tables.map(\.inserted) == [1])
    }

    /// A trail of an older version gets what is missing, keeps what it has, and an undo of its merges says what it needs.
    @Test func aTrailOfAnOlderVersionIsBroughtUpToDate() async throws {
        let bench = try await merged()
        try await bench.run("ALTER TABLE reprise_audit.merges DROP COLUMN plan, DROP COLUMN xid")
        let refused = await #expect(throws: ReconcileRefused.self) { try await AuditTrail.undo("m", bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.no-plan")
        #expect(try await AuditTrail.merges(bench.connection, deadline: soon()).map(\.keepsPlan) == [false])
        try await bench.run("DELETE FROM t WHERE id = 1")
        let (plan, _, _) = try await bench.merge([try await bench.diff("t")], as: "newer")
        #expect(try await AuditTrail.merges(bench.connection, deadline: soon()).map(\.keepsPlan) == [false, true])
        _ = try await AuditTrail.undo("newer", bench.connection, deadline: soon())
        _ = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == ["(2,20)"])
    }

    @Test func aMergeThatNobodyMadeIsNamed() async throws {
        let bench = try await merged()
        let refused = await #expect(throws: ReconcileRefused.self) { try await AuditTrail.undo("other", bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.no-merge" && refused?.message.contains("other") == true)
    }

    /// The second of two waits for the first, and then finds it done.
    @Test func ofTwoUndosAtOnceOneDoesIt() async throws {
        let bench = try await Bench(Self.table + "; CREATE TABLE log (n int); INSERT INTO t SELECT g, g FROM generate_series(4, 3000) g")
        try await bench.backUp("t")
        var policy = MergePolicy()
        policy.deletesExtra = true
        policy.mostDeletes = 1
        try await bench.run("DELETE FROM t WHERE id > 3; INSERT INTO t VALUES (9999, 1)")
        _ = try await bench.merge([try await bench.diff("t", policy: policy)])
        let other = try await bench.connectAgain()
        // Held until both have looked at the mark.
        try await other.execute("BEGIN", deadline: soon())
        try await other.execute("LOCK TABLE reprise_audit.merges IN ROW EXCLUSIVE MODE", deadline: soon())
        try await other.execute("SELECT 1 FROM reprise_audit.merges FOR UPDATE", deadline: soon())
        let third = try await bench.connectAgain()
        // Longer than the first may take among hundreds of other tests.
        async let one = AuditTrail.undo("m", lockTimeout: .seconds(60), bench.connection, deadline: soon())
        async let two = AuditTrail.undo("m", lockTimeout: .seconds(60), third, deadline: soon())
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        let patience = soon()
        while try await bench.value(waiting) != "2" { try #require(!patience.hasPassed, "they never waited") }
        try await other.execute("COMMIT", deadline: soon())
        let outcomes = try await [one, two]
        #expect(outcomes.filter(\.wasDoneAlready).count == 1)
        #expect(outcomes.flatMap(\.tables).map(\.deleted) == [2997])
        #expect(try await bench.value("SELECT count(*) FROM t") == "4")
    }

    /// A table whose foreign key led nowhere near when it was merged.
    @Test func anUndoSeesForeignKeysThatWereMadeSinceTheMerge() async throws {
        let bench = try await merged()
        try await bench.run("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE); INSERT INTO c VALUES (1, 3)")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].skipped == ["other rows hang on it": 1])
        #expect(try await bench.rows("c") == ["(1,3)"])
    }

    @Test func anUndoThatATriggerSpoilsIsTakenBack() async throws {
        let bench = try await merged()
        try await bench.run(
            """
            CREATE FUNCTION add() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.n := NEW.n + 1; RETURN NEW; END$$;
            CREATE TRIGGER add BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION add()
            """)
        let refused = await #expect(throws: ReconcileRefused.self) { try await AuditTrail.undo("m", bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.rewritten")
        #expect(try await bench.rows("t") == ["(1,1)", "(2,2)", "(3,3)"])
        let table = try QualifiedName(schema: "app", name: "t"), trigger = try SQLIdentifier("add")
        _ = try await AuditTrail.undo("m", disabling: [table: [trigger]], bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == ["(1,1)", "(2,20)"])
    }
}
