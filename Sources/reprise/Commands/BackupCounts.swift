internal import Foundation
internal import ObjectStorage
internal import PostgreSQL
internal import Reporting
internal import RunCore

/// How many rows each table has in one backup, or why that cannot be told.
struct BackupCounts: Encodable {
    struct Table: Encodable {
        let table: String
        let rows: Int
    }
    /// By name. Empty where the backup is not usable.
    let tables: [Table]
    let unusable: String?

    /// Fetches and decodes the backup. One that is damaged is a finding, not an error; everything else is thrown.
    init(of key: String, _ opened: BackupStore, _ options: GlobalOptions) async throws {
        do {
            tables = try await BackupFile.withFile(key, opened, options) { file in
                try await LocalContent.summary(of: file.unwrapped.path, digest: .stream).tables.map { Table(table: "\($0.name)", rows: $0.rows) }
            }.sorted { $0.table < $1.table }
            unusable = nil
        } catch let error as any RepriseError where error is ContentHashFailure || error is UnwrapFailed {
            (tables, unusable) = ([], error.message)
        }
    }

    /// One column a backup, the newest first; a table that has fewer rows than in the next older backup stands out.
    static func table(_ backups: [(time: String, counts: BackupCounts?)]) -> Document.Table {
        let counts = backups.map { backup in
            Dictionary((backup.counts?.tables ?? []).map { ($0.table, $0.rows) }, uniquingKeysWith: { first, _ in first })
        }
        let names = Set(counts.flatMap(\.keys)).sorted()
        let rows = names.map { name in
            let numbers = counts.map { $0[name] }
            let hasShrunk = zip(numbers, numbers.dropFirst()).contains { newer, older in (newer ?? 0) < (older ?? 0) }
            return Document.Table.Row(
                [name] + numbers.map { $0.map { countText($0) } ?? "-" } + [hasShrunk ? "fewer than before" : ""], hasShrunk ? .attention : .normal)
        }
        return Document.Table([.init("ROWS OF")] + backups.map { .init($0.time, isNumber: true) } + [.init("")], rows)
    }
}
