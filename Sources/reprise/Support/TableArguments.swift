import ArgumentParser
internal import BlockingIO
internal import Engine
internal import Foundation
internal import PostgreSQL
internal import Reconcile
internal import Reporting
internal import RunCore
internal import Steps

/// Which tables are compared, and by what.
struct TableArguments: ParsableArguments {
    @Option(
        name: .customLong("table"),
        help: ArgumentHelp("A table: NAME of schema public, or SCHEMA.NAME; SOURCE=TARGET where they have different names. May be repeated.", valueName: "name"))
    var tables: [String] = []

    @Option(help: "exact (without it): what is stored, byte by byte; semantic: what each type's own = says.") var compare: ComparisonMode?
    @Option(help: ArgumentHelp("Columns by which rows are told apart, apart by commas; default: the table's own key.", valueName: "columns")) var key: String?
    @Flag(help: "Where the columns differ, compare those that both have.") var commonColumns = false

    @Option(
        help: "Columns of type oid: check (without it) takes their values for numbers of large objects, whose contents are compared too; ignore for other numbers.")
    var largeObjects: MergeRules.LargeObjects?

    /// - Throws: where there are none.
    func names() throws -> [TableComparison.Names] {
        guard !tables.isEmpty else { throw Refusal("no-tables", "no table is named", hints: ["--table NAME"]) }
        return try tables.map { word in
            let names = try word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { try TableName.read(String($0)) }
            return TableComparison.Names(backup: names[0], live: names.last!)
        }
    }

    /// What is said here, and nothing else.
    func rules() throws -> MergeRules {
        var rules = MergeRules()
        rules.compare = compare
        rules.key = try key?.split(separator: ",").map { try SQLIdentifier($0.trimmingCharacters(in: .whitespaces)) }
        rules.drift = commonColumns ? .commonColumns : nil
        rules.largeObjects = largeObjects
        return rules
    }
}

extension ComparisonMode: ExpressibleByArgument {}
extension MergeRules.LargeObjects: ExpressibleByArgument {}

/// Says on a terminal how far a comparison is.
final class ComparisonMeter: Sendable {
    private let isShown: Bool
    private let started = ContinuousClock.now

    init(_ options: GlobalOptions) { isShown = !options.quiet && !options.json && Console.isInteractive }

    func tell(_ table: QualifiedName, _ progress: Narrowing.Progress) {
        guard isShown else { return }
        let seconds = max(started.duration(to: .now) / .seconds(1), 0.1)
        if progress.backupRows + progress.liveRows == 0, progress.objectBytes > 0 {
            let rate = Int64(Double(progress.objectBytes) / seconds)
            return Console.writeError("\r\(table): \(bytesText(Int64(progress.objectBytes))) of large objects read, \(bytesText(rate))/s\u{1B}[K")
        }
        let rate = Double(progress.backupRows + progress.liveRows) / seconds
        let rows = "\(countText(progress.backupRows)) rows against \(countText(progress.liveRows))"
        Console.writeError("\r\(table): \(rows), \(countText(Int64(rate))) rows/s, \(countText(progress.candidates)) to be looked at\u{1B}[K")
    }

    func end() { if isShown { Console.writeError("\r\u{1B}[K") } }
}
