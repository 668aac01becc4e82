import Foundation
import PostgreSQL
import PostgresCluster
import Testing

/// Tables are compared as one text first; only those whose texts differ are compared row by row.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct StreamDigestTests {
    private func summary(_ job: ContentHashJob, _ cluster: Cluster) async throws -> ContentSummary {
        let outcome = try await runJob(job, cluster)
        guard outcome.status == 0 else { throw ContentHashFailure(jobErrors: outcome.errors) }
        return try ContentSummary(jobOutput: outcome.output)
    }

    private func database(
        _ name: String, _ expected: ContentSummary, _ digest: ContentHashJob.Digest, zone: String = "UTC", tables: [QualifiedName]? = nil,
        _ cluster: Cluster
    ) async throws -> ContentSummary {
        var environment = cluster.environment
        environment["PGDATABASE"] = name
        return try await summary(
            .database(
                expecting: expected, environment: environment, applicationName: "reprise/tests", digest: digest, timeZone: zone, tables: tables),
            cluster)
    }

    /// Both passes, as a verification makes them. Returns the first comparison and the last.
    private func verify(
        _ name: String, _ archive: String, zone: String = "UTC", _ cluster: Cluster
    ) async throws -> (first: ContentComparison, last: ContentComparison) {
        let contents = try? ArchiveTOC(bytes: [UInt8](Data(contentsOf: URL(fileURLWithPath: archive))))
        let expected = try await summary(.archive(at: archive, contents: contents, digest: .stream), cluster)
        #expect(expected.tables.allSatisfy { $0.hash == nil })
        let actual = try await database(name, expected, .stream, zone: zone, cluster)
        let first = ContentComparison(expected: expected, actual: actual)
        guard !first.undecided.isEmpty else { return (first, first) }
        let rows = try await summary(.archive(at: archive, contents: contents, tables: first.undecided), cluster)
        let found = try await database(name, expected, .rows, tables: first.undecided, cluster)
        #expect(Set(found.tables.map(\.name)) == Set(first.undecided))
        #expect(found.extra.isEmpty && found.sequences.isEmpty)
        return (first, ContentComparison(expected: expected.adding(rowHashesOf: rows), actual: actual.adding(rowHashesOf: found)))
    }

    @Test(arguments: ["custom.dump", "folder.dump", "tar.dump", "plain.sql", "plain.sql.gz"])
    func onePassOverEachSideDecidesWhereTheTextsAreEqual(_ format: String) async throws {
        let cluster = try await Cluster.server()
        let proof = try await verify(Planted.shared.value, Planted.archives.value.path(format), cluster)
        #expect(proof.first.isMatch, "\(proof.first.text)")
        #expect(proof.first.tables.allSatisfy { $0.equalStream != nil })
    }

    @Test func aDatabaseRestoredInParallelIsDecidedInOnePass() async throws {
        let cluster = try await Cluster.server()
        let copy = try await cluster.newDatabase("streamed")
        let archive = try await Planted.archives.value.path("custom.dump")
        try await cluster.must("pg_restore -j 2 -d \(copy) \(archive)")
        let proof = try await verify(copy, archive, cluster)
        #expect(proof.first.isMatch, "\(proof.first.text)")
    }

    @Test func theZoneOfTheDumpMakesItsTextsEqualAndAnotherOneOnlyCostsASecondPass() async throws {
        let cluster = try await Cluster.server()
        let name = try await Planted.shared.value
        let archives = try await Archives(of: name, on: cluster, zone: "Asia/Tokyo", formats: ["custom.dump"])
        let guessed = try await verify(name, archives.path("custom.dump"), zone: "Asia/Tokyo", cluster)
        #expect(guessed.first.isMatch, "\(guessed.first.text)")
        let wrong = try await verify(name, archives.path("custom.dump"), zone: "Europe/London", cluster)
        #expect(wrong.first.undecided.map(\.name.name).contains("times"))
        #expect(!wrong.first.isMatch)
        #expect(wrong.last.isMatch, "\(wrong.last.text)")
    }

    @Test func anotherOrderOfRowsIsEqualAndAChangedByteIsNot() async throws {
        let cluster = try await Cluster.server()
        let name = try await Planted.make(cluster)
        let archives = try await Archives(of: name, on: cluster, formats: ["custom.dump"])
        try await cluster.psql("CREATE INDEX by_note ON app.times (note DESC); CLUSTER app.times USING by_note; DROP INDEX app.by_note", database: name)
        let moved = try await verify(name, archives.path("custom.dump"), cluster)
        #expect(moved.first.undecided.map(\.name.name) == ["times"])
        #expect(moved.last.isMatch, "\(moved.last.text)")
        try await cluster.psql("UPDATE app.times SET note = 'N77' WHERE id = 77", database: name)
        let changed = try await verify(name, archives.path("custom.dump"), cluster)
        #expect(changed.last.tables.filter { !$0.isEqual }.map(\.table.name.name) == ["times"])
        #expect(changed.last.findings.first?.contains("same count, different content") == true)
        try await cluster.psql("DELETE FROM app.times WHERE id = 77", database: name)
        let fewer = try await verify(name, archives.path("custom.dump"), cluster)
        #expect(fewer.first.undecided.isEmpty && !fewer.first.isMatch)
    }

    @Test func partitionsThroughTheirRootHaveNoTextOfTheirOwnAndAreComparedByRows() async throws {
        let cluster = try await Cluster.server()
        let name = try await Planted.shared.value
        let archives = try await Archives(of: name, on: cluster, zone: "Asia/Tokyo", options: "--load-via-partition-root", formats: ["custom.dump", "plain.sql"])
        for format in ["custom.dump", "plain.sql"] {
            let proof = try await verify(name, archives.path(format), zone: "Asia/Tokyo", cluster)
            #expect(proof.first.undecided.map(\.name.name) == ["attendance"])
            #expect(proof.last.isMatch, "\(format): \(proof.last.text)")
        }
    }

    @Test func theZoneOfADumpIsGuessedFromTheDatabasesSettings() async throws {
        let cluster = try await Cluster.server()
        let name = try await cluster.newDatabase("zoned")
        let connection = try await cluster.connect()
        let catalog = Catalog(connection)
        let server = try await catalog.likelyTimeZone(ofDumpsOf: nil)
        #expect(try await catalog.likelyTimeZone(ofDumpsOf: catalog.database(named: name)) == server)
        try await cluster.psql("ALTER DATABASE \(name) SET timezone = 'Pacific/Chatham'")
        #expect(try await catalog.likelyTimeZone(ofDumpsOf: catalog.database(named: name)) == "Pacific/Chatham")
        await connection.close()
    }
}
