import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import RunCore
import Synchronization
import Testing

@Suite(.enabled(if: Cluster.isAvailable, Comment(rawValue: Cluster.missing)))
struct ConnectionTests {
    @Test func aSessionIsPinnedWhateverTheServerSays() async throws {
        let connection = try await Cluster.server().connect()
        let row = try await connection.query(
            """
            SELECT current_setting('TimeZone') AS zone, current_setting('DateStyle') AS dates, current_setting('bytea_output') AS bytea,
                   current_setting('extra_float_digits') AS digits, current_setting('client_connection_check_interval') AS check,
                   current_setting('application_name') AS name, timestamptz '2026-01-01 00:00+05:30' AS moment
            """, deadline: soon()
        ).only()
        #expect(try row.string("zone") == "UTC")
        #expect(try row.string("dates") == "ISO, MDY")
        #expect(try row.string("bytea") == "hex")
        #expect(try row.integer("digits") == 3)
        #expect(try row.string("check") == "500ms")
        #expect(try row.string("name") == "tests")
        #expect(try row.string("moment") == "2025-12-31 18:30:00+00")
    }

    @Test func parametersAreNeverTextOfTheStatement() async throws {
        let connection = try await Cluster.server().connect()
        let hostile = "'; DROP TABLE members; -- \\ \" $1 \u{1F600}\n\t"
        let row = try await connection.query("SELECT $1::text AS a, $2::text AS b", [.text(hostile), .null], deadline: soon()).only()
        #expect(try row.string("a") == hostile)
        #expect(try row.optionalString("b") == nil)
        #expect(throws: PostgresUnexpectedResult.self) { try row.string("b") }
        await #expect(throws: InvalidSQLName.self) { try await connection.query("SELECT $1", ["a\0b"], deadline: soon()) }
        #expect(try await connection.query("SELECT 1 AS x", deadline: soon()).only().integer("x") == 1)
    }

