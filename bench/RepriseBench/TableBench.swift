import BlockingIO
import Foundation
import PostgreSQL
import Reconcile
import RunCore

private let patience = Duration.seconds(3600)

/// Compares `public.TABLE` with its backup as the steps of a table restore do, and by their SQL alone.
private struct TableBench {
    let folder: String
    let port: Int
    let database: String
    let table: QualifiedName
    let connection: PostgresConnection

    /// - Parameter words: SOCKETFOLDER PORT DATABASE TABLE.
    init(_ words: [String]) async throws {
        guard let number = Int(words[1]) else { fail("\(words[1]) is no port") }
        (folder, port, database) = (words[0], number, words[2])
        table = try QualifiedName(schema: "public", name: words[3])
        connection = try await PostgresConnection.connect(
            to: PostgresTarget(.socketFolder(folder, port: port), database: database, user: "postgres"),
            session: PostgresSession(applicationName: "reprise-bench"), deadline: Deadline(after: .seconds(30)))
    }

    /// As the step table-restore: the table beside the live one, loaded, looked at.
    func load(_ archive: String) async throws -> RescueTables {
        let contents = try contents(of: archive), rescue = try RescueTables([table], from: contents, into: SQLIdentifier("rescue"))
        try await connection.execute("DROP SCHEMA IF EXISTS rescue CASCADE", deadline: Deadline(after: patience))
        try await connection.execute("CREATE SCHEMA rescue", deadline: Deadline(after: patience))
        for each in rescue.tables { try await connection.execute(each.definition, deadline: Deadline(after: patience)) }
        try shell(rescue.loadingScript(from: contents, archive: "'\(archive)'", database: "'\(database)'"))
        for each in rescue.tables { try await connection.execute("ANALYZE \(each.rescue.sql)", deadline: Deadline(after: patience)) }
        return rescue
    }

    private func contents(of archive: String) throws -> ArchiveTOC {
        let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: archive))
        return try ArchiveTOC(bytes: [UInt8](handle.readData(ofLength: 1 << 20)))
    }

    /// As `reprise merge`, up to where the differences are worked out.
    func stream(_ archive: String) async throws -> [TableDiff] {
        try await connection.execute("DROP SCHEMA IF EXISTS rescue CASCADE", deadline: Deadline(after: patience))
        try await connection.execute("CREATE SCHEMA rescue", deadline: Deadline(after: patience))
        var rules = MergeRuleSet()
        rules.all.changed = .takeBackup
        let comparison = TableComparison(with: .archive(path: archive, contents: try contents(of: archive)), of: connection, in: try SQLIdentifier("rescue"))
        let names = TableComparison.Names(backup: table, live: table)
        return try await comparison.compare([names], by: rules, deadline: Deadline(after: patience)).map(\.diff)
    }

    private func shell(_ script: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", script]
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["PGHOST": folder, "PGPORT": "\(port)", "PGUSER": "postgres", "PGOPTIONS": "-c synchronous_commit=off"]) { $1 }
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { fail("the archive could not be loaded: status \(process.terminationStatus)") }
    }

    /// As the step table-diff.
    func diff() async throws -> (plan: MergePlan, preview: MergePreview) {
        var policy = MergePolicy()
        policy.changed = .takeBackup
        let backup = try await TableShape.read(QualifiedName(schema: "rescue", name: table.name.name), connection, deadline: Deadline(after: patience))
        let live = try await TableShape.read(table, connection, deadline: Deadline(after: patience))
        let diff = TableDiff(try TablePair(backup: backup, live: live), policy: policy, into: try QualifiedName(schema: "rescue", name: "reprise diff 0"))
        let plan = try MergePlan([diff])
        return (plan, try await plan.prepare(connection, deadline: Deadline(after: patience)))
    }
}

private func time<Value>(_ body: () async throws -> Value) async throws -> (value: Value, seconds: Double) {
    let start = ContinuousClock.now
    let value = try await body()
    return (value, seconds(ContinuousClock.now - start))
}

/// Lays the archive's table beside the live one, for `measureTableDiff`.
func loadTable(_ words: [String]) async throws {
    let bench = try await TableBench(words)
    let taken = try await time { try await bench.load(words[4]) }
    say("seconds=\(taken.seconds)")
}

func measureTableDiff(_ words: [String]) async throws {
    let bench = try await TableBench(words)
    let taken = try await time { try await bench.diff() }
    let rows = taken.value.preview.tables[0]
    say("inserts=\(rows.rows(.insert)) updates=\(rows.rows(.update)) extra=\(rows.rows(TableDiff.Kind.extra)) seconds=\(taken.seconds)")
}

/// From the archive to the merge that is committed, with its audit: by the steps of a plan.
func measureTableMerge(_ words: [String]) async throws {
    let bench = try await TableBench(words)
    let load = try await time { _ = try await bench.load(words[4]) }
    try await merge(bench, load: load.seconds) { try await bench.diff() }
}

/// The same by `reprise merge`: the archive is streamed against the table, and only what may differ is laid beside it.
func measureStreamedMerge(_ words: [String]) async throws {
    let bench = try await TableBench(words)
    let streamed = try await time { try await bench.stream(words[4]) }
    let diffs = streamed.value
    try await merge(bench, load: streamed.seconds) {
        let plan = try MergePlan(diffs)
        return (plan, try await plan.prepare(bench.connection, deadline: Deadline(after: patience)))
    }
}

private func merge(_ bench: TableBench, load: Double, _ prepare: () async throws -> (plan: MergePlan, preview: MergePreview)) async throws {
    let diff = try await time(prepare)
    let merge = try await time {
        try await diff.value.plan.merge(as: "bench", agreed: diff.value.preview.hash, bench.connection, deadline: Deadline(after: patience))
    }
    let rows = merge.value.tables[0]
    let total = load + diff.seconds + merge.seconds
    say("inserts=\(rows.inserted) updates=\(rows.updated) load=\(load) diff=\(diff.seconds) merge=\(merge.seconds) seconds=\(total)")
}
