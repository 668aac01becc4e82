import BlockingIO
import PostgreSQL
import PostgresCluster
import Synchronization
import TestSupport
import Testing

@testable import Reconcile

/// Somebody inserts, changes and deletes rows at random all through the preview and the merge.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ConcurrentWriterTests {
    /// What the other session wrote last, row by row; nil: it deleted the row.
    private final class Writer: Sendable {
        private let last = Mutex<[Int: String?]>([:])
        private let rows = Mutex(0)
        private let isStopped = Mutex(false)
        var written: [Int: String?] { last.withLock { $0 } }

        /// Not by cancelling its task: a statement that is given up may have been carried out.
        func stop() { isStopped.withLock { $0 = true } }

        /// Until it has written so many rows more: a time would be too short on a busy machine, where it has not begun.
        func writes(_ more: Int) async throws {
            let enough = rows.withLock(\.self) + more, deadline = soon()
            while rows.withLock(\.self) < enough {
                try #require(!deadline.hasPassed, "the writer writes nothing")
                try await Task.sleep(for: .milliseconds(1))
            }
        }

        /// Writes until it is stopped. Each value is written once only.
        func run(_ connection: PostgresConnection, seed: UInt64) async throws {
            var random = SeededGenerator(seed), number = 0
            while !isStopped.withLock({ $0 }) {
                number += 1
                let id = 1 + random.below(90), value = "w\(number)"
                let sql =
                    switch random.below(3) {
                    case 0: "DELETE FROM app.t WHERE id = \(id)"
                    case 1: "UPDATE app.t SET n = '\(value)' WHERE id = \(id)"
                    default: "INSERT INTO app.t VALUES (\(id), '\(value)', NULL) ON CONFLICT (id) DO NOTHING"
                    }
                let rows = try await connection.execute(sql, deadline: soon())
                if rows > 0 {
                    last.withLock { $0[id] = .some(sql.hasPrefix("DELETE") ? nil : value) }
                    self.rows.withLock { $0 += 1 }
                }
                // So that there is room for the merge on a machine of few cores.
                try? await Task.sleep(for: .milliseconds(random.below(3)))
            }
        }
    }

    @Test func everyCommittedWriteIsThereInTheEnd() async throws {
        let seed = seed(#function)
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n text, u int UNIQUE)")
        var random = SeededGenerator(seed), overwritten = 0, left = 0
        for round in 0..<8 {
            let at: Comment = "seed \(seed), round \(round)"
            try await bench.run("DROP SCHEMA IF EXISTS reprise_audit CASCADE; TRUNCATE t; INSERT INTO t SELECT g, 'saved', g FROM generate_series(1, 60) g")
            try await bench.backUp("t")
            try await bench.run("DELETE FROM t WHERE id % 2 = 0; UPDATE t SET n = 'mistake' WHERE id % 3 = 0")
            var policy = MergePolicy(.takeBackup)
            (policy.deletesExtra, policy.mostDeletes) = (true, 100)
            let plan = try MergePlan([try await bench.diff("t", policy: policy)]), connection = try await bench.connectAgain(as: "writer")
            let writer = Writer(), writerSeed = random.next()
            let writing = Task { try await writer.run(connection, seed: writerSeed) }
            try await writer.writes(1 + random.below(30))
            let agreed = try await plan.prepare(bench.connection, deadline: soon())
            try await writer.writes(1 + random.below(40))
            let outcome = try await mergeAsASteps(plan, agreed.hash)
            try await writer.writes(random.below(20))
            writer.stop()
            try await writing.value
            await connection.close()
            let agreedTo = try await states("SELECT \"key 1\" AS id, live[2] AS n FROM rescue.\"diff of t\" WHERE verdict IN ('insert', 'update', 'delete')", bench)
            let now = try await states("SELECT id, n FROM app.t", bench)
            for (id, last) in writer.written where now[id] ?? nil != last {
                // Only what it had written before the preview, and what was shown there, may be written over.
                #expect(agreedTo[id] == .some(last), "row \(id) was \(last ?? "deleted") and is \((now[id] ?? nil) ?? "not there"); \(at)")
                overwritten += 1
            }
            left += outcome.tables[0].skipped["changed since the preview"] ?? 0
            for id in 1...60 where writer.written[id] == nil { #expect(now[id] == .some("saved"), "row \(id); \(at)") }
        }
        #expect(overwritten > 0 && left > 0, "the writer met no merge; seed \(seed)")

        /// At most five times, as a step does it; a second session that took a key in between is the only excuse.
        func mergeAsASteps(_ plan: MergePlan, _ agreed: String) async throws -> MergeOutcome {
            for attempt in 1... {
                do {
                    return try await plan.merge(as: "m", agreed: agreed, bench.connection, deadline: soon())
                } catch let error as PostgresError where ["23505", "40P01"].contains(error.sqlState) && attempt < 5 {
                    continue
                }
            }
            fatalError("unreachable")
        }
    }

    /// And whoever writes over a row that was to go, or to get its former values back, keeps it.
    @Test func whatWasToGoStaysWhereSomebodyWritesIt() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET n = 0; INSERT INTO t VALUES (8, 8), (9, 9)")
        var policy = MergePolicy(.takeBackup)
        (policy.deletesExtra, policy.mostDeletes) = (true, 2)
        let plan = try MergePlan([try await bench.diff("t", policy: policy)]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        try await bench.run("UPDATE t SET n = 99 WHERE id = 9")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].deleted == 1 && outcome.tables[0].skipped == ["changed since the preview": 1])
        #expect(try await bench.rows("t") == ["(1,1)", "(9,99)"])
        try await bench.run("UPDATE t SET n = 11 WHERE id = 1")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].skipped == ["changed since the merge": 1] && undone.tables[0].inserted == 1)
        #expect(try await bench.rows("t") == ["(1,11)", "(8,8)", "(9,99)"])
    }

    /// Between its look at a row and its writing of it nobody else writes it: whoever tries waits, and comes after.
    @Test func nobodyWritesBetweenTheLastLookAndTheWriting() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2)")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id = 2")
        let diff = try await bench.diff("t", policy: MergePolicy(.takeBackup))
        _ = try await bench.merge([diff], as: "the first makes the audit")
        try await bench.run("UPDATE t SET n = 0 WHERE id = 1")
        let plan = try MergePlan([diff]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        // It has looked, and cannot write its audit yet.
        let gate = try await bench.connectAgain(as: "gate"), writer = try await bench.connectAgain(as: "writer")
        for sql in ["BEGIN", "LOCK TABLE reprise_audit.changes IN SHARE MODE"] { try await gate.execute(sql, deadline: soon()) }
        let merge = Task { try await plan.merge(as: "m", agreed: agreed.hash, lockTimeout: .seconds(30), bench.connection, deadline: soon()) }
        try await bench.until("SELECT count(*) FROM pg_locks WHERE relation = 'reprise_audit.changes'::regclass AND NOT granted")
        let writing = Task { try await writer.execute("UPDATE app.t SET n = 77 WHERE id = 1", deadline: soon()) }
        try await Task.sleep(for: .milliseconds(500))
        try await gate.execute("ROLLBACK", deadline: soon())
        #expect(try await merge.value.tables[0].updated == 1)
        #expect(try await writing.value == 1)
        #expect(try await bench.rows("t") == ["(1,77)", "(2,2)"])
        for connection in [gate, writer] { await connection.close() }
    }

    /// What hangs on a name that would change is changed along by the constraint: whoever was about to hang it there is waited for.
    @Test func aNameToWhichSomebodyLeadsDuringTheMergeStays() async throws {
        let bench = try await Bench(
            "CREATE TABLE p (id int PRIMARY KEY, name text UNIQUE); CREATE TABLE c (p text REFERENCES p (name) ON UPDATE CASCADE); INSERT INTO p VALUES (1, 'then'), (2, 'two')")
        try await bench.backUp("p")
        try await bench.run("UPDATE p SET name = 'now' WHERE id = 1; DELETE FROM p WHERE id = 2")
        var policy = MergePolicy(.takeBackup)
        policy.mergesOtherRows = true
        let plan = try MergePlan([try await bench.diff("p", policy: policy)]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        let other = try await bench.connectAgain()
        for sql in ["BEGIN", "INSERT INTO app.c VALUES ('now')"] { try await other.execute(sql, deadline: soon()) }
        let merge = Task { try await plan.merge(as: "m", agreed: agreed.hash, lockTimeout: .seconds(30), bench.connection, deadline: soon()) }
        try await bench.untilItWaits(bench.connection)
        try await other.execute("COMMIT", deadline: soon())
        let outcome = try await merge.value
        #expect(outcome.tables[0].updated == 0 && outcome.tables[0].inserted == 1 && outcome.tables[0].skipped == ["other rows hang on it": 1])
        #expect(try await [bench.rows("p"), bench.rows("c")] == [["(1,now)", "(2,two)"], ["(now)"]])
        await other.close()
    }

    /// - Returns: by id the value, nil where the row is not there.
    private func states(_ sql: String, _ bench: Bench) async throws -> [Int: String?] {
        let rows = try await bench.connection.query(sql, deadline: soon()).rows
        return Dictionary(uniqueKeysWithValues: try rows.map { (try $0.integer("id", as: Int.self), try $0.optionalString("n")) })
    }
}
