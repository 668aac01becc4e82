import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct CatalogTests {
    @Test func theServerIsDescribed() async throws {
        let catalog = Catalog(try await Cluster.server().connect())
        let server = try await catalog.server()
        #expect(server.version / 10_000 == 15)
        #expect(server.systemIdentifier?.count ?? 0 > 10)
        #expect(!server.fsync && server.fullPageWrites && !server.isInRecovery && !server.hasDataChecksums)
        #expect(try await catalog.roles().contains { $0.name == "postgres" && $0.isSuperuser && $0.canLogIn })
        #expect(try await catalog.extensions().contains { $0.name == "amcheck" && $0.availableVersion != nil && $0.installedVersion == nil })
        #expect(try await catalog.tablespaces().contains { $0.name == "pg_default" && $0.bytes > 0 })
        #expect(try await catalog.standbys().isEmpty)
        #expect(try await !catalog.hasCronJobs())
        #expect(try await catalog.collationMismatches().isEmpty)
    }

    @Test func aDatabasesPropertiesComeBackAsStored() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("facts")
        try await cluster.psql(
            """
            ALTER DATABASE \(name) CONNECTION LIMIT 7;
            COMMENT ON DATABASE \(name) IS 'it''s';
            ALTER DATABASE \(name) SET search_path TO "$user", 'Odd, Schema', public;
            ALTER ROLE "Facts Role" IN DATABASE \(name) SET work_mem TO '8MB';
            GRANT CREATE ON DATABASE \(name) TO "Facts Role" WITH GRANT OPTION;
            """)
        let catalog = Catalog(try await cluster.connect())
        let facts = try #require(try await catalog.database(named: name))
        #expect(facts.connectionLimit == 7 && facts.comment == "it's" && facts.owner == "postgres" && facts.encoding == "UTF8")
        #expect(facts.collate == "C.UTF-8" && facts.localeProvider == "libc" && facts.allowsConnections && facts.tablespace == "pg_default")
        #expect(facts.settings == [#"search_path="$user", "Odd, Schema", public"#])
        #expect(facts.roleSettings == ["Facts Role": ["work_mem=8MB"]])
        #expect(facts.acl?.contains { $0.contains("Facts Role") && $0.contains("C*") } == true)
        #expect(try await catalog.database(oid: facts.oid) == facts)
        #expect(try await catalog.database(named: "absent") == nil)
        #expect(try await catalog.databases().contains { $0.oid == facts.oid })
    }

    @Test func whatHangsOnADatabaseIsListed() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("hanging")
        let catalog = Catalog(try await cluster.connect())
        let oid = try #require(try await catalog.database(named: name)).oid
        let session = try await cluster.connect(name, name: "reprise/run.step.1")
        // In this order: making a slot waits for every open transaction.
        try await cluster.psql("SELECT pg_create_logical_replication_slot('\(name)', 'test_decoding')", database: name)
        try await cluster.psql("CREATE TABLE t(); BEGIN; INSERT INTO t DEFAULT VALUES; PREPARE TRANSACTION '\(name)';", database: name)
        #expect(try await catalog.preparedTransactions(inDatabase: name) == [name])
        #expect(try await catalog.logicalSlots(inDatabase: name) == [name])
        #expect(try await catalog.subscriptions(inDatabase: oid) == [])
        let pid = await session.backendPID
        #expect(try await catalog.sessions(inDatabase: oid).map(\.pid) == [pid])
        #expect(try await catalog.terminateSessions(inDatabase: oid, applicationNamePrefix: "reprise/other") == 0)
        #expect(try await catalog.terminateSessions(inDatabase: oid, applicationNamePrefix: "reprise/run.") == 1)
        while try await !catalog.sessions(inDatabase: oid).isEmpty {}
        try await cluster.psql("SELECT pg_drop_replication_slot('\(name)')")
        try await cluster.psql("ROLLBACK PREPARED '\(name)'", database: name)
    }

    @Test func orphansAndSequencesBehindAreFoundWhateverTheCatalogClaims() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("integrity")
        try await cluster.psql(
            """
            CREATE TABLE parent(a int, b text, PRIMARY KEY (a, b));
            CREATE TABLE child(id serial PRIMARY KEY, a int, b text, "full" int, FOREIGN KEY (a, b) REFERENCES parent);
            CREATE TABLE "Counted Down"(id int GENERATED ALWAYS AS IDENTITY (INCREMENT -1 START -1));
            INSERT INTO parent VALUES (1, 'x');
            INSERT INTO child(a, b) VALUES (1, 'x'), (1, NULL), (NULL, NULL);
            INSERT INTO "Counted Down" DEFAULT VALUES;
            """, database: name)
        let catalog = Catalog(try await cluster.connect(name))
        #expect(try await catalog.orphans().isEmpty)
        #expect(try await catalog.sequencesBehindTheirKeys().isEmpty)
        #expect(try await catalog.sequences().map { "\($0.name)" } == [#"public."Counted Down_id_seq""#, "public.child_id_seq"])
        try await cluster.psql("SET session_replication_role = replica; INSERT INTO child(a, b) VALUES (2, 'x'); SELECT setval('child_id_seq', 2)", database: name)
        let orphans = try await catalog.orphans()
        #expect(orphans.map(\.rows) == [1])
        #expect(orphans.first?.key.columns == ["a", "b"])
        #expect(orphans.first?.key.isMarkedValid == true)
        let behind = try await catalog.sequencesBehindTheirKeys()
        #expect(behind.map(\.nextValue) == [3] && behind.map(\.key) == [4])
    }

    @Test func aDamagedIndexIsFoundWhereAmcheckIs() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("amcheck")
        let catalog = Catalog(try await cluster.connect(name))
        #expect(try await catalog.indexProblems() == nil)
        try await cluster.psql("CREATE EXTENSION amcheck; CREATE TABLE t(a int, b int); INSERT INTO t SELECT i, i FROM generate_series(1, 20000) i; CREATE INDEX good ON t(b); CREATE INDEX \"Bad One\" ON t(a); CHECKPOINT", database: name)
        #expect(try await catalog.indexProblems() == [])
        let file = try await cluster.psql("SELECT pg_relation_filepath('\"Bad One\"')", database: name)
        // The index of another table's keys in its place: every page is sound, and no row is found.
        try await cluster.psql("CREATE TABLE u AS SELECT i + 5 AS a FROM generate_series(1, 20000) i; CREATE INDEX other ON u(a); CHECKPOINT", database: name)
        let other = try await cluster.psql("SELECT pg_relation_filepath('other')", database: name)
        try await cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '\(name)'")
        try await cluster.must("cp -- \(cluster.folder)/data/\(other) \(cluster.folder)/data/\(file)")
        // A copy of the database is read from the files, not from the server's buffers.
        let copy = "\(name)_copy"
        try await cluster.must("psql -XqAt -c 'CREATE DATABASE \(copy) TEMPLATE \(name) STRATEGY file_copy'")
        let problems = try #require(try await Catalog(try await cluster.connect(copy)).indexProblems())
        #expect(problems.map(\.index.name.name) == ["Bad One"], "\(problems)")
    }
}
