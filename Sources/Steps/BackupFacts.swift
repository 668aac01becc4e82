internal import Foundation
internal import ObjectStorage
internal import RunCore

/// What a small file beside a backup says of it: `KEY.json`, a JSON object. Nothing but texts is taken from it.
struct BackupFacts: Sendable, Hashable {
    /// The application's revision that wrote this data.
    let revision: String?
    /// The server's, as `server_version_num`.
    let serverVersion: String?
    let time: String?

    init(json: [UInt8], of key: String) throws {
        guard let members = try? decodeJSON([String: JSONValue].self, Data(json)) else {
            throw StepRefused("choose-backup.bad-facts", "\(key).json is no JSON object", hints: ["whoever makes the backups writes it; without the file, give the revision as a parameter"])
        }
        revision = members["application-revision"]?.stringValue
        serverVersion = members["server-version"]?.stringValue
        time = members["time"]?.stringValue
        // It names a commit and nothing else, so that it can reach no other part of a command.
        if let revision, revision.wholeMatch(of: #/[0-9A-Za-z][0-9A-Za-z._\/-]{0,199}/#) == nil {
            throw StepRefused("choose-backup.bad-facts", "`application-revision` in \(key).json is no revision")
        }
    }

    /// Nil where there is no such file.
    init?(beside key: String, in store: any ObjectStore) async throws {
        let version: ObjectVersion
        do {
            version = try await store.head(key + ".json")
        } catch let error as ObjectStorageError where error.kind == .noSuchKey {
            return nil
        }
        guard version.sizeBytes <= 1 << 20 else { throw StepRefused("choose-backup.bad-facts", "\(key).json has \(version.sizeBytes) bytes: that is no description of a backup") }
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
