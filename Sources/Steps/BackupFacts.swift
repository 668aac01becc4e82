internal import Foundation
package import ObjectStorage
internal import RunCore

/// What a small file beside a backup says of it: `KEY.json`, a JSON object. Nothing but texts is taken from it.
struct BackupFacts: Sendable, Hashable {
    /// The application's revision that wrote this data.
    let revision: String?

    init(json: [UInt8], of key: String) throws {
        guard let members = try? decodeJSON([String: JSONValue].self, Data(json)) else {
            throw StepRefused("backup-facts.unreadable", "\(key).json is no JSON object", hints: ["whoever makes the backups writes it; without the file, give the revision as a parameter"])
        }
        revision = members["application-revision"]?.stringValue
        // It names a commit and nothing else, so that it can reach no other part of a command.
        if let revision, !Self.isRevision(revision) {
            throw StepRefused("backup-facts.unreadable", "`application-revision` in \(key).json is no revision")
        }
    }

    static func isRevision(_ text: String) -> Bool { text.wholeMatch(of: #/[0-9A-Za-z][0-9A-Za-z._\/-]{0,199}/#) != nil }

    /// Nil where there is no such file.
    init?(beside key: String, in store: any ObjectStore) async throws {
        let version: ObjectVersion
        do {
            version = try await store.head(key + ".json")
        } catch let error as ObjectStorageError where error.kind == .noSuchKey {
            return nil
        }
        guard version.sizeBytes <= 1 << 20 else { throw StepRefused("backup-facts.unreadable", "\(key).json has \(version.sizeBytes) bytes: that is no description of a backup") }
        let content = Content()
        if version.sizeBytes > 0 { try await store.read(version, range: 0..<version.sizeBytes, limits: ReadLimits()) { content.add($0) } }
        try self.init(json: content.bytes, of: key)
    }

    /// Written by one thread, read after it.
    private final class Content: @unchecked Sendable {
        private(set) var bytes: [UInt8] = []
        func add(_ more: UnsafeRawBufferPointer) { bytes += Array(more) }
    }
}

/// Which revision of the application a backup's data belongs to, and who says so.
package struct BackupRevision: Sendable, Hashable, Codable {
    package enum Source: String, Sendable, Codable {
        /// The file beside the backup.
        case backup
        /// The plan, where no such file is there.
        case plan
    }
    package let name: String
    package let source: Source

    /// - Parameter given: what the plan says; an empty text says nothing.
    /// - Throws: `StepRefused` where neither says it, or the file cannot be read.
    package init(of key: String, in store: any ObjectStore, orElse given: String?) async throws {
        if let name = try await BackupFacts(beside: key, in: store)?.revision {
            self.init(name: name, source: .backup)
        } else if let given, !given.isEmpty {
            self.init(name: given, source: .plan)
        } else {
            throw StepRefused(
                "fetch-backup.no-revision", "no file \(key).json says which revision of the application belongs to \(key), and none was given",
                hints: ["give the revision that production ran: --param revision=COMMIT", "from now on, let the backup write \(key).json: {\"application-revision\": \"COMMIT\"}"],
                exitStatus: .usage, needsNewRun: false)
        }
    }

    private init(name: String, source: Source) { (self.name, self.source) = (name, source) }
}
