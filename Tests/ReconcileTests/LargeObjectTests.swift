import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// What rows name is compared, brought back and taken back with them.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct LargeObjectTests {
    /// Objects of no byte, of a few, of exactly one piece, of two pieces and a little, and one with a hole.
    private static let schema = """
        CREATE TABLE t (id int PRIMARY KEY, name text, picture oid);
        SELECT lo_from_bytea(900001, ''), lo_from_bytea(900002, 'small'), lo_from_bytea(900003, decode(repeat('0001fe5c', 65536), 'hex')),
               lo_from_bytea(900004, decode(repeat('ab0a0d00', 140000), 'hex')), lo_create(900005), lo_from_bytea(900006, 'sixth');
        SELECT lo_put(900005, 700000, 'after a hole');
        INSERT INTO t SELECT g, 'row ' || g, 900000 + g FROM generate_series(1, 6) AS g; INSERT INTO t VALUES (7, 'none', NULL), (8, 'zero', 0)
        """
    private static let content = "SELECT string_agg(m.oid || ':' || coalesce(md5(lo_get(m.oid)), '-'), ' ' ORDER BY m.oid) FROM pg_largeobject_metadata AS m"

    private func make(_ more: String = "") async throws -> Bench { try await Bench(Self.schema + ";" + more) }

    /// Loads the backup as a step does.
    private func load(
        _ bench: Bench, format: String = "c", tables: [String] = ["t"], followingParents: Bool = false, as merger: PostgresConnection? = nil
    ) async throws -> RescueTables {
        let connection = merger ?? bench.connection
        let (path, contents) = try await bench.dump(format: format)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let names = try tables.map { try QualifiedName(schema: "app", name: $0) }
        var rescue = try RescueTables(names, from: contents, into: SQLIdentifier("rescue"), followingParents: followingParents)
        for table in rescue.tables { try await connection.execute(table.definition, deadline: soon()) }
        try await bench.cluster.must(rescue.loadingScript(from: contents, archive: "'\(path)'", database: "'\(bench.database)'"))
        let objects = try RescuedObjects(in: rescue.schema)
        let numbers = try #require(try await rescue.objectNumbers(connection, deadline: soon()))
        // Twice: what an earlier attempt left is thrown away.
        for _ in 0..<2 {
            try await objects.make(connection, deadline: soon())
            let script = objects.loadingScript(numbers, dataIDs: contents.objectDataIDs, archive: "'\(path)'", database: "'\(bench.database)'")
            try await bench.cluster.must(script)
        }
        try await rescue.finishObjects(objects, from: contents, connection, deadline: soon())
        return rescue
    }

    private func plan(_ bench: Bench, _ rescue: RescueTables, _ changed: MergeRules.Changed = .keepLive) async throws -> MergePlan {
        var rules = MergeRuleSet()
        rules.all.changed = changed
        return try await rescue.plan(rules, bench.connection, deadline: soon())
    }

    @discardableResult
    private func merge(_ bench: Bench, _ plan: MergePlan, as id: String = "m") async throws -> (preview: MergePreview, outcome: MergeOutcome) {
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        return (preview, try await plan.merge(as: id, agreed: preview.hash, bench.connection, deadline: soon()))
    }

    private func text(_ preview: MergePreview) -> String {
        preview.tables.last!.counts.map { "\($0.rows) \($0.kind): \($0.verdict)\($0.reason.map { " (\($0))" } ?? "")" }.joined(separator: ", ")
    }

    @Test(arguments: ["c", "d", "t"]) func whatIsGoneComesBackWithItsRows(format: String) async throws {
        let bench = try await make("SELECT lo_from_bytea(900099, 'of no row')"), contents = try await bench.value(Self.content), rows = try await bench.rows("t")
        let rescue = try await load(bench, format: format)
        #expect(rescue.objects?.count == 6, "the one that no row names was not loaded")
        // The sixth row is still there, and its object is not.
        try await bench.run("SELECT lo_unlink(900000 + g) FROM generate_series(1, 6) AS g; DELETE FROM t WHERE id < 6")
        let before = try await bench.value(Self.content), plan = try await plan(bench, rescue)
        let (preview, outcome) = try await merge(bench, plan)
        #expect(text(preview) == "6 missing: insert")
        #expect(preview.text.contains("pg_catalog.pg_largeobject: 6 missing: insert") && !preview.text.contains("not compared"))
        #expect(outcome.tables.map(\.inserted) == [5, 6] && outcome.tables.allSatisfy(\.skipped.isEmpty))
        #expect(try await bench.value(Self.content) == contents)
        #expect(try await bench.rows("t") == rows)
        let again = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(again.wasDoneAlready && again.tables == outcome.tables)
        let proof = try await AuditTrail.prove("m", bench.connection, deadline: soon())
        #expect(proof.isProven && proof.tables.last?.written == 6)
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        // The sixth row names its object all the same; that one was not there before and is not needed by what was undone.
        #expect(undone.tables.map(\.deleted) == [5, 5] && undone.tables.last?.skipped == ["a row names it": 1])
        try await bench.run("SELECT lo_unlink(900006)")
        #expect(try await bench.value(Self.content) == before)
    }

    /// One byte in the middle of the second piece, a longer one, a shorter one.
    private static let damage = "SELECT lo_put(900004, 300000, 'x'), lo_put(900002, 5, 'er'); SELECT lo_unlink(900003), lo_from_bytea(900003, 'short')"

    @Test func overwrittenContentsAreFoundAndTakenWhereTheRuleTakesTheBackup() async throws {
        let bench = try await make(), contents = try await bench.value(Self.content), rescue = try await load(bench)
        try await bench.run(Self.damage)
        let damaged = try await bench.value(Self.content)
        // One name, which is all that the rows differ in.
        try await bench.run("UPDATE t SET name = 'x' WHERE id = 1")
        for rule in [MergeRules.Changed.keepLive, .fillNulls] {
            let preview = try await plan(bench, rescue, rule).prepare(bench.connection, deadline: soon())
            #expect(text(preview) == "3 changed: keep")
        }
        let (preview, outcome) = try await merge(bench, try await plan(bench, rescue, .takeBackup))
        #expect(text(preview) == "3 changed: update" && outcome.tables.map(\.updated) == [1, 3])
        #expect(try await bench.value(Self.content) == contents)
        #expect(try await AuditTrail.prove("m", bench.connection, deadline: soon()).text.hasSuffix("pg_catalog.pg_largeobject: 3 written."))
        // What somebody writes afterwards is theirs.
        try await bench.run("SELECT lo_put(900002, 0, 'S')")
        #expect(try await AuditTrail.prove("m", bench.connection, deadline: soon()).tables.last?.changedSince == 1)
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables.last?.updated == 2 && undone.tables.last?.skipped == ["changed since the merge": 1])
        try await bench.run("SELECT lo_unlink(900002), lo_from_bytea(900002, 'smaller')")
        #expect(try await bench.value(Self.content) == damaged)
    }

    @Test func contentsAreDecidedOneByOne() async throws {
        let bench = try await make(), contents = try await bench.value(Self.content), rescue = try await load(bench)
        try await bench.run(Self.damage)
        let plan = try await plan(bench, rescue, .decide)
        let asked = try await plan.prepare(bench.connection, deadline: soon())
        #expect(text(asked) == "3 changed: decide" && asked.tables.map(\.undecidedRows) == [0, 3])
        let lines = asked.undecidedLines.split(separator: "\n").map(String.init)
        try #require(lines.count == 3)
        #expect(lines[0].contains(#""key":{"number":"900002"}"#) && lines[0].contains(#""table":"pg_catalog.pg_largeobject""#))
        // The first as it is now, the second as it was, of the third nothing; and one that does not wait.
        let file = [(0, "live"), (1, "backup")].map { lines[$0].replacing(#""take":"""#, with: #""take":"\#($1)""#) }
            + [#"{"table": "pg_catalog.pg_largeobject", "key": {"number": 900001}, "take": "backup"}"#]
        let decisions = try Decision.read(file.joined(separator: "\n"), from: "file")
        let preview = try await plan.prepare(bench.connection, decisions: decisions, deadline: soon())
        #expect(text(preview) == "1 changed: decide, 1 changed: keep (by decision), 1 changed: update (by decision)" && preview.unusedDecisions == [3])
        let before = try await bench.value("SELECT md5(lo_get(900002)) || md5(lo_get(900004))")
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.last?.updated == 1)
        #expect(try await contents.contains(bench.value("SELECT '900003:' || md5(lo_get(900003))")))
        #expect(try await bench.value("SELECT md5(lo_get(900002)) || md5(lo_get(900004))") == before)
        let proof = try await AuditTrail.prove("m", bench.connection, deadline: soon())
        #expect(proof.isProven && proof.tables.last?.kept == 2 && proof.tables.last?.written == 1)
        for odd in [#""key": {"id": 1}, "take": "live""#, #""key": {"number": 900002}, "columns": {"data": "live"}"#] {
            let wrong = try Decision.read("{\"table\": \"pg_catalog.pg_largeobject\", \(odd)}", from: "file")
            let refused = await #expect(throws: ReconcileRefused.self) { try await plan.prepare(bench.connection, decisions: wrong, deadline: soon()) }
            #expect(refused?.message.hasPrefix("line 1: of a large object the key is its `number`") == true)
        }
    }

    @Test func aNumberThatSomethingElseHasByNowIsAnObstacle() async throws {
        let bench = try await make(), rescue = try await load(bench)
        try await bench.run("DELETE FROM t WHERE id < 4; SELECT lo_unlink(900002), lo_from_bytea(900002, 'of somebody else')")
        let contents = try await bench.value(Self.content)
        let (preview, outcome) = try await merge(bench, try await plan(bench, rescue, .takeBackup))
        #expect(outcome.tables[0].skipped == ["its large object is another one by now, by column picture": 1] && preview.tables[0].rows(.skip) == 1)
        #expect(outcome.tables[0].inserted == 2)
        #expect(try await bench.value(Self.content) == contents)
    }

    @Test func whatSomebodyWroteSinceThePreviewIsLeftAlone() async throws {
        let bench = try await make(), rescue = try await load(bench)
        try await bench.run(Self.damage + "; DELETE FROM t WHERE id IN (1, 5, 6); SELECT lo_unlink(900001), lo_unlink(900006)")
        let plan = try await plan(bench, rescue, .takeBackup), preview = try await plan.prepare(bench.connection, deadline: soon())
        #expect(text(preview) == "3 changed: update, 2 missing: insert")
        // One to be overwritten, one to come back, one that was as in the backup; and the row of one that is to come back.
        try await bench.run("SELECT lo_put(900004, 0, 'mine'), lo_from_bytea(900001, 'mine'), lo_put(900005, 0, 'mine'); INSERT INTO t VALUES (6, 'mine', NULL)")
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].skipped == ["its large object is another one by now, by column picture": 2, "changed since the preview": 1])
        #expect(outcome.tables[1].updated == 2 && outcome.tables[1].inserted == 0 && outcome.tables[1].skipped == ["changed since the preview": 3])
        #expect(try await bench.value("SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 900006") == "0", "no row needs it")
        #expect(try await AuditTrail.prove("m", bench.connection, deadline: soon()).isProven)
    }

    @Test func aTriggerThatRemovesObjectsWithTheirRowsIsNoTrouble() async throws {
        let bench = try await Bench(
            """
            CREATE EXTENSION lo SCHEMA public; CREATE TABLE t (id int PRIMARY KEY, picture public.lo);
            CREATE TRIGGER manage BEFORE UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION public.lo_manage(picture);
            SELECT lo_from_bytea(900001, 'one'), lo_from_bytea(900002, 'two'); INSERT INTO t VALUES (1, 900001), (2, 900002)
            """)
        let rescue = try await load(bench)
        try await bench.run("DELETE FROM t WHERE id = 1")
        #expect(try await bench.value("SELECT count(*) FROM pg_largeobject_metadata") == "1")
        let (_, outcome) = try await merge(bench, try await plan(bench, rescue))
        #expect(outcome.tables.map(\.inserted) == [1, 1])
        #expect(try await bench.value("SELECT convert_from(lo_get(900001), 'UTF8')") == "one")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables.map(\.deleted) == [1, 1])
        #expect(try await bench.value("SELECT count(*) FROM pg_largeobject_metadata") == "1")
    }

    @Test func whatComesBackBelongsToWhomItBelonged() async throws {
        let bench = try await make(
            """
            ALTER LARGE OBJECT 900002 OWNER TO planted_owner; GRANT SELECT ON LARGE OBJECT 900002 TO "Mixed Reader" WITH GRANT OPTION;
            GRANT ALL ON LARGE OBJECT 900003 TO PUBLIC; REVOKE UPDATE ON LARGE OBJECT 900002 FROM planted_owner
            """)
        let rights = "SELECT string_agg(oid || lomowner::regrole::text || coalesce(lomacl::text, ''), ' ' ORDER BY oid) FROM pg_largeobject_metadata"
        let before = try await bench.value(rights), rescue = try await load(bench)
        try await bench.run("SELECT lo_unlink(900000 + g) FROM generate_series(1, 6) AS g; DELETE FROM t")
        try await merge(bench, try await plan(bench, rescue))
        #expect(try await bench.value(rights) == before)
        #expect(before.contains("planted_owner{") && before.contains("Mixed Reader"))
    }

    /// Every object that is given away, or removed, takes one of a server's locks until the transaction ends.
    @Test func manyObjectsOfAnotherOwnerComeBackAtOnce() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, picture oid); SET ROLE planted_owner; SELECT count(lo_from_bytea((900000 + g)::oid, int4send(g))) FROM generate_series(1, 2000) AS g")
        try await bench.run("INSERT INTO t SELECT g, 900000 + g FROM generate_series(1, 2000) AS g")
        let rescue = try await load(bench)
        try await bench.run("DELETE FROM t; SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata")
        let plan = try await plan(bench, rescue), preview = try await plan.prepare(bench.connection, deadline: soon())
        let locks = try await bench.connection.transaction(deadline: soon()) { connection in
            try await plan.lookAgainAtObjects(connection, deadline: soon())
            try await AuditTrail.make(connection, deadline: soon())
            try await connection.execute("INSERT INTO reprise_audit.merges (id, preview) VALUES ('m', '')", deadline: soon())
            try await connection.execute("INSERT INTO app.t SELECT * FROM rescue.t", deadline: soon())
            let table = try await plan.writeObjects("m", connection, deadline: soon())
            #expect(table?.inserted == 2000 && preview.tables.last?.rows(.insert) == 2000)
            return try await connection.query("SELECT count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid()", deadline: soon()).only().integer("locks", as: Int.self)
        }
        #expect(locks < 100)
        #expect(try await bench.value("SELECT count(*) FROM pg_largeobject_metadata WHERE lomowner = 'planted_owner'::regrole AND lo_get(oid) = int4send((oid::bigint - 900000)::int)") == "2000")
    }

    /// Whoever merges needs no right but to read and write the objects; what it may not give away stays its own.
    @Test func aPlainRoleMergesWhatItMayWrite() async throws {
        let role = "merger_\(UInt32.random(in: 0 ... .max))"
        let bench = try await make(
            """
            CREATE ROLE \(role) LOGIN; GRANT ALL ON SCHEMA app, rescue TO \(role); ALTER TABLE t OWNER TO \(role);
            """
                + (1...6).map { "ALTER LARGE OBJECT 90000\($0) OWNER TO \(role);" }.joined() + "ALTER LARGE OBJECT 900005 OWNER TO planted_owner; GRANT ALL ON LARGE OBJECT 900005 TO \(role)")
        try await bench.run("GRANT CREATE ON DATABASE \(bench.database) TO \(role)")
        var target = bench.cluster.target.database(bench.database)
        target.user = role
        let merger = try await PostgresConnection.connect(to: target, session: PostgresSession(applicationName: "merger"), deadline: soon())
        let contents = try await bench.value(Self.content), rescue = try await load(bench, as: merger)
        try await bench.run(Self.damage + "; SELECT lo_unlink(900001), lo_unlink(900005); ALTER LARGE OBJECT 900003 OWNER TO \(role)")
        let damaged = try await bench.value(Self.content)
        var rules = MergeRuleSet()
        rules.all.changed = .takeBackup
        let plan = try await rescue.plan(rules, merger, deadline: soon()), preview = try await plan.prepare(merger, deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, merger, deadline: soon())
        #expect(outcome.tables[1].inserted == 2 && outcome.tables[1].updated == 3)
        #expect(try await bench.value(Self.content) == contents)
        #expect(try await bench.value("SELECT count(*) FROM pg_largeobject_metadata WHERE lomowner = '\(role)'::regrole") == "6")
        #expect(try await AuditTrail.prove("m", merger, deadline: soon()).isProven)
        _ = try await AuditTrail.undo("m", merger, deadline: soon())
        try await bench.run("SELECT lo_unlink(900001), lo_unlink(900005)")
        #expect(try await bench.value(Self.content) == damaged)
    }

    @Test func parentsAndRowsWithoutAKeyBringTheirsAlong() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY, picture oid); CREATE TABLE t (p int REFERENCES p, picture oid);
            SELECT lo_from_bytea(900001, 'of a parent'), lo_from_bytea(900002, 'of a parent that nobody needs'), lo_from_bytea(900003, 'of a row'), lo_from_bytea(900004, 'of both');
            INSERT INTO p VALUES (1, 900001), (2, 900002); INSERT INTO t VALUES (1, 900003), (1, 900003), (NULL, 900004)
            """)
        let rows = try await bench.rows("t"), rescue = try await load(bench, followingParents: true)
        try await bench.run("DELETE FROM t WHERE p = 1; DELETE FROM p; SELECT lo_unlink(900000 + g) FROM generate_series(1, 3) AS g; SELECT lo_put(900004, 0, 'OF')")
        var rules = MergeRuleSet()
        rules.all.changed = .takeBackup
        let plan = try await rescue.plan(rules, followingParents: true, bench.connection, deadline: soon())
        let (preview, outcome) = try await merge(bench, plan)
        #expect(text(preview) == "1 changed: keep, 2 missing: insert" && outcome.tables.map(\.inserted) == [1, 2, 2])
        #expect(try await bench.rows("t") == rows)
        #expect(try await bench.value("SELECT string_agg(oid || convert_from(lo_get(oid), 'UTF8'), ' ' ORDER BY oid) FROM pg_largeobject_metadata") == "900001of a parent 900003of a row 900004OF both")
        #expect(try await AuditTrail.prove("m", bench.connection, deadline: soon()).isProven)
        #expect(try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables.map(\.deleted) == [1, 2, 2])
    }

    @Test func tablesWhoseNumbersAreNoneOfLargeObjectsAreLeftInPeace() async throws {
        let bench = try await make(), rescue = try await load(bench)
        var rules = MergeRuleSet()
        rules.all.largeObjects = .ignore
        try await bench.run(Self.damage)
        let plan = try await rescue.plan(rules, bench.connection, deadline: soon())
        #expect(plan.objects == nil)
        #expect(try await plan.prepare(bench.connection, deadline: soon()).tables.count == 1)
    }

    @Test func contentsThatACrashEmptiedAreNoticed() async throws {
        let bench = try await make(), rescue = try await load(bench)
        try await rescue.requireWhole(bench.connection, deadline: soon())
        try await bench.run("TRUNCATE rescue.\"reprise objects\"")
        let refused = await #expect(throws: ReconcileRefused.self) { try await rescue.requireWhole(bench.connection, deadline: soon()) }
        #expect(refused?.message.hasPrefix("6 large objects were loaded") == true)
    }
}
