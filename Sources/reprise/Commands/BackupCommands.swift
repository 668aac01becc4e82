import ArgumentParser
internal import Engine
internal import Foundation
internal import ObjectStorage
internal import PlanModel
internal import PlanYAML
internal import PostgreSQL
internal import Reporting
internal import RunCore
internal import Steps

struct BackupGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Looks at the backups in a store of the inventory.", discussion: help(),
        subcommands: [BackupList.self, BackupShow.self, BackupVerify.self])
}

struct StoreOptions: ParsableArguments {
    @Option(help: "The store; default: the only one of the inventory.") var store: String?
    @Option(help: "database or files.") var kind: Kind = .database

    enum Kind: String, ExpressibleByArgument, CaseIterable { case database, files }
}

struct BackupList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "The newest backups with age and size, and with --counts the rows of each table.",
        discussion: help(
            "A size far below that of the others is marked: such a backup is rarely whole. With --counts each backup is fetched to this machine and decoded to its end, which needs pg_restore and perl here."))
    @OptionGroup var place: StoreOptions
    @Option(help: "At most so many; default: 10, and 3 with --counts.") var limit: Int?
    @Flag(help: "Count the rows of every table in each, to see in which one a table still had its rows.") var counts = false
    @OptionGroup var options: GlobalOptions

    private struct Entry: Encodable {
        let key: String
        let time: String
        let ageSeconds: Double
        let sizeBytes: Int64
        let etag: String
        let remark: String?
        /// With `--counts`.
        var counts: BackupCounts?
    }

    func run() async throws {
        let opened = try BackupStore(place, options)
        let backups = try await opened.naming.backups(in: opened.store)
        let usual = backups.map(\.object.sizeBytes).sorted().dropFirst(backups.count / 2).first ?? 0
        var entries = backups.prefix(max(1, limit ?? (counts ? 3 : 10))).map { backup in
            Entry(
                key: backup.object.key, time: timestamp(Int64(backup.time.timeIntervalSince1970 * 1000)),
                ageSeconds: Date().timeIntervalSince(backup.time), sizeBytes: backup.object.sizeBytes, etag: backup.object.etag,
                remark: backup.object.sizeBytes * 2 < usual ? "less than half the usual size" : nil)
        }
        if counts {
            for index in entries.indices { entries[index].counts = try await BackupCounts(of: entries[index].key, opened, options) }
        }
        let rows = entries.map { entry in
            let remarks = [entry.remark, entry.counts?.unusable.map { "NOT USABLE: \($0)" }].compactMap { $0 }
            return Document.Table.Row(
                [entry.key, entry.time, durationText(entry.ageSeconds), bytesText(entry.sizeBytes), remarks.joined(separator: "; ")],
                remarks.isEmpty ? .normal : .attention)
        }
        let table = Document.Table(
            [.init("KEY"), .init("MADE AT"), .init("AGE", isNumber: true), .init("SIZE", isNumber: true), .init("")], rows)
        let none = "no backups in \(oneLine(opened.store.displayName)) fit \(oneLine(opened.naming.pattern))\n"
        var text = entries.isEmpty ? none : tableText(table, style: options.style)
        if counts, !entries.isEmpty {
            text += "\n" + tableText(BackupCounts.table(entries.map { ($0.time, $0.counts) }), style: options.style)
        }
        try options.show(entries, text)
    }
}

/// A store of the inventory and how its backups are named.
struct BackupStore {
    let store: any ObjectStore
    let naming: BackupNaming

    init(_ place: StoreOptions, _ options: GlobalOptions) throws {
        try self.init(place.store, isDatabase: place.kind == .database, options)
    }

    /// - Parameter wanted: nil for the only one that there is.
    init(_ wanted: String?, isDatabase: Bool, _ options: GlobalOptions) throws {
        let inventory = try PlanFiles(options: options).requiredInventory(besidePlan: nil).inventory
        let names = inventory.stores.map(\.name)
        let reference: StoreRef
        if let wanted {
            guard let found = inventory.store(wanted) else {
                var speller = Speller()
                throw Refusal(
                    "unknown-store", "the inventory has no store \(printable(wanted))",
                    hints: speller.hints(for: wanted, among: names, what: "stores"))
            }
            reference = found
        } else {
            guard let only = inventory.stores.first, names.count == 1 else {
                throw Refusal(
                    "which-store", names.isEmpty ? "the inventory has no stores" : "the inventory has several stores",
                    hints: names.map { "--store \($0)" })
            }
            reference = only
        }
        store = try Wiring.store(reference, inventory)
        naming = try BackupNaming(store: reference, isDatabase: isDatabase)
    }
}
