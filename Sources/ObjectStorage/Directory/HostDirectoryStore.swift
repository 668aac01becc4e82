internal import BlockingIO
internal import Foundation
internal import RunCore
package import SSH

/// A folder on a host as a store, read through the host's SSH session: keys are paths below it, with slashes.
///
/// The same contract as a folder of this machine. Everything is done by POSIX sh and coreutils, through the login or, where the
/// host asks for it, `sudo -n`: backups are often root's alone, which SFTP, being the login user's, could not read.
///
/// A version is pinned by device, inode, size and time of last change. Each read opens the file once and looks at it before the
/// first byte and after the last one.
package struct HostDirectoryStore: ObjectStore {
    /// How the store reaches its host.
    package struct Reach: Sendable {
        let host: String
        let becomesRoot: Bool
        let connect: @Sendable () async throws -> any RemoteHost
        let lost: @Sendable () async -> Void

        /// - Parameters:
        ///   - becomesRoot: commands run through `sudo -n` where the login is not root.
        ///   - connect: the host's session; called for every request, made anew where the last one was lost.
        ///   - lost: is told that the session that `connect` gave is of no use any more.
        package init(
            host: String, becomesRoot: Bool, connect: @escaping @Sendable () async throws -> any RemoteHost,
            lost: @escaping @Sendable () async -> Void
        ) {
            self.host = host
            self.becomesRoot = becomesRoot
            self.connect = connect
            self.lost = lost
        }
    }

    private let root: String
    private let reach: Reach
    /// sshd allows ten channels in a session by default, and the ledger and tunnels to databases want theirs.
    private let turns = Turns(4)

    /// - Parameter path: an absolute path on the host.
    package init(path: String, reach: Reach) {
        var shortened = path
        while shortened.count > 1, shortened.hasSuffix("/") { shortened.removeLast() }
        root = shortened
        self.reach = reach
    }

    package var displayName: String { "\(reach.host):\(root)" }

    package func list(prefix: String) async throws -> [ObjectSummary] {
        let folder = prefix.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        guard folder.isEmpty || StoreKey.isProper(folder), !prefix.utf8.contains(0) else { return [] }
        let output = try await ask(HostFolderScript.list(root: root, folder: folder))
        return try HostFolderScript.entries(output, displayName).filter { $0.key.hasPrefix(prefix) }
            .sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }

    package func head(_ key: String) async throws -> ObjectVersion {
        guard StoreKey.isProper(key) else { throw missing(key) }
        let output = try await ask(HostFolderScript.head(root: root, key: key), key: key)
        guard let entry = try HostFolderScript.entries(output, displayName).first else { throw missing(key) }
        return ObjectVersion(key: key, sizeBytes: entry.sizeBytes, etag: entry.etag, lastModified: entry.lastModified)
    }

    package func read(
        _ version: ObjectVersion, range: Range<Int64>, limits: ReadLimits, into sink: @escaping ByteSink
    ) async throws {
        precondition(range.lowerBound >= 0 && range.upperBound <= version.sizeBytes)
        guard StoreKey.isProper(version.key) else { throw missing(version.key) }
        try await turns.take {
            try await connected { remote in
                let stream = HostFolderRead(version: version, range: range, name: "\(displayName)/\(version.key)", limits: limits)
                try await stream.run(command(stream.script(root: root)), on: remote, into: sink)
            }
        }
    }

    /// A folder can give nothing to another machine.
    package func presign(_ version: ObjectVersion, range: Range<Int64>?, expires: Duration) async throws -> PresignedRequest? {
        nil
    }

    // MARK: Asking

    private static let listingLimit = 64 << 20

    private func ask(_ script: String, key: String? = nil) async throws -> [UInt8] {
        let result = try await turns.take {
            try await connected {
                try await $0.run(command(script), stdin: [], outputLimit: Self.listingLimit, deadline: Deadline(after: .seconds(120)))
            }
        }
        guard result.status == 0 else { throw refusal(result, key) }
        guard !result.isTruncated else {
            throw ObjectStorageError(.unexpected, "\(displayName) holds too many files to list", hints: ["narrow the store's `path`"])
        }
        return result.stdout
    }

    private func connected<Value: Sendable>(_ body: (any RemoteHost) async throws -> Value) async throws -> Value {
        do {
            return try await body(reach.connect())
        } catch let error as any RepriseError where error.isTransient && !(error is ObjectStorageError) {
            await reach.lost()
            throw error
        }
    }

    private func command(_ script: String) -> String { asLedgerUser(script, become: reach.becomesRoot) }

    private func missing(_ key: String) -> ObjectStorageError {
        ObjectStorageError(
            .noSuchKey, "there is no file \(quoted(key)) in \(displayName)", hints: ["list what is there: reprise backup list"])
    }

    private func refusal(_ result: ExecResult, _ key: String?) -> ObjectStorageError {
        let said = String(result.stderrText.split(separator: "\n").last ?? "").trimmingCharacters(in: .whitespaces)
        switch HostFolderScript.Failure(rawValue: result.status) {
        case .noFolder:
            return ObjectStorageError(
                .noSuchBucket, "there is no folder \(root) on \(reach.host)", hints: ["check the path, and that its disk is mounted"])
        case .noFile: return missing(key ?? "")
        case .notAllowed:
            return ObjectStorageError(
                .accessDenied, "may not read \(displayName)\(key.map { "/\($0)" } ?? "")",
                hints: ["check owner and mode on \(reach.host), or set ansible_become for it"])
        case .changed, nil:
            return ObjectStorageError(
                .unexpected, "reading \(displayName) failed with status \(result.status)" + (said.isEmpty ? "" : ": \(said)"),
                hints: reach.becomesRoot ? ["sudo must work there without a person: sudo -n true"] : [])
        }
    }
}

/// Lets a bounded number of tasks go on at a time.
private actor Turns {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) { free = count }

    nonisolated func take<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        await enter()
        do {
            // Whoever was cancelled while it waited only passes its turn on.
            try Task.checkCancellation()
            let value = try await body()
            await leave()
            return value
        } catch {
            await leave()
            throw error
        }
    }

    private func enter() async {
        if free > 0 { return free -= 1 }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func leave() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}
