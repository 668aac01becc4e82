import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Triggers, conditions and functions of applications name things as their own sessions find them, without a schema.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct DatabasePathTests {
    private static let path = "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO app, public', current_database()); END$$;"

    /// Of rows that are inserted, changed and deleted, by the merge and by its undoing, at once and at the end; by rules, too. What a column
    /// of type regclass holds is written in another way where its schema is on the path: that is no difference.
    @Test func triggersThatNameNoSchemaRunAsInAnySession() async throws {
        let bench = try await Bench(
            """
            \(Self.path)
            CREATE TABLE t (id int PRIMARY KEY, n int, what regclass); CREATE TABLE log (what text, id int); CREATE TABLE k (n int, what regclass);
            INSERT INTO t VALUES (1, 1, 't'), (2, 2, 't'); INSERT INTO k VALUES (1, 'k'), (1, 'k'), (2, NULL);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                INSERT INTO log VALUES (TG_NAME || ' ' || TG_OP, CASE TG_OP WHEN 'DELETE' THEN OLD.n ELSE NEW.n END); RETURN coalesce(NEW, OLD); END$$;
            """)
        try await bench.backUp("t", "k")
        try await bench.run(
            """
            DELETE FROM t WHERE id = 1; UPDATE t SET n = 7 WHERE id = 2; INSERT INTO t VALUES (3, 3, 't'); TRUNCATE k;
            CREATE TRIGGER early BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
            CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
            CREATE TRIGGER copies BEFORE INSERT OR DELETE ON k FOR EACH ROW EXECUTE FUNCTION note();
            """)
        let before = try await bench.rows("t")
        var policy = MergePolicy(.takeBackup)
        (policy.deletesExtra, policy.mostDeletes) = (true, 1)
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t", policy: policy), try await bench.diff("k")])
        #expect(outcome.tables.map { [$0.inserted, $0.updated, $0.deleted] } == [[3, 0, 0], [1, 1, 1]])
        #expect(try await bench.rows("t") == ["(1,1,t)", "(2,2,t)"])
        #expect(try await bench.rows("k") == ["(1,k)", "(1,k)", "(2,)"])
        let log = "SELECT string_agg(x, ', ' ORDER BY x COLLATE \"C\") FROM (SELECT concat(what, ' ', id) AS x FROM log) AS x"
        let early = "early DELETE 3, early INSERT 1, early UPDATE 2"
        #expect(try await bench.value(log) == "copies INSERT 1, copies INSERT 1, copies INSERT 2, \(early), \(early.replacing("early", with: "late"))")
        #expect(try await AuditTrail.prove("m", bench.connection, deadline: soon()).isProven)
        #expect(try await bench.value("SELECT DISTINCT after[3] FROM reprise_audit.changes WHERE table_name = 't' AND after IS NOT NULL") == "app.t")
        try await bench.run("TRUNCATE log")
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables.map { [$0.inserted, $0.updated, $0.deleted] } == [[0, 0, 3], [1, 1, 1]])
        #expect(try await bench.rows("t") == before)
        #expect(try await bench.value("SELECT count(*) FROM k") == "0")
        #expect(try await bench.value("SELECT count(*) FILTER (WHERE what LIKE 'copies%'), count(*) FROM log") == "3|9")
        #expect(try await bench.connection.query("SHOW search_path", deadline: soon()).rows[0].string("search_path") == "pg_catalog")
    }

    /// The preview asks what the table's own conditions, indexes and generated columns say of each row.
    @Test func conditionsWhoseFunctionsNameNoSchemaAreAsked() async throws {
        let bench = try await Bench(
            """
            \(Self.path)
            CREATE FUNCTION trim2(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT btrim($1, ' ')$$;
            CREATE FUNCTION plain(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN lower(trim2(t)); END$$;
            CREATE TABLE g (id int PRIMARY KEY, name text CHECK (plain(name) <> 'no'), bare text GENERATED ALWAYS AS (plain(name)) STORED);
            CREATE UNIQUE INDEX bare ON g (plain(name), bare); CREATE TABLE c (g text, code text CHECK (plain(code) <> 'no'));
            INSERT INTO g (id, name) SELECT i, 'Name ' || i FROM generate_series(1, 4) i; INSERT INTO c VALUES ('name 1', 'A'), ('name 1', 'A');
            """)
        try await bench.backUp("g", "c")
        try await bench.run(
            """
            DELETE FROM g WHERE id < 4; INSERT INTO g (id, name) VALUES (9, 'NAME 2 '); UPDATE g SET name = 'Else' WHERE id = 4; TRUNCATE c;
            ALTER TABLE rescue.g DISABLE TRIGGER ALL; UPDATE rescue.g SET name = 'NO ' WHERE id = 3; UPDATE rescue.c SET code = 'No' WHERE ctid = '(0,2)'
            """)
        let (_, preview, outcome) = try await bench.merge([try await bench.diff("g", policy: MergePolicy(.takeBackup)), try await bench.diff("c")])
        #expect(outcome.tables.map(\.inserted) == [1, 1] && preview.tables[1].name.name.name == "g")
        #expect(outcome.tables[0].skipped == ["the check constraint c_code_check forbids it": 1])
        #expect(outcome.tables[1].skipped == [
            "another row has its value of bare": 1, "the check constraint g_name_check forbids it": 1, "another row under the same key, by bare": 1,
        ])
        #expect(try await bench.rows("g") == ["(1,\"Name 1\",\"name 1\")", "(4,Else,else)", "(9,\"NAME 2 \",\"name 2\")"])
    }

    /// What the table's own conditions are made of was bound when they were made. Somebody else's operator that fits better is not asked.
    @Test func nobodysOperatorShadowsThoseOfAConditionWhenItIsAskedAgain() async throws {
        let bench = try await Bench(
            """
            \(Self.path)
            CREATE FUNCTION label(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN trim2(t); END$$;
            CREATE FUNCTION trim2(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT btrim($1, ' ')$$;
            CREATE TABLE t (id int PRIMARY KEY, tags text[] CHECK (tags && '{a,b}' AND label(tags[1]) <> ''), UNIQUE (tags)); INSERT INTO t VALUES (1, '{a}'), (2, '{b}');
            CREATE UNIQUE INDEX few ON t (id) WHERE tags && '{a}';
            """)
        try await bench.backUp("t")
        try await bench.run(
            """
            DELETE FROM t; UPDATE rescue.t SET tags = '{c}' WHERE id = 2;
            CREATE FUNCTION public.trap(text[], text[]) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'it ran'; END$$;
            CREATE OPERATOR public.&& (LEFTARG = text[], RIGHTARG = text[], FUNCTION = public.trap)
            """)
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t")])
        #expect(outcome.tables[0].inserted == 1 && outcome.tables[0].skipped == ["the check constraint t_tags_check forbids it": 1])
        #expect(try await AuditTrail.undo("m", bench.connection, deadline: soon()).tables[0].deleted == 1)
    }

    /// Also while rows are laid beside the live ones, out of an archive on the host or streamed: each value of a domain is looked at there.
    @Test func domainsWhoseFunctionsNameNoSchemaAreLoaded() async throws {
        let bench = try await Bench(
            """
            \(Self.path)
            CREATE FUNCTION trim2(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT btrim($1, ' ')$$;
            CREATE FUNCTION good(t text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RETURN trim2(t) <> ''; END$$;
            CREATE DOMAIN code AS text CHECK (good(VALUE)); CREATE TABLE t (id int PRIMARY KEY, c code); CREATE TABLE k (c code);
            INSERT INTO t VALUES (1, 'one'), (2, 'two'); INSERT INTO k VALUES ('k'), ('k');
            """)
        let (path, contents) = try await bench.dump()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let names = try ["t", "k"].map { try QualifiedName(schema: "app", name: $0) }
        let rescue = try RescueTables(names, from: contents, into: try SQLIdentifier("rescue"))
        for table in rescue.tables {
            for statement in table.definitions { try await bench.connection.execute(statement, deadline: soon()) }
        }
        try await bench.cluster.must(rescue.loadingScript(from: contents, archive: "'\(path)'", database: "'\(bench.database)'"))
        try await bench.run("DELETE FROM t WHERE id = 2; UPDATE t SET c = 'changed'; TRUNCATE k")
        var rules = MergeRuleSet()
        rules.all.changed = .takeBackup
        let plan = try await rescue.plan(rules, bench.connection, deadline: soon())
        _ = try await bench.merge(plan, as: "loaded")
        #expect(try await bench.rows("t") == ["(1,one)", "(2,two)"])
        #expect(try await bench.rows("k") == ["(k)", "(k)"])
        _ = try await AuditTrail.undo("loaded", bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == ["(1,changed)"])
        let comparison = TableComparison(with: .archive(path: path, contents: contents), of: bench.connection, in: try SQLIdentifier("pg_temp"))
        let compared = try await comparison.compare(names.map { TableComparison.Names(backup: $0, live: $0) }, deadline: soon())
        let preview = try await MergePlan(compared.map(\.diff)).prepare(bench.connection, deadline: soon())
        #expect(preview.tables.map { $0.rows(.insert) } == [2, 1])
    }

    /// A key of such a domain is read out of what was written down, to be compared: by decisions, the proof and the undo too.
    @Test func aKeyOfADomainWhoseFunctionNamesNoSchemaIsMerged() async throws {
        let bench = try await Bench(
            """
            \(Self.path)
            CREATE TABLE allowed (c text); INSERT INTO allowed VALUES ('ch'), ('de'), ('fr');
            CREATE FUNCTION known(c text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RETURN EXISTS (SELECT FROM allowed AS a WHERE a.c = $1); END$$;
            CREATE DOMAIN country AS varchar(2) CHECK (known(VALUE)); CREATE TABLE t (c country PRIMARY KEY, n int, since country);
            INSERT INTO t VALUES ('ch', 1, 'ch'), ('de', 2, 'de'), ('fr', 3, 'fr')
            """)
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE c = 'ch'; UPDATE t SET n = 9, since = 'ch' WHERE c <> 'ch'")
        let before = try await bench.rows("t")
        let since = try SQLIdentifier("since")
        var newest = MergePolicy(.newest(since))
        newest.newestBy = since
        let (_, _, outcome) = try await bench.merge([try await bench.diff("t", policy: newest)])
        #expect(outcome.tables.map { [$0.inserted, $0.updated] } == [[1, 2]])
        #expect(try await AuditTrail.prove("m", bench.connection, deadline: soon()).isProven)
        _ = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == before)
    }

    /// Where the path names a schema before PostgreSQL's own, what lies in it fits as well as the built-in: ours are not looked for there.
    @Test func whatLiesBeforeTheBuiltInTakesNoPartInOurStatements() async throws {
        let bench = try await Bench(
            """
            DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO app, pg_catalog', current_database()); END$$;
            CREATE TABLE log (id int); CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE k (name text);
            INSERT INTO t VALUES (1, 'a'), (2, 'b'); INSERT INTO k VALUES ('a'), ('a')
            """)
        try await bench.backUp("t", "k")
        try await bench.run(
            """
            DELETE FROM t WHERE id = 1; UPDATE t SET name = 'x' WHERE id = 2; INSERT INTO t VALUES (3, 'c'); TRUNCATE k;
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO log SELECT 1; RETURN coalesce(NEW, OLD); END$$;
            CREATE TRIGGER note BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
            CREATE FUNCTION trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'it ran'; END$$;
            CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = trap);
            CREATE FUNCTION trap(pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'it ran'; END$$;
            CREATE DOMAIN text AS pg_catalog.text CHECK (trap(VALUE))
            """)
        var policy = MergePolicy(.takeBackup)
        (policy.deletesExtra, policy.mostDeletes) = (true, 1)
        _ = try await bench.merge([try await bench.diff("t", policy: policy), try await bench.diff("k")])
        #expect(try await bench.rows("t") == ["(1,a)", "(2,b)"])
        #expect(try await bench.rows("k") == ["(a)", "(a)"])
        _ = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == ["(2,x)", "(3,c)"])
        #expect(try await bench.value("SELECT count(*) FROM app.log") == "6")
    }

    /// What a table's conditions and the plan's words ask goes by the column's own collation, also of rows that were written down.
    @Test func wordsOfThePlanGoByTheColumnsOwnCollation() async throws {
        let bench = try await Bench(
            """
            CREATE COLLATION public.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE TABLE k (name text COLLATE public.any_case, low text COLLATE "de-x-icu"); INSERT INTO k VALUES ('ann', 'ÄPFEL'), ('Bob', 'ÄPFEL')
            """)
        try await bench.backUp("k")
        try await bench.run("TRUNCATE k")
        let wanted = MergePolicy(.keepLive, missing: .insert(where: "name = 'ANN' AND low < 'b' AND lower(low) = 'äpfel'"))
        let (_, preview, _) = try await bench.merge([try await bench.diff("k", policy: wanted)])
        #expect(try await bench.rows("k") == ["(ann,ÄPFEL)"], "\(preview.tables[0].counts)")
    }

    /// However often conditions are asked, what the transaction holds does not grow: the server has room for some thousand locks in all.
    @Test func askingManyTimesHoldsNoMoreLocks() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
        let locks = try await bench.connection.transaction(deadline: soon()) { connection in
            var found: [Int] = []
            for round in 1...60 {
                let rows = try await connection.executeBound(.update, "UPDATE app.t SET id = id WHERE id > 1", deadline: soon())
                #expect(rows == 1)
                guard round % 30 == 0 else { continue }
                found.append(try await connection.query("SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid()", deadline: soon()).only().integer("n"))
            }
            return found
        }
        #expect(locks[0] == locks[1], "\(locks)")
    }

    /// A name that nobody finds, in no session: whose function it is stands in the message, and no value of a row does.
    @Test func aFunctionThatFailsIsNamed() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, secret text); INSERT INTO t VALUES (1, 'hidden')")
        try await bench.backUp("t")
        try await bench.run(
            """
            DELETE FROM t;
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                EXECUTE 'INSERT INTO nowhere VALUES (' || quote_literal(NEW.secret) || ')'; RETURN NEW; END$$;
            CREATE TRIGGER note BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
            """)
        let plan = try MergePlan([try await bench.diff("t")]), agreed = try await plan.prepare(bench.connection, deadline: soon())
        let error = await #expect(throws: PostgresError.self) { try await plan.merge(as: "m", agreed: agreed.hash, bench.connection, deadline: soon()) }
        #expect(error?.message.hasSuffix("error 42P01: relation \"nowhere\" does not exist, in PL/pgSQL function app.note() line 2 at EXECUTE") == true, "\(error?.message ?? "")")
        #expect(error?.hints.contains { $0.contains("ALTER FUNCTION … SET search_path") } == true)
        #expect(try await bench.connection.query("SHOW search_path", deadline: soon()).rows[0].string("search_path") == "pg_catalog")
    }

    /// The plan's `where` means what it means in psql: the operators of a type that lies in another schema are found.
    @Test func whatThePlanWantsIsAskedAsInAnySession() async throws {
        let bench = try await Bench(
            """
            \(Self.path) CREATE EXTENSION citext SCHEMA public; CREATE TABLE t (id int PRIMARY KEY, email citext); CREATE TABLE k (email citext, what regclass);
            CREATE FUNCTION odd(n int) RETURNS boolean LANGUAGE sql AS $$SELECT n % 2 = 1$$;
            INSERT INTO t VALUES (1, 'Ann@X.org'), (2, 'Bob@X.org'), (3, 'Eve@X.org'); INSERT INTO k VALUES ('Ann@X.org', 'k'), ('Ann@X.org', 'k'), ('Bob@X.org', 'k');
            """)
        try await bench.backUp("t", "k")
        // It is not asked of rows that are there: of the third one it cannot be worked out.
        try await bench.run("DELETE FROM t WHERE id < 3; TRUNCATE k")
        let wanted = MergePolicy(.keepLive, missing: .insert(where: "email = 'ann@x.org' AND odd(1 / (3 - id))"))
        let copies = MergePolicy(.keepLive, missing: .insert(where: "email = 'ann@x.org'"))
        let (_, preview, _) = try await bench.merge([try await bench.diff("t", policy: wanted), try await bench.diff("k", policy: copies)])
        #expect(try await bench.rows("t") == ["(3,Eve@X.org)"])
        #expect(try await bench.rows("k") == ["(Ann@X.org,k)", "(Ann@X.org,k)"])
        #expect(preview.tables[0].counts.contains { $0.verdict == .keep && $0.reason == "outside of `where`" && $0.rows == 1 })
        let plain = MergePolicy(.keepLive, missing: .insert(where: "email = 'ANN@x.org'"))
        _ = try await bench.merge([try await bench.diff("t", policy: plain)], as: "plain")
        #expect(try await bench.rows("t") == ["(1,Ann@X.org)", "(3,Eve@X.org)"])
        // It sees the row and nothing else.
        for name in ["seq", "verdict", "d.kind"] {
            let odd = try MergePlan([try await bench.diff("t", policy: MergePolicy(.keepLive, missing: .insert(where: "\(name) IS NOT NULL")))])
            let error = await #expect(throws: PostgresError.self) { try await odd.prepare(bench.connection, deadline: soon()) }
            #expect(["42703", "42P01"].contains(error?.sqlState))
        }
    }
}
