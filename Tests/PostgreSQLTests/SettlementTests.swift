import Foundation
import PostgreSQL
import PostgresCluster
import RunCore
import Testing

/// Queued jobs that are held and sessions that are revoked, in a real server.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct SettlementTests {
    private let wish = Settlement.Wish(held: ["jobs", "App.Queue"], emptied: ["sessions", "tokens", "password_resets"])

    private func database(_ cluster: Cluster) async throws -> String {
        let name = try await cluster.newDatabase("settle")
        try await cluster.psql(
            """
            CREATE SCHEMA "App";
            CREATE TABLE public.jobs (id bigserial PRIMARY KEY, payload text NOT NULL, twice integer GENERATED ALWAYS AS (length(payload) * 2) STORED);
            INSERT INTO public.jobs (payload) SELECT 'job ' || n FROM generate_series(1, 25) n;
            CREATE TABLE "App"."Queue" (id int, body jsonb);
            INSERT INTO "App"."Queue" VALUES (1, '{"a": 1}'), (2, NULL);
            CREATE TABLE public.sessions (id text PRIMARY KEY);
            INSERT INTO public.sessions SELECT 's' || n FROM generate_series(1, 40) n;
            CREATE TABLE public.tokens (id int, session text REFERENCES public.sessions);
            INSERT INTO public.tokens VALUES (1, 's1'), (2, 's2');
            CREATE TABLE public.members (id int);
            INSERT INTO public.members VALUES (1);
            CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a trigger ran''; END';
            CREATE TRIGGER no_truncate BEFORE TRUNCATE ON public.sessions EXECUTE FUNCTION public.refuse();
            """, database: name)
        return name
    }

    private func counts(_ database: String, _ cluster: Cluster) async throws -> String {
        try await cluster.psql(
            #"SELECT (SELECT count(*) FROM public.jobs), (SELECT count(*) FROM "App"."Queue"), (SELECT count(*) FROM public.sessions), (SELECT count(*) FROM public.tokens), (SELECT count(*) FROM public.members)"#,
            database: database).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test func jobsAreHeldRowByRowAndSessionsAreGone() async throws {
        let cluster = try await Cluster.server()
        let database = try await database(cluster)
        let connection = try await cluster.connect(database)
        let (settlement, isNew) = try await Settlement.carryOut(wish, mark: "r s", connection: connection, deadline: soon())
        #expect(isNew)
        #expect(settlement.absent == ["password_resets"])
        #expect(settlement.tables.map(\.rows) == [25, 2, 40, 2])
        #expect(settlement.tables.map { $0.heldAs?.description } == ["reprise_settled.jobs", #"reprise_settled."App_Queue""#, nil, nil])
        #expect(try await counts(database, cluster) == "0|0|0|0|1")
        #expect(try await cluster.psql("SELECT count(*), min(payload), max(twice) FROM reprise_settled.jobs", database: database).hasPrefix("25|job 1|12"))
        #expect(try await settlement.findings(Catalog(connection)).isEmpty)
        try await cluster.psql("CREATE TABLE reprise_settled.more ()", database: database)
        #expect(try await settlement.findings(Catalog(connection)).count == 1)
    }

    /// As after a kill at any moment: the mark in the database decides.
    @Test func theSameMarkFindsItDoneAndAnotherOneDoesItAnew() async throws {
        let cluster = try await Cluster.server()
        let database = try await database(cluster)
        let first = try await Settlement.carryOut(wish, mark: "r s", connection: cluster.connect(database), deadline: soon())
        try await cluster.psql("INSERT INTO public.jobs (payload) VALUES ('new')", database: database)
        let again = try await Settlement.carryOut(wish, mark: "r s", connection: cluster.connect(database), deadline: soon())
        #expect(!again.isNew && again.settlement == first.settlement)
        #expect(try await counts(database, cluster).hasPrefix("1|"), "what was queued since stays")
        // A later recovery, from a backup that holds what an earlier one made.
        let other = try await Settlement.carryOut(wish, mark: "q s", connection: cluster.connect(database), deadline: soon())
        #expect(other.isNew && other.settlement.schema.name == "reprise_settled_2")
        #expect(other.settlement.tables.first?.rows == 1)
        #expect(try await cluster.psql("SELECT count(*) FROM reprise_settled.jobs", database: database).hasPrefix("25"))
    }

    @Test func aSessionThatDiesBeforeItsCommitLeavesNothing() async throws {
        let cluster = try await Cluster.server()
        let database = try await database(cluster)
        let before = try await counts(database, cluster)
        // A foreign key from a table that is not named: the transaction fails after rows were copied aside.
        await #expect(throws: PostgresError.self) {
            try await Settlement.carryOut(
                .init(held: ["jobs"], emptied: ["sessions"]), mark: "r s", connection: cluster.connect(database), deadline: soon())
        }
        #expect(try await counts(database, cluster) == before)
        #expect(try await cluster.psql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'reprise%'", database: database).hasPrefix("0"))
    }

    @Test(arguments: [["jobs", "public.jobs"], ["a_view"]])
    func whatIsNoTableOrIsNamedTwiceIsRefused(names: [String]) async throws {
        let cluster = try await Cluster.server()
        let database = try await database(cluster)
        try await cluster.psql("CREATE VIEW public.a_view AS SELECT 1 AS one", database: database)
        await #expect(throws: SettlementRefused.self) {
            try await Settlement.carryOut(.init(held: names, emptied: []), mark: "r s", connection: cluster.connect(database), deadline: soon())
        }
    }

    @Test(arguments: [ContentHashJob.Digest.rows, .stream])
    func itIsProvenRowByRowAndNothingElseMayDiffer(digest: ContentHashJob.Digest) async throws {
        let cluster = try await Cluster.server()
        let database = try await database(cluster)
        let before = try await content(of: database, cluster, digest, expecting: nil)
        let (settlement, _) = try await Settlement.carryOut(wish, mark: "r s", connection: cluster.connect(database), deadline: soon())
        let expected = settlement.applied(to: before)
        #expect(ContentComparison(expected: before, actual: try await content(of: database, cluster, digest, expecting: before)).findings.count >= 4)
        #expect(ContentComparison(expected: expected, actual: try await content(of: database, cluster, digest, expecting: expected)).findings == [])
        for change in [
            "DELETE FROM reprise_settled.jobs WHERE id = 7", "UPDATE reprise_settled.jobs SET payload = 'jub 7' WHERE id = 7",
            "INSERT INTO public.sessions VALUES ('back')", "DELETE FROM public.members",
        ] {
            let copy = try await cluster.newDatabase("tampered")
            try await cluster.psql("DROP DATABASE \(copy)")
            try await cluster.psql("CREATE DATABASE \(copy) TEMPLATE \(database)")
            try await cluster.psql(change, database: copy)
            #expect(ContentComparison(expected: expected, actual: try await content(of: copy, cluster, digest, expecting: expected)).findings.count == 1, "\(change)")
        }
    }

    /// What the hashing program says of the database: of the tables in `expecting`, or of a dump of it where there is none.
    private func content(
        of database: String, _ cluster: Cluster, _ digest: ContentHashJob.Digest, expecting: ContentSummary?
    ) async throws -> ContentSummary {
        let job: ContentHashJob
        let folder = try temporaryFolder("settle")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        if let expecting {
            job = .database(
                expecting: expecting, environment: ["PGHOST": cluster.folder, "PGUSER": "postgres", "PGDATABASE": database],
                applicationName: "tests", digest: digest, psql: Cluster.programs + "/psql")
        } else {
            _ = try await cluster.must("\(Cluster.programs)/pg_dump -Fc -f \(folder)/dump -d \(database)")
            job = .archive(at: folder + "/dump", digest: digest, pgRestore: Cluster.programs + "/pg_restore")
        }
        let outcome = try await cluster.must("perl -", input: job.program)
        return try ContentSummary(jobOutput: outcome.output)
    }
}

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct StorageCatalogTests {
    @Test func aSoundServerHasReadableSharedCatalogsAndNoChecksumFailures() async throws {
        let catalog = Catalog(try await Cluster.server().connect())
        #expect(try await catalog.unreadableSharedCatalogs().isEmpty)
        #expect(try await catalog.checksumFailures().isEmpty)
    }
}

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct WithoutReplicationTests {
    /// What a drill expects of its restore is what pg_dump itself leaves out when it is told to.
    @Test func anArchiveWithoutReplicationIsWhatPgDumpWouldHaveWritten() async throws {
        let cluster = try await Cluster.server()
        let database = try await cluster.newDatabase("replicated")
        try await cluster.psql(
            """
            CREATE TABLE public.members (id int PRIMARY KEY);
            COMMENT ON TABLE public.members IS 'PUBLICATION no publication';
            CREATE PUBLICATION everything FOR TABLE public.members;
            CREATE PUBLICATION "of a schema" FOR TABLES IN SCHEMA public;
            COMMENT ON PUBLICATION everything IS 'p';
            CREATE SUBSCRIPTION incoming CONNECTION 'host=/nowhere' PUBLICATION x WITH (connect = false, slot_name = NONE, enabled = false);
            COMMENT ON SUBSCRIPTION incoming IS 's';
            """, database: database)
        let whole = try await contents(database, "", cluster)
        let without = try await contents(database, "--no-publications --no-subscriptions", cluster)
        try await cluster.psql("DROP SUBSCRIPTION incoming", database: database)
        #expect(whole.entries.count >= without.entries.count + 6)
        #expect(named(whole.withoutReplication) == named(without))
        #expect(StructureDiff(archive: whole.withoutReplication, database: without).findings == [])
    }

    private func named(_ contents: ArchiveTOC) -> [String] { contents.entries.map { "\($0.kind) \($0.tag)" }.sorted() }

    private func contents(_ database: String, _ options: String, _ cluster: Cluster) async throws -> ArchiveTOC {
        try ArchiveTOC(bytes: await cluster.must("pg_dump -Fc --schema-only \(options) -d \(database)").output)
    }
}
