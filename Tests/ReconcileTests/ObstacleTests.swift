import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Rows that the server would refuse are left alone and named; all others are merged.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ObstacleTests {
    struct Obstacle: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// The table `t`, as it was backed up, with its rows.
        let backup: String
        /// What became of it.
        let damage: String
        let reasons: [String: Int]
        let rows: [String]
        var mergesOtherRows = false
        var toleratesDrift = false
        var ignoresLargeObjects = false

        init(
            _ name: String, _ backup: String, _ damage: String, _ reasons: [String: Int], _ rows: [String], otherRows: Bool = false,
            drift: Bool = false, ignoringLargeObjects: Bool = false
        ) {
            (testDescription, self.backup, self.damage, self.reasons, self.rows) = (name, backup, damage, reasons, rows)
            (mergesOtherRows, toleratesDrift, ignoresLargeObjects) = (otherRows, drift, ignoringLargeObjects)
        }
    }

    static let obstacles = [
        Obstacle(
            "a table without a key, whose rows hang on others and have become too many or unfit",
            """
            CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2); CREATE TABLE t (p int REFERENCES p, u int, n int);
            INSERT INTO t VALUES (1, 1, 1), (1, 1, 1), (2, NULL, 2), (2, NULL, 2), (1, 7, 3), (1, 8, -3), (NULL, 9, 4), (1, 10, 5), (1, 10, 6), (1, NULL, 7), (1, NULL, 7)
            """,
            "DELETE FROM t; DELETE FROM p WHERE id = 2; CREATE UNIQUE INDEX once ON t (u); ALTER TABLE t ADD CHECK (n > 0); INSERT INTO t VALUES (NULL, 7, 99)",
            [
                "another row of the backup has its value of once": 4, "another row has its value of once": 1, "its parent is not there, by t_p_fkey": 2,
                "the check constraint t_n_check forbids it": 1,
            ], ["(,7,99)", "(,9,4)", "(1,,7)", "(1,,7)"]),
        Obstacle(
            "an exclusion constraint, of a live row and of two that come back",
            """
            CREATE EXTENSION btree_gist SCHEMA public; CREATE TABLE t (id int PRIMARY KEY, room int, during int4range);
            INSERT INTO t VALUES (1, 1, '[1,5)'), (2, 2, '[1,5)'), (3, 3, '[1,9)'), (4, 3, '[2,4)'), (5, 4, '[1,2)'), (6, NULL, '[1,2)')
            """,
            """
            DELETE FROM t; ALTER TABLE t ADD CONSTRAINT booked EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room < 9);
            INSERT INTO t VALUES (9, 1, '[4,6)')
            """,
            ["another row has its value of booked": 1, "another row of the backup has its value of booked": 2],
            ["(2,2,\"[1,5)\")", "(5,4,\"[1,2)\")", "(6,,\"[1,2)\")", "(9,1,\"[4,6)\")"]),
        Obstacle(
            "two unique values that were swapped", "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)",
            "UPDATE t SET u = -1 WHERE id = 1; UPDATE t SET u = 10 WHERE id = 2; UPDATE t SET u = 20 WHERE id = 1; UPDATE t SET u = 31 WHERE id = 3",
            ["another row has its value of t_u_key": 2], ["(1,20)", "(2,10)", "(3,30)"], otherRows: true),
        Obstacle(
            "two unique values that were swapped, and might be checked later",
            "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)",
            "UPDATE t SET u = 30 - u WHERE id < 3", ["another row has its value of t_u_key": 2], ["(1,20)", "(2,10)", "(3,30)"], otherRows: true),
        Obstacle(
            "a unique index that is younger than the backup", "CREATE TABLE t (id int PRIMARY KEY, u text); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'b')",
            "DELETE FROM t; CREATE UNIQUE INDEX once ON t (u)", ["another row of the backup has its value of once": 2], ["(3,b)"]),
        Obstacle(
            "an index over a generated column",
            """
            CREATE TABLE t (id int PRIMARY KEY, name text, low text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE);
            INSERT INTO t VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cid')
            """,
            "DELETE FROM t WHERE id < 3; UPDATE t SET name = 'Dan' WHERE id = 3; INSERT INTO t VALUES (9, 'ANN')",
            ["another row has its value of t_low_key": 1, "another row under the same key, by t_low_key": 1], ["(2,Bob,bob)", "(3,Dan,dan)", "(9,ANN,ann)"]),
        Obstacle(
            "an index over an expression, of some rows only", "CREATE TABLE t (id int PRIMARY KEY, name text, gone bool); INSERT INTO t VALUES (1, 'Ann', false), (2, 'Bob', true)",
            "DELETE FROM t; CREATE UNIQUE INDEX low ON t (lower(name)) WHERE NOT gone; INSERT INTO t VALUES (8, 'ann', false), (9, 'bob', false)",
            ["another row has its value of low": 1], ["(2,Bob,t)", "(8,ann,f)", "(9,bob,f)"]),
        Obstacle(
            "an index that holds NULL for a value", "CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t VALUES (1, NULL, 1), (2, NULL, 2)",
            "DELETE FROM t; CREATE UNIQUE INDEX nulls ON t (a, b) NULLS NOT DISTINCT; INSERT INTO t VALUES (9, NULL, 1)",
            ["another row has its value of nulls": 1], ["(2,,2)", "(9,,1)"]),
        Obstacle(
            "an index of many values that holds NULL for one",
            "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int, c int, d int, e int, \"F\" int); INSERT INTO t VALUES (1, 1, NULL, NULL, 1, 1, NULL), (2, 1, NULL, 1, NULL, NULL, NULL), (3, 1, 1, 1, 1, 1, 1), (4, 1, 1, 1, 1, 1, NULL)",
            "DELETE FROM t; CREATE UNIQUE INDEX nulls ON t (a, b, c, d, e, \"F\") NULLS NOT DISTINCT; INSERT INTO t VALUES (8, 1, NULL, 1, NULL, NULL, NULL), (9, 1, 1, 1, 1, 1, NULL)",
            ["another row has its value of nulls": 2], ["(1,1,,,1,1,)", "(3,1,1,1,1,1,1)", "(8,1,,1,,,)", "(9,1,1,1,1,1,)"]),
        Obstacle(
            "rows of the backup without a value, beside an index that is younger", "CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t VALUES (1, NULL, NULL), (2, NULL, NULL), (3, 1, NULL), (4, NULL, 1)",
            "DELETE FROM t; CREATE UNIQUE INDEX nulls ON t (a, b) NULLS NOT DISTINCT",
            ["another row of the backup has its value of nulls": 2], ["(3,1,)", "(4,,1)"]),
        Obstacle(
            "an index by a collation of its own",
            "CREATE COLLATION public.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'Ann'), (2, 'Bob')",
            "DELETE FROM t; CREATE UNIQUE INDEX folded ON t (name COLLATE public.any_case); INSERT INTO t VALUES (9, 'ANN')",
            ["another row has its value of folded": 1], ["(2,Bob)", "(9,ANN)"]),
        Obstacle(
            "checks and NOT NULL that are younger than the backup",
            "CREATE TABLE t (id int PRIMARY KEY, n int, m int); INSERT INTO t VALUES (1, 1, 1), (2, -2, 2), (3, 3, NULL), (4, -4, 4), (5, NULL, 5)",
            "DELETE FROM t WHERE id <> 4; UPDATE t SET n = 44 WHERE id = 4; ALTER TABLE t ADD CONSTRAINT \"is, plus\" CHECK (n > 0), ALTER m SET NOT NULL",
            ["the check constraint \"is, plus\" forbids it": 2, "column m takes no NULL": 1], ["(1,1,1)", "(4,44,4)", "(5,,5)"]),
        Obstacle(
            "a column that is younger than the backup and takes no NULL", "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2)",
            "DELETE FROM t WHERE id = 1; UPDATE t SET n = 9; ALTER TABLE t ADD m int; UPDATE t SET m = 7; ALTER TABLE t ALTER m SET NOT NULL",
            ["column m takes no NULL": 1], ["(2,2,7)"], drift: true),
        Obstacle(
            "no partition that takes the row",
            """
            CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (10);
            CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id); CREATE TABLE t2a PARTITION OF t2 FOR VALUES IN (10, 11);
            CREATE TABLE t2b PARTITION OF t2 DEFAULT; INSERT INTO t VALUES (1, 1), (10, 1), (12, 1)
            """, "DELETE FROM t; DROP TABLE t1", ["no partition takes it": 1], ["(10,1)", "(12,1)"]),
        Obstacle(
            "what single parts refuse: a check, NULL, a value that another row of that part has, at every depth",
            """
            CREATE TABLE t (id int PRIMARY KEY, n int, u text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (10);
            CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id); CREATE TABLE t2a PARTITION OF t2 FOR VALUES IN (10, 11, 12, 13, 14);
            CREATE TABLE t2b PARTITION OF t2 DEFAULT;
            INSERT INTO t SELECT g, g - 5, 'u' || g % 4 FROM generate_series(1, 18) AS g; UPDATE t SET n = NULL WHERE id IN (9, 12, 18)
            """,
            """
            DELETE FROM t; ALTER TABLE t1 ADD CONSTRAINT positive CHECK (n > 0); ALTER TABLE t2a ALTER n SET NOT NULL;
            ALTER TABLE t2 ADD CONSTRAINT few CHECK (n < 12); CREATE UNIQUE INDEX once ON t2b (u) WHERE id > 10; INSERT INTO t VALUES (19, 1, 'u0')
            """,
            [
                "the check constraint positive of app.t1 forbids it": 5, "app.t2a takes no NULL there": 1, "the check constraint few of app.t2 forbids it": 1,
                "another row has its value of once of app.t2b": 1,
            ],
            ["(10,5,u2)", "(11,6,u3)", "(13,8,u1)", "(14,9,u2)", "(15,10,u3)", "(18,,u2)", "(19,1,u0)", "(6,1,u2)", "(7,2,u3)", "(8,3,u0)", "(9,,u1)"]),
        Obstacle(
            "a foreign key of a single part", """
            CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2);
            CREATE TABLE t (id int PRIMARY KEY, p int) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (10);
            CREATE TABLE t2 PARTITION OF t DEFAULT; INSERT INTO t VALUES (1, 1), (2, 2), (3, NULL), (11, 2), (12, 3)
            """, "DELETE FROM t; DELETE FROM p WHERE id = 2; ALTER TABLE t1 ADD CONSTRAINT leads FOREIGN KEY (p) REFERENCES p",
            ["its parent is not there, by leads": 1], ["(1,1)", "(11,2)", "(12,3)", "(3,)"]),
        Obstacle(
            "a foreign key that is given as a whole or not at all",
            """
            CREATE TABLE p (a int, b int, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 1);
            CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t VALUES (1, 1, 1), (2, 1, NULL), (3, NULL, NULL), (4, NULL, 1), (5, 1, NULL)
            """, "DELETE FROM t WHERE id < 5; UPDATE t SET a = NULL; ALTER TABLE t ADD CONSTRAINT whole FOREIGN KEY (a, b) REFERENCES p MATCH FULL",
            ["its parent is named in part only, by whole": 3], ["(1,1,1)", "(3,,)", "(5,,)"]),
        Obstacle(
            "hash partitions, of which one has an index of its own",
            """
            CREATE TABLE t (id int PRIMARY KEY, u int) PARTITION BY HASH (id); CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO t SELECT g, 1 FROM generate_series(1, 20) AS g;
            DELETE FROM t0 WHERE id > (SELECT min(id) FROM t0); DELETE FROM t1 WHERE id NOT IN (SELECT id FROM t1 ORDER BY id LIMIT 2)
            """, "DELETE FROM t; CREATE UNIQUE INDEX once ON t1 (u)", ["another row of the backup has its value of once of app.t1": 2],
            ["(1,1)"]),
        Obstacle(
            "a large object that is gone",
            """
            CREATE EXTENSION lo SCHEMA public; CREATE TABLE t (id int PRIMARY KEY, a oid, b public.lo);
            SELECT lo_create(900001), lo_create(900002), lo_create(900003), lo_create(900004);
            INSERT INTO t VALUES (1, 900001, NULL), (2, 900002, 900003), (3, 0, 900004), (4, 900001, NULL)
            """, "DELETE FROM t WHERE id < 4; UPDATE t SET a = NULL; SELECT lo_unlink(900002), lo_unlink(900004)",
            ["its large object is not there, by column a": 1, "its large object is not there, by column b": 1], ["(1,900001,)", "(4,900001,)"]),
        Obstacle(
            "numbers that are none of large objects", "CREATE TABLE t (id int PRIMARY KEY, a oid); INSERT INTO t VALUES (1, 1259)", "DELETE FROM t", [:],
            ["(1,1259)"], ignoringLargeObjects: true),
        Obstacle(
            "a row to which others lead",
            """
            CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE, n int); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);
            CREATE TABLE leads (code text REFERENCES t (code) ON UPDATE CASCADE)
            """, "UPDATE t SET code = code || 2, n = 0; INSERT INTO leads VALUES ('a2')", ["other rows hang on it": 1],
            ["(1,a2,0)", "(2,b,2)", "(3,c,3)"], otherRows: true),
        Obstacle(
            "names that are those of the comparison",
            """
            CREATE TABLE t (seq int, verdict text, image text, PRIMARY KEY (seq, verdict), reason text UNIQUE, kind int REFERENCES d, live int, d int, w int, CHECK (live > 0));
            INSERT INTO d VALUES (1); INSERT INTO t VALUES (1, 'skip', 'a', 'r', 1, 1, 1, 1), (2, 'skip', 'b', 's', 1, 2, 2, 2)
            """, "DELETE FROM t WHERE seq = 1; UPDATE t SET image = 'x'", [:], ["(1,skip,a,r,1,1,1,1)", "(2,skip,b,s,1,2,2,2)"]),
    ]

    @Test(arguments: obstacles) func whatTheServerWouldRefuseIsLeftAloneAndNamed(obstacle: Obstacle) async throws {
        let bench = try await Bench("CREATE TABLE d (seq int PRIMARY KEY); \(obstacle.backup)")
        try await bench.backUp("t")
        try await bench.run(obstacle.damage)
        var policy = MergePolicy(.takeBackup)
        policy.mergesOtherRows = obstacle.mergesOtherRows
        policy.ignoresLargeObjects = obstacle.ignoresLargeObjects
        let before = try await bench.rows("t")
        let (plan, preview, outcome) = try await bench.merge([try await bench.diff("t", policy: policy, toleratesDrift: obstacle.toleratesDrift)])
        #expect(outcome.tables[0].skipped == obstacle.reasons)
        #expect(preview.tables[0].rows(.skip) == obstacle.reasons.values.reduce(0, +), "a person was shown it")
        #expect(try await bench.rows("t") == obstacle.rows)
        _ = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == before)
    }

    /// The constraint would take those along.
    @Test func aRowToWhichOthersLeadByItsPartAloneIsNotDeleted() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (10); CREATE TABLE t2 PARTITION OF t DEFAULT")
        try await bench.backUp("t")
        try await bench.run("INSERT INTO t VALUES (1), (2), (11); CREATE TABLE c (t int REFERENCES t1 (id) ON DELETE CASCADE); INSERT INTO c VALUES (1)")
        var policy = MergePolicy()
        (policy.deletesExtra, policy.mostDeletes) = (true, 2)
        let (_, preview, outcome) = try await bench.merge([try await bench.diff("t", policy: policy)])
        #expect(preview.tables[0].rows(.delete) == 2)
        #expect(outcome.tables[0].deleted == 2 && outcome.tables[0].skipped == ["other rows hang on it": 1])
        #expect(try await bench.rows("c") == ["(1)"])
    }

    /// A row that will lead elsewhere, or will go itself, holds none back; what came after the preview does.
    @Test func rowsThatStayHoldOthersAndThePreviewKnowsWhich() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE); CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t (u))")
        try await bench.run("INSERT INTO t VALUES (1, 10), (2, 20); INSERT INTO c VALUES (1, 20)")
        try await bench.backUp("t", "c")
        try await bench.run("INSERT INTO t VALUES (3, 30), (4, 40), (5, 50), (6, 60); INSERT INTO c VALUES (3, 40)")
        try await bench.run("UPDATE c SET t = 30 WHERE id = 1; UPDATE t SET u = 11 WHERE id = 1; CREATE TABLE other (t int REFERENCES t (u)); INSERT INTO other VALUES (11), (50)")
        var policy = MergePolicy(.takeBackup)
        (policy.deletesExtra, policy.mostDeletes, policy.mergesOtherRows) = (true, 3, true)
        let plan = try MergePlan([try await bench.diff("t", policy: policy), try await bench.diff("c", policy: policy)])
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        let parents = try #require(preview.tables.first { $0.name.name.name == "t" })
        #expect(parents.rows(.delete) == 3 && parents.rows(.skip) == 2)
        try await bench.run("INSERT INTO other VALUES (60)")
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        let merged = try #require(outcome.tables.first { $0.name.name.name == "t" })
        #expect(merged.deleted == 2 && merged.skipped == ["other rows hang on it": 3])
        #expect(try await bench.rows("t") == ["(1,11)", "(2,20)", "(5,50)", "(6,60)"])
        #expect(try await bench.rows("c") == ["(1,20)"])
    }

    /// Two transactions in which the one who comes back second is not there when the first is looked at.
    @Test func aRowMayLeadToOneOfItsOwnTableThatComesBackWithIt() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, boss int REFERENCES t)")
        try await bench.run("INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2); UPDATE t SET boss = 3 WHERE id = 1")
        try await bench.backUp("t")
        let backup = try await bench.rows("t")
        try await bench.run("UPDATE t SET boss = NULL; DELETE FROM t WHERE id > 1")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t", policy: MergePolicy(.takeBackup))])
        #expect(outcome.tables[0].inserted == 2 && outcome.tables[0].updated == 1)
        #expect(try await bench.rows("t") == backup)
    }

    /// The parent gets its former name back, by which its child knows it.
    @Test func aChildFindsAParentThatIsUpdatedBeforeIt() async throws {
        let bench = try await Bench("CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE); CREATE TABLE c (id int PRIMARY KEY, p text REFERENCES p (code))")
        try await bench.run("INSERT INTO p VALUES (1, 'a'), (2, 'b'); INSERT INTO c VALUES (1, 'a'), (2, 'b')")
        try await bench.backUp("p", "c")
        let backup = try await [bench.rows("p"), bench.rows("c")]
        try await bench.run("DELETE FROM c; UPDATE p SET code = 'A' WHERE id = 1")
        var policy = MergePolicy(.takeBackup)
        policy.mergesOtherRows = true
        let (_, _, outcome) = try await bench.merge([try await bench.diff("c", policy: policy), try await bench.diff("p", policy: policy)])
        #expect(outcome.tables.allSatisfy { $0.skipped.isEmpty })
        #expect(try await [bench.rows("p"), bench.rows("c")] == backup)
    }

    /// A table that inherits holds no parents, whatever it looks like from above; and of a parent only its own rows are compared.
    @Test func tablesThatInheritAreTablesOfTheirOwn() async throws {
        let bench = try await Bench(
            """
            CREATE TABLE p (id int PRIMARY KEY, n int); CREATE TABLE heir (extra text, PRIMARY KEY (id)) INHERITS (p);
            CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)
            """)
        try await bench.run("INSERT INTO p VALUES (1, 1), (2, 2); INSERT INTO heir VALUES (3, 3, 'x'), (4, 4, 'y'); INSERT INTO c VALUES (1, 1), (2, 2)")
        try await bench.run("CREATE TABLE rescue.p AS SELECT * FROM ONLY p")
        try await bench.backUp("heir", "c")
        try await bench.run("DELETE FROM c; DELETE FROM p WHERE id <> 3; INSERT INTO heir VALUES (1, 9, 'z')")
        let (_, _, outcome) = try await bench.merge([try await bench.diff("c")])
        #expect(outcome.tables[0].skipped == ["its parent is not there, by c_p_fkey": 2])
        let (_, _, family) = try await bench.merge([try await bench.diff("p"), try await bench.diff("heir"), try await bench.diff("c")], as: "n")
        #expect(family.tables.map { "\($0.name.name.name) \($0.inserted) \($0.skipped.count)" }.sorted() == ["c 2 0", "heir 1 0", "p 2 0"])
        #expect(try await bench.value("SELECT string_agg(id || ':' || n || tableoid::regclass, ' ' ORDER BY id, n) FROM p") == "1:1p 1:9heir 2:2p 3:3heir 4:4heir")
    }
}
