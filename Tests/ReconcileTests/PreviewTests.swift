import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct PreviewTests {
    /// What a person is asked about: counts, what other rules would do, the first rows of each kind, long values cut off.
    @Test func aPersonSeesRowsAndWhatOtherRulesWouldDo() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, name text, phone text)")
        try await bench.run("INSERT INTO t SELECT g, 'n' || g, '+41 ' || g FROM generate_series(1, 6) g; INSERT INTO t VALUES (7, repeat('x', 500), E'two\\nlines')")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id IN (1, 7); UPDATE t SET phone = NULL WHERE id = 2; UPDATE t SET name = 'other' WHERE id = 3; INSERT INTO t VALUES (8, 'new', NULL)")
        let preview = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(preview.tables[0].choices == .init(changed: 2, takeBackup: 2, fillNulls: 1))
        #expect(preview.text.contains("; of 2 changed rows take-backup would change 2, fill-nulls 1. Preview "))
        #expect(
            preview.samplesText.split(separator: "\n") == [
                "app.t: missing id=1: insert; name=n1; phone=+41 1",
                "app.t: changed id=2: keep; phone=NULL, in the backup +41 2",
                "app.t: changed id=3: keep; name=other, in the backup n3",
                "app.t: missing id=7: insert; name=\(String(repeating: "x", count: 40))…; phone=two lines",
                "app.t: not in the backup id=8: keep; name=new",
            ])
        #expect(preview.tables[0].samples.compactMap(\.backup).flatMap { $0 }.allSatisfy { ($0?.count ?? 0) <= 200 })
    }

    /// A row of the backup is the newer one, or has a time where the live one has none.
    @Test func whatNewestWouldChangeIsSaidWhereAColumnIsNamed() async throws {
        let bench = try await Bench(
            "CREATE TABLE t (id int PRIMARY KEY, name text, seen timestamptz); INSERT INTO t SELECT g, 'n', timestamptz '2026-01-01' + g * interval '1 day' FROM generate_series(1, 5) g")
        try await bench.backUp("t")
        try await bench.run(
            """
            UPDATE t SET name = 'other', seen = seen - interval '1 day' WHERE id < 3; UPDATE t SET seen = seen + interval '1 day' WHERE id = 3;
            UPDATE t SET seen = NULL WHERE id = 4; UPDATE t SET name = 'since' WHERE id = 5
            """)
        var rules = MergeRuleSet()
        rules.all.newestBy = try SQLIdentifier("seen")
        let preview = try await MergePlan(try await bench.diffs(["t"], rules)).prepare(bench.connection, deadline: soon())
        #expect(preview.tables[0].choices.newest == .init(column: try SQLIdentifier("seen"), changed: 3))
        #expect(preview.text.contains("; of 5 changed rows take-backup would change 5, fill-nulls 1, newest by seen 3. Preview "))
        // It is what the rule does then.
        rules.all.changed = .newest
        let newest = try await MergePlan(try await bench.diffs(["t"], rules)).prepare(bench.connection, deadline: soon())
        #expect(newest.tables[0].rows(.update) == 3)
        // A column that tables do not have, or that has no order, says nothing and is no mistake.
        rules.all.changed = .keepLive
        rules.all.newestBy = try SQLIdentifier("updated_at")
        let without = try await MergePlan(try await bench.diffs(["t"], rules)).prepare(bench.connection, deadline: soon())
        #expect(without.tables[0].choices.newest == nil)
    }

    /// Who agrees reads which triggers are off and who waits for how long; a merge with others off is another one.
    @Test func whoIsHeldBackIsPartOfWhatIsAgreedTo() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, g FROM generate_series(1, 20001) g;
            CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := 0; RETURN NEW; END $$;
            CREATE TRIGGER touch BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch()
            """)
        try await bench.backUp("t")
        // As autovacuum finds it: it passes for empty.
        try await bench.run("DELETE FROM t; ANALYZE t")
        let plain = try MergePlan([try await bench.diff("t")]), table = try QualifiedName(schema: "app", name: "t"), touch = try SQLIdentifier("touch")
        let free = try await plain.prepare(bench.connection, deadline: soon()), plan = plain.disabling([table: [touch]])
        let held = try await plan.prepare(bench.connection, deadline: soon())
        #expect(free.heldBack == nil && free.hash != held.hash && plain.disabling([table: []]) == plain)
        let heldBack = try #require(held.heldBack)
        #expect(heldBack.tables == [DisabledTriggers(table: table, triggers: [touch])] && heldBack.rows == 20001)
        // Writing takes two seconds and a bit at the stated rate; what is measured comes on top.
        #expect(heldBack.estimatedSeconds == Int((heldBack.lookingSeconds + 2.0001).rounded(.up)) && heldBack.lookingSeconds > 0)
        #expect(held.text.contains("Off while it is merged: trigger touch of app.t. Whoever writes app.t waits for all of the merge, about \(heldBack.estimatedSeconds) s: an estimate"))
        #expect(try JSONDecoder().decode(MergePreview.self, from: JSONEncoder().encode(held)).heldBack == heldBack)
        let nobody = plain.disabling([table: [try SQLIdentifier("nobody")]])
        let unknown = await #expect(throws: ReconcileRefused.self) { try await nobody.prepare(bench.connection, deadline: soon()) }
        #expect(unknown?.code == "reconcile.no-trigger")
        let other = await #expect(throws: ReconcileRefused.self) {
            try await plan.merge(as: "m", agreed: free.hash, bench.connection, deadline: soon())
        }
        #expect(other?.code == "reconcile.other-preview")
        _ = try await plan.merge(as: "m", agreed: held.hash, bench.connection, deadline: soon())
        #expect(try await bench.value("SELECT count(*), min(n) FROM t") == "20001|1")
    }

    /// Who agrees reads why an undo would take long, and what to do about it.
    @Test func aForeignKeyWithoutAnIndexIsNamedWhereRowsAreDeleted() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 1000); CREATE TABLE c (id int PRIMARY KEY, "P" int REFERENCES p);
            CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES p); CREATE INDEX ON d (p) WHERE p IS NOT NULL; CREATE TABLE e (id int PRIMARY KEY REFERENCES p);
            CREATE TABLE f (id int PRIMARY KEY, "user" int REFERENCES p, gone timestamptz) PARTITION BY RANGE (id); CREATE TABLE g PARTITION OF f DEFAULT;
            CREATE INDEX ON f ("user") WHERE gone IS NOT NULL
            """)
        try await bench.backUp("p")
        try await bench.run("DELETE FROM p; INSERT INTO p SELECT generate_series(1001, 1500); UPDATE pg_class SET reltuples = 1e5 WHERE oid IN ('c'::regclass, 'd'::regclass, 'e'::regclass)")
        func slow(_ extra: Bool = true) async throws -> MergePreview {
            var policy = MergePolicy()
            (policy.deletesExtra, policy.mostDeletes) = (extra, 500)
            return try await MergePlan([try await bench.diff("p", policy: policy)]).prepare(bench.connection, deadline: soon())
        }
        let preview = try await slow(), found = try #require(preview.slowDeletes.first)
        #expect(preview.slowDeletes.count == 1 && "\(found.child)" == "app.c" && found.mergeSeconds == 8 && found.undoSeconds == 17)
        #expect(
            preview.text.contains(
                #"Each row that is deleted from app.p is looked for in all 100,000 rows of app.c, which takes the merge about 8 s and an undo about 17 s: its foreign key ("P") has no index; to be quicker, first CREATE INDEX CONCURRENTLY ON "app"."c" ("P")"#
            ), "\(preview.text)")
        #expect(try await slow(false).text.contains("which takes an undo about 17 s"))
        try await bench.run(#"UPDATE pg_class SET reltuples = 1e4 WHERE oid = 'c'::regclass"#)
        #expect(try await slow().slowDeletes.isEmpty)
        try await bench.run(#"UPDATE pg_class SET reltuples = 1e5 WHERE oid = 'g'::regclass"#)
        #expect(try await slow().text.contains(#"first CREATE INDEX ON "app"."f" ("user"), for which whoever writes it waits"#))
        try await bench.run(#"CREATE INDEX ON f ("user")"#)
        try await bench.run(#"CREATE INDEX ON c ("P"); UPDATE pg_class SET reltuples = 1e5 WHERE oid = 'c'::regclass"#)
        #expect(try await slow().slowDeletes.isEmpty)
    }

    /// Rows that come back with their children are looked for among those.
    @Test func whatComesBackWithARowCounts() async throws {
        let bench = try await Bench(
            "CREATE TABLE t (id int PRIMARY KEY, last int REFERENCES t) WITH (autovacuum_enabled = false); INSERT INTO t SELECT g, nullif(g - 1, 0) FROM generate_series(1, 6000) g")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t; ANALYZE t")
        let slow = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon()).slowDeletes
        #expect(slow.map(\.childRows) == [6000] && slow.map(\.undoSeconds) == [6])
    }

    /// Nobody writes a table without a key from its turn to the end, and whoever agrees reads so.
    @Test func whoWaitsForATableWithoutAKeyIsSaid() async throws {
        let bench = try await Bench("CREATE TABLE k (n int); CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO k VALUES (1); INSERT INTO t VALUES (1, 1)")
        try await bench.backUp("k", "t")
        try await bench.run("TRUNCATE k, t")
        let waits = "Whoever writes app.k waits from its turn in the merge to the end: it has no key, and its rows are counted once more"
        let plan = try MergePlan([try await bench.diff("k"), try await bench.diff("t")]), preview = try await plan.prepare(bench.connection, deadline: soon())
        #expect(preview.text.contains(". \(waits). Preview ") && !preview.text.contains("Off while"))
        #expect(String(decoding: try JSONEncoder().encode(preview), as: UTF8.self).contains(#""countedAgain":[{"#))
        // Beside triggers that are off, too.
        try await bench.run("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$; CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
        let both = try await plan.disabling([try QualifiedName(schema: "app", name: "t"): [try SQLIdentifier("f")]]).prepare(bench.connection, deadline: soon())
        #expect(both.text.contains("Off while it is merged: trigger f of app.t") && both.text.contains(". \(waits). Preview "))
        // Where nothing comes back, nobody waits.
        try await bench.run("INSERT INTO k VALUES (1), (2)")
        let free = try await MergePlan([try await bench.diff("k"), try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(free.heldBack == nil && !free.text.contains("Whoever"))
    }

    /// As many differences as a server can hold have a hash: no value grows with them, and no memory.
    @Test func theHashOfManyDifferencesTakesLittleMemory() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY)")
        try await bench.backUp("t")
        let plan = try MergePlan([try await bench.diff("t")])
        _ = try await plan.prepare(bench.connection, deadline: soon())
        let columns = "'missing', 'insert', ARRAY[n::text], 1"
        try await bench.run("INSERT INTO rescue.\"diff of t\" (seq, \"key 1\", kind, verdict, backup, copies) SELECT n, n, \(columns) FROM generate_series(1, 800000) n")
        let first = try await MergePreview.hash(plan, bench.connection, deadline: soon())
        let statusFile = "/proc/\(await bench.connection.backendPID)/status"
        let peak = try #require(String(contentsOfFile: statusFile, encoding: .utf8).split(separator: "\n").first { $0.hasPrefix("VmPeak") })
        let idle = try await bench.connectAgain(), idleFile = "/proc/\(await idle.backendPID)/status"
        let least = try #require(String(contentsOfFile: idleFile, encoding: .utf8).split(separator: "\n").first { $0.hasPrefix("VmPeak") })
        let kilobytes = { (line: Substring) in Int(line.filter(\.isNumber)) ?? 0 }
        #expect(kilobytes(peak) - kilobytes(least) < 20_000)
        // The last of them counts.
        try await bench.run("UPDATE rescue.\"diff of t\" SET verdict = 'keep' WHERE seq = 800000")
        let second = try await MergePreview.hash(plan, bench.connection, deadline: soon())
        #expect(second != first)
        await idle.close()
    }

    /// Which one a row names is compared; what is in it, nobody looks at, and a person should know.
    @Test func largeObjectsAreToldOfThatNobodyLookedInto() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, picture oid); INSERT INTO t VALUES (1, lo_create(0)), (2, lo_create(0)), (3, NULL), (4, 0)")
        try await bench.backUp("t")
        let preview = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(preview.text.hasPrefix("app.t: no differences; what is in the large objects that 2 rows name is not compared. Preview "))
        var policy = MergePolicy()
        policy.ignoresLargeObjects = true
        let numbers = try await MergePlan([try await bench.diff("t", policy: policy)]).prepare(bench.connection, deadline: soon())
        #expect(numbers.text.hasPrefix("app.t: no differences. Preview "))
    }

    @Test func whereNothingDiffersThereAreNoRowsToShow() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY)")
        try await bench.backUp("t")
        let preview = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(preview.samplesText.isEmpty && preview.text.hasPrefix("app.t: no differences. Preview "))
    }
}
