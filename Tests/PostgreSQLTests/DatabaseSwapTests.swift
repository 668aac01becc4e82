import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import RunCore
import Synchronization
import TestSupport
import Testing

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct DatabaseSwapTests {
    private let session = PostgresSession(applicationName: "reprise/tests.swap.1")

    /// What the tasks of a test share.
    private final class Shared: Sendable {
        let isOver = Atomic(false)
        let seen = Mutex<[String]>([])
        let counts = Mutex<Set<Int>>([])
    }

    private struct Pair {
        let swap: DatabaseSwap
        let catalog: Catalog
    }

    /// Two databases, each with a table `whoami` that says which one it is.
    private func pair(_ cluster: Cluster) async throws -> Pair {
        let production = try await cluster.newDatabase("prod")
        let scratch = try await cluster.newDatabase("scratch")
        for (name, word) in [(production, "damaged"), (scratch, "restored")] {
            try await cluster.psql("CREATE TABLE public.whoami AS SELECT '\(word)' AS word", database: name)
        }
        let catalog = Catalog(try await cluster.connect())
        let swap = try await DatabaseSwap.plan(production: production, scratch: scratch, retired: production + "_Old \"1\"", catalog: catalog)
        return Pair(swap: swap, catalog: catalog)
    }

    private func who(_ name: String, _ cluster: Cluster) async throws -> String {
        let connection = try await cluster.connect(name, name: "who")
        return try await connection.query("SELECT word FROM public.whoami", deadline: soon()).only().string("word")
    }

    @Test func theNamesAreExchangedOnceAndBackAgain() async throws {
        let cluster = try await Cluster.server()
        let pair = try await pair(cluster)
        let swap = pair.swap
        #expect(try await swap.state(pair.catalog) == .notSwapped)
        #expect(try await swap.swap(target: cluster.target, session: session, deadline: soon()) == 1)
        #expect(try await swap.state(pair.catalog) == .swapped)
        #expect(try await who(swap.productionName, cluster) == "restored")
        #expect(try await who(swap.retiredName, cluster) == "damaged")
        // Again, as after a crash that lost the outcome: nothing happens.
        #expect(try await swap.swap(target: cluster.target, session: session, deadline: soon()) == 0)
        #expect(try await who(swap.productionName, cluster) == "restored")
        let undo = try swap.undo
        #expect(try await undo.state(pair.catalog) == .notSwapped)
        _ = try await undo.swap(target: cluster.target, session: session, deadline: soon())
        #expect(try await who(swap.productionName, cluster) == "damaged")
        #expect(try await swap.state(pair.catalog) == .notSwapped)
    }

    @Test func clientsThatReconnectAtOnceSeeOneOfTheTwoAndNeverNeither() async throws {
        let cluster = try await Cluster.server()
        let pair = try await pair(cluster)
        let swap = pair.swap
        let shared = Shared()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    // A pool: reconnects at once, keeps sessions inside, loses some.
                    while !shared.isOver.load(ordering: .acquiring) {
                        guard let connection = try? await cluster.connect(swap.productionName, name: "pool") else { continue }
                        while let row = try? await connection.query("SELECT word FROM public.whoami", deadline: soon()).only() {
                            let word = try row.string("word")
                            shared.seen.withLock { $0.append(word) }
                            if shared.isOver.load(ordering: .acquiring) { break }
                        }
                    }
                }
            }
            group.addTask {
                // Every snapshot of the catalog has exactly one database of that name.
                let observer = try await cluster.connect()
                while !shared.isOver.load(ordering: .acquiring) {
                    let count: Int = try await observer.query(
                        "SELECT count(*) AS n FROM pg_database WHERE datname = $1", [.text(swap.productionName)], deadline: soon()
                    ).only().integer("n")
                    shared.counts.withLock { _ = $0.insert(count) }
                }
            }
            while shared.seen.withLock({ $0.isEmpty }) { await Task.yield() }
            let attempts = try await swap.swap(target: cluster.target, session: session, deadline: soon(120))
            #expect(attempts >= 1)
            while shared.seen.withLock({ $0.last != "restored" }) { await Task.yield() }
            shared.isOver.store(true, ordering: .releasing)
            try await group.waitForAll()
        }
        #expect(shared.counts.withLock { $0 } == [1])
        // Once restored, never damaged again, for each client in its order; for all together at most the sessions that were ending.
        #expect(shared.seen.withLock { Set($0) } == ["damaged", "restored"])
        #expect(try await swap.state(pair.catalog) == .swapped)
    }

    @Test func backendsKilledDuringTheSwapLeaveItWhollyDoneOrNotAtAll() async throws {
        let cluster = try await Cluster.server()
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        let pair = try await pair(cluster)
        var swap = pair.swap
        for round in 0..<6 {
            let shared = Shared()
            let pace = Int.random(in: 0...30, using: &random)
            let name = "reprise/tests.kill.\(round)"
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let killer = try await cluster.connect()
                    for _ in 0..<12 where !shared.isOver.load(ordering: .acquiring) {
                        _ = try await killer.query("SELECT pg_sleep($1)", [.text("0.0\(pace < 10 ? "0" : "")\(pace)")], deadline: soon())
                        _ = try await killer.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", [.text(name)], deadline: soon())
                    }
                }
                _ = try await swap.swap(target: cluster.target, session: PostgresSession(applicationName: name), deadline: soon(120))
                shared.isOver.store(true, ordering: .releasing)
                try await group.waitForAll()
            }
            #expect(try await swap.state(pair.catalog) == .swapped, "seed \(seed)")
            #expect(try await who(swap.productionName, cluster) == (round % 2 == 0 ? "restored" : "damaged"))
            swap = try swap.undo
        }
    }

    @Test func aSwapThatCannotBeIsRefusedBeforeAnythingChanges() async throws {
        let cluster = try await Cluster.server()
        let pair = try await pair(cluster)
        let swap = pair.swap
        try await cluster.psql("BEGIN; INSERT INTO public.whoami VALUES ('x'); PREPARE TRANSACTION '\(swap.productionName)'", database: swap.productionName)
        let blocked = await #expect(throws: DatabaseSwapFailure.self) {
            try await swap.swap(target: cluster.target, session: session, deadline: soon())
        }
        #expect(blocked?.code == "postgresql.swap-blocked")
        #expect(try await swap.state(pair.catalog) == .notSwapped)
        try await cluster.psql("ROLLBACK PREPARED '\(swap.productionName)'", database: swap.productionName)
        // Somebody renames the scratch database behind our back, and puts another in its place.
        try await cluster.psql("ALTER DATABASE \(swap.scratchName) RENAME TO \(swap.scratchName)_moved")
        try await cluster.psql("CREATE DATABASE \(swap.scratchName)")
        guard case .inconsistent(let evidence) = try await swap.state(pair.catalog) else { return #expect(Bool(false)) }
        #expect(evidence.contains("\(swap.scratchName)_moved"))
        let refused = await #expect(throws: DatabaseSwapFailure.self) {
            try await swap.swap(target: cluster.target, session: session, deadline: soon())
        }
        #expect(refused?.exitStatus == .waitingForPerson)
        #expect(try await who(swap.productionName, cluster) == "damaged")
        await #expect(throws: DatabaseSwapFailure.self) {
            try await DatabaseSwap.plan(production: "absent", scratch: swap.scratchName, retired: "x", catalog: pair.catalog)
        }
    }

    @Test func whatBelongsToTheDatabaseGoesAlong() async throws {
        let cluster = try await Cluster.server()
        let pair = try await pair(cluster)
        let swap = pair.swap
        try await cluster.psql(
            """
            ALTER DATABASE \(swap.productionName) OWNER TO "Swap Owner";
            REVOKE ALL ON DATABASE \(swap.productionName) FROM PUBLIC;
            GRANT CONNECT ON DATABASE \(swap.productionName) TO swap_reader;
            GRANT CREATE, TEMPORARY ON DATABASE \(swap.productionName) TO "swap=odd""name" WITH GRANT OPTION;
            ALTER DATABASE \(swap.productionName) CONNECTION LIMIT 55;
            COMMENT ON DATABASE \(swap.productionName) IS E'it''s \\\\ "here"';
            ALTER DATABASE \(swap.productionName) SET search_path TO "$user", 'Odd, "Schema"', public;
            ALTER DATABASE \(swap.productionName) SET "app.Custom" TO E'quote'' back\\\\slash, comma';
            ALTER DATABASE \(swap.productionName) SET DateStyle TO 'SQL, DMY';
            ALTER ROLE swap_reader IN DATABASE \(swap.productionName) SET statement_timeout TO '30s';
            ALTER DATABASE \(swap.scratchName) SET work_mem TO '99MB';
            ALTER ROLE "Swap Owner" IN DATABASE \(swap.scratchName) SET work_mem TO '98MB';
            GRANT CREATE ON DATABASE \(swap.scratchName) TO swap_reader;
            """)
        #expect(try await DatabaseProperties.differences(between: swap.damagedOID, and: swap.restoredOID, catalog: pair.catalog).count == 6)
        let statements = try await DatabaseProperties.copy(from: swap.damagedOID, to: swap.restoredOID, catalog: pair.catalog, deadline: soon())
        #expect(statements.count > 8)
        #expect(try await DatabaseProperties.differences(between: swap.damagedOID, and: swap.restoredOID, catalog: pair.catalog).isEmpty)
        #expect(try await DatabaseProperties.copy(from: swap.damagedOID, to: swap.restoredOID, catalog: pair.catalog, deadline: soon()).isEmpty)
        let (damaged, restored) = (try await pair.catalog.database(oid: swap.damagedOID), try await pair.catalog.database(oid: swap.restoredOID))
        #expect(damaged?.settings.sorted() == restored?.settings.sorted())
        #expect(damaged?.acl?.sorted() == restored?.acl?.sorted())
        #expect(restored?.owner == "Swap Owner" && restored?.connectionLimit == 55 && restored?.comment == damaged?.comment)
    }

    @Test func sequencesMovePastWhatWasHandedOut() async throws {
        let cluster = try await Cluster.server()
        let pair = try await pair(cluster)
        for (name, value) in [(pair.swap.productionName, 900), (pair.swap.scratchName, 700)] {
            try await cluster.psql(
                """
                CREATE SEQUENCE receipts; SELECT setval('receipts', \(value));
                CREATE SEQUENCE "Down" INCREMENT -2; SELECT setval('"Down"', \(-value));
                CREATE SEQUENCE ahead; SELECT setval('ahead', \(2000 - value));
                CREATE SEQUENCE small MAXVALUE 905; SELECT setval('small', \(value)); CREATE SEQUENCE unused;
                """, database: name)
        }
        let restored = try await cluster.connect(pair.swap.scratchName)
        let damaged = try await Catalog(try await cluster.connect(pair.swap.productionName)).sequences()
        let plan = SequenceAdvance.plan(damaged: damaged, restored: try await Catalog(restored).sequences(), margin: 100)
        #expect(Dictionary(uniqueKeysWithValues: plan.map { ($0.sequence.name.name, $0.to) }) == ["receipts": 1000, "Down": -1100, "small": 905])
        try await SequenceAdvance.apply(plan, connection: restored, deadline: soon())
        try await SequenceAdvance.apply(plan, connection: restored, deadline: soon())
        #expect(try await restored.query("SELECT nextval('public.receipts') AS n", deadline: soon()).only().integer("n") == 1001)
        // Applied again after numbers were handed out: never backwards.
        try await SequenceAdvance.apply(plan, connection: restored, deadline: soon())
        #expect(try await restored.query("SELECT nextval('public.receipts') AS n", deadline: soon()).only().integer("n") == 1002)
        #expect(SequenceAdvance.plan(damaged: damaged, restored: try await Catalog(restored).sequences(), margin: 100).isEmpty)
    }
}
