import BlockingIO
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// Tables beside the live ones, where all tables are published.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct PublicationsTests {
    /// A slot is made only when all transactions of its server have ended, and other tests hold theirs open.
    private static let own = Task { try await Cluster() }

    private func refusal(_ bench: Bench) async -> ReconcileRefused? {
        do { try await Publications.requireUnread(bench.connection, deadline: soon()) } catch { return error as? ReconcileRefused }
        return nil
    }

    @Test func aPublicationOfAllTablesThatSomebodyReadsIsRefused() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY)", on: Self.own.value), other = try await Bench("CREATE TABLE t (id int PRIMARY KEY)", on: Self.own.value)
        let slot = bench.database, decoding = "\(slot)_test"
        try await bench.run("SELECT pg_create_logical_replication_slot('\(slot)', 'pgoutput')")
        try await other.run("CREATE PUBLICATION everything FOR ALL TABLES")
        try await bench.run("CREATE PUBLICATION named FOR TABLE t; CREATE PUBLICATION whole FOR TABLES IN SCHEMA app")
        #expect(await refusal(bench) == nil, "tables that are named")
        #expect(await refusal(other) == nil, "a slot of another database")
        try await bench.run("CREATE PUBLICATION everything FOR ALL TABLES")
        let refused = try #require(await refusal(bench))
        #expect(refused.code == "reconcile.published" && refused.message.contains("publication everything of \(bench.database)"))
        #expect(refused.message.contains("slot \(slot) sends"))
        try await bench.run("SELECT pg_drop_replication_slot('\(slot)'); SELECT pg_create_logical_replication_slot('\(decoding)', 'test_decoding')")
        #expect(await refusal(bench) == nil, "readers that ask for no publication")
        try await bench.run("SELECT pg_drop_replication_slot('\(decoding)')")
    }

    /// Why it is refused: a subscriber stops at a table that it does not have, and nothing after that arrives.
    @Test func subscribersStopAtTablesThatTheyDoNotHave() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION everything FOR ALL TABLES", on: Self.own.value), slot = bench.database
        let subscriber = try await Bench("CREATE TABLE t (id int PRIMARY KEY)", on: Self.own.value)
        try await bench.run("SELECT pg_create_logical_replication_slot('\(slot)', 'pgoutput')")
        try await subscriber.run(
            """
            CREATE SUBSCRIPTION \(slot) CONNECTION 'host=\(bench.cluster.folder) port=\(bench.cluster.port) user=postgres dbname=\(bench.database)'
                PUBLICATION everything WITH (create_slot = false, copy_data = false, slot_name = '\(slot)')
            """)
        try await bench.run("INSERT INTO t VALUES (1)")
        try await wait(until: "t", "SELECT EXISTS (SELECT FROM t WHERE id = 1)", subscriber)
        try await bench.run("CREATE TABLE rescue.t (id int); INSERT INTO rescue.t VALUES (1)")
        try await bench.run("DROP TABLE rescue.t; INSERT INTO t VALUES (2)")
        try await wait(until: "t", "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats WHERE subname = '\(slot)'", subscriber)
        #expect(try await subscriber.value("SELECT count(*) FROM t") == "1")
        try await subscriber.run("ALTER SUBSCRIPTION \(slot) DISABLE; ALTER SUBSCRIPTION \(slot) SET (slot_name = NONE); DROP SUBSCRIPTION \(slot)")
        try await wait(until: "t", "SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = '\(slot)' AND NOT active", bench)
        try await bench.run("SELECT pg_drop_replication_slot('\(slot)')")
    }

    private func wait(until wanted: String, _ sql: String, _ bench: Bench) async throws {
        let end = soon()
        while try await bench.value(sql) != wanted {
            try #require(!end.hasPassed, "\(sql)")
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
