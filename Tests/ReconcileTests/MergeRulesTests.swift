import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Rules as people give them: of all tables, of single ones, by time, by a key.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct MergeRulesTests {
    private func column(_ name: String) throws -> SQLIdentifier { try SQLIdentifier(name) }
    private func table(_ name: String) throws -> QualifiedName { try QualifiedName(schema: "app", name: name) }

    @Test func whatIsSaidOfOneTableGoesBeforeWhatIsSaidOfAll() throws {
        var all = MergeRules(), one = MergeRules()
        all.changed = .takeBackup
        all.condition = "true"
        all.mostDeletes = 4
        all.columns = [try column("a"): .decide, try column("b"): .decide]
        one.changed = .keepLive
        one.missing = .skip
        one.columns = [try column("b"): .fillNulls]
        let policy = try one.over(all).policy()
        #expect(policy.changed == .keepLive && policy.missing == .skip && policy.mostDeletes == 4)
        #expect(policy.columns == [try column("a"): .decide, try column("b"): .fillNulls])
        #expect(try MergeRules().over(all).policy().missing == .insert(where: "true"))
        #expect(try MergeRules().policy() == MergePolicy(), "nothing said is the default")
    }

    @Test func newestNeedsAColumn() throws {
        var rules = MergeRules()
        rules.changed = .newest
        #expect(throws: ReconcileRefused.self) { try rules.policy() }
        rules.newestBy = try column("updated_at")
        #expect(try rules.policy().changed == .newest(try column("updated_at")))
    }

    /// Later is what the type's own order says, of a domain what it is a domain over.
    @Test func newestAndSinceKnowTheOrderOfEveryType() async throws {
        let bench = try await Bench(
            """
            CREATE EXTENSION citext SCHEMA public; CREATE TYPE stage AS ENUM ('z', 'm', 'a'); CREATE DOMAIN step AS stage; CREATE DOMAIN later AS step;
            CREATE TABLE a (id int PRIMARY KEY, at later); CREATE TABLE b (id int PRIMARY KEY, at public.citext); CREATE TABLE c (id int PRIMARY KEY, at point)
            """)
        try await bench.run("INSERT INTO a VALUES (1, 'a'), (2, 'z'), (3, 'm'), (4, NULL), (5, 'm'), (6, 'z'); INSERT INTO b VALUES (1, 'b'), (2, 'A'), (3, 'B')")
        try await bench.backUp("a", "b", "c")
        try await bench.run("UPDATE a SET at = 'm' WHERE id < 5 AND id <> 3; UPDATE a SET at = NULL WHERE id = 3; DELETE FROM a WHERE id > 4; UPDATE b SET at = 'a'")
        var rules = MergeRuleSet()
        rules.all.changed = .newest
        rules.all.newestBy = try column("at")
        rules.tables[try table("a")] = MergeRules()
        rules.tables[try table("a")]?.since = TimeWindow(column: try column("at"), from: "m", to: "a")
        _ = try await bench.merge(try await bench.diffs(["a", "b"], rules))
        #expect(try await bench.rows("a") == ["(1,a)", "(2,m)", "(3,m)", "(4,m)", "(5,m)"])
        #expect(try await bench.rows("b") == ["(1,b)", "(2,a)", "(3,B)"])
        let refused = await #expect(throws: ReconcileRefused.self) { try await bench.diffs(["c"], rules) }
        #expect(refused?.code == "reconcile.no-order" && refused?.message.contains("column at of app.c, whose type point") == true)
    }

    /// Values of such a type can be the same, which a hash tells, and none is later than another.
    @Test(arguments: ["xid", "xid[]", "number", "pairing"]) func newestAndSinceRefuseWhatHasNoOrder(type: String) async throws {
        let bench = try await Bench("CREATE DOMAIN number AS xid; CREATE TYPE pairing AS (n int, x xid); CREATE TABLE t (id int PRIMARY KEY, at \(type), n int)")
        try await bench.backUp("t")
        var newest = MergeRuleSet(), since = MergeRuleSet()
        newest.all.columns = [try column("n"): .newest]
        newest.all.newestBy = try column("at")
        since.all.since = TimeWindow(column: try column("at"), from: "5", to: nil)
        for rules in [newest, since] {
            let refused = await #expect(throws: ReconcileRefused.self) { try await bench.diffs(["t"], rules) }
            #expect(refused?.code == "reconcile.no-order" && refused?.message.contains("column at of app.t, whose type") == true)
        }
    }

    @Test func eachTableIsMergedByItsOwnRules() async throws {
        let bench = try await Bench("CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int, m int)")
        try await bench.run("INSERT INTO a VALUES (1, 1), (2, 2); INSERT INTO b VALUES (1, 1, 1), (2, 2, 2)")
        try await bench.backUp("a", "b")
        try await bench.run("UPDATE a SET n = 0; UPDATE b SET n = 0, m = 0; DELETE FROM b WHERE id = 2")
        var rules = MergeRuleSet()
        rules.all.changed = .takeBackup
        rules.tables[try table("b")] = MergeRules()
        rules.tables[try table("b")]?.changed = .keepLive
        rules.tables[try table("b")]?.missing = .skip
        rules.tables[try table("b")]?.columns = [try column("m"): .takeBackup]
        _ = try await bench.merge(try await bench.diffs(["a", "b"], rules))
        #expect(try await [bench.rows("a"), bench.rows("b")] == [["(1,1)", "(2,2)"], ["(1,0,1)"]])
    }

    @Test func rulesThatSpeakOfNothingAreRefusedByName() async throws {
        let bench = try await Bench("CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, m int)")
        try await bench.backUp("a", "b")
        var rules = MergeRuleSet()
        rules.tables[try table("c")] = MergeRules()
        let unknown = #expect(throws: ReconcileRefused.self) { try rules.requireTables([table("b"), table("a")]) }
        #expect(unknown?.message.contains("app.c") == true && unknown?.hints == ["these are: app.a, app.b"])
        // Of all tables: one of them has it. Of a single table: it has to have it.
        rules = MergeRuleSet()
        rules.all.columns = [try column("n"): .takeBackup]
        _ = try await bench.diffs(["a", "b"], rules)
        rules.all.columns = [try column("x"): .takeBackup]
        await #expect(throws: ReconcileRefused.self) { try await bench.diffs(["a", "b"], rules) }
        for spoil: (inout MergeRules) throws -> Void in [
            { $0.columns = [try SQLIdentifier("n"): .takeBackup] }, { $0.since = TimeWindow(column: try SQLIdentifier("n"), from: "1", to: nil) },
            { $0.changed = .newest; $0.newestBy = try SQLIdentifier("n") },
        ] {
            rules = MergeRuleSet()
            var own = MergeRules()
            try spoil(&own)
            rules.tables[try table("b")] = own
            let refused = await #expect(throws: ReconcileRefused.self) { try await bench.diffs(["a", "b"], rules) }
            #expect(refused?.message.contains("column n, which app.b") == true)
        }
    }

    @Test func anotherKeyTellsRowsApart() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, mail text NOT NULL UNIQUE, n int)")
        try await bench.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET id = id + 10; UPDATE t SET n = 0 WHERE mail = 'a'")
        var rules = MergeRuleSet()
        rules.all.key = [try column("mail")]
        rules.all.columns = [try column("n"): .takeBackup]
        rules.all.otherRows = .merge
        _ = try await bench.merge(try await bench.diffs(["t"], rules))
        #expect(try await bench.rows("t") == ["(11,a,1)", "(12,b,2)"])
        rules.all.key = [try column("n")]
        let refused = await #expect(throws: ReconcileRefused.self) { try await bench.diffs(["t"], rules) }
        #expect(refused?.hints.first?.contains("(id), (mail)") == true)
    }

    struct Window: Sendable {
        let type: String
        var from: String?
        var to: String?
        let ids: String
    }

    @Test(arguments: [
        Window(type: "timestamptz", from: "2026-11-02 12:00+01", to: "2026-11-03T00:00:00Z", ids: "2 3"),
        Window(type: "timestamp(0)", from: "2026-11-02 11:00", to: "2026-11-03", ids: "2 3"),
        Window(type: "date", from: "2026-11-02", to: "2026-11-03", ids: "1 2 3"), Window(type: "timestamptz", to: "2026-11-02", ids: "0"),
        Window(type: "timestamptz", from: "2026-11-03", ids: "4"),
    ])
    func onlyMissingRowsWithinTheTimeComeBack(window: Window) async throws {
        let bench = try await Bench("SET timezone = 'UTC'; CREATE TABLE t (id int PRIMARY KEY, at \(window.type))")
        try await bench.run(
            """
            SET timezone = 'UTC';
            INSERT INTO t VALUES (0, '2026-11-01'), (1, '2026-11-02 10:59'), (2, '2026-11-02 11:00'), (3, '2026-11-02 23:59:59'), (4, '2026-11-03'), (5, NULL)
            """)
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        var rules = MergeRuleSet()
        rules.all.since = TimeWindow(column: try column("at"), from: window.from, to: window.to)
        let (_, preview, _) = try await bench.merge(try await bench.diffs(["t"], rules))
        #expect(try await bench.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t") == window.ids)
        #expect(preview.tables[0].counts.contains { $0.reason == "outside of `since`" && $0.verdict == .keep })
    }

    @Test func aTimeIsNeverCodeAndGoesTogetherWithWhere() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, at text)")
        try await bench.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'b')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        var rules = MergeRuleSet()
        rules.all.since = TimeWindow(column: try column("at"), from: "a' OR true OR '", to: nil)
        _ = try await bench.merge(try await bench.diffs(["t"], rules), as: "code")
        #expect(try await bench.rows("t") == ["(2,b)", "(3,b)"])
        try await bench.run("TRUNCATE t")
        rules.all.condition = "id < 3 -- and no more"
        rules.all.since = TimeWindow(column: try column("at"), from: "b", to: nil)
        _ = try await bench.merge(try await bench.diffs(["t"], rules))
        #expect(try await bench.rows("t") == ["(2,b)"])
    }
}
