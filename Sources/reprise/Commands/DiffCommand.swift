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
            \(DataSide.help)

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
        let opener = DataSides(options: options, application: "reprise/diff")
        let differ = try await sides.0 == sides.1
            ? opener.with(sides.0) { both in
                guard case .database(let database) = both else { return try await compare(both, both, names) }
                return try await compare(.sameDatabase, database, names, isTurned: false)
            }
            : opener.with(sides.0, sides.1) { try await compare($0, $1, names) }
        try Ended.check(differ ? .verificationMismatch : .done)
    }

    private var deadline: Deadline { Deadline(after: .seconds(timeout)) }

    /// - Returns: whether there are differences.
    private func compare(_ source: DataSides.Opened, _ target: DataSides.Opened, _ names: [TableComparison.Names]) async throws -> Bool {
        switch (source, target) {
        case (.archive(let path, let contents), .database(let live)):
            return try await compare(.archive(path: path, contents: contents), live, names, isTurned: false)
        case (.database(let other), .database(let live)): return try await compare(.database(other), live, names, isTurned: false)
        case (.database(let live), .archive(let path, let contents)):
            let turned = names.map { TableComparison.Names(backup: $0.live, live: $0.backup) }
            return try await compare(.archive(path: path, contents: contents), live, turned, isTurned: true)
        case (.archive(let path, let contents), .archive(let other, let theirs)):
            return try await compare(.init(path: path, contents: contents), .init(path: other, contents: theirs), names)
        }
    }

    /// - Parameter isTurned: what is streamed is the target.
    private func compare(
        _ backup: TableComparison.Backup, _ live: PostgresConnection, _ names: [TableComparison.Names], isTurned: Bool
    ) async throws -> Bool {
        let deadline = deadline, meter = ComparisonMeter(options)
        var rules = MergeRuleSet()
        rules.all = try tables.rules()
        var comparison = TableComparison(with: backup, of: live, in: try QualifiedName.temporary("x").schema)
        comparison.bringsContents = false
        let compared = try await comparison.compare(names, by: rules, deadline: deadline) { meter.tell($0, $1) }
        meter.end()
        var differ = false
        for table in compared {
            let counts = try await table.diff.find(live, deadline: deadline), text = DiffText(table.diff.pair.live.name, isTurned: isTurned)
            differ = differ || counts.total > 0
            if !options.json { Console.write(text.summary(table.rows, table.way.rawValue, table.diff.pair.drift.map(\.description), counts)) }
            try await Console.lines { lines in
                let isJSON = options.json
                try await table.diff.forEachRecord(most: isJSON ? nil : samples, live, deadline: deadline) {
                    lines.write(isJSON ? text.json($0) : text.line($0))
                }
            }
        }
        if let objects = compared.lazy.compactMap(\.diff.objects).first {
            differ = try await compare(objects, live, isTurned, deadline) || differ
        }
        return differ
    }

    /// Contents of the large objects that rows of the backup name.
    private func compare(_ objects: RescuedObjects, _ live: PostgresConnection, _ isTurned: Bool, _ deadline: Deadline) async throws -> Bool {
        let counts = try await objects.find(live, deadline: deadline), text = DiffText(try .largeObjects(), isTurned: isTurned)
        guard counts.total > 0 else { return false }
        if !options.json { Console.write(text.summary(nil, Self.contents, [], counts)) }
        try await Console.lines { lines in
            let isJSON = options.json
            try await objects.forEachRecord(most: isJSON ? nil : samples, live, deadline: deadline) {
                lines.write(isJSON ? text.json($0) : text.line($0))
            }
        }
        return true
    }

    private func compare(_ source: ArchivePair.Archive, _ target: ArchivePair.Archive, _ names: [TableComparison.Names]) async throws -> Bool {
        let deadline = deadline, meter = ComparisonMeter(options), rules = try tables.rules()
        var differ = false, objects: [String: DiffRecord] = [:]
        for names in names {
            let text = DiffText(names.live, isTurned: false)
            var shown: [TableDiff.Kind: Int] = [:], lines = ""
            let found = try await ArchivePair(source, target, names, by: rules).compare(deadline: deadline, report: { meter.tell(names.live, $0) }) { record in
                if options.json { return Console.write(text.json(record)) }
                shown[record.kind, default: 0] += 1
                if shown[record.kind]! <= samples { lines += text.line(record) }
            }
            meter.end()
            differ = differ || found.counts.total + found.objects.count > 0
            // Rows of several tables may name one object.
            for object in found.objects { objects[object.key ?? ""] = object }
            if !options.json { Console.write(text.summary(found.rows, "both archives streamed, compared as they are written", [], found.counts) + lines) }
        }
        try show(objects.values.sorted { ($0.key?.count ?? 0, $0.key ?? "") < ($1.key?.count ?? 0, $1.key ?? "") })
        return differ
    }

    private func show(_ objects: [DiffRecord]) throws {
        let text = DiffText(try .largeObjects(), isTurned: false), byKind = Dictionary(grouping: objects, by: \.kind)
        guard !objects.isEmpty else { return }
        guard !options.json else { return objects.forEach { Console.write(text.json($0)) } }
        Console.write(text.summary(nil, Self.contents, [], DiffCounts(rows: byKind.mapValues(\.count))))
        for kind in TableDiff.Kind.allCases { byKind[kind]?.prefix(samples).forEach { Console.write(text.line($0)) } }
    }

    private static let contents = "contents of large objects that rows name"
}
