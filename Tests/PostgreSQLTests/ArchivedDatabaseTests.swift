import PostgresCluster
import Testing

@testable import PostgreSQL

/// What belongs to a database as such comes back from the archive, under another name, where no production is there to copy it from.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ArchivedDatabaseTests {
    /// A name that ends strings and identifiers.
    private let odd = #"Odd "db"; name's"#

    private func make(_ name: String, _ cluster: Cluster) async throws {
        let quoted = try SQLIdentifier(name).sql
        try await cluster.psql(
            """
            CREATE DATABASE \(quoted) TEMPLATE template0;
            ALTER DATABASE \(quoted) OWNER TO "Swap Owner";
            REVOKE CONNECT, TEMPORARY ON DATABASE \(quoted) FROM PUBLIC;
            GRANT CONNECT ON DATABASE \(quoted) TO swap_reader;
            GRANT CREATE, TEMPORARY ON DATABASE \(quoted) TO "swap=odd""name" WITH GRANT OPTION;
            ALTER DATABASE \(quoted) CONNECTION LIMIT 55;
            COMMENT ON DATABASE \(quoted) IS E'it''s \\\\ "here"; DROP DATABASE postgres; -- ';
            ALTER DATABASE \(quoted) SET search_path TO "$user", 'Odd, "Schema"', public;
            ALTER DATABASE \(quoted) SET "app.Custom" TO E'quote'' back\\\\slash; comma, \n line';
            ALTER DATABASE \(quoted) SET DateStyle TO 'SQL, DMY';
            ALTER DATABASE \(quoted) SET work_mem TO '17MB';
            ALTER ROLE swap_reader IN DATABASE \(quoted) SET statement_timeout TO '30s';
            ALTER ROLE "Swap Owner" IN DATABASE \(quoted) SET search_path TO '';
            """)
    }

    private func archive(_ name: String, _ cluster: Cluster) async throws -> ArchiveTOC {
        let place = "dbname='" + name.replacing("'", with: #"\'"#) + "'"
        return try ArchiveTOC(bytes: try await cluster.must(#"pg_dump --format=custom --dbname="$PLACE""#, environment: ["PLACE": place]).output)
    }

    @Test func whatIsADatabasesOwnComesBackUnderAnotherName() async throws {
        let cluster = try await Cluster.server()
        let catalog = Catalog(try await cluster.connect())
        try await make(odd, cluster)
        let archived = try #require(try await archive(odd, cluster).database)
        #expect(archived.leftOut == [])
        let scratch = try await cluster.newDatabase("scratch")
        // What was there before and is not in the archive goes; what Reprise noted stays.
        try await cluster.psql("ALTER DATABASE \(scratch) SET enable_seqscan TO off; ALTER ROLE planted_owner IN DATABASE \(scratch) SET work_mem TO '9MB'")
        try await DatabaseOrigin(backup: "db/it's.dump", revision: "abc").note(onDatabase: scratch, catalog.connection, deadline: soon())
        let source = try #require(try await catalog.database(named: odd)), target = try #require(try await catalog.database(named: scratch))
        for _ in 0..<2 {
            let restored = try await DatabaseProperties.restore(archived, to: target.oid, catalog: catalog, deadline: soon())
            #expect(restored.refused == [])
            #expect(restored.brought == ["owner Swap Owner", "grants", "4 settings", "2 settings of roles", "a limit of 55 connections"])
        }
        #expect(archived.comment == source.comment)
        #expect(try await DatabaseProperties.differences(between: source.oid, and: target.oid, catalog: catalog) == ["the comment is not carried over"])
        let after = try #require(try await catalog.database(oid: target.oid))
        #expect(after.origin == DatabaseOrigin(backup: "db/it's.dump", revision: "abc"))
        #expect(after.acl?.sorted() == source.acl?.sorted())
        #expect(after.settings.contains("app.Custom=quote' back\\slash; comma, \n line"))
        try await cluster.psql("DROP DATABASE \(try SQLIdentifier(odd).sql)")
    }

    @Test func aDatabaseWithNothingOfItsOwnKeepsTheUsualGrants() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("plain"), scratch = try await cluster.newDatabase("scratch")
        try await cluster.psql("REVOKE ALL ON DATABASE \(scratch) FROM PUBLIC")
        let archived = try #require(try await archive(name, cluster).database)
        let catalog = Catalog(try await cluster.connect())
        let target = try #require(try await catalog.database(named: scratch)), source = try #require(try await catalog.database(named: name))
        _ = try await DatabaseProperties.restore(archived, to: target.oid, catalog: catalog, deadline: soon())
        #expect(try await DatabaseProperties.differences(between: source.oid, and: target.oid, catalog: catalog) == [])
        #expect(archived.comment == nil && archived.connectionLimit == -1)
    }

    /// A newer server may not know a setting any more, and a tablespace is the server's: neither may cost the recovery.
    @Test func whatThisServerCannotTakeIsNamed() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("gone"), scratch = try await cluster.newDatabase("scratch")
        try await cluster.psql("ALTER DATABASE \(name) SET search_path TO public; ALTER DATABASE \(name) IS_TEMPLATE true")
        var archived = try #require(try await archive(name, cluster).database)
        try await cluster.psql("ALTER DATABASE \(name) IS_TEMPLATE false")
        archived.read(
            """
            ALTER DATABASE x SET no_such_setting TO 'hunter2';
            ALTER DATABASE x SET work_mem TO 'hunter2';
            ALTER ROLE nobody_here IN DATABASE x SET work_mem TO '5MB';
            DROP DATABASE postgres;
            COMMENT ON DATABASE x IS E'hunter\\n2';
            """)
        #expect(archived.leftOut == ["ALTER DATABASE \(name) IS_TEMPLATE = true", "DROP DATABASE postgres", "COMMENT ON DATABASE x IS E"])
        let catalog = Catalog(try await cluster.connect())
        let target = try #require(try await catalog.database(named: scratch))
        let restored = try await DatabaseProperties.restore(archived, to: target.oid, catalog: catalog, deadline: soon())
        #expect(restored.refused == ["no_such_setting (SQLSTATE 42704)", "work_mem (SQLSTATE 22023)", "work_mem of role nobody_here (SQLSTATE 42704)"])
        #expect(try await catalog.database(oid: target.oid)?.settings == ["search_path=public"])
    }

    @Test func anArchiveWithoutCreateSaysNothingOfItsDatabase() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("sql")
        let plain = try await cluster.must("pg_dump --dbname=\(name)").text
        #expect(try ArchiveTOC(bytes: Array(plain.utf8)).database == nil)
    }

    /// A swap carries production's settings over, and not its word about the backup that it came from.
    @Test func whereADatabaseIsFromFollowsItAndNothingElse() async throws {
        let cluster = try await Cluster.server()
        let catalog = Catalog(try await cluster.connect())
        let production = try await cluster.newDatabase("prod"), scratch = try await cluster.newDatabase("scratch")
        let old = DatabaseOrigin(backup: "old", time: "2026-11-01T00:00:00Z", sha256: "aa", revision: "r1"), new = DatabaseOrigin(backup: "new")
        try await old.note(onDatabase: production, catalog.connection, deadline: soon())
        try await old.note(onDatabase: scratch, catalog.connection, deadline: soon())
        try await new.note(onDatabase: scratch, catalog.connection, deadline: soon())
        try await cluster.psql("ALTER DATABASE \(production) SET work_mem TO '17MB'")
        let from = try #require(try await catalog.database(named: production)), to = try #require(try await catalog.database(named: scratch))
        #expect(try await DatabaseProperties.copy(from: from.oid, to: to.oid, catalog: catalog, deadline: soon()).count == 1)
        try await cluster.psql("ALTER DATABASE \(production) RENAME TO \(production)_old; ALTER DATABASE \(scratch) RENAME TO \(production)")
        let named = try #require(try await catalog.database(named: production))
        #expect(named.oid == to.oid && named.origin == new)
        #expect(try await catalog.database(oid: from.oid)?.origin == old)
        #expect(try await cluster.psql("SHOW reprise.backup", database: production) == "new")
    }
}
