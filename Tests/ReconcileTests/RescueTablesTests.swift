import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Tables of a real archive, laid beside the live ones.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct RescueTablesTests {
    private static let schema = """
        CREATE TABLE land (id int PRIMARY KEY); CREATE TABLE "Or""g (x)" (id int PRIMARY KEY, "land, id" int REFERENCES land, boss int);
        CREATE TABLE member (id int PRIMARY KEY, org int REFERENCES "Or""g (x)", tutor int REFERENCES member);
        ALTER TABLE "Or""g (x)" ADD CONSTRAINT "a ""REFERENCES"" b" FOREIGN KEY (boss) REFERENCES member;
        CREATE TABLE visit (id int, at date, member int REFERENCES member, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE visit_1 PARTITION OF visit DEFAULT; CREATE TABLE note (id int PRIMARY KEY); ALTER TABLE visit_1 ADD FOREIGN KEY (id) REFERENCES note;
        CREATE TABLE alone (id int PRIMARY KEY);
        """

    private func name(_ name: String) throws -> QualifiedName { try QualifiedName(schema: "app", name: name) }

    @Test func theTablesToWhichForeignKeysLeadComeAlongOnRequest() async throws {
        let bench = try await Bench(Self.schema), archive = try await bench.archive(), schema = try SQLIdentifier("rescue")
        let tables = try RescueTables([name("visit")], from: archive, into: schema, followingParents: true)
        #expect(tables.tables.map(\.live.name.name) == ["visit", "Or\"g (x)", "land", "member", "note"])
        #expect(tables.tables.map(\.isFollowed) == [false, true, true, true, true] && tables.followsParents)
        #expect(try RescueTables([name("visit")], from: archive, into: schema).tables.count == 1)
        #expect(try RescueTables([name("alone")], from: archive, into: schema, followingParents: true).tables.count == 1)
        // Each of them can be made as it is.
        for table in tables.tables { try await bench.run(table.definition) }
        #expect(try await bench.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'rescue'") == "5")
    }

    /// In the backup each of them has its own columns alone.
    @Test func tablesThatInheritComeWithTheirAncestorsColumns() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE thing (id int PRIMARY KEY, "na, me" text DEFAULT ')' CHECK ("na, me" <> 'x)')); CREATE TABLE dated (at date);
            CREATE TABLE "Heir (1)" (extra int, PRIMARY KEY (id)) INHERITS (thing, dated); CREATE TABLE heir2 (more int, at date, PRIMARY KEY (id)) INHERITS ("Heir (1)");
            INSERT INTO thing VALUES (1, 'thing'); INSERT INTO "Heir (1)" VALUES (1, 'one', '2026-01-01', 7), (2, NULL, NULL, 8); INSERT INTO heir2 VALUES (1, 'h', NULL, 9, 10)
            """)
        let (path, contents) = try await bench.dump()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let names = ["Heir (1)", "heir2", "thing"]
        let rows = { () in try await bench.rows("thing") + bench.rows("\"Heir (1)\"") + bench.rows("heir2") }
        let before = try await rows()
        let rescue = try RescueTables(try names.map(name), from: contents, into: try SQLIdentifier("rescue"))
        for table in rescue.tables {
            for statement in table.definitions { try await bench.connection.execute(statement, deadline: soon()) }
        }
        try await bench.cluster.must(rescue.loadingScript(from: contents, archive: "'\(path)'", database: "'\(bench.database)'"))
        try await bench.run("DELETE FROM thing")
        let plan = try await rescue.plan(MergeRuleSet(), bench.connection, deadline: soon()), preview = try await plan.prepare(bench.connection, deadline: soon())
        #expect(preview.tables.map { $0.rows(.insert) } == [2, 1, 1])
        _ = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(try await rows() == before)
        // Out of an archive that lies here, too.
        let comparison = TableComparison(with: .archive(path: path, contents: contents), of: bench.connection, in: try SQLIdentifier("pg_temp"))
        let compared = try await comparison.compare(try names.map { TableComparison.Names(backup: try name($0), live: try name($0)) }, deadline: soon())
        #expect(compared.map(\.rows?.candidates) == [0, 0, 0])
    }

    @Test func theMergeOfLoadedTablesFollowsWhereItIsToldTo() async throws {
        let bench = try await Bench(Self.schema)
        var tables = try RescueTables([name("member")], from: try await bench.archive(), into: try SQLIdentifier("rescue"), followingParents: true)
        for table in tables.tables { try await bench.run(table.definition) }
        try await bench.run("INSERT INTO rescue.land VALUES (1), (2); INSERT INTO rescue.\"Or\"\"g (x)\" VALUES (1, 1, NULL), (2, 2, NULL); INSERT INTO rescue.member VALUES (1, 1, NULL)")
        let plan = try await tables.plan(MergeRuleSet(), followingParents: true, bench.connection, deadline: soon())
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.map(\.inserted).reduce(0, +) == 3)
        #expect(try await bench.rows("land") == ["(1)"])
        // Rules may speak of a table that is followed, and of none that is not there.
        var rules = MergeRuleSet()
        rules.tables[try name("land")] = MergeRules()
        _ = try await tables.plan(rules, followingParents: true, bench.connection, deadline: soon())
        let refused = await #expect(throws: ReconcileRefused.self) { try await tables.plan(rules, bench.connection, deadline: soon()) }
        #expect(refused?.hints == ["these are: app.member"])
        tables = try RescueTables([name("member")], from: try await bench.archive(), into: try SQLIdentifier("rescue"))
        let unloaded = await #expect(throws: ReconcileRefused.self) {
            try await tables.plan(MergeRuleSet(), followingParents: true, bench.connection, deadline: soon())
        }
        #expect(unloaded?.code == "reconcile.no-parents")
    }

    @Test func tablesThatACrashEmptiedAreNotTakenForTheBackup() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
        var tables = try RescueTables([name("t")], from: try await bench.archive(), into: try SQLIdentifier("rescue"))
        try await bench.run(tables.tables[0].definition + "; INSERT INTO rescue.t VALUES (1), (2)")
        tables.tables[0].rows = 2
        try await tables.requireWhole(bench.connection, deadline: soon())
        try await bench.run("TRUNCATE rescue.t")
        let refused = await #expect(throws: ReconcileRefused.self) { try await tables.requireWhole(bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.rescue-changed" && refused?.message.contains("2 rows of app.t") == true)
    }

    /// The index of the key spares the comparison a look through the whole backup; where the key repeats there is none, and it is said.
    @Test(arguments: [false, true])
    func loadedTablesGetTheKeyUnlessItRepeats(repeats: Bool) async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int)")
        try await bench.run("INSERT INTO t VALUES (1, 1), (2, 2); CREATE TABLE rescue.t (id int NOT NULL, n int); INSERT INTO rescue.t VALUES (1, 1), (\(repeats ? 1 : 3), 3)")
        let table = RescueTables.Table(
            live: try name("t"), rescue: try QualifiedName(schema: "rescue", name: "t"), definition: "", dataIDs: [], sources: [], isFollowed: false)
        for _ in 0..<2 { try await table.indexKey(bench.connection, deadline: soon()) }
        #expect(try await bench.value("SELECT count(*) FROM pg_indexes WHERE schemaname = 'rescue'") == (repeats ? "0" : "1"))
        let plan = try MergePlan([try await bench.diff("t")])
        guard repeats else {
            #expect(try await plan.prepare(bench.connection, deadline: soon()).tables[0].rows(.missing) == 1)
            return
        }
        let refused = await #expect(throws: ReconcileRefused.self) { try await plan.prepare(bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.key-repeats")
    }
}
