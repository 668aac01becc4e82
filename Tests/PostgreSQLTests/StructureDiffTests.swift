import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct StructureDiffTests {
    private func contents(of database: String, _ cluster: Cluster) async throws -> ArchiveTOC {
        try ArchiveTOC(bytes: try await cluster.must("pg_dump -Fc --schema-only \(database)").output)
    }

    @Test func aRestoredDatabaseHasTheArchivesStructure() async throws {
        let cluster = try await Cluster.server()
        let archives = try await Planted.archives.value
        let restored = try await cluster.newDatabase("restored")
        // Bounds of partitions are written in the zone of the session that dumps.
        try await cluster.psql("ALTER DATABASE \(restored) SET TimeZone = 'America/St_Johns'")
        try await cluster.must("pg_restore -d \(restored) \(archives.path("custom.dump"))")
        let archive = try ArchiveTOC(bytes: archives.bytes("custom.dump"))
        let diff = StructureDiff(archive: archive, database: try await contents(of: restored, cluster))
        #expect(diff.isMatch, "\(diff.text)")
        #expect(diff.comparesDefinitions)
        #expect(diff.comparedObjects == 40)
        let plain = StructureDiff(archive: try ArchiveTOC(bytes: archives.bytes("plain.sql")), database: try await contents(of: restored, cluster))
        #expect(plain.isMatch, "\(plain.text)")
        #expect(!plain.comparesDefinitions)
        #expect(plain.text.contains("presence and owner only"))
    }

    static let changes: [(change: String, finding: String)] = [
        ("ALTER TABLE app.members DROP CONSTRAINT members_email_key", "CONSTRAINT app.members members_email_key is missing"),
        ("ALTER TABLE app.attendance DROP CONSTRAINT attendance_member_fkey", "FK CONSTRAINT app.attendance attendance_member_fkey is missing"),
        ("DROP INDEX app.members_born", "INDEX app.members_born is missing"),
        ("DROP TRIGGER touch ON app.members", "TRIGGER app.members touch is missing"),
        ("ALTER TABLE app.members ALTER name SET DEFAULT 'it''s;  \"x\"'", "TABLE app.members is defined differently"),
        ("ALTER SEQUENCE app.receipts INCREMENT 6", "SEQUENCE app.receipts is defined differently"),
        ("DROP POLICY own ON app.members", "POLICY app.members own is missing"),
        ("ALTER TABLE app.members OWNER TO postgres", "TABLE app.members belongs to postgres instead of planted_owner"),
        ("REVOKE UPDATE ON app.members FROM \"Mixed Reader\"", "ACL app.TABLE members is missing"),
        ("CREATE OR REPLACE FUNCTION app.atomic() RETURNS int LANGUAGE sql AS 'SELECT 2'", "FUNCTION app.atomic() is defined differently"),
        ("CREATE VIEW app.more AS SELECT 1 AS x", "VIEW app.more is not in the archive"),
        ("DROP VIEW app.view", "VIEW app.view is missing"),
        ("COMMENT ON TABLE app.members IS 'people'", "COMMENT app.TABLE members is defined differently"),
        ("ALTER TABLE app.members ALTER id SET GENERATED ALWAYS", "SEQUENCE app.members_id_seq is defined differently"),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE planted_owner IN SCHEMA app REVOKE SELECT ON TABLES FROM \"Mixed Reader\"", "DEFAULT ACL"),
    ]

    @Test func eachMissingOrChangedObjectIsNamed() async throws {
        let cluster = try await Cluster.server()
        let archive = try ArchiveTOC(bytes: try await Planted.archives.value.bytes("custom.dump"))
        let base = try await cluster.newDatabase("structure")
        try await cluster.must("pg_restore -d \(base) \(try await Planted.archives.value.path("custom.dump"))")
        for (change, finding) in Self.changes {
            let copy = "\(base)_x"
            try await cluster.psql("CREATE DATABASE \(copy) TEMPLATE \(base)")
            try await cluster.psql(change, database: copy)
            let diff = StructureDiff(archive: archive, database: try await contents(of: copy, cluster))
            #expect(diff.findings.contains { $0.text.hasPrefix(finding) }, "\(change): \(diff.text)")
            #expect(diff.findings.count <= 12, "\(change): \(diff.text)")
            #expect(throws: StructureMismatch.self) { try diff.requireMatch() }
            try await cluster.psql("DROP DATABASE \(copy)")
        }
    }
}
