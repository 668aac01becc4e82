import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// What hung on a row does not come to hang on somebody else's that has its number, or its name, by now.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct OtherParentTests {
    private static let schema = """
        CREATE TABLE p (id int PRIMARY KEY, mail text UNIQUE, n int, UNIQUE (id, n)); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, v int);
        INSERT INTO p VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3); INSERT INTO c VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 1, 4), (5, 2, 5)
        """

    /// Member 1 went, and the number was given out again. Child 4 was moved to another member, and child 5 only changed.
    @Test(arguments: [MergePolicy.Changed.keepLive, .takeBackup], [false, true])
    func childrenOfAnotherRowUnderTheSameKeyAreSkipped(changed: MergePolicy.Changed, isFollowed: Bool) async throws {
        let bench = try await Bench(Self.schema)
        try await bench.backUp("p", "c")
        try await bench.run("DELETE FROM c WHERE id < 4; UPDATE c SET p = NULL WHERE id = 4; UPDATE c SET v = 0 WHERE id = 5; UPDATE p SET mail = 'z' WHERE id = 1; UPDATE p SET n = 0 WHERE id = 2")
        let child = try await bench.diff("c", policy: MergePolicy(.takeBackup)), parent = try await bench.diff("p", policy: MergePolicy(changed), isFollowed: isFollowed)
        let plan = try MergePlan([child, parent], followingParents: isFollowed)
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[1].skipped == ["its parent is another row by now, by c_p_fkey": 2] && preview.tables[1].rows(.skip) == 2)
        #expect(try await bench.rows("c") == ["(2,2,2)", "(3,3,3)", "(4,,4)", "(5,2,5)"], "a member of whom only n has changed is the same one")
    }

    @Test func theyHangOnItWhereSuchRowsAreTakenForTheSame() async throws {
        let bench = try await Bench(Self.schema)
        try await bench.backUp("p", "c")
        let backup = try await bench.rows("c")
        try await bench.run("DELETE FROM c; UPDATE p SET mail = 'z' WHERE id = 1")
        var policy = MergePolicy()
        policy.mergesOtherRows = true
        _ = try await bench.merge([try await bench.diff("c"), try await bench.diff("p", policy: policy)])
        #expect(try await bench.rows("c") == backup)
    }

    /// By a name, which somebody else bears.
    @Test func aNameThatWasGivenToAnotherRowIsAnotherRow() async throws {
        let bench = try await Bench("CREATE TABLE p (id int PRIMARY KEY, name text UNIQUE); CREATE TABLE c (id int PRIMARY KEY, p text REFERENCES p (name))")
        try await bench.run("INSERT INTO p VALUES (1, 'ann'), (2, 'bob'); INSERT INTO c VALUES (1, 'ann'), (2, 'bob')")
        try await bench.backUp("p", "c")
        try await bench.run("TRUNCATE p, c; INSERT INTO p VALUES (9, 'ann')")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("c"), try await bench.diff("p")])
        #expect(outcome.tables.map(\.skipped) == [["another row has its value of p_name_key": 1], ["its parent is another row by now, by c_p_fkey": 1]])
        #expect(try await bench.rows("c") == ["(2,bob)"])
    }

    @Test func aParentThatIsReplacedAfterThePreviewTakesNoChildren() async throws {
        let bench = try await Bench(Self.schema)
        try await bench.backUp("p", "c")
        try await bench.run("DELETE FROM c")
        let plan = try MergePlan([try await bench.diff("c"), try await bench.diff("p")])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        try await bench.run("DELETE FROM p WHERE id = 1; INSERT INTO p VALUES (1, 'y', 1)")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[1].skipped == ["its parent is another row by now, by c_p_fkey": 2])
        #expect(try await bench.rows("c") == ["(2,2,2)", "(3,3,3)", "(5,2,5)"])
    }

    /// Nothing but its image tells that it is another one: it was missing, and its number was taken since.
    @Test func aParentWhoseNumberIsTakenAfterThePreviewTakesNoChildren() async throws {
        let bench = try await Bench("CREATE TABLE p (id int PRIMARY KEY, n int); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)")
        try await bench.run("INSERT INTO p VALUES (1, 1), (2, 2); INSERT INTO c VALUES (1, 1), (2, 2)")
        try await bench.backUp("p", "c")
        try await bench.run("TRUNCATE p, c")
        let plan = try MergePlan([try await bench.diff("c"), try await bench.diff("p")])
        let agreed = try await plan.prepare(bench.connection, deadline: soon())
        try await bench.run("INSERT INTO p VALUES (1, 9)")
        let outcome = try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.map(\.skipped) == [["changed since the preview": 1], ["its parent is another row by now, by c_p_fkey": 1]])
        #expect(try await bench.rows("c") == ["(2,2)"])
    }

    /// The table leads to itself, and the one who was led to is not who he was.
    @Test func aRowOfItsOwnTableMayBeAnotherOneToo() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE, boss int REFERENCES t)")
        try await bench.run("INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 1), (3, 'c', 2)")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t; INSERT INTO t VALUES (1, 'z', NULL)")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t")])
        #expect(outcome.tables[0].skipped == ["its parent is another row by now, by t_boss_fkey": 1, "its parent is not there, by t_boss_fkey": 1])
        #expect(try await bench.rows("t") == ["(1,z,)"])
    }
}
