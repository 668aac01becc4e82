internal import BlockingIO
package import Foundation
package import ObjectStorage
package import PlanModel
internal import RunCore

/// Which backup a person wants.
package enum BackupChoice: Hashable, Sendable, CustomStringConvertible {
    case latest
    case before(Date)
    case named(String)

    package init(_ text: String) throws {
        if text == "latest" {
            self = .latest
        } else if text.hasPrefix("name:"), text.utf8.count > 5 {
            self = .named(String(text.dropFirst(5)))
        } else if text.hasPrefix("before:"), let date = try? Date(String(text.dropFirst(7)), strategy: .iso8601) {
            self = .before(date)
        } else {
            throw StepRefused(
                "fetch-backup.bad-choice", "`\(text)` does not choose a backup",
                hints: ["write latest, name:KEY, or before:TIME such as before:2026-11-23T02:00:00Z"], exitStatus: .usage)
        }
    }

    /// Whether another backup may take the place of one that is no longer there.
    package var isOpen: Bool { if case .named = self { false } else { true } }

    package func admits(_ time: Date) -> Bool {
        if case .before(let limit) = self { time < limit } else { true }
    }

    package var description: String {
        switch self {
        case .latest: "latest"
        case .before(let date): "before \(date.ISO8601Format())"
        case .named(let key): key
        }
    }
}

extension BackupNaming {
    /// The naming that a store of the inventory declares.
    package init(store: StoreRef, isDatabase: Bool) throws {
        let pattern = isDatabase ? store.databasePattern : store.filesPattern
        // The inventory's pattern names the time digit by digit.
        try self.init(pattern: pattern.replacingOccurrences(of: "YYYYMMDD_HHMISS", with: "{time}"))
    }
}

extension BackupChoice {
    /// A backup as it is in its store now.
    package struct Selection: Sendable {
        package let key: String
        package let time: Date
        package let version: ObjectVersion
    }

    /// The `index`-th newest backup of the store that this choice admits. Only asks the store.
    package func select(_ index: Int = 0, isDatabase: Bool, in store: any ObjectStore, _ reference: StoreRef) async throws -> Selection {
        let naming = try BackupNaming(store: reference, isDatabase: isDatabase)
        if case .named(let key) = self {
            let version = try await store.head(key)
            return Selection(key: key, time: naming.time(of: key) ?? version.lastModified, version: version)
        }
        let fitting = try await naming.backups(in: store).filter { admits($0.time) }
        guard index < fitting.count else {
            throw StepRefused(
                "fetch-backup.none", index == 0 ? "\(store.displayName) holds no backup that fits \(naming.pattern) and \(self)" : "no older backup is left",
                hints: [
                    "see what there is: reprise backup list\(isDatabase ? "" : " --kind files")",
                    "check the store's `\(isDatabase ? "database" : "files")-pattern` in the inventory",
                ])
        }
        let backup = fitting[index]
        return Selection(key: backup.object.key, time: backup.time, version: try await store.head(backup.object.key))
    }
}
