import ArgumentParser
internal import Engine
internal import Foundation
internal import ObjectStorage
internal import PostgreSQL
internal import Reporting
internal import RunCore

struct BackupShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "What a database backup is and what is in it, by its table of contents.",
        discussion: help("Fetches it to a folder of its own on this machine, and removes it afterwards."))
    @Argument(help: "The key; default: the newest.") var key: String?
    @OptionGroup var place: StoreOptions
    @OptionGroup var options: GlobalOptions

    private struct Shown: Encodable {
        let key: String
        let sizeBytes: Int64
        let sha256: String
        let wrapper: String
        let unwrappedBytes: Int64
        let serverVersion: String
        let dumpVersion: String
        let database: String
        let tables: [String]
    }

    func run() async throws {
        let opened = try BackupStore(place, options)
        let shown = try await BackupFile.withFile(key, opened, options) { file in
            let contents = try LocalArchive.contents(at: file.unwrapped.path, called: file.version.key)
            return Shown(
                key: file.version.key, sizeBytes: file.version.sizeBytes, sha256: file.fetched.sha256, wrapper: file.unwrapped.wrapper.rawValue,
                unwrappedBytes: file.unwrapped.sizeBytes, serverVersion: contents.serverVersion ?? "", dumpVersion: contents.dumpVersion ?? "",
                database: contents.databaseName ?? "", tables: contents.dataTables.map { "\($0.name)" }.sorted())
        }
        let document = Document(
            title: "Backup \(shown.key)",
            blocks: [
                .facts([
                    .init("size", bytesText(shown.sizeBytes)), .init("SHA-256", shown.sha256),
                    .init("wrapped in", shown.wrapper), .init("unwrapped", bytesText(shown.unwrappedBytes)),
                    .init("database", shown.database), .init("server version", shown.serverVersion), .init("made by pg_dump", shown.dumpVersion),
                ]),
                .heading("Tables with data"), .list(shown.tables),
            ])
        try options.show(shown, document.text(style: options.style))
    }
}

struct BackupVerify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Decodes a database backup to its end, and counts the rows of every table in it.",
        discussion: help("Needs pg_restore and perl on this machine. A table of contents alone does not show that an archive is cut off."))
    @Argument(help: "The key; default: the newest.") var key: String?
    @OptionGroup var place: StoreOptions
    @OptionGroup var options: GlobalOptions

    private struct Verified: Encodable {
        struct Table: Encodable {
            let table: String
            let rows: Int
            let hash: String
        }
        let key: String
        let sizeBytes: Int64
        let sha256: String
        let tables: [Table]
        let rows: Int
    }

    func run() async throws {
        let opened = try BackupStore(place, options)
        let verified = try await BackupFile.withFile(key, opened, options) { file in
            let summary = try await LocalContent.summary(of: file.unwrapped.path)
            let tables = summary.tables.map { Verified.Table(table: "\($0.name)", rows: $0.rows, hash: $0.hash ?? "") }
            return Verified(
                key: file.version.key, sizeBytes: file.version.sizeBytes, sha256: file.fetched.sha256, tables: tables.sorted { $0.table < $1.table },
                rows: summary.rows)
        }
        let table = Document.Table(
            [.init("TABLE"), .init("ROWS", isNumber: true), .init("CONTENT HASH")],
            verified.tables.map { .init([$0.table, countText($0.rows), $0.hash]) })
        let lead = "\(oneLine(verified.key)): whole, \(bytesText(verified.sizeBytes)), SHA-256 \(verified.sha256)\n"
        let total = "\(countText(verified.rows)) rows in \(counted(verified.tables.count, "table"))\n"
        try options.show(verified, lead + tableText(table, style: options.style) + total)
    }
}
