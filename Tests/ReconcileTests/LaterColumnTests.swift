import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Columns that no image of the merge covers, and what somebody has written into them since: whose version of a row it is tells that.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct LaterColumnTests {
    private static let changed = "changed since the merge"

    private func undo(_ bench: Bench) async throws -> MergeOutcome.Table {
        try #require(try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables.first)
    }

    @Test func aRowWhoseNewColumnWasFilledSinceTheMergeStays() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (5, 'e')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES (5, 'other'), (7, 'seven')")
        var policy = MergePolicy(.takeBackup)
        (policy.deletesExtra, policy.mostDeletes) = (true, 1)
        _ = try await bench.merge([try await bench.diff("t", policy: policy)])
        try await bench.run("ALTER TABLE t ADD note text DEFAULT 'none'; UPDATE t SET note = 'precious' WHERE id <> 2")
        let undone = try await undo(bench)
        #expect(undone.deleted == 1 && undone.updated == 1 && undone.inserted == 1 && undone.skipped == [Self.changed: 1])
        #expect(try await bench.rows("t") == ["(1,x,precious)", "(5,other,precious)", "(7,seven,none)"])
    }

    private static let tables = [
        "CREATE TABLE t (a text, b text)", "CREATE TABLE t (a text, b text) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t DEFAULT",
    ]

    /// Without a key the columns that the backup knows nothing of are in no image.
    @Test(arguments: tables) func anothersRowThatLooksLikeTheMergesStays(table: String) async throws {
        let bench = try await Bench("\(table); INSERT INTO t VALUES ('ann', 'x'), ('ann', 'x'), ('bob', 'y'), ('cid', 'z')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; ALTER TABLE t ADD note text")
        _ = try await bench.merge([try await bench.diff("t", toleratesDrift: true)])
        try await bench.run("INSERT INTO t VALUES ('ann', 'x', 'precious'); UPDATE t SET note = 'dear' WHERE a = 'bob'")
        let undone = try await undo(bench)
        #expect(undone.deleted == 3 && undone.skipped == [Self.changed: 1])
        #expect(try await bench.rows("t") == ["(ann,x,precious)", "(bob,y,dear)"])
    }

    /// Also where they hold the same to the last column: triggers, and whoever looks at versions, know them apart.
    @Test func ofRowsThatAreTheSameTheMergesGo() async throws {
        let bench = try await Bench("CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), ('x')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        _ = try await bench.merge([try await bench.diff("t")])
        try await bench.run("INSERT INTO t VALUES ('x')")
        #expect(try await undo(bench).deleted == 2)
        #expect(try await bench.value("SELECT count(*), count(*) FILTER (WHERE t.xmin::text::bigint = m.xid) FROM t, reprise_audit.merges AS m") == "1|0")
    }
}
