import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Contents of large objects where rows are streamed: out of an archive, or from another server.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct StreamedObjectTests {
    /// Objects of no byte, of a few, of exactly one piece, of two pieces and a little, and one with a hole.
    private static let objects = """
        SELECT lo_from_bytea(900001, ''), lo_from_bytea(900002, 'small'), lo_from_bytea(900003, decode(repeat('0001fe5c', 65536), 'hex')),
               lo_from_bytea(900004, decode(repeat('ab0a0d00', 140000), 'hex')), lo_create(900005), lo_from_bytea(900006, 'sixth'), lo_from_bytea(900099, 'of no row');
        SELECT lo_put(900005, 700000, 'after a hole')
        """
    private static let rows = "INSERT INTO t SELECT g, 'row ' || g, 900000 + g FROM generate_series(1, 6) AS g; INSERT INTO t VALUES (7, 'none', NULL), (8, 'zero', 0), (9, 'nothing', 900077)"
    /// One byte in the middle of the second piece, a longer one, a shorter one.
    private static let damage = "SELECT lo_put(900004, 300000, 'x'), lo_put(900002, 5, 'er'); SELECT lo_unlink(900003), lo_from_bytea(900003, 'short')"
    private static let content = "SELECT string_agg(m.oid || ':' || coalesce(md5(lo_get(m.oid)), '-'), ' ' ORDER BY m.oid) FROM pg_largeobject_metadata AS m"

    /// Where the backup's rows come from.
    enum Way: CaseIterable { case custom, folder, tar, server, withoutKey }

    private func make(_ way: Way) async throws -> (bench: Bench, backup: TableComparison.Backup) {
        let bench = try await Bench("CREATE TABLE t (id int \(way == .withoutKey ? "" : "PRIMARY KEY"), name text, picture oid); \(Self.objects); \(Self.rows)")
        return (bench, try await backup(of: bench, way))
    }

    private func backup(of bench: Bench, _ way: Way) async throws -> TableComparison.Backup {
        if way == .server {
            let other = try await Bench("")
            try await bench.cluster.must("pg_dump -Fc '\(bench.database)' | pg_restore --clean --if-exists -d '\(other.database)'")
            return .database(other.connection)
        }
        let archive = try await bench.dump(format: way == .folder ? "d" : way == .tar ? "t" : "c")
        return .archive(path: archive.path, contents: archive.contents)
    }

    private func compare(
        _ bench: Bench, _ backup: TableComparison.Backup, _ changed: MergeRules.Changed = .keepLive, in schema: String = "rescue",
        _ change: (inout MergeRuleSet) -> Void = { _ in }
    ) async throws -> [TableComparison.Compared] {
        var rules = MergeRuleSet()
        rules.all.changed = changed
        change(&rules)
        var comparison = TableComparison(with: backup, of: bench.connection, in: try SQLIdentifier(schema))
        comparison.bringsContents = schema != "pg_temp"
        let name = try QualifiedName(schema: "app", name: "t")
        return try await comparison.compare([TableComparison.Names(backup: name, live: name)], by: rules, deadline: soon())
    }

    private func text(_ preview: MergePreview) -> String {
        preview.tables.last!.counts.map { "\($0.rows) \($0.kind): \($0.verdict)\($0.reason.map { " (\($0))" } ?? "")" }.joined(separator: ", ")
    }

    @Test(arguments: Way.allCases) func whatIsTheSameIsNoCandidate(way: Way) async throws {
        let (bench, backup) = try await make(way)
        let compared = try await compare(bench, backup, in: "pg_temp")[0]
        #expect(compared.rows?.candidates == 0 && compared.rows?.backupRows == 9)
        #expect(try await compared.diff.objects?.find(bench.connection, deadline: soon()).total == 0)
    }

    /// They are read before any row is, and that can take long.
    @Test(arguments: [Way.custom, .folder]) func itIsSaidHowMuchOfTheContentsWasRead(way: Way) async throws {
        let (bench, backup) = try await make(way)
        let comparison = TableComparison(with: backup, of: bench.connection, in: try SQLIdentifier("pg_temp")), told = Latest<Int>()
        let name = try QualifiedName(schema: "app", name: "t")
        _ = try await comparison.compare([TableComparison.Names(backup: name, live: name)], deadline: soon()) {
            if $1.objectBytes > 0 { told.value = $1.objectBytes }
        }
        let bytes = try await bench.value("SELECT sum(length(lo_get(oid))) FROM pg_largeobject_metadata")
        #expect(told.value.map { "\($0)" } == bytes)
    }

    @Test(arguments: [Way.custom, .folder, .tar, .server]) func contentsAloneMakeRowsCandidates(way: Way) async throws {
        let (bench, backup) = try await make(way), contents = try await bench.value(Self.content), rows = try await bench.rows("t")
        try await bench.run(Self.damage)
        let damaged = try await bench.value(Self.content)
        for rule in [MergeRules.Changed.keepLive, .fillNulls] {
            let compared = try await compare(bench, backup, rule)
            #expect(compared[0].rows?.candidates == 6, "three rows on either side")
            #expect(try await bench.value("SELECT count(DISTINCT number) FROM rescue.\"reprise object pieces\"") == "3")
            let preview = try await MergePlan(compared.map(\.diff)).prepare(bench.connection, deadline: soon())
            #expect(text(preview) == "3 changed: keep" && preview.tables[0].counts.isEmpty && !preview.text.contains("not compared"))
        }
        let plan = try MergePlan(try await compare(bench, backup, .takeBackup).map(\.diff))
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        #expect(text(preview) == "3 changed: update")
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.map(\.updated) == [0, 3])
        #expect(try await bench.value(Self.content) == contents)
        #expect(try await bench.rows("t") == rows)
        let proof = try await AuditTrail.prove("m", bench.connection, deadline: soon())
        #expect(proof.isProven && proof.tables.last?.written == 3)
        let undone = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        #expect(undone.tables.last?.updated == 3)
        #expect(try await bench.value(Self.content) == damaged)
    }

    @Test(arguments: [Way.custom, .server, .withoutKey]) func whatIsGoneComesBackWithItsRows(way: Way) async throws {
        let (bench, backup) = try await make(way), contents = try await bench.value(Self.content), rows = try await bench.rows("t")
        // The sixth row is still there, and its object is not; the one of no row is nobody's business.
        try await bench.run("SELECT lo_unlink(900000 + g) FROM generate_series(1, 6) AS g; DELETE FROM t WHERE id < 6")
        let before = try await bench.value(Self.content)
        let plan = try MergePlan(try await compare(bench, backup).map(\.diff))
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        #expect(text(preview) == "6 missing: insert")
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables.map(\.inserted) == [5, 6] && outcome.tables.allSatisfy(\.skipped.isEmpty))
        #expect(try await bench.value(Self.content) == contents)
        #expect(try await bench.rows("t") == rows)
        #expect(try await AuditTrail.prove("m", bench.connection, deadline: soon()).isProven)
        _ = try await AuditTrail.undo("m", bench.connection, deadline: soon())
        try await bench.run("SELECT lo_unlink(900006)")
        #expect(try await bench.value(Self.content) == before)
    }

    @Test(arguments: [Way.custom, .server]) func whatComesBackBelongsToWhomItBelonged(way: Way) async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, picture oid); \(Self.objects); INSERT INTO t SELECT g, 900000 + g FROM generate_series(1, 6) AS g")
        try await bench.run(
            """
            ALTER LARGE OBJECT 900002 OWNER TO planted_owner; GRANT SELECT ON LARGE OBJECT 900002 TO "Mixed Reader" WITH GRANT OPTION;
            GRANT ALL ON LARGE OBJECT 900003 TO PUBLIC; REVOKE UPDATE ON LARGE OBJECT 900002 FROM planted_owner
            """)
        let rights = "SELECT string_agg(oid || lomowner::regrole::text || coalesce(lomacl::text, ''), ' ' ORDER BY oid) FROM pg_largeobject_metadata"
        let before = try await bench.value(rights), backup = try await backup(of: bench, way)
        try await bench.run("SELECT lo_unlink(900000 + g) FROM generate_series(1, 6) AS g; DELETE FROM t")
        let plan = try MergePlan(try await compare(bench, backup).map(\.diff)), preview = try await plan.prepare(bench.connection, deadline: soon())
        _ = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(try await bench.value(rights) == before)
        #expect(before.contains("planted_owner{") && before.contains("Mixed Reader"))
    }

    @Test func aNumberThatSomethingElseHasByNowIsAnObstacle() async throws {
        let (bench, backup) = try await make(.custom)
        try await bench.run("DELETE FROM t WHERE id < 4; SELECT lo_unlink(900002), lo_from_bytea(900002, 'of somebody else')")
        let contents = try await bench.value(Self.content)
        let plan = try MergePlan(try await compare(bench, backup, .takeBackup).map(\.diff)), preview = try await plan.prepare(bench.connection, deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].skipped == ["its large object is another one by now, by column picture": 1] && outcome.tables[0].inserted == 2)
        #expect(try await bench.value(Self.content) == contents)
    }

    /// Nothing of it was laid aside, so nothing can be brought back.
    @Test func whatChangesBetweenTheComparisonAndThePreviewIsLeftAlone() async throws {
        let (bench, backup) = try await make(.custom)
        try await bench.run("UPDATE t SET name = 'x' WHERE id = 2")
        let plan = try MergePlan(try await compare(bench, backup, .takeBackup).map(\.diff))
        try await bench.run("SELECT lo_put(900002, 0, 'S')")
        let contents = try await bench.value(Self.content), preview = try await plan.prepare(bench.connection, deadline: soon())
        #expect(text(preview) == "1 changed: skip (changed while it was compared)")
        _ = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(try await bench.value(Self.content) == contents)
    }

    @Test func aBackupWithoutContentsSaysNothingOfThem() async throws {
        let (bench, _) = try await make(.custom), path = "\(bench.cluster.folder)/dump-\(UUID().uuidString)"
        try await bench.cluster.must("pg_dump -Fc --no-blobs -f '\(path)' '\(bench.database)'")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let contents = try ArchiveTOC(bytes: Array(Data(contentsOf: URL(fileURLWithPath: path))))
        let compared = try await compare(bench, .archive(path: path, contents: contents))
        #expect(compared[0].diff.objects == nil && compared[0].rows?.candidates == 0)
        let preview = try await MergePlan(compared.map(\.diff)).prepare(bench.connection, deadline: soon())
        #expect(preview.text.contains("what is in the large objects that 7 rows name is not compared"))
    }

    @Test func numbersThatAreNoneOfLargeObjectsAreNotLookedUp() async throws {
        let (bench, backup) = try await make(.custom)
        try await bench.run(Self.damage)
        let compared = try await compare(bench, backup) { $0.all.largeObjects = .ignore }
        #expect(compared[0].diff.objects == nil && compared[0].rows?.candidates == 0)
    }
}