    @Test func errorsCarryTheirStateAndNoRowContent() async throws {
        let connection = try await Cluster.server().connect()
        try await connection.execute("CREATE TEMP TABLE t(a text PRIMARY KEY)", deadline: soon())
        try await connection.execute("INSERT INTO t VALUES ('s3cret@example.org')", deadline: soon())
        let error = await #expect(throws: PostgresError.self) {
            try await connection.execute("INSERT INTO t VALUES ('s3cret@example.org')", deadline: soon())
        }
        #expect(error?.sqlState == "23505")
        #expect(error?.constraint == "t_pkey")
        #expect(error?.description.contains("s3cret") == false)
        #expect(error?.detail?.contains("s3cret") == true)
        #expect(error?.isTransient == false)
    }

    @Test func aPasswordIsPrintedNowhere() async throws {
        var target = try await Cluster.server().target
        target.password = PostgresPassword("canary-pass'word")
        var dumped = ""
        dump(target, to: &dumped)
        #expect(!"\(target)\(String(reflecting: target))\(dumped)".contains("canary"))
        let connection = try await Cluster.server().connect()
        let error = await #expect(throws: PostgresError.self) {
            try await connection.execute("DO $$BEGIN RAISE 'x PASSWORD ''canary-2'' y'; END$$", deadline: soon())
        }
        #expect(error?.description.contains("canary") == false)
    }

    @Test func aRefusedConnectionIsUnreachableAndSaysWhere() async throws {
        let target = PostgresTarget(.socketFolder("/nonexistent", port: 5432), database: "x")
        let error = await #expect(throws: PostgresConnectionError.self) {
            try await PostgresConnection.connect(to: target, session: PostgresSession(applicationName: "t"), deadline: soon())
        }
        #expect(error?.exitStatus == .unreachable)
        #expect(error?.message.contains("/nonexistent") == true)
    }

    @Test func aDatabaseNameIsNeverAConnectionString() async throws {
        let error = await #expect(throws: PostgresConnectionError.self) {
            try await Cluster.server().connect("host=/nonexistent dbname=postgres")
        }
        #expect(error?.message.contains("does not exist") == true)
    }

    @Test func aPassedDeadlineCancelsTheStatementAndKeepsTheSession() async throws {
        let connection = try await Cluster.server().connect()
        let pid = await connection.backendPID
        await #expect(throws: DeadlineExceeded.self) {
            try await connection.query("SELECT pg_sleep(60)", deadline: Deadline(after: .milliseconds(200)))
        }
        #expect(try await connection.query("SELECT pg_backend_pid() AS pid", deadline: soon()).only().integer("pid", as: Int32.self) == pid)
    }

    @Test func cancellingTheTaskReachesTheServer() async throws {
        let cluster = try await Cluster.server()
        let connection = try await cluster.connect(name: "cancel-me")
        let watcher = try await cluster.connect()
        let task = Task { try await connection.query("SELECT pg_sleep(600)", deadline: soon(600)) }
        func running() async throws -> Int {
            try await watcher.query(
                "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'cancel-me' AND state = 'active'", deadline: soon()
            ).only().integer("n")
        }
        while try await running() == 0 {}
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(try await running() == 0)
        for _ in 0..<50 { _ = try await connection.query("SELECT 1", deadline: soon()) }
    }

    @Test func aTransactionCommitsWholeOrNotAtAll() async throws {
        let connection = try await Cluster.server().connect()
        try await connection.execute("CREATE TEMP TABLE t(a int)", deadline: soon())
        struct Stop: Error {}
        await #expect(throws: Stop.self) {
            try await connection.transaction(deadline: soon()) { inner in
                try await inner.execute("INSERT INTO t VALUES (1)", deadline: soon())
                throw Stop()
            }
        }
        // A failed statement that nobody noticed: COMMIT says ROLLBACK, which must not count as done.
        await #expect(throws: PostgresError.self) {
            try await connection.transaction(deadline: soon()) { inner in
                try await inner.execute("INSERT INTO t VALUES (2)", deadline: soon())
                _ = try? await inner.execute("SELECT 1/0", deadline: soon())
            }
        }
        try await connection.transaction("ISOLATION LEVEL REPEATABLE READ", deadline: soon()) { inner in
            try await inner.execute("INSERT INTO t VALUES (3)", deadline: soon())
        }
        #expect(try await connection.query("SELECT a FROM t", deadline: soon()).rows.map { try $0.string("a") } == ["3"])
        #expect(await connection.isInTransaction == false)
    }

    @Test func aTerminatedBackendIsATransientLoss() async throws {
        let cluster = try await Cluster.server()
        let (connection, killer) = (try await cluster.connect(), try await cluster.connect())
        let pid = await connection.backendPID
        let task = Task { try await connection.query("SELECT pg_sleep(600)", deadline: soon(600)) }
        func isAsleep() async throws -> Bool {
            try await killer.query("SELECT query LIKE '%pg_sleep(600)%' AS x FROM pg_stat_activity WHERE pid = $1", [.integer(pid)], deadline: soon())
                .rows.first?.optionalBool("x") == true
        }
        while try await !isAsleep() {}
        _ = try await killer.query("SELECT pg_terminate_backend($1)", [.integer(pid)], deadline: soon())
        let error = await #expect(throws: (any Error).self) { try await task.value }
        #expect((error as? any RepriseError)?.isTransient == true)
        await #expect(throws: PostgresConnectionError.self) { try await connection.query("SELECT 1", deadline: soon()) }
        #expect(await connection.isOpen == false)
    }

    @Test func copyStreamsBothWaysWithoutLosingAByte() async throws {
        let connection = try await Cluster.server().connect()
        try await connection.execute("CREATE TEMP TABLE t(a int, b text)", deadline: soon())
        let rows = (0..<50_000).map { "\($0)\t\(String(repeating: "ü\\t", count: $0 % 40))\n" }
        let sent = Array(rows.joined().utf8)
        let offset = Mutex(0)
        let taken = try await connection.copyIn("COPY t FROM STDIN", deadline: soon()) {
            offset.withLock { start in
                guard start < sent.count else { return nil }
                defer { start += 77_777 }
                return Array(sent[start..<min(start + 77_777, sent.count)])
            }
        }
        #expect(taken == 50_000)
        let received = Mutex<[UInt8]>([])
        let returned = try await connection.copyOut("COPY (SELECT * FROM t ORDER BY a) TO STDOUT", deadline: soon()) { chunk in
            received.withLock { $0 += chunk }
        }
        #expect(returned == 50_000)
        #expect(received.withLock { $0 } == sent)
    }

    @Test func aCopyThatFailsLeavesNoRowAndAUsableSession() async throws {
        let connection = try await Cluster.server().connect()
        try await connection.execute("CREATE TEMP TABLE t(a int)", deadline: soon())
        struct Stop: Error {}
        let calls = Atomic(0)
        await #expect(throws: Stop.self) {
            try await connection.copyIn("COPY t FROM STDIN", deadline: soon()) {
                if calls.add(1, ordering: .relaxed).oldValue > 3 { throw Stop() }
                return Array("1\n".utf8)
            }
        }
        let error = await #expect(throws: PostgresError.self) {
            let once = Mutex(true)
            _ = try await connection.copyIn("COPY t FROM STDIN", deadline: soon()) {
                once.withLock { first in
                    defer { first = false }
                    return first ? Array("1\nx\n".utf8) : nil
                }
            }
        }
        #expect(error?.sqlState == "22P02")
        await #expect(throws: Stop.self) {
            try await connection.copyOut("COPY (SELECT generate_series(1, 5000000)) TO STDOUT", deadline: soon()) { _ in throw Stop() }
        }
        #expect(try await connection.query("SELECT count(*) AS n FROM t", deadline: soon()).only().integer("n") == 0)
    }

    @Test func noticesAreKept() async throws {
        let connection = try await Cluster.server().connect()
        try await connection.execute("DO $$BEGIN RAISE NOTICE 'look here'; END$$", deadline: soon())
        #expect(await connection.takeNotices().map(\.message) == ["look here"])
        #expect(await connection.takeNotices().isEmpty)
    }

    @Test func namesAndValuesSurviveQuoting() async throws {
        let cluster = try await Cluster.server()
        let connection = try await cluster.connect(try await cluster.newDatabase())
        let names = ["Mixed Case", "select", "a\"b", "it's", "naïve–日本", "semi;colon", "-dash", String(repeating: "x", count: 63), "$$", "\\", "a\"\u{308}b", "it'\u{301}s", "\\\u{308}"]
        for name in names {
            let table = try SQLIdentifier(name)
            try await connection.execute("CREATE TABLE public.\(table.sql) (x int)", deadline: soon())
            let stored = try await connection.query("SELECT count(*) AS n FROM pg_class WHERE relname = $1", [.text(name)], deadline: soon())
            #expect(try stored.only().integer("n") == 1, "\(name)")
            let literal = try SQLLiteral(name)
            for strings in ["on", "off"] {
                try await connection.execute("SET standard_conforming_strings = \(strings)", deadline: soon())
                #expect(try await connection.query("SELECT \(literal.sql) AS x", deadline: soon()).only().string("x") == name)
            }
            try await connection.execute("SET standard_conforming_strings = on", deadline: soon())
        }
        for bad in ["", "a\0b", String(repeating: "x", count: 64), String(repeating: "ü", count: 32)] {
            #expect(throws: InvalidSQLName.self) { try SQLIdentifier(bad) }
        }
        // A quote with a mark over it is a quote.
        #expect(PostgresParameter.array(["a\"\u{308}"]) == .text("{\"a\\\"\u{308}\"}"))
        #expect(PostgresParameter.array(["a\"b", "\\", "", "NULL", "a,b"]) == .text(#"{"a\"b","\\","","NULL","a,b"}"#))
    }

    @Test func theApplicationNameKeepsItsAttempt() {
        let run = RunID("20261123-021407-k3f9")!
        let step = StepID(String(repeating: "s", count: 60))!
        let name = PostgresSession.applicationName(run: run, step: step, attempt: 12)
        #expect(name.utf8.count == 63)
        #expect(name.hasPrefix("reprise/20261123-021407-k3f9.s"))
        #expect(name.hasSuffix(".12"))
    }
}
