import PostgresCluster
import Testing

@testable import Reconcile

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct PreviewTests {
    /// What a person is asked about: counts, what other rules would do, the first rows of each kind, long values cut off.
    @Test func aPersonSeesRowsAndWhatOtherRulesWouldDo() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, name text, phone text)")
        try await bench.run("INSERT INTO t SELECT g, 'n' || g, '+41 ' || g FROM generate_series(1, 6) g; INSERT INTO t VALUES (7, repeat('x', 500), E'two\\nlines')")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t WHERE id IN (1, 7); UPDATE t SET phone = NULL WHERE id = 2; UPDATE t SET name = 'other' WHERE id = 3; INSERT INTO t VALUES (8, 'new', NULL)")
        let preview = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(preview.tables[0].choices == .init(changed: 2, takeBackup: 2, fillNulls: 1))
        #expect(preview.text.contains("; of 2 changed rows take-backup would change 2, fill-nulls 1. Preview "))
        #expect(
            preview.samplesText.split(separator: "\n") == [
                "app.t: missing id=1: insert; name=n1; phone=+41 1",
                "app.t: changed id=2: keep; phone=NULL, in the backup +41 2",
                "app.t: changed id=3: keep; name=other, in the backup n3",
                "app.t: missing id=7: insert; name=\(String(repeating: "x", count: 40))…; phone=two lines",
                "app.t: not in the backup id=8: keep; name=new",
            ])
        #expect(preview.tables[0].samples.compactMap(\.backup).flatMap { $0 }.allSatisfy { ($0?.count ?? 0) <= 200 })
    }

    /// Which one a row names is compared; what is in it, nobody looks at, and a person should know.
    @Test func largeObjectsAreToldOfThatNobodyLookedInto() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, picture oid); INSERT INTO t VALUES (1, lo_create(0)), (2, lo_create(0)), (3, NULL), (4, 0)")
        try await bench.backUp("t")
        let preview = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(preview.text.hasPrefix("app.t: no differences; what is in the large objects that 2 rows name is not compared. Preview "))
        var policy = MergePolicy()
        policy.ignoresLargeObjects = true
        let numbers = try await MergePlan([try await bench.diff("t", policy: policy)]).prepare(bench.connection, deadline: soon())
        #expect(numbers.text.hasPrefix("app.t: no differences. Preview "))
    }

    @Test func whereNothingDiffersThereAreNoRowsToShow() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY)")
        try await bench.backUp("t")
        let preview = try await MergePlan([try await bench.diff("t")]).prepare(bench.connection, deadline: soon())
        #expect(preview.samplesText.isEmpty && preview.text.hasPrefix("app.t: no differences. Preview "))
    }
}
