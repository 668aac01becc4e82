import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct MergeTests {
    @Test func whatWasLostComesBackAndWhatIsNewStays() async throws {
        let bench = try await Bench("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, twice text GENERATED ALWAYS AS (name || name) STORED)")
        try await bench.run("INSERT INTO t (name) SELECT 'n' || g FROM generate_series(1, 100) g")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id IN (3, 100); UPDATE t SET name = 'changed' WHERE id = 5; INSERT INTO t (name) VALUES ('new')")
        let (_, preview, outcome) = try await bench.merge([try await bench.diff("t")])
        #expect(preview.tables[0].rows(.missing) == 2 && preview.tables[0].rows(.changed) == 1 && preview.tables[0].rows(.extra) == 1)
        #expect(outcome.tables[0].inserted == 2 && outcome.tables[0].updated == 0)
        #expect(try await bench.value("SELECT count(*), count(*) FILTER (WHERE name = 'changed'), max(id), bool_and(twice = name || name) FROM t") == "101|1|101|t")
        // The next number is a new one.
        #expect(try await bench.value("INSERT INTO t (name) VALUES ('next') RETURNING id") == "102")
    }

    @Test func aKilledMergeIsDecidedByItsMarkAndNeverDoneTwice() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int)")
        try await bench.run("INSERT INTO t VALUES (1, 1), (2, 2)")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id = 2")
        let (plan, preview, first) = try await bench.merge([try await bench.diff("t")])
        #expect(try await AuditTrail.mark("m", bench.connection, deadline: soon()) == .merged(preview: preview.hash))
        try await bench.run("DELETE FROM t WHERE id = 2")
        let again = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(again.wasDoneAlready && again.tables == first.tables)
        #expect(try await bench.rows("t") == ["(1,1)"])
        let undone = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(undone.tables[0].skipped == ["changed since the merge": 1], "the row had gone in the meantime")
        #expect(try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon()).wasDoneAlready)
        await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon()) }
    }

    @Test func anotherPreviewThanTheOneThatWasAgreedToIsRefused() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int)")
        try await bench.run("INSERT INTO t VALUES (1, 1), (2, 2)")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t")
        let plan = try MergePlan([try await bench.diff("t")])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        try await bench.run("INSERT INTO t VALUES (1, 9)")
        let other = try await plan.prepare(bench.connection, deadline: soon())
        #expect(agreed.hash != other.hash)
        await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(try await bench.rows("t") == ["(1,9)"])
    }

    /// Changed and appeared between the preview and the merge: both rows keep what somebody wrote.
    @Test func whatChangesAfterThePreviewIsLeftAloneAndListed() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int)")
        try await bench.run("INSERT INTO t SELECT g, g FROM generate_series(1, 4) g")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id = 2; UPDATE t SET n = 0 WHERE id IN (3, 4)")
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        try await bench.run("INSERT INTO t VALUES (2, 77); UPDATE t SET n = 88 WHERE id = 3")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].skipped == ["changed since the preview": 2] && outcome.tables[0].updated == 1 && outcome.tables[0].inserted == 0)
        #expect(try await bench.rows("t") == ["(1,1)", "(2,77)", "(3,88)", "(4,4)"])
        #expect(try await bench.value("SELECT count(*) FROM reprise_audit.skips WHERE merge = 'm'") == "2")
    }

    @Test func aTriggerThatRewritesIsFoundAndNothingIsMergedUntilItIsNamed() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE t (id int PRIMARY KEY, n int, at text);
            CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.at := 'touched'; RETURN NEW; END$$;
            """)
        try await bench.run("INSERT INTO t VALUES (1, 1, 'then'), (2, 2, 'then')")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET n = 0 WHERE id = 1; DELETE FROM t WHERE id = 2; CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()")
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.rewritten" && refused?.hints.first?.contains("touch") == true)
        #expect(try await bench.rows("t") == ["(1,0,then)"])
        #expect(try await AuditTrail.mark("m", bench.connection, deadline: soon()) == .absent)
        let table = try QualifiedName(schema: "app", name: "t"), touch = try SQLIdentifier("touch")
        _ = try await plan.merge(as: "m", agreed: agreed.hash, disabling: [table: [touch]], bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == ["(1,1,then)", "(2,2,then)"])
        #expect(try await bench.value("SELECT tgenabled FROM pg_trigger WHERE tgname = 'touch'") == "O")
    }

    @Test func aUniqueValueThatSomebodyElseHasByNowIsSkippedAndNamed() async throws {
        let bench = try await Bench(
            "CREATE EXTENSION citext SCHEMA public; CREATE TABLE t (id int PRIMARY KEY, email public.citext UNIQUE, n int); CREATE UNIQUE INDEX odd ON t ((n / 10)) WHERE n > 100")
        try await bench.run("INSERT INTO t VALUES (1, 'a@x', 1), (2, 'b@x', 2), (3, 'c@x', 105), (4, NULL, 4)")
        try await bench.backUp("t")
        // 1 is gone and its address belongs to 9, in other letters; 2 is another person now; 3's number is as good as 8's.
        try await bench.run("DELETE FROM t; INSERT INTO t VALUES (9, 'A@X', 0), (2, 'z@x', 2), (8, NULL, 109)")
        let (_, preview, outcome) = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        #expect(outcome.tables[0].skipped == ["another row has its value of t_email_key": 1, "another row has its value of odd": 1, "another row under the same key, by t_email_key": 1])
        #expect(preview.tables[0].rows(.skip) == 3 && outcome.tables[0].inserted == 1)
        #expect(try await bench.rows("t") == ["(2,z@x,2)", "(4,,4)", "(8,,109)", "(9,A@X,0)"])
    }

    @Test func parentsComeBeforeTheirChildrenAndChildrenOfNobodyStayOut() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY, boss int REFERENCES p); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p);
            """)
        try await bench.run("INSERT INTO p VALUES (1, NULL), (2, 1), (3, 2), (4, NULL); INSERT INTO c VALUES (1, 1), (2, 3), (3, 4)")
        try await bench.backUp("p", "c")
        try await bench.run("TRUNCATE p, c")
        var policy = MergePolicy()
        policy.missing = .insert(where: "id <> 2")
        let (plan, _, outcome) = try await bench.merge([try await bench.diff("c"), try await bench.diff("p", policy: policy)])
        #expect(plan.diffs.map { "\($0.pair.live.name.name)" } == ["p", "c"])
        #expect(try await bench.rows("p") == ["(1,)", "(4,)"] && outcome.tables[0].skipped == ["its parent is not there, by p_boss_fkey": 1])
        #expect(try await bench.rows("c") == ["(1,1)", "(3,4)"] && outcome.tables[1].skipped == ["its parent is not there, by c_p_fkey": 1])
    }

    @Test func aCircleIsMergedWhereItCanBeCheckedLaterAndRefusedElsewhere() async throws {
        for (deferrable, isMerged) in [("DEFERRABLE", true), ("", false)] {
            let bench = try await Bench(
                """
                CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
                ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b \(deferrable);
                """)
            try await bench.run("INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1")
            try await bench.backUp("a", "b")
            try await bench.run("TRUNCATE a, b")
            let diffs = [try await bench.diff("a"), try await bench.diff("b")]
            guard isMerged else {
                #expect(throws: ReconcileRefused.self) { try MergePlan(diffs) }
                continue
            }
            _ = try await bench.merge(diffs)
            #expect(try await [bench.rows("a"), bench.rows("b")] == [["(1,1)"], ["(1,1)"]])
        }
    }

    @Test func rowsOfATableWithoutAKeyAreCounted() async throws {
        let bench = try await Bench("CREATE TABLE t (a text, n numeric)")
        try await bench.run("INSERT INTO t VALUES ('x', 1), ('x', 1), ('x', 1), ('y', 2), (NULL, NULL)")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t; INSERT INTO t VALUES ('x', 1), ('z', 3), ('x', 1.0)")
        let before = try await bench.rows("t")
        let (plan, _, outcome) = try await bench.merge([try await bench.diff("t")])
        #expect(outcome.tables[0].inserted == 4)
        #expect(try await bench.rows("t") == ["(,)", "(x,1)", "(x,1)", "(x,1)", "(x,1.0)", "(y,2)", "(z,3)"])
        _ = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == before)
    }

    @Test(arguments: [
        ("id uuid PRIMARY KEY", "md5(g::text)::uuid"), ("id text COLLATE \"C\" PRIMARY KEY", "'Ключ ' || g"), ("id numeric PRIMARY KEY", "g + 0.50"),
        ("id public.citext PRIMARY KEY", "'Key' || g"), ("id app.code PRIMARY KEY", "'k' || g"),
    ])
    func keysOfEveryTypeTellRowsApart(column: (String, String)) async throws {
        let bench = try await Bench("CREATE EXTENSION citext SCHEMA public; CREATE DOMAIN code AS text; CREATE TABLE t (\(column.0), \"Größe \"\"q\"\"\" text)")
        try await bench.run("INSERT INTO t SELECT \(column.1), 'v' || g FROM generate_series(1, 50) g")
        try await bench.backUp("t")
        let backup = try await bench.rows("t")
        try await bench.run("DELETE FROM t WHERE \"Größe \"\"q\"\"\" IN ('v7', 'v8'); UPDATE t SET \"Größe \"\"q\"\"\" = 'other' WHERE \"Größe \"\"q\"\"\" = 'v9'")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        #expect(outcome.tables[0].inserted == 2 && outcome.tables[0].updated == 1)
        #expect(try await bench.rows("t") == backup)
    }

    @Test func partitionsAreMergedThroughTheirRootAndPoliciesOfRowsHideNothing() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE t (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
            CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-07-01'); CREATE TABLE t2 PARTITION OF t DEFAULT;
            ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
            """)
        try await bench.run("INSERT INTO t VALUES (1, '2026-02-01'), (2, '2026-08-01'), (3, '2026-03-01')")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id < 3")
        _ = try await bench.merge([try await bench.diff("t")])
        #expect(try await bench.value("SELECT (SELECT count(*) FROM t1), (SELECT count(*) FROM t2)") == "2|1")
    }

    @Test func driftIsNamedAndMergedOnlyWhereThePlanSaysSo() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, old int, kept text, n int)")
        try await bench.run("INSERT INTO t VALUES (1, 1, 'a', 1), (2, 2, 'b', 2)")
        try await bench.backUp("t")
        try await bench.run("ALTER TABLE t DROP old, ADD added int DEFAULT 7, ALTER n TYPE text; DELETE FROM t WHERE id = 2")
        let refused = await #expect(throws: ReconcileRefused.self) { try await bench.diff("t") }
        for part in ["column added was added since the backup", "column n was integer and is text", "column old of the backup is not there any more"] {
            #expect(refused?.message.contains(part) == true, "\(refused?.message ?? "")")
        }
        _ = try await bench.merge([try await bench.diff("t", toleratesDrift: true)])
        #expect(try await bench.rows("t") == ["(1,a,1,7)", "(2,b,,7)"])
    }

    @Test func moreThanTheCapsIsRefusedBeforeAnythingIsMerged() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY)")
        try await bench.run("INSERT INTO t SELECT generate_series(1, 10)")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id > 4; INSERT INTO t VALUES (99)")
        var policy = MergePolicy()
        policy.mostInserts = 5
        let tooMany = try MergePlan([try await bench.diff("t", policy: policy)])
        await #expect(throws: ReconcileRefused.self) { try await tooMany.prepare(bench.connection, deadline: soon()) }
        policy = MergePolicy()
        policy.deletesExtra = true
        let noCap = try MergePlan([try await bench.diff("t", policy: policy)])
        await #expect(throws: ReconcileRefused.self) { try await noCap.prepare(bench.connection, deadline: soon()) }
        policy.mostDeletes = 1
        let (plan, _, outcome) = try await bench.merge([try await bench.diff("t", policy: policy)])
        #expect(outcome.tables[0].deleted == 1 && outcome.tables[0].inserted == 6)
        _ = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(try await bench.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t") == "1 2 3 4 99")
    }

    /// Somebody writes all the time: nothing that they wrote is lost, and every row that was lost is back.
    @Test func aWriterDuringTheMergeLosesNothing() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, by text)")
        try await bench.run("INSERT INTO t SELECT g, 0, 'seed' FROM generate_series(1, 20000) g")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id % 100 = 0; UPDATE t SET n = -1, by = 'mistake' WHERE id % 200 = 1")
        let plan = try MergePlan([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        let writer = Task {
            let connection = try await PostgresConnection.connect(
                to: bench.connection.target, session: PostgresSession(applicationName: "writer"), deadline: soon())
            var written = 0
            while !Task.isCancelled {
                let id = 1 + (written * 37) % 20000
                // Cancelled in the middle of one, it may have written or not; the table is judged by what is in it.
                guard (try? await connection.execute("UPDATE app.t SET n = n + 1000, by = 'writer' WHERE id = \(id)", deadline: soon())) != nil else { break }
                written += 1
            }
            await connection.close()
            return written
        }
        try await Task.sleep(for: .milliseconds(100))
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        writer.cancel()
        let rounds = (try? await writer.value) ?? 0
        #expect(rounds > 0)
        let table = outcome.tables[0]
        #expect(table.inserted == 200 && table.updated + (table.skipped["changed since the preview"] ?? 0) == 100)
        // What the writer wrote, before or after the merge, is there; no mistake is left that nobody wrote over.
        #expect(try await bench.value("SELECT count(*), count(*) FILTER (WHERE by = 'mistake'), count(*) FILTER (WHERE by = 'seed' AND n <> 0) FROM t") == "20000|0|0")
        #expect(try await bench.value("SELECT count(*) FROM t WHERE by = 'writer' AND n NOT IN (999, 1000, 1999, 2000, 2999, 3000)") == "0")
    }
}
