import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Rows that a person decides.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct DecisionTests {
    private func bench() async throws -> Bench {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, a text, b text)")
        try await bench.run("INSERT INTO t SELECT g, 'a' || g, 'b' || g FROM generate_series(1, 5) g")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET a = 'x', b = 'y' WHERE id < 5")
        return bench
    }

    private func decide(_ lines: String) throws -> [Decision] { try Decision.read(lines, from: "decisions") }

    @Test func decidedRowsAreMergedAndOthersWaitAndAreListed() async throws {
        let bench = try await bench(), plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.decide))])
        let first = try await plan.prepare(bench.connection, deadline: soon())
        #expect(first.tables[0].undecidedRows == 4 && first.tables[0].undecided.map(\.number) == [1, 2, 3, 4])
        #expect(first.text.contains("4 wait for a decision"))
        // The listing, filled in, is what is read.
        let lines = first.tables[0].undecided.map(\.line)
        #expect(lines[0] == #"{"differs":{"a":{"backup":"a1","live":"x"},"b":{"backup":"b1","live":"y"}},"key":{"id":"1"},"number":1,"table":"app.t","take":""}"#)
        let filled = "\(lines[0].replacing("\"take\":\"\"", with: "\"take\":\"backup\""))\n\(lines[1].replacing("\"take\":\"\"", with: "\"take\":\"live\""))\n\(lines[3])\n"
        let decisions = try decide(filled + #"{"table": "app.t", "key": {"id": 3}, "columns": {"b": "backup"}}"#)
        let preview = try await plan.prepare(bench.connection, decisions: decisions, deadline: soon())
        #expect(preview.hash != first.hash && preview.unusedDecisions.isEmpty)
        #expect(preview.tables[0].undecided.map(\.number) == [3, 4] && preview.tables[0].undecided[0].differs.count == 1)
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].updated == 2 && outcome.tables[0].skipped == ["not decided": 1, "columns not decided": 1])
        #expect(try await bench.rows("t") == ["(1,a1,b1)", "(2,x,y)", "(3,x,b3)", "(4,x,y)", "(5,a5,b5)"])
        _ = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(try await bench.rows("t")[0] == "(1,x,y)")
    }

    @Test func onlyTheColumnsThatAreToBeDecidedWait() async throws {
        let bench = try await bench()
        var policy = MergePolicy(.takeBackup)
        policy.columns = [try SQLIdentifier("b"): .decide]
        let (_, preview, outcome) = try await bench.merge([try await bench.diff("t", policy: policy)])
        #expect(preview.tables[0].undecidedRows == 4 && preview.tables[0].undecided.allSatisfy { $0.differs.keys.map(\.name) == ["b"] })
        #expect(outcome.tables[0].updated == 4)
        #expect(try await bench.rows("t") == ["(1,a1,y)", "(2,a2,y)", "(3,a3,y)", "(4,a4,y)", "(5,a5,b5)"])
    }

    @Test func aPreviewWithOtherDecisionsIsAnotherOne() async throws {
        let bench = try await bench(), plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.decide))])
        let agreed = try await plan.prepare(bench.connection, decisions: try decide(#"{"table": "app.t", "key": {"id": 1}, "take": "backup"}"#), deadline: soon())
        _ = try await plan.prepare(bench.connection, decisions: try decide(#"{"table": "app.t", "key": {"id": 2}, "take": "backup"}"#), deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.other-preview")
    }

    /// Whoever decides has seen whose row it is; a value that another row has is in the way all the same.
    @Test func aDecisionGoesBeforeADoubtButNotBeforeAConstraint() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE)")
        try await bench.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET mail = mail || '2'; INSERT INTO t VALUES (9, 'b')")
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.decide))])
        let decisions = try decide("{\"table\": \"app.t\", \"key\": {\"id\": 1}, \"take\": \"backup\"}\n{\"table\": \"app.t\", \"key\": {\"id\": 2}, \"take\": \"backup\"}")
        let preview = try await plan.prepare(bench.connection, decisions: decisions, deadline: soon())
        #expect(preview.tables[0].rows(.update) == 1 && preview.tables[0].rows(.skip) == 1)
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].updated == 1 && outcome.tables[0].skipped == ["another row has its value of t_mail_key": 1])
    }

    @Test func decisionsThatDecideNothingAreNamed() async throws {
        let bench = try await bench(), plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.decide))])
        let decisions = try decide("\n{\"table\": \"app.t\", \"key\": {\"id\": 5}, \"take\": \"backup\"}\n{\"table\": \"app.t\", \"key\": {\"id\": 1}, \"take\": \"live\"}")
        #expect(try await plan.prepare(bench.connection, decisions: decisions, deadline: soon()).unusedDecisions == [2])
        for (line, words) in [
            (#"{"table": "app.other", "key": {"id": 1}, "take": "live"}"#, "app.other, which is not compared"),
            (#"{"table": "app.t", "key": {"name": 1}, "take": "live"}"#, "the key of app.t is \"id\""),
            (#"{"table": "app.t", "key": {"id": 1}, "columns": {"c": "live"}}"#, "no column c"),
            ("{\"table\": \"app.t\", \"key\": {\"id\": 1}, \"take\": \"live\"}\n{\"table\": \"app.t\", \"key\": {\"id\": \"01\"}, \"take\": \"backup\"}", "lines 1 and 2 decide the same row"),
        ] {
            let refused = await #expect(throws: ReconcileRefused.self) {
                try await plan.prepare(bench.connection, decisions: try decide(line), deadline: soon())
            }
            #expect(refused?.code == "reconcile.bad-decision" && refused?.message.contains(words) == true, "\(refused?.message ?? "")")
        }
    }

    @Test(arguments: [
        ("no JSON", "is no JSON object"), (#"{"key": {"id": 1}, "take": "live"}"#, "does not say which row"), (#"{"table": "t", "key": {}, "take": "live"}"#, "does not say which row"),
        (#"{"table": "t", "key": {"id": 1}, "take": "mine"}"#, "`backup` or `live`"), (#"{"table": "t", "key": {"id": 1}, "tke": "live"}"#, "`tke`"),
        (#"{"table": "t", "key": {"id": 1.5}, "take": "live"}"#, "write it as text"),
        ("{\"table\": \"t\", \"key\": {\"id\": 1}, \"take\": \"live\"}\n{\"table\": \"public.t\", \"key\": {\"id\": 1}, \"take\": \"backup\"}", "line 2 decides the row of line 1"),
    ])
    func aLineThatCannotBeReadIsNamed(text: String, words: String) {
        let refused = #expect(throws: ReconcileRefused.self) { try Decision.read(text, from: "decisions") }
        #expect(refused?.message.contains(words) == true && refused?.message.contains("decisions, line") == true, "\(refused?.message ?? "")")
    }
}
