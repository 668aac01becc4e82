import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// The comparison after a merge.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ProofTests {
    private func merged() async throws -> Bench {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE, n int)")
        try await bench.run("INSERT INTO t SELECT g, 'm' || g, g FROM generate_series(1, 20) g")
        try await bench.backUp("t")
        // 1 and 2 are gone, and 2's address is somebody else's; 3 to 6 are overwritten; 30 is new and goes.
        try await bench.run("DELETE FROM t WHERE id < 3; UPDATE t SET n = 0 WHERE id IN (3, 4, 5, 6); INSERT INTO t VALUES (30, 'x', 1), (31, 'm2', 1)")
        var policy = MergePolicy(.takeBackup)
        policy.deletesExtra = true
        policy.mostDeletes = 5
        policy.columns = [try SQLIdentifier("mail"): .keepLive]
        let plan = try MergePlan([try await bench.diff("t", policy: policy)])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        // Somebody writes 6 after it was shown.
        try await bench.run("UPDATE t SET n = 66 WHERE id = 6")
        _ = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        return bench
    }

    private func prove(_ bench: Bench) async throws -> MergeProof.Table {
        let proof = try await AuditTrail.prove("m", bench.connection, deadline: soon())
        #expect(proof.isProven == proof.tables[0].wrong.isEmpty)
        return proof.tables[0]
    }

    @Test func aMergeThatDidWhatWasAgreedToIsProven() async throws {
        let bench = try await merged(), table = try await prove(bench)
        // Written: 1, 3, 4, 5, and 30 and 31 are gone. Left: 2 (its address was taken), 6.
        #expect(table.written == 6 && table.wrong.isEmpty && table.skipped == 2 && table.changedSince == 0 && table.kept == 0, "\(table)")
        #expect(try await bench.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'rescue'") == "2", "nothing of it stays")
    }

    /// What the plan's own words say of a row may change by itself, as the time goes by; what was agreed to does not.
    @Test func rowsThatAreWantedOnlyByNowWereNotAgreedTo() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY); CREATE FUNCTION latest() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        try await bench.run("INSERT INTO t VALUES (1), (2)")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t")
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.keepLive, missing: .insert(where: "id <= app.latest()")))])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        _ = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        try await bench.run("CREATE OR REPLACE FUNCTION latest() RETURNS int LANGUAGE sql AS 'SELECT 2'")
        let table = try await prove(bench)
        #expect(table.written == 1 && table.kept == 1 && table.wrong.isEmpty, "\(table)")
    }

    @Test func whatOthersWroteSinceIsNotWrong() async throws {
        let bench = try await merged()
        try await bench.run("DELETE FROM t WHERE id IN (1, 9); UPDATE t SET n = 50 WHERE id IN (3, 10); INSERT INTO t VALUES (30, 'new', 9)")
        let table = try await prove(bench)
        // Over what the merge wrote: 1, 3, 30. Anew: 9, 10.
        #expect(table.wrong.isEmpty && table.changedSince == 5, "\(table)")
    }

    /// The merge's own transaction is known by its number: what it wrote and is not as the audit says came out wrong.
    @Test func aRowThatCameOutOtherThanItWasWrittenIsWrong() async throws {
        let bench = try await merged()
        try await bench.run("UPDATE reprise_audit.changes SET after[3] = '77' WHERE after[1] = '1'")
        let table = try await prove(bench)
        #expect(table.wrong == ["that came out other than they were written": 1])
        #expect(MergeProof(merge: "m", tables: [table]).text.hasSuffix("; WRONG: 1 that came out other than they were written (id 1)."))
    }

    @Test func aRowThatWasAgreedToAndIsNowhereIsWrong() async throws {
        let bench = try await merged()
        try await bench.run("DELETE FROM reprise_audit.changes WHERE before[1] = '3'; UPDATE rescue.\"diff of t\" SET live[1] = live[1]; UPDATE t SET n = 0 WHERE id = 3")
        let wrong = try await prove(bench).wrong
        #expect(wrong["that were agreed to and neither merged nor listed"] == 1)
        #expect(wrong["that the policy would merge and that were neither merged nor listed"] == 1)
    }

    @Test func tablesThatACrashEmptiedOrACleanupDroppedProveNothing() async throws {
        let bench = try await merged()
        try await bench.run("TRUNCATE rescue.t, rescue.\"diff of t\"")
        let table = try await prove(bench)
        #expect(table.wrong == ["that were merged and nobody had agreed to": 6])
        // As text: 30 and 31 before 4.
        #expect(MergeProof(merge: "m", tables: [table]).text.hasSuffix("(id 1; 3; 30; 31; 4; …)."))
        try await bench.run("DROP TABLE rescue.\"diff of t\"")
        let gone = await #expect(throws: ReconcileRefused.self) { try await prove(bench) }
        #expect(gone?.code == "reconcile.rescue-gone")
        _ = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        let undone = await #expect(throws: ReconcileRefused.self) { try await prove(bench) }
        #expect(undone?.code == "reconcile.undone")
    }

    @Test func rowsWithoutAKeyAreProvenByTheirNumber() async throws {
        let bench = try await Bench("CREATE TABLE t (a text)")
        try await bench.run("INSERT INTO t VALUES ('x'), ('x'), ('y')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES ('z')")
        _ = try await bench.merge([try await bench.diff("t")])
        let table = try await prove(bench)
        #expect(table.written == 3 && table.kept == 1 && table.wrong.isEmpty && table.changedSince == 0, "\(table)")
        try await bench.run("DELETE FROM t WHERE a = 'y'")
        #expect(try await prove(bench).changedSince == 1)
        try await bench.run("DELETE FROM reprise_audit.changes WHERE after[1] = 'x'")
        #expect(try await prove(bench).wrong == ["that were agreed to and not merged, or the other way round": 2, "that came out other than they were written": 2])
    }

    @Test func rowsThatCameAsParentsAreProvenToo() async throws {
        let bench = try await Bench("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p); INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1, 1)")
        try await bench.backUp("p", "c")
        try await bench.run("TRUNCATE p, c")
        let plan = try MergePlan([try await bench.diff("c"), try await bench.diff("p", isFollowed: true)], followingParents: true)
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        _ = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        let proof = try await AuditTrail.prove("m", bench.connection, deadline: soon())
        #expect(proof.isProven && proof.tables.map(\.written) == [1, 1], "\(proof.text)")
    }
}
