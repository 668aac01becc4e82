import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@testable import Reconcile

/// Whatever comes in between, a merge is there whole or not at all, and its mark says which.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct MergeFaultTests {
    /// Each of the two holds a row that the other one waits for, and the server chooses the merge: the other one waits first and never
    /// looks, and only then a third one lets the merge go on to where it closes the circle. However slow the machine is.
    @Test func aDeadlockLeavesNothingAndASecondTryMerges() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET n = 0 WHERE id < 4; DELETE FROM t WHERE id = 4")
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        let other = try await bench.connectAgain(), third = try await bench.connectAgain(as: "third"), merging = bench.connection
        for sql in ["SET deadlock_timeout = '1h'", "BEGIN", "UPDATE app.t SET n = 33 WHERE id = 3"] { try await other.execute(sql, deadline: soon()) }
        for sql in ["BEGIN", "SELECT FROM app.t WHERE id = 2 FOR UPDATE"] { try await third.execute(sql, deadline: soon()) }
        let merge = Task { try await plan.merge(as: "m", agreed: agreed.hash, lockTimeout: .seconds(60), merging, deadline: soon(120)) }
        try await bench.untilItWaits(merging)
        let circle = Task { try await other.execute("UPDATE app.t SET n = 11 WHERE id = 1", deadline: soon(120)) }
        try await bench.untilItWaits(other)
        try await third.execute("ROLLBACK", deadline: soon())
        let error = await #expect(throws: PostgresError.self) { try await merge.value }
        _ = try await circle.value
        #expect(error?.sqlState == "40P01" && error?.isTransient == true)
        try await other.execute("ROLLBACK", deadline: soon())
        #expect(try await bench.rows("t") == ["(1,0)", "(2,0)", "(3,0)"])
        #expect(try await AuditTrail.mark("m", merging, deadline: soon()) == .absent)
        try await other.execute("UPDATE app.t SET n = 33 WHERE id = 3", deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, merging, deadline: soon())
        #expect(outcome.tables[0].updated == 2 && outcome.tables[0].inserted == 1 && outcome.tables[0].skipped == ["changed since the preview": 1])
        #expect(try await bench.rows("t") == ["(1,1)", "(2,2)", "(3,33)", "(4,4)"])
        #expect(try await bench.value("SELECT count(*), count(DISTINCT merge) FROM reprise_audit.changes") == "3|1")
        #expect(try await bench.value("SELECT string_agg(id, ' ') FROM reprise_audit.merges") == "m")
        for connection in [other, third] { await connection.close() }
    }

    /// Where everything is serializable by default the merge is not: it must see what was written up to its locks. A transaction that
    /// is serializable, and had read what is merged, is told so by the server.
    @Test func aDatabaseOfSerializableTransactions() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
        try await bench.backUp("t")
        try await bench.run("ALTER DATABASE \(bench.database) SET default_transaction_isolation = 'serializable'; UPDATE t SET n = 0 WHERE id < 3; DELETE FROM t WHERE id = 3")
        let merging = try await bench.connectAgain(as: "merging"), other = try await bench.connectAgain()
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        let agreed = try await plan.prepare(merging, deadline: soon())
        for sql in ["BEGIN", "UPDATE app.t SET n = 22 WHERE id = 2"] { try await other.execute(sql, deadline: soon()) }
        let merge = Task { try await plan.merge(as: "m", agreed: agreed.hash, lockTimeout: .seconds(30), merging, deadline: soon()) }
        try await bench.untilItWaits(merging)
        try await other.execute("COMMIT", deadline: soon())
        let outcome = try await merge.value
        #expect(outcome.tables[0].updated == 1 && outcome.tables[0].skipped == ["changed since the preview": 1])
        #expect(try await bench.rows("t") == ["(1,1)", "(2,22)", "(3,3)"])
        for sql in ["BEGIN", "SELECT FROM app.t"] { try await other.execute(sql, deadline: soon()) }
        _ = try await AuditTrail.undo("m", merging, deadline: soon())
        let error = await #expect(throws: PostgresError.self) { try await other.execute("UPDATE app.t SET n = 5 WHERE id = 1", deadline: soon()) }
        #expect(error?.sqlState == "40001")
        try await other.execute("ROLLBACK", deadline: soon())
        #expect(try await bench.rows("t") == ["(1,0)", "(2,22)"])
        for connection in [merging, other] { await connection.close() }
    }

    /// A server of the test's own is restarted, as if its processes had been killed, at random instants of a merge.
    @Test func aServerThatIsKilledDuringAMergeHasAllOfItOrNothing() async throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        let cluster = try await Cluster()
        let bench = try await Bench(
            "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO t SELECT g, g FROM generate_series(1, 3000) g; INSERT INTO c SELECT g, g FROM generate_series(1, 3000) g", on: cluster)
        // Not unlogged: a crash would empty them.
        try await bench.run("CREATE TABLE rescue.t AS TABLE t; CREATE TABLE rescue.c AS TABLE c; DELETE FROM c WHERE id % 3 = 0; DELETE FROM t WHERE id % 3 = 0; UPDATE t SET n = 0 WHERE id % 3 = 1; INSERT INTO t VALUES (99999, 9)")
        await bench.connection.close()
        let state = "SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM (SELECT t::text AS x FROM t UNION ALL SELECT 'c' || c FROM c) AS y"
        let before = try await bench.value(state)
        var took = Duration.seconds(1), after = "", fates: [AuditTrail.Mark] = []
        for round in 0..<4 {
            let connection = try await bench.connectAgain()
            let live = try await ["t", "c"].asyncMap { try await TableShape.read(QualifiedName(schema: "app", name: $0), connection, deadline: soon()) }
            let plan = try MergePlan(try await live.asyncMap { live in
                let backup = try await TableShape.read(QualifiedName(schema: "rescue", name: live.name.name.name), connection, deadline: soon())
                return TableDiff(try TablePair(backup: backup, live: live), policy: MergePolicy(.takeBackup), into: try QualifiedName(schema: "rescue", name: "diff of \(live.name.name.name)"))
            })
            let agreed = try await plan.prepare(connection, deadline: soon()), id = "round \(round)"
            if round > 0 {
                // The first time it takes as long as it does; the second it stands before a row; then it is hit anywhere, if at all.
                let blocker = try await bench.connectAgain(as: "blocker"), delay = took * Double(random.below(90)) / 100
                if round == 1 { for sql in ["BEGIN", "UPDATE app.t SET n = 5 WHERE id = 2998"] { try await blocker.execute(sql, deadline: soon()) } }
                let merge = Task { try await plan.merge(as: id, agreed: agreed.hash, connection, deadline: soon(120)) }
                if round == 1 { try await bench.untilItWaits(connection) } else { try await Task.sleep(for: delay) }
                try await restart(cluster)
                await blocker.close()
                _ = try? await merge.value
            } else {
                let clock = ContinuousClock.now
                _ = try await plan.merge(as: id, agreed: agreed.hash, connection, deadline: soon(120))
                took = clock.duration(to: .now)
                after = try await bench.value(state)
            }
            let again = round > 0 ? try await bench.connectAgain() : connection
            let mark = try await AuditTrail.mark(id, again, deadline: soon())
            fates.append(mark)
            let comment: Comment = "seed \(seed), round \(round), \(mark)"
            #expect(try await bench.value(state) == (mark == .absent ? before : after), comment)
            // The same call decides it, and does nothing twice.
            let outcome = try await plan.merge(as: id, agreed: agreed.hash, again, deadline: soon(120))
            #expect(outcome.wasDoneAlready == (mark != .absent) && outcome.tables.map(\.inserted) == [1000, 1000] && outcome.tables[0].updated == 1000, comment)
            #expect(try await bench.value(state) == after, comment)
            #expect(try await bench.value("SELECT count(*) FROM reprise_audit.changes WHERE merge = '\(id)'") == "3000", comment)
            _ = try await AuditTrail.undo(id, again, deadline: soon(120))
            #expect(try await bench.value(state) == before, comment)
            await again.close()
        }
        #expect(fates.contains(.absent), "none was hit: \(fates)")
    }

    private func restart(_ cluster: Cluster) async throws {
        let asOwner = geteuid() == 0 ? "runuser -u $(stat -c %U '\(cluster.folder)/data') --" : ""
        try await cluster.must("cd /; \(asOwner) \(Cluster.programs)/pg_ctl -D '\(cluster.folder)/data' -l '\(cluster.folder)/log' -m immediate -w restart > /dev/null")
    }
}

extension Sequence {
    fileprivate func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}
