import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import TestSupport
import Testing

@testable import Reconcile

/// Streaming against joining in the database: whatever the data, its order and the room, both find the same differences.
@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct NarrowingTests {
    private static let columns = "id int, name text, n numeric, f float8, at timestamptz, ats timestamptz[], d date, j jsonb, b bytea, c public.citext, e text COLLATE \"C\""

    /// Rows that are many times the same, or nearly.
    private static func row(_ id: String, _ random: inout SeededGenerator) -> String {
        let zero = random.pick(["0", "-0"]), number = random.pick(["1", "1.0", "1.00", "NULL"])
        let text = random.pick(["'a'", "'a '", "''", "NULL", "E'tab\\there'", "E'line\\nbreak'", "E'\\\\\\\\.'", "E'\\\\N'", "'ä'", "'ä'", "repeat('x', 3000)"])
        let moment = random.pick(["'2026-03-29 01:30:00+00'", "'infinity'", "'1890-01-01 00:00:00+00'", "'0044-03-15 00:00:00+00 BC'", "NULL"])
        return "(\(id), \(text), \(number), \(zero), \(moment), ARRAY[\(moment)]::timestamptz[], '2026-01-01', '{\"a\": \(random.pick(["1", "1.0"]))}', "
            + "'\\x00ff', \(random.pick(["'A'", "'a'"])), \(text))"
    }

    private static func fill(_ table: String, _ rows: [String], _ bench: Bench) async throws {
        try await bench.run("TRUNCATE \(table)" + (rows.isEmpty ? "" : "; INSERT INTO \(table) VALUES \(rows.joined(separator: ", "))"))
    }

    private static func records(_ diff: TableDiff, _ bench: Bench) async throws -> [String] {
        _ = try await diff.find(bench.connection, deadline: soon())
        let records = Latest<[String]>()
        try await diff.forEachRecord(bench.connection, deadline: soon()) { record in
            // What is stored in another way but written the same is not seen in a stream.
            guard record.kind != .representation else { return }
            records.value = (records.value ?? []) + ["\(record.kind) \(record.rows) \(record.key ?? "") \(record.backup ?? "") \(record.live ?? "") \(record.columns)"]
        }
        return records.value ?? []
    }

    private func names() throws -> [TableComparison.Names] {
        let name = try QualifiedName(schema: "app", name: "t")
        return [TableComparison.Names(backup: name, live: name)]
    }

    private func streamed(
        _ backup: TableComparison.Backup, _ bench: Bench, _ mode: ComparisonMode, _ limits: Narrowing.Limits
    ) async throws -> (records: [String], compared: TableComparison.Compared) {
        var comparison = TableComparison(with: backup, of: bench.connection, in: try SQLIdentifier("pg_temp"))
        comparison.limits = limits
        var rules = MergeRuleSet()
        rules.all.compare = mode
        let compared = try await comparison.compare(names(), by: rules, deadline: soon())[0]
        return (try await Self.records(compared.diff, bench), compared)
    }

    @Test(arguments: ["PRIMARY KEY (id)", "UNIQUE (c, id)", "CHECK (true)"])
    func whatIsStreamedIsWhatIsJoined(key: String) async throws {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        let columns = key.hasPrefix("UNIQUE") ? Self.columns.replacing("id int", with: "id int NOT NULL").replacing("public.citext", with: "public.citext NOT NULL") : Self.columns
        let bench = try await Bench("CREATE EXTENSION citext SCHEMA public; CREATE TABLE t (\(columns), \(key))")
        for round in 0..<6 {
            let count = random.pick([0, 1, 40, 400])
            let backup = (0..<count).map { Self.row("\($0)", &random) }
            try await Self.fill("t", backup, bench)
            try await bench.backUp("t")
            let zone = random.pick(["UTC", "Asia/Tokyo", "America/St_Johns", "Europe/Zurich"]), format = random.pick(["c", "d", "t"])
            let archive = try await bench.dump(format: format, timeZone: zone)
            var live = backup.filter { _ in !random.chance(10) }
            for index in live.indices where random.chance(10) { live[index] = Self.row("\(live[index].dropFirst().prefix { $0 != "," })", &random) }
            live += (0..<random.below(20)).map { Self.row("\(10_000 + $0)", &random) }
            if random.chance(60) { live.shuffle(using: &random) }
            try await Self.fill("t", live, bench)
            var limits = Narrowing.Limits()
            if random.chance(70) { (limits.heldBytes, limits.outstanding) = (random.pick([0, 2000, 50_000]), random.pick([0, 30, 200])) }
            for mode in ComparisonMode.allCases {
                let joined = try await Self.records(bench.diff("t", mode: mode), bench)
                let at: Comment = "seed \(seed), round \(round), \(key), \(zone), format \(format), \(limits), \(mode)"
                let (found, compared) = try await streamed(.archive(path: archive.path, contents: archive.contents), bench, mode, limits)
                #expect(compared.way == .streamed && compared.rows?.backupRows == backup.count && compared.rows?.liveRows == live.count, at)
                #expect(found.sorted() == joined.sorted(), at)
            }
            try FileManager.default.removeItem(atPath: archive.path)
        }
    }

    @Test func anotherServersTableIsStreamedInTheOrderOfItsKeys() async throws {
        let bench = try await Bench("CREATE TABLE t (id text PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)")
        let other = try await Bench("CREATE TABLE t (n int, id text COLLATE \"C\" PRIMARY KEY)")
        try await bench.run("INSERT INTO t SELECT 'k' || g, g FROM generate_series(1, 3000) g; UPDATE t SET n = 0 WHERE id = 'k7'; DELETE FROM t WHERE id = 'k9'")
        try await other.run("INSERT INTO t SELECT g, 'k' || g FROM generate_series(3000, 2, -1) g")
        var comparison = TableComparison(with: .database(other.connection), of: bench.connection, in: try SQLIdentifier("pg_temp"))
        (comparison.limits.heldBytes, comparison.limits.outstanding) = (0, 100)
        var rules = MergeRuleSet()
        rules.all.drift = .commonColumns
        let compared = try await comparison.compare(names(), by: rules, deadline: soon())[0]
        #expect(compared.way == .ordered && compared.rows?.candidates == 4)
        let records = try await Self.records(compared.diff, bench)
        #expect(records.map { $0.prefix { $0 != " " } } == ["extra", "changed", "missing"])
        #expect(compared.diff.pair.drift.map(\.description) == ["column twice was added since the backup"])
    }

    /// Only what is a candidate is laid beside the live table; a merge of it is the same as any other.
    @Test func aMergeOfAnArchiveBringsBackWhatWasLost() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE, n int)")
        try await bench.run("INSERT INTO t SELECT g, 'e' || g, g FROM generate_series(1, 5000) g")
        let archive = try await bench.dump(), before = try await bench.rows("t")
        try await bench.run("DELETE FROM t WHERE id % 100 = 0; UPDATE t SET n = -1 WHERE id % 200 = 1; INSERT INTO t VALUES (9001, 'e100', 0), (9002, 'new', 0)")
        let live = try await bench.rows("t")
        var rules = MergeRuleSet()
        rules.all.changed = .takeBackup
        let comparison = TableComparison(with: .archive(path: archive.path, contents: archive.contents), of: bench.connection, in: try SQLIdentifier("rescue"))
        let compared = try await comparison.compare(names(), by: rules, deadline: soon())
        #expect(try await bench.value("SELECT count(*) FROM rescue.\"reprise backup 0\"") == "75")
        let plan = try MergePlan(compared.map(\.diff))
        let preview = try await plan.prepare(bench.connection, deadline: soon())
        let outcome = try await plan.merge(as: "m", agreed: preview.hash, bench.connection, deadline: soon())
        #expect(outcome.tables[0].inserted == 49 && outcome.tables[0].updated == 25)
        #expect(outcome.tables[0].skipped == ["another row has its value of t_email_key": 1])
        let expected = before.filter { !$0.hasPrefix("(100,") } + ["(9001,e100,0)", "(9002,new,0)"]
        #expect(try await bench.rows("t").sorted() == expected.sorted())
        _ = try await AuditTrail.undo("m", of: plan, bench.connection, deadline: soon())
        #expect(try await bench.rows("t") == live)
        try FileManager.default.removeItem(atPath: archive.path)
    }

    /// Its text is another, and so the stream finds two rows without a partner; the server knows them for one.
    @Test func aKeyThatIsWrittenInAnotherWayMeetsItsRow() async throws {
        let bench = try await Bench("CREATE TABLE t (id numeric PRIMARY KEY, n int)")
        try await bench.run("INSERT INTO t VALUES (1.0, 1), (2, 2)")
        let archive = try await bench.dump()
        try await bench.run("UPDATE t SET id = 1.00 WHERE n = 1; UPDATE t SET id = 2.000 WHERE n = 2")
        let (records, _) = try await streamed(.archive(path: archive.path, contents: archive.contents), bench, .semantic, .init())
        #expect(records.isEmpty, "the same numbers")
        let (exact, _) = try await streamed(.archive(path: archive.path, contents: archive.contents), bench, .exact, .init())
        #expect(exact.count == 2 && exact.allSatisfy { $0.hasPrefix("changed") })
    }

    @Test func aBackupWithoutThatKeyIsLaidBesideWhole() async throws {
        let bench = try await Bench("CREATE TABLE t (id int, n int)")
        try await bench.run("INSERT INTO t VALUES (1, 1), (2, 2)")
        let archive = try await bench.dump()
        try await bench.run("ALTER TABLE t ADD PRIMARY KEY (id); UPDATE t SET n = 3 WHERE id = 2")
        let (records, compared) = try await streamed(.archive(path: archive.path, contents: archive.contents), bench, .exact, .init())
        #expect(compared.way == .laidBeside && records.count == 1 && records[0].hasPrefix("changed"))
    }

    @Test func anArchiveThatIsCutOffIsNoBackup() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n text)")
        try await bench.run("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 20000) g")
        let archive = try await bench.dump(), bytes = try Data(contentsOf: URL(fileURLWithPath: archive.path))
        try bytes.prefix(bytes.count / 2).write(to: URL(fileURLWithPath: archive.path))
        let error = await #expect(throws: ReconcileRefused.self) {
            try await streamed(.archive(path: archive.path, contents: archive.contents), bench, .exact, .init())
        }
        #expect(error?.code == "reconcile.archive-unreadable")
        // The connection that the other side was read by goes on.
        #expect(try await bench.connection.query("SELECT 1 AS one", deadline: soon()).only().string("one") == "1")
        try FileManager.default.removeItem(atPath: archive.path)
    }

    /// Whichever side fails, it is its own reason that is told, and not that the other was given up for it.
    @Test func aSideThatCannotBeReadIsTheReasonThatIsTold() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n text)")
        try await bench.run("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 50000) g")
        let archive = try await bench.dump()
        try await bench.run("CREATE FUNCTION refuse() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION SQLSTATE ''RP001''; END'; ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (app.refuse()); GRANT ALL ON SCHEMA app, rescue TO swap_reader; GRANT ALL ON t TO swap_reader")
        try await bench.connection.execute("SET ROLE swap_reader", deadline: soon())
        let error = await #expect(throws: PostgresError.self) {
            try await streamed(.archive(path: archive.path, contents: archive.contents), bench, .exact, .init())
        }
        #expect(error?.sqlState == "42501", "a policy would hide rows: \(error?.message ?? "")")
        try FileManager.default.removeItem(atPath: archive.path)
    }

    /// Also where whoever takes them has had enough: the connection is good for more.
    @Test(arguments: [0, 1, 1999, 2000, 2001, 4000, 4001])
    func everyDifferenceIsHandedOnOnceAndInOrder(count: Int) async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY)")
        try await bench.run("INSERT INTO t SELECT g FROM generate_series(1, \(count)) g")
        try await bench.backUp("t")
        try await bench.run("DELETE FROM t")
        let diff = try await bench.diff("t"), keys = Latest<[String]>()
        #expect(try await diff.find(bench.connection, deadline: soon()).total == count)
        try await diff.forEachRecord(bench.connection, deadline: soon()) { keys.value = (keys.value ?? []) + [$0.key ?? ""] }
        #expect(keys.value ?? [] == (0..<count).map { "{\"id\" : \"\($0 + 1)\"}" })
        struct Enough: Error {}
        if count > 0 {
            await #expect(throws: Enough.self) { try await diff.forEachRecord(bench.connection, deadline: soon()) { _ in throw Enough() } }
        }
        #expect(try await bench.connection.query("SELECT 1 AS n", deadline: soon()).rows.count == 1)
    }

    @Test func aComparisonThatIsCancelledEndsAtOnce() async throws {
        let bench = try await Bench("CREATE TABLE t (id int PRIMARY KEY, n text)")
        try await bench.run("INSERT INTO t VALUES (1, 'a')")
        let archive = try await bench.dump()
        // The live side stands still behind a lock.
        let blocker = try await bench.connectAgain()
        try await blocker.execute("BEGIN", deadline: soon())
        try await blocker.execute("LOCK TABLE app.t IN ACCESS EXCLUSIVE MODE", deadline: soon())
        let task = Task { try await streamed(.archive(path: archive.path, contents: archive.contents), bench, .exact, .init()) }
        let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'app.t'::regclass AND NOT granted", deadline = soon()
        while try await bench.value(waits) == "0" {
            try #require(!deadline.hasPassed, "the comparison never came to the live side")
            try await Task.sleep(for: .milliseconds(20))
        }
        task.cancel()
        let started = ContinuousClock.now
        await #expect(throws: (any Error).self) { _ = try await task.value }
        #expect(started.duration(to: .now) < .seconds(20))
        await blocker.close()
        try FileManager.default.removeItem(atPath: archive.path)
    }
}
