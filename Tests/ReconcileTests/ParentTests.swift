import BlockingIO
import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@testable import Reconcile

/// Rows that come back bring those with them on which they hang.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ParentTests {
    private static let schema = """
        CREATE TABLE country (id int PRIMARY KEY); CREATE TABLE org (id int PRIMARY KEY, country int REFERENCES country, boss int);
        CREATE TABLE member (id int PRIMARY KEY, org int REFERENCES org, tutor int REFERENCES member ON DELETE SET NULL);
        CREATE TABLE visit (id int PRIMARY KEY, member int NOT NULL REFERENCES member);
        """

    private func plan(_ bench: Bench, named: [String], followed: [String], _ policy: MergePolicy = MergePolicy()) async throws -> MergePlan {
        var diffs: [TableDiff] = []
        for name in named { diffs.append(try await bench.diff(name, policy: policy)) }
        for name in followed { diffs.append(try await bench.diff(name, isFollowed: true)) }
        return try MergePlan(diffs, followingParents: true)
    }

    private func merge(_ bench: Bench, _ plan: MergePlan) async throws -> (preview: MergePreview, outcome: MergeOutcome) {
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        return (preview, try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon()))
    }

    @Test func parentsComeAlongToTheRootAndNothingElse() async throws {
        let bench = try await Bench(Self.schema)
        try await bench.run(
            """
            INSERT INTO country VALUES (1), (2), (3); INSERT INTO org VALUES (1, 1), (2, 2), (3, NULL);
            INSERT INTO member VALUES (1, 1, NULL), (2, 2, 1), (3, 3, 2), (4, 3, NULL); INSERT INTO visit VALUES (1, 1), (2, 3), (3, 4)
            """)
        try await bench.backUp("country", "org", "member", "visit")
        try await bench.run("TRUNCATE country CASCADE; INSERT INTO org VALUES (3); INSERT INTO member VALUES (4, 3, NULL), (9, 3, NULL); INSERT INTO visit VALUES (3, 4), (9, 9)")
        var policy = MergePolicy()
        policy.missing = .insert(where: "id = 2")
        let (preview, outcome) = try await merge(bench, try await plan(bench, named: ["visit"], followed: ["country", "org", "member"], policy))
        // Visit 2 needs member 3, that one tutor 2, who needs org 2 and tutor 1, who needs org 1.
        #expect(outcome.tables.map { "\($0.name) \($0.inserted)" } == ["app.country 2", "app.org 2", "app.member 3", "app.visit 1"])
        #expect(try await [bench.rows("country"), bench.rows("visit")] == [["(1)", "(2)"], ["(2,3)", "(3,4)", "(9,9)"]])
        #expect(preview.text.contains("app.country: 2 missing: insert (needed by app.org)"))
        #expect(preview.text.contains("needed by app.member") && preview.text.contains("needed by app.visit"))
        let before = ["(4,3,)", "(9,3,)"]
        _ = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(try await [bench.rows("member"), bench.rows("country")] == [before, []])
    }

    @Test func whatTheBackupDoesNotHaveEitherIsSkippedAndTakesItsOwnParentsAway() async throws {
        let bench = try await Bench(Self.schema)
        try await bench.run("INSERT INTO country VALUES (1); INSERT INTO org VALUES (1, 1); INSERT INTO member VALUES (1, 1, NULL), (2, 1, 1); INSERT INTO visit VALUES (1, 2)")
        try await bench.backUp("country", "org", "member", "visit")
        try await bench.run("TRUNCATE country CASCADE; DELETE FROM rescue.member WHERE id = 1")
        let (preview, outcome) = try await merge(bench, try await plan(bench, named: ["visit"], followed: ["country", "org", "member"]))
        // Member 2 cannot come, for his tutor is nowhere: so nobody needs his organisation or its country.
        #expect(outcome.tables.allSatisfy { $0.inserted == 0 })
        #expect(preview.tables.first { $0.name.name.name == "visit" }?.counts.map(\.reason) == ["its parent is not there, by visit_member_fkey"])
        #expect(preview.tables.first { $0.name.name.name == "org" }?.counts.isEmpty == true && !preview.text.contains("app.org"))
    }

    /// Rows of a named table that its own words left out come when others need them, unless it gives none at all.
    @Test func aRowOutsideOfWhereComesWhereItIsNeeded() async throws {
        for (skips, rows) in [(false, ["(1,,)", "(2,,1)"]), (true, [])] {
            let bench = try await Bench(Self.schema)
            try await bench.run("INSERT INTO member VALUES (1, NULL, NULL), (2, NULL, 1), (3, NULL, NULL)")
            try await bench.backUp("member")
            try await bench.run("TRUNCATE member CASCADE")
            var policy = MergePolicy()
            policy.missing = skips ? .skip : .insert(where: "id = 2")
            let (preview, _) = try await merge(bench, try await plan(bench, named: ["member"], followed: [], policy))
            #expect(try await bench.rows("member") == rows)
            #expect(preview.tables[0].counts.filter { $0.verdict == .keep }.map(\.reason) == [skips ? "policy" : "outside of `where`"])
        }
    }

    /// Two tables that need each other, and no constraint that can wait.
    @Test func aCircleIsOpenedWhereItCanBe() async throws {
        let bench = try await Bench("CREATE TABLE o (id int PRIMARY KEY, boss int); CREATE TABLE m (id int PRIMARY KEY, o int NOT NULL REFERENCES o); ALTER TABLE o ADD FOREIGN KEY (boss) REFERENCES m")
        try await bench.run("INSERT INTO o VALUES (1, NULL), (2, NULL); INSERT INTO m VALUES (1, 1), (2, 2); UPDATE o SET boss = 2 WHERE id = 2")
        try await bench.backUp("o", "m")
        try await bench.run("TRUNCATE o, m")
        let (preview, outcome) = try await merge(bench, try await plan(bench, named: ["m"], followed: ["o"]))
        // Organisation 2 and its boss each need the other first.
        #expect(outcome.tables.map(\.inserted) == [1, 1])
        #expect(try await [bench.rows("o"), bench.rows("m")] == [["(1,)"], ["(1,1)"]])
        #expect(preview.text.contains("its parent is not there"))
    }

    @Test func aCircleWhoseConstraintsCanWaitComesBackWhole() async throws {
        let bench = try await Bench("CREATE TABLE o (id int PRIMARY KEY, boss int); CREATE TABLE m (id int PRIMARY KEY, o int NOT NULL REFERENCES o); ALTER TABLE o ADD FOREIGN KEY (boss) REFERENCES m DEFERRABLE")
        try await bench.run("INSERT INTO o VALUES (2, NULL), (3, NULL); INSERT INTO m VALUES (2, 2), (3, 3); UPDATE o SET boss = 2 WHERE id = 2")
        try await bench.backUp("o", "m")
        try await bench.run("TRUNCATE o, m")
        var policy = MergePolicy()
        policy.missing = .insert(where: "id = 2")
        _ = try await merge(bench, try await plan(bench, named: ["m"], followed: ["o"], policy))
        #expect(try await [bench.rows("o"), bench.rows("m")] == [["(2,2)"], ["(2,2)"]])
    }

    /// What the constraint set to NULL when the parent was deleted leads to it again.
    @Test func anUpdatedRowMayHangOnOneThatComesBackInItsOwnTable() async throws {
        let bench = try await Bench(Self.schema)
        try await bench.run("INSERT INTO member VALUES (1, NULL, NULL), (2, NULL, 1)")
        try await bench.backUp("member")
        try await bench.run("DELETE FROM member WHERE id = 1")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("member", policy: MergePolicy(.takeBackup))])
        #expect(outcome.tables[0].inserted == 1 && outcome.tables[0].updated == 1)
        #expect(try await bench.rows("member") == ["(1,,)", "(2,,1)"])
        _ = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(try await bench.rows("member") == ["(2,,)"])
    }

    /// Against the closure worked out row by row.
    @Test func randomRowsBringExactlyTheirClosure() async throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        let bench = try await Bench("CREATE TABLE p (id int PRIMARY KEY, up int REFERENCES p); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)")
        for round in 0..<25 {
            var up: [Int: Int?] = [:]
            for id in 1...12 { up.updateValue(random.chance(70) ? random.pick(Array(1...12)) : nil, forKey: id) }
            let parents = Dictionary(uniqueKeysWithValues: (1...8).map { ($0, random.pick(Array(1...12))) })
            let text = { (value: Int?) in value.map(String.init) ?? "NULL" }
            try await bench.run(
                """
                DROP SCHEMA IF EXISTS reprise_audit CASCADE; TRUNCATE p, c; INSERT INTO p VALUES \(up.map { "(\($0), \(text($1)))" }.joined(separator: ", "));
                INSERT INTO c VALUES \(parents.map { "(\($0), \($1))" }.joined(separator: ", "))
                """)
            try await bench.backUp("p", "c")
            let lost = Set((1...12).filter { _ in random.chance(30) }), wanted = Set((1...8).filter { _ in random.chance(40) })
            try await bench.run("TRUNCATE p, c; DELETE FROM rescue.p WHERE id IN (0\(lost.map { ", \($0)" }.joined()))")
            var policy = MergePolicy()
            policy.missing = .insert(where: "id IN (0\(wanted.map { ", \($0)" }.joined()))")
            _ = try await merge(bench, try await plan(bench, named: ["c"], followed: ["p"], policy))
            // Each wanted row's way up, as far as it goes; nil where it ends at a row that is lost.
            func way(_ id: Int) -> Set<Int>? {
                var seen: Set<Int> = [], at: Int? = id
                while let next = at, seen.insert(next).inserted { at = up[next] ?? nil }
                return seen.isDisjoint(with: lost) ? seen : nil
            }
            let ways = wanted.compactMap { row in way(parents[row]!).map { (row, $0) } }
            let expected = ways.reduce(into: Set<Int>()) { $0.formUnion($1.1) }
            let at = "seed \(seed), round \(round), up \(up), parents \(parents), lost \(lost), wanted \(wanted)"
            let ids = { (table: String) in try await bench.value("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM \(table)") }
            #expect(try await ids("p") == expected.sorted().map(String.init).joined(separator: " "), "\(at)")
            #expect(try await ids("c") == ways.map(\.0).sorted().map(String.init).joined(separator: " "), "\(at)")
        }
    }
}
