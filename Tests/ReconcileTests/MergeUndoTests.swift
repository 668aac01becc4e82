import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// What an undo leaves alone because of what others have written since, and that it undoes all else.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct MergeUndoTests {
    private static let held = "other rows hang on it", changed = "changed since the merge"

    private func deleting(_ changed: MergePolicy.Changed = .keepLive) -> MergePolicy {
        var policy = MergePolicy(changed)
        (policy.deletesExtra, policy.mostDeletes, policy.mergesOtherRows) = (true, 100_000, true)
        return policy
    }

    /// Undoes while `other` holds open what these statements did, which it commits when the undo waits for it.
    private func undo(_ bench: Bench, while statements: String...) async throws -> [MergeOutcome.Table] {
        let other = try await bench.connectAgain(), undoing = bench.connection
        for sql in ["BEGIN"] + statements { try await other.execute(sql, deadline: soon()) }
        let undo = Task { try await AuditTrail.undo("m", lockTimeout: .seconds(30), undoing, deadline: soon()) }
        try await bench.untilItWaits(undoing)
        try await other.execute("COMMIT", deadline: soon())
        let tables = try await undo.value.tables
        await other.close()
        return tables
    }

    // MARK: What hangs on a row that was brought back

    /// A child whose transaction is not committed yet is seen by nobody; its parent stays all the same.
    @Test(arguments: ["CASCADE", "SET NULL", "NO ACTION"]) func aChildThatIsCommittedDuringTheUndoKeepsItsParent(onDelete: String) async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY, boss int REFERENCES p ON DELETE \(onDelete));
            CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE \(onDelete)); INSERT INTO p VALUES (1, NULL), (2, NULL), (3, 2), (4, 3), (5, 4);
            """)
        try await bench.backUp("p")
        try await bench.run("TRUNCATE p, c")
        _ = try await bench.merge([try await bench.diff("p")])
        let undone = try await undo(bench, while: "INSERT INTO app.c VALUES (9, 1)", "INSERT INTO app.p VALUES (7, 3)")
        #expect(undone[0].deleted == 2 && undone[0].skipped == [Self.held: 3])
        #expect(try await [bench.rows("p"), bench.rows("c")] == [["(1,)", "(2,)", "(3,2)", "(7,3)"], ["(9,1)"]])
    }

    /// A table without a key can be the parent of others all the same, by a unique column that takes NULL.
    @Test(arguments: [true, false]) func aRowWithoutAKeyKeepsWhatHangsOnIt(isCommittedDuringTheUndo: Bool) async throws {
        let bench = try await Bench(
            "CREATE TABLE p (u int UNIQUE, a text); CREATE TABLE c (p int REFERENCES p (u) ON DELETE CASCADE); INSERT INTO p VALUES (1, 'a'), (2, 'b'), (NULL, 'c'), (NULL, 'c')")
        try await bench.backUp("p")
        try await bench.run("TRUNCATE p, c")
        _ = try await bench.merge([try await bench.diff("p")])
        let child = "INSERT INTO app.c VALUES (1)"
        if !isCommittedDuringTheUndo { try await bench.run(child) }
        let undone = isCommittedDuringTheUndo ? try await undo(bench, while: child) : try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables
        #expect(undone[0].deleted == 3 && undone[0].skipped == [Self.held: 1])
        #expect(try await [bench.rows("p"), bench.rows("c")] == [["(1,a)"], ["(1)"]])
    }

    /// Somebody writes one of the copies while they are to be deleted: that one is theirs by then.
    @Test func aCopyThatIsChangedDuringTheUndoStays() async throws {
        let bench = try await Bench("CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), ('x')")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        _ = try await bench.merge([try await bench.diff("t")])
        let undone = try await undo(bench, while: "UPDATE app.t SET a = 'mine' WHERE ctid = (SELECT ctid FROM app.t ORDER BY ctid DESC LIMIT 1)")
        #expect(undone[0].deleted == 1 && undone[0].skipped == [Self.changed: 1])
        #expect(try await bench.rows("t") == ["(mine)"])
    }

    // MARK: What cannot be as it was any more

    @Test func aFormerValueThatAnotherRowHasByNowIsLeftAloneAndTheOthersComeBack() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE, n int); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 4)")
        try await bench.backUp("t")
        try await bench.run("UPDATE t SET mail = 'old ' || mail, n = 0; INSERT INTO t VALUES (8, 'h', 8), (9, 'i', 9)")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t", policy: deleting(.takeBackup))])
        #expect(outcome.tables[0].updated == 3 && outcome.tables[0].deleted == 2)
        // 9's address is somebody else's, its number is not; 8's number is.
        try await bench.run("INSERT INTO t VALUES (5, 'old a', 5), (6, 'i', 6), (8, 'another', 8)")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].updated == 2 && undone.tables[0].inserted == 0)
        #expect(undone.tables[0].skipped == ["another row has its value of t_mail_key": 2, "another row has its key (id)": 1])
        #expect(try await bench.rows("t") == ["(1,a,1)", "(2,\"old b\",0)", "(3,\"old c\",0)", "(5,\"old a\",5)", "(6,i,6)", "(8,another,8)"])
        #expect(try await bench.value("SELECT string_agg(concat_ws(' ', backup[1], backup[2], live[2], reason), '; ' ORDER BY backup[1]) FROM reprise_audit.skips") == """
            1 old a a not undone: another row has its value of t_mail_key; 8 h not undone: another row has its key (id); \
            9 i not undone: another row has its value of t_mail_key
            """)
        #expect(try await AuditTrail.mark("m", bench.connection, deadline: soon()) == .undone)
    }

    /// What was written since by somebody who has not committed yet is waited for.
    @Test func aKeyThatIsUsedAgainDuringTheUndo() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int)")
        try await bench.backUp("t")
        try await bench.run("INSERT INTO t VALUES (1, 1), (2, 2)")
        _ = try await bench.merge([try await bench.diff("t", policy: deleting())])
        let other = try await bench.connectAgain(), undoing = bench.connection
        for sql in ["BEGIN", "INSERT INTO app.t VALUES (1, 11)"] { try await other.execute(sql, deadline: soon()) }
        let first = Task { try await AuditTrail.undo("m", lockTimeout: .seconds(30), undoing, deadline: soon()) }
        try await bench.untilItWaits(undoing)
        try await other.execute("COMMIT", deadline: soon())
        // The first try found the number taken in the very instant, and nothing of it stays; the next one sees it.
        let error = await #expect(throws: PostgresError.self) { try await first.value }
        #expect(error?.sqlState == "23505")
        let undone = try await AuditTrail.undo("m", undoing, deadline: soon())
        #expect(undone.tables[0].inserted == 1 && undone.tables[0].skipped == ["another row has its key (id)": 1])
        #expect(try await bench.rows("t") == ["(1,11)", "(2,2)"])
        await other.close()
    }

    /// Parents that are gone or not the same any more, and rules that the tables have got since.
    @Test func whatHungOnARowThatIsGoneOrAnotherOneStaysAway() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY, boss int REFERENCES p, name text UNIQUE); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, by text REFERENCES p (name), n int);
            INSERT INTO p VALUES (1, NULL, 'one'); INSERT INTO c VALUES (10, 1, NULL, 0);
            """)
        try await bench.backUp("p", "c")
        try await bench.run(
            """
            INSERT INTO p VALUES (2, NULL, 'two'), (3, 2, 'three'), (4, NULL, 'four'), (5, NULL, 'five'); UPDATE c SET p = 2, n = 1;
            INSERT INTO c VALUES (20, 2, NULL, 0), (30, 3, NULL, 0), (40, 4, NULL, 0), (50, 1, NULL, 0), (60, NULL, 'five', 0), (70, 1, NULL, -1)
            """)
        _ = try await bench.merge([try await bench.diff("p", policy: deleting()), try await bench.diff("c", policy: deleting(.takeBackup))])
        #expect(try await [bench.rows("p"), bench.rows("c")] == [["(1,,one)"], ["(10,1,,0)"]])
        try await bench.run("INSERT INTO p VALUES (2, NULL, 'somebody else'), (6, NULL, 'five'); ALTER TABLE c ADD CHECK (n >= 0); UPDATE p SET boss = 1 WHERE id = 6")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].skipped == [
            "another row has its key (id)": 1, "its parent is another row by now, by p_boss_fkey": 1, "another row has its value of p_name_key": 1,
        ])
        #expect(undone.tables[1].skipped == [
            "its parent is another row by now, by c_p_fkey": 2, "its parent is not there, by c_p_fkey": 1, "its parent is another row by now, by c_by_fkey": 1,
            "the check constraint c_n_check forbids it": 1,
        ])
        #expect(undone.tables[0].inserted == 1 && undone.tables[1].inserted == 2 && undone.tables[1].updated == 0)
        #expect(try await bench.rows("p") == ["(1,,one)", "(2,,\"somebody else\")", "(4,,four)", "(6,1,five)"])
        #expect(try await bench.rows("c") == ["(10,1,,0)", "(40,4,,0)", "(50,1,,0)"])
    }

    /// A former value to which the merge itself had made others lead: those go first.
    @Test(arguments: ["NO ACTION", "CASCADE"]) func aNameToWhichOnlyTheMergesRowsLeadIsGivenBack(onUpdate: String) async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY, name text UNIQUE); CREATE TABLE c (id int PRIMARY KEY, p text REFERENCES p (name) ON UPDATE \(onUpdate));
            INSERT INTO p VALUES (1, 'right'), (2, 'other'); INSERT INTO c VALUES (1, 'right'), (2, 'other')
            """)
        try await bench.backUp("p", "c")
        try await bench.run("TRUNCATE c; UPDATE p SET name = 'wrong ' || id")
        let before = try await bench.rows("p")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("p", policy: deleting(.takeBackup)), try await bench.diff("c")])
        #expect(outcome.tables.map(\.updated) == [2, 0] && outcome.tables.map(\.inserted) == [0, 2])
        // And one to which somebody else has made a row lead stays.
        try await bench.run("INSERT INTO c VALUES (3, 'other')")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].updated == 1 && undone.tables[0].skipped == [Self.held: 1] && undone.tables[1].deleted == 2)
        #expect(try await [bench.rows("p"), bench.rows("c")] == [[before[0], "(2,other)"], ["(3,other)"]])
    }

    @Test func aColumnThatIsGoneSinceTheMergeIsNamed() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n int, m int); INSERT INTO t VALUES (1, 1, 1)")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        _ = try await bench.merge([try await bench.diff("t")])
        try await bench.run("ALTER TABLE t DROP n, ALTER m TYPE bigint")
        let refused = await #expect(throws: ReconcileRefused.self) { try await AuditTrail.undo("m", bench.connection, deadline: soon()) }
        #expect(refused?.code == "reconcile.drift" && refused?.message.contains("n, m") == true, "\(String(describing: refused))")
        #expect(try await bench.rows("t") == ["(1,1)"])
    }

    /// Thirty thousand rows with a conflict in one of a hundred.
    @Test func manyRowsWithConflictsAmongThem() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE, n int); INSERT INTO t SELECT g, 'm' || g, g FROM generate_series(1, 30000) g")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id > 20000; UPDATE t SET mail = 'old' || id, n = 0 WHERE id <= 10000; INSERT INTO t SELECT g, 'x' || g, g FROM generate_series(30001, 40000) g")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t", policy: deleting(.takeBackup))])
        #expect(outcome.tables[0].inserted == 10000 && outcome.tables[0].updated == 10000 && outcome.tables[0].deleted == 10000)
        try await bench.run("INSERT INTO t SELECT 100000 + g, 'old' || g, 0 FROM generate_series(1, 10000, 100) g; INSERT INTO t SELECT g, 'y' || g, 0 FROM generate_series(30001, 40000, 100) g")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].inserted == 9900 && undone.tables[0].updated == 9900 && undone.tables[0].deleted == 10000)
        #expect(undone.tables[0].skipped == ["another row has its value of t_mail_key": 100, "another row has its key (id)": 100])
    }
}
