import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Triggers that keep an undo from deleting what the merge inserted: then nothing is undone, and nobody is told that it was.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct SpoiledUndoTests {
    struct Spoiler: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let time: String
        let body: String
        let code: String
    }

    private static let spoilers = [
        Spoiler(testDescription: "marked instead", time: "BEFORE", body: "UPDATE app.t SET gone = 'now' WHERE a = OLD.a; RETURN NULL;", code: "reconcile.swallowed"),
        Spoiler(testDescription: "kept", time: "BEFORE", body: "RETURN NULL;", code: "reconcile.swallowed"),
        Spoiler(testDescription: "kept in part", time: "BEFORE", body: "IF OLD.a = 1 THEN RETURN NULL; END IF; RETURN OLD;", code: "reconcile.swallowed"),
    ]
    private static let entersAgain = Spoiler(
        testDescription: "entered again", time: "AFTER", body: "INSERT INTO app.t VALUES (OLD.*); RETURN NULL;", code: "reconcile.rewritten")

    private func merged(_ columns: String, _ spoiler: Spoiler) async throws -> Bench {
        let bench = try await Bench("CREATE TABLE t (\(columns)); INSERT INTO t VALUES (1), (2)")
        try await bench.backUp("t")
        try await bench.run("TRUNCATE t")
        _ = try await bench.merge([try await bench.diff("t")])
        try await bench.run(
            """
            CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \(spoiler.body) END$$;
            CREATE TRIGGER spoil \(spoiler.time) DELETE ON t FOR EACH ROW EXECUTE FUNCTION spoil()
            """)
        return bench
    }

    private func expectNothingUndone(_ bench: Bench, _ spoiler: Spoiler) async throws {
        let before = try await bench.rows("t")
        let refused = await #expect(throws: ReconcileRefused.self) { try await AuditTrail.undo("m", bench.connection, deadline: soon()) }
        #expect(refused?.code == spoiler.code && refused?.message.contains("nothing was undone") == true, "\(String(describing: refused))")
        #expect(refused?.hints.contains { $0.contains("spoil") } == true && refused?.hints.contains { $0.contains("disable-trigger") } == true)
        #expect(try await bench.rows("t") == before)
        #expect(try await AuditTrail.mark("m", bench.connection, deadline: soon()) != .undone)
        let table = try QualifiedName(schema: "app", name: "t"), trigger = try SQLIdentifier("spoil")
        let undone = try await AuditTrail.undo("m", disabling: [table: [trigger]], bench.connection, deadline: soon())
        #expect(undone.tables.first?.deleted == 2)
        #expect(try await bench.rows("t").isEmpty)
    }

    @Test(arguments: spoilers + [entersAgain]) func rowsWithAKey(spoiler: Spoiler) async throws {
        try await expectNothingUndone(merged("a int PRIMARY KEY, gone text", spoiler), spoiler)
    }

    @Test(arguments: spoilers) func rowsWithoutOne(spoiler: Spoiler) async throws {
        try await expectNothingUndone(merged("a int, gone text", spoiler), spoiler)
    }
}
