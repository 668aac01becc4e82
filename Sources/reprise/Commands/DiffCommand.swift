import ArgumentParser
internal import BlockingIO
internal import Engine
internal import Foundation
internal import PostgreSQL
internal import Reconcile
internal import Reporting
internal import RunCore

struct DiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Compares tables of a backup or a database with those of a database, row by row.",
        discussion: help(
            """
            SOURCE and TARGET are one of:
            \(DataSide.grammar.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n"))

            Looks only: what has to be made for it is temporary and belongs to the session. Rows of an archive or of another server are \
            streamed against the target's, in memory that does not grow with the table; an archive needs pg_restore on this machine. \
            With --json each difference is one record a line. Exit status 3 where there are differences.
            """))
    @Argument(help: "What is compared: usually the backup.") var source: String
    @Argument(help: "What it is compared with: usually the live database.") var target: String
    @OptionGroup var tables: TableArguments
    @Option(help: "Without --json: of each kind of difference show at most so many.") var samples = 3
    @Option(help: "Give up after so many seconds.") var timeout = 7200
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let sides = try (DataSide(source), DataSide(target)), names = try tables.names()
        guard !names.isEmpty else { throw Refusal("no-tables", "no table is named", hints: ["--table NAME"]) }
        let opener = DataSides(options: options, application: "reprise/diff")
        let differ = try await opener.with(sides.0) { source in
            if sides.0 == sides.1 { return try await compare(source, with: source, isSame: true, names) }
            return try await opener.with(sides.1) { target in
                try await compare(source, with: target, isSame: false, names)
            }
        }
        try Ended.check(differ ? .verificationMismatch : .done)
    }

    /// - Returns: whether there are differences.
    private func compare(
        _ source: DataSides.Opened, with target: DataSides.Opened, isSame: Bool, _ names: [TableComparison.Names]
    ) async throws -> Bool {
        guard case .database(let live) = target else {
            throw Refusal("target-is-archive", "TARGET is an archive, and rows can only be looked at in a database", hints: ["name the database as TARGET"])
        }
        let deadline = Deadline(after: .seconds(timeout)), meter = ComparisonMeter(options)
        let backup: TableComparison.Backup =
            switch source {
            case .archive(let path, let contents): .archive(path: path, contents: contents)
            case .database(let connection): isSame ? .sameDatabase : .database(connection)
            }
        var rules = MergeRuleSet()
        rules.all = try tables.rules()
        let comparison = TableComparison(with: backup, of: live, in: try QualifiedName.temporary("x").schema)
        let compared = try await comparison.compare(names, by: rules, deadline: deadline) { meter.tell($0, $1) }
        meter.end()
        var differ = false
        for table in compared {
            let counts = try await table.diff.find(live, deadline: deadline)
            differ = differ || counts.total > 0
            try await show(table, counts, live, deadline)
        }
        return differ
    }

    private func show(
        _ table: TableComparison.Compared, _ counts: DiffCounts, _ live: PostgresConnection, _ deadline: Deadline
    ) async throws {
        let name = "\(table.diff.pair.live.name)"
        guard options.json else {
            Console.write(DiffText.summary(name, table, counts))
            try await table.diff.forEachRecord(most: samples, live, deadline: deadline) { Console.write(DiffText.line($0)) }
            return
        }
        try await table.diff.forEachRecord(live, deadline: deadline) { Console.write(DiffText.json($0, of: name)) }
    }
}

/// How differences are written.
enum DiffText {
    static func summary(_ name: String, _ table: TableComparison.Compared, _ counts: DiffCounts) -> String {
        let kinds = TableDiff.Kind.allCases.compactMap { kind in
            counts.rows[kind].map { "\(countText(Int64($0))) \(kind.words)" }
        }
        let rows = table.rows.map { "\(countText(Int64($0.backupRows))) rows against \(countText(Int64($0.liveRows))), " } ?? ""
        let drift = table.diff.pair.drift.map { "  note: \($0)\n" }.joined()
        return "\(oneLine(name)): \(kinds.isEmpty ? "no differences" : kinds.joined(separator: ", ")) (\(rows)\(table.way.rawValue))\n\(drift)"
    }

    static func line(_ record: DiffRecord) -> String {
        let place = record.key.map { " \($0)" } ?? ""
        let values = [record.backup.map { "source \($0)" }, record.live.map { "target \($0)" }].compactMap { $0 }
        let columns = record.columns.isEmpty ? "" : " in \(record.columns.joined(separator: ", "))"
        let copies = record.rows > 1 ? " \(record.rows) times" : ""
        return "  \(record.kind.words)\(copies)\(oneLine(place))\(oneLine(columns)): \(oneLine(values.joined(separator: "; ")))\n"
    }

    /// One line: values as the types' own output functions write them.
    static func json(_ record: DiffRecord, of table: String) -> String {
        let fields: [(String, String?)] = [
            ("table", quoted(table)), ("kind", quoted(record.kind.rawValue)), ("key", record.key), ("source", record.backup), ("target", record.live),
            ("columns", record.columns.isEmpty ? nil : "[\(record.columns.map(quoted).joined(separator: ","))]"),
            ("rows", record.rows == 1 ? nil : "\(record.rows)"),
        ]
        return "{\(fields.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }.joined(separator: ","))}\n"
    }

    private static func quoted(_ text: String) -> String {
        (try? EventCodec.json(text)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    }
}
