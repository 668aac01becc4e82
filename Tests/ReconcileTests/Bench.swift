import BlockingIO
import Foundation
import PostgreSQL
import PostgresCluster
import Testing

@testable import Reconcile

/// One server for all tests here, and for each test a database of its own with a live schema `app` and its backup in `rescue`.
struct Bench {
    let database: String
    let connection: PostgresConnection
    let cluster: Cluster
    private static let shared = Task { try await Cluster() }

    /// - Parameters:
    ///   - schema: SQL that makes the live tables, in `app`. Their backups are made of them as a restore would.
    ///   - own: a server that the test does something to; nil for the one of all tests.
    init(_ schema: String, on own: Cluster? = nil) async throws {
        if let own { cluster = own } else { cluster = try await Self.shared.value }
        database = try await cluster.newDatabase("merge")
        try await cluster.psql("CREATE SCHEMA app; CREATE SCHEMA rescue; SET search_path TO app, public;\n\(schema)", database: database)
        connection = try await cluster.connect(database)
    }

    /// Another session on the same database.
    func connectAgain(as name: String = "another") async throws -> PostgresConnection {
        try await cluster.connect(database, name: name)
    }

    /// Until that session waits for what another one holds.
    func untilItWaits(_ connection: PostgresConnection) async throws {
        try await until("SELECT count(*) FROM pg_stat_activity WHERE pid = \(await connection.backendPID) AND wait_event_type = 'Lock'")
    }

    /// Until the number that this asks for is another one than 0.
    func until(_ sql: String) async throws {
        let deadline = soon()
        while try await value(sql) == "0" {
            try #require(!deadline.hasPassed, "it never came to: \(sql)")
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    func run(_ sql: String) async throws {
        try await cluster.psql("SET search_path TO app, public;\n\(sql)", database: database)
    }

    func value(_ sql: String) async throws -> String {
        try await cluster.psql("SET search_path TO app, public;\n\(sql)", database: database)
    }

    /// Copies the live tables as they are now: the state of the backup.
    func backUp(_ tables: String...) async throws {
        for table in tables { try await run("DROP TABLE IF EXISTS rescue.\(table); CREATE UNLOGGED TABLE rescue.\(table) AS TABLE app.\(table)") }
    }

    /// Dumps the database as it is now. Whoever asked removes it.
    ///
    /// - Parameters:
    ///   - format: pg_dump's letter: c, d or t.
    ///   - schema: nothing but this one.
    func dump(format: String = "c", timeZone: String = "UTC", only schema: String? = nil) async throws -> (path: String, contents: ArchiveTOC) {
        // Removed with the cluster.
        let path = "\(cluster.folder)/dump-\(UUID().uuidString)"
        try await cluster.must("pg_dump -F\(format) \(schema.map { "-n \($0)" } ?? "") -f '\(path)' '\(database)'", environment: ["PGTZ": timeZone])
        let contents = try Data(contentsOf: URL(fileURLWithPath: format == "d" ? path + "/toc.dat" : path))
        return (path, try ArchiveTOC(bytes: Array(contents)))
    }

    func diff(
        _ table: String, policy: MergePolicy = MergePolicy(), mode: ComparisonMode = .exact, key: [String]? = nil, toleratesDrift: Bool = false,
        isFollowed: Bool = false
    ) async throws -> TableDiff {
        let live = try await TableShape.read(QualifiedName(schema: "app", name: table), connection, deadline: soon())
        let backup = try await TableShape.read(QualifiedName(schema: "rescue", name: table), connection, deadline: soon())
        let pair = try TablePair(backup: backup, live: live, key: try key?.map(SQLIdentifier.init), toleratesDrift: toleratesDrift)
        return TableDiff(pair, policy: policy, mode: mode, isFollowed: isFollowed, into: try QualifiedName(schema: "rescue", name: "diff of \(table)"))
    }

    /// The table of contents of a backup of the live tables as they are now.
    func archive() async throws -> ArchiveTOC {
        let dump = try await dump(only: "app")
        try FileManager.default.removeItem(atPath: dump.path)
        return dump.contents
    }

    /// The differences of tables by rules, as a step or a command makes them.
    func diffs(_ tables: [String], _ rules: MergeRuleSet) async throws -> [TableDiff] {
        var diffs: [TableDiff] = []
        for table in tables {
            let live = try await TableShape.read(QualifiedName(schema: "app", name: table), connection, deadline: soon())
            let backup = try await TableShape.read(QualifiedName(schema: "rescue", name: table), connection, deadline: soon())
            diffs.append(try rules.diff(backup: backup, live: live, into: QualifiedName(schema: "rescue", name: "diff of \(table)")))
        }
        try rules.requireUsed(in: diffs)
        return diffs
    }

    /// Compares, agrees to what is found, and merges it.
    func merge(
        _ diffs: [TableDiff], as id: String = "m", disabling: [QualifiedName: [SQLIdentifier]] = [:]
    ) async throws -> (plan: MergePlan, preview: MergePreview, outcome: MergeOutcome) {
        try await merge(try MergePlan(diffs).disabling(disabling), as: id)
    }

    func merge(_ plan: MergePlan, as id: String = "m") async throws -> (plan: MergePlan, preview: MergePreview, outcome: MergeOutcome) {
        let preview = try await plan.prepare(connection, deadline: soon())
        let outcome = try await plan.merge(as: id, agreed: preview.hash, connection, deadline: soon())
        return (plan, preview, outcome)
    }

    /// A table's rows as text, in an order that does not depend on how they lie.
    func rows(_ table: String) async throws -> [String] {
        try await value("SELECT x::text FROM app.\(table) AS x ORDER BY x::text COLLATE \"C\"").split(separator: "\n").map(String.init)
    }
}

extension MergePolicy {
    init(_ changed: Changed, missing: Missing = .insert(where: nil)) {
        self.init()
        self.changed = changed
        self.missing = missing
    }
}
