internal import Foundation
internal import ObjectStorage
internal import PostgreSQL
internal import RunCore
internal import Subprocess

/// A backup that was fetched to this machine and unwrapped, to be looked at.
struct BackupFile: Sendable {
    let version: ObjectVersion
    let fetched: FetchedFile
    let unwrapped: UnwrappedFile

    /// Fetches the backup into a folder of its own, hands it to `body`, and removes the folder.
    ///
    /// - Parameter key: nil for the newest.
    static func withFile<Value>(
        _ key: String?, _ opened: BackupStore, _ options: GlobalOptions, _ body: (BackupFile) async throws -> Value
    ) async throws -> Value {
        var newest: String?
        if key == nil { newest = try await opened.naming.backups(in: opened.store).first?.object.key }
        guard let wanted = key ?? newest else {
            throw Refusal("no-backup", "\(opened.store.displayName) holds no backup that fits \(opened.naming.pattern)", exitStatus: .failed)
        }
        let version = try await opened.store.head(wanted)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("reprise-backup-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let fetched = try await Fetch(from: opened.store).fetch(version, to: folder + "/wrapped")
        let unwrapped = try await Unwrapper.unwrap(fetched.path, to: folder + "/backup")
        return try await body(BackupFile(version: version, fetched: fetched, unwrapped: unwrapped))
    }
}

/// Counts and hashes the content of an archive on this machine, with the same program that runs on hosts.
enum LocalContent {
    private static let outputLimitBytes = 256 << 20

    static func summary(of path: String, digest: ContentHashJob.Digest = .rows) async throws -> ContentSummary {
        let job = ContentHashJob.archive(at: path, digest: digest)
        let result = try await Subprocess.run(
            .name("perl"), arguments: ["-"], input: .string(job.program), output: .string(limit: outputLimitBytes),
            error: .string(limit: 16 << 20))
        guard result.terminationStatus.isSuccess else { throw ContentHashFailure(jobErrors: result.standardError) }
        return try ContentSummary(jobOutput: Array(result.standardOutput.utf8))
    }
}
