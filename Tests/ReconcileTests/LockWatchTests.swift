import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Somebody holds what a merge is to write.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct LockWatchTests {
    @Test func whoHoldsARowIsNamedWithoutWhatTheyWrote() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'backup')")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET name = 'mistake'")
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        let holder = try await bench.connectAgain(as: "the till"), observer = try await bench.connectAgain()
        try await holder.execute("BEGIN", deadline: soon())
        try await holder.execute("UPDATE app.t SET name = 'a secret' WHERE id = 1", deadline: soon())
        let pid = await holder.backendPID
        // Long enough that the observer gets its turn on a machine that is busy with everything else.
        let merge = { @Sendable in
            try await plan.merge(as: "m", agreed: agreed.hash, lockTimeout: .seconds(10), bench.connection, deadline: soon())
        }
        let blocked = await #expect(throws: LockNotHad.self) {
            try await LockWatch.naming(holdersFor: bench.connection, from: observer, every: .milliseconds(100)) { try await merge() }
        }
        let message = "\(try #require(blocked))"
        for part in ["pid \(pid) (postgres, the till), idle in transaction, in a transaction since 20", "last statement UPDATE", "pg_terminate_backend(\(pid))"] {
            #expect(message.contains(part), "\(message)")
        }
        #expect(!message.contains("secret") && blocked?.isTransient == true)
        #expect(try await AuditTrail.mark("m", bench.connection, deadline: soon()) == .absent)
        // When they let go, the same merge goes on; what they wrote stays.
        try await holder.execute("COMMIT", deadline: soon())
        let outcome = try await LockWatch.naming(holdersFor: bench.connection, from: observer) { try await merge() }
        #expect(outcome.tables[0].skipped == ["changed since the preview": 1])
    }

    @Test func whatIsNoWaitIsThrownAsItIs() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY)"), observer = try await bench.connectAgain()
        await #expect(throws: PostgresError.self) {
            try await LockWatch.naming(holdersFor: bench.connection, from: observer) { try await bench.connection.execute("SELECT 1/0", deadline: soon()) }
        }
    }
}
