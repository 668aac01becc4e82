import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Rows that lead to themselves or to each other: none of them can go before the others.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct CircleRowTests {
    private static let held = "other rows hang on it"
    /// 1 is its own parent, 2 and 3 are each other's peers, 4 hangs on them and they on 5; 7 and 8 are peers, 9 hangs on them and they on 10.
    private static let rows = "(1, 1, NULL), (2, 5, 3), (3, NULL, 2), (4, 2, NULL), (5, NULL, NULL), (7, NULL, 8), (8, 10, 7), (9, 8, 9), (10, NULL, NULL)"

    /// With what each does on a delete, and whether the table has parts.
    private static let tables = ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "NO ACTION DEFERRABLE INITIALLY DEFERRED"].flatMap { action in
        let columns = "CREATE TABLE cat (id int PRIMARY KEY, parent int REFERENCES cat ON DELETE \(action), peer int REFERENCES cat ON DELETE \(action))"
        return [columns, columns + " PARTITION BY RANGE (id); CREATE TABLE few PARTITION OF cat FOR VALUES FROM (0) TO (3); CREATE TABLE many PARTITION OF cat DEFAULT"]
    }

    @Test(arguments: tables) func anUndoTakesThemBack(table: String) async throws {
        let bench = try await Bench("\(table); INSERT INTO cat VALUES \(Self.rows)")
        try await bench.backUp("cat")
        try await bench.run("TRUNCATE cat")
        _ = try await bench.merge([try await bench.diff("cat")])
        try await bench.run("INSERT INTO cat VALUES (20, 7, NULL)")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].deleted == 6 && undone.tables[0].skipped == [Self.held: 3])
        #expect(try await bench.rows("cat") == ["(10,,)", "(20,7,)", "(7,,8)", "(8,10,7)"])
    }

    @Test(arguments: tables) func aMergeDeletesThem(table: String) async throws {
        let bench = try await Bench("\(table); INSERT INTO cat VALUES (20, NULL, NULL)")
        try await bench.backUp("cat")
        try await bench.run("INSERT INTO cat VALUES \(Self.rows); UPDATE cat SET parent = 7 WHERE id = 20")
        let before = try await bench.rows("cat")
        var policy = MergePolicy()
        (policy.deletesExtra, policy.mostDeletes) = (true, 6)
        let (_, preview, outcome) = try await bench.merge([try await bench.diff("cat", policy: policy)])
        #expect(preview.tables[0].rows(.delete) == 6 && preview.tables[0].rows(.skip) == 3, "nobody agrees to what will not happen")
        #expect(outcome.tables[0].deleted == 6 && outcome.tables[0].skipped == [Self.held: 3])
        #expect(try await bench.rows("cat") == ["(10,,)", "(20,7,)", "(7,,8)", "(8,10,7)"])
        let audited = "SELECT string_agg(before::text, ' ' ORDER BY before[1]) FROM reprise_audit.changes WHERE operation = 'delete'"
        #expect(try await bench.value(audited) == "{1,1,NULL} {2,5,3} {3,NULL,2} {4,2,NULL} {5,NULL,NULL} {9,8,9}")
        #expect(try await bench.value("SELECT string_agg(live[1], ' ' ORDER BY live[1]) FROM reprise_audit.skips") == "10 7 8")
        #expect(try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables[0].inserted == 6)
        #expect(try await bench.rows("cat") == before)
    }

    /// What has no key is known by its place.
    @Test func rowsWithoutAKey() async throws {
        let bench = try await Bench("CREATE TABLE p (u int UNIQUE, v int REFERENCES p (u)); INSERT INTO p VALUES (1, 1), (2, 3), (3, 2), (4, 4), (5, 4)")
        try await bench.backUp("p")
        try await bench.run("TRUNCATE p")
        _ = try await bench.merge([try await bench.diff("p")])
        try await bench.run("INSERT INTO p VALUES (9, 4)")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables[0].deleted == 4 && undone.tables[0].skipped == [Self.held: 1])
        #expect(try await bench.rows("p") == ["(4,4)", "(9,4)"])
    }

    /// A constraint of a part alone leads to the whole table, whose rows are the part's.
    @Test func rowsOfAPartThatLeadToThemselves() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE t (id int PRIMARY KEY, p int) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
            CREATE TABLE t2 PARTITION OF t DEFAULT; ALTER TABLE t2 ADD FOREIGN KEY (p) REFERENCES t ON DELETE CASCADE; INSERT INTO t VALUES (1, 1), (11, 11), (12, 1)
            """)
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        _ = try await bench.merge([try await bench.diff("t")])
        #expect(try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables[0].deleted == 3)
        #expect(try await bench.rows("t").isEmpty)
    }

    /// Rows that do not lead in a circle go one after the other: a trigger that looks for children finds none.
    @Test func aTriggerThatForbidsToDeleteParentsSeesTheirChildrenGo() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t); INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2), (4, 4)")
        try await bench.backUp("t")
        try await bench.run(
            """
            TRUNCATE t; CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                IF EXISTS (SELECT FROM app.t WHERE p = OLD.id AND id <> OLD.id) THEN RAISE 'it has children'; END IF; RETURN OLD; END$$;
            CREATE TRIGGER guard BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard()
            """)
        _ = try await bench.merge([try await bench.diff("t")])
        #expect(try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables[0].deleted == 4)
    }
}
