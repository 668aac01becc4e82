internal import BlockingIO
internal import Foundation
internal import Glibc
internal import RunCore

/// A folder as a store: keys are paths below it, with slashes.
///
/// A version is pinned by device, inode, size and time of last change. Links are followed only while they stay below the
/// root; what is neither a file nor a folder is not listed and never opened.
package final class DirectoryStore: ObjectStore {
    private let root: String

    /// - Parameter path: an absolute path, or one relative to the working directory.
    package init(path: String) {
        var shortened = path
        while shortened.count > 1, shortened.hasSuffix("/") { shortened.removeLast() }
        root = shortened
    }

    package var displayName: String { root }

    package func list(prefix: String) async throws -> [ObjectSummary] {
        try await onThread { [self] isCancelled in
            let real = try realRoot()
            var found: [ObjectSummary] = []
            try walk(real: real, folder: "", depth: 0, prefix: prefix, isCancelled, &found)
            return found.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        }
    }

    package func head(_ key: String) async throws -> ObjectVersion {
        try await onThread { [self] _ in
            let status = try open(key).status()
            return ObjectVersion(
                key: key, sizeBytes: Int64(status.st_size), etag: Self.etag(status), lastModified: Self.time(status))
        }
    }

    package func read(
        _ version: ObjectVersion, range: Range<Int64>, limits: ReadLimits, into sink: @escaping ByteSink
    ) async throws {
        precondition(range.lowerBound >= 0 && range.upperBound <= version.sizeBytes)
        try await onThread { [self] isCancelled in
            let file: File
            do { file = try open(version.key) } catch let error as ObjectStorageError where error.kind == .noSuchKey {
                throw ObjectChanged(name(version.key), detail: "it is no longer there")
            }
            try check(file, version)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
            defer { buffer.deallocate() }
            var offset = range.lowerBound
            while offset < range.upperBound {
                if isCancelled.isRaised { throw CancellationError() }
                let slice = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(Int(min(range.upperBound - offset, 1 << 20))))
                let count = try file.read(into: slice, at: offset)
                // Before the bytes are given on: those of another version must not be used.
                try check(file, version)
                guard count > 0 else { throw ObjectChanged(name(version.key), detail: "it became shorter") }
                try sink(UnsafeRawBufferPointer(rebasing: slice.prefix(count)))
                offset += Int64(count)
            }
        }
    }

    /// A folder can give nothing to another machine.
    package func presign(_ version: ObjectVersion, range: Range<Int64>?, expires: Duration) async throws -> PresignedRequest? {
        nil
    }

    // MARK: Files

    private func name(_ key: String) -> String { "\(root)/\(key)" }

    private func realRoot() throws -> String {
        guard let path = realpath(root, nil) else {
            let number = errno
            throw ObjectStorageError(
                number == ENOENT ? .noSuchBucket : .accessDenied,
                "cannot use the folder \(root) as a store: \(String(cString: strerror(number)).lowercased())",
                hints: ["check the path, and that its disk is mounted"])
        }
        defer { free(path) }
        return String(cString: path)
    }

    private func open(_ key: String) throws -> File {
        let missing = ObjectStorageError(
            .noSuchKey, "there is no file \(quoted(key)) in \(root)", hints: ["list what is there: reprise backup list"])
        guard StoreKey.isProper(key) else { throw missing }
        let real = try realRoot()
        guard let resolved = realpath("\(real)/\(key)", nil) else { throw missing }
        defer { free(resolved) }
        let path = String(cString: resolved)
        guard path.hasPrefix(real == "/" ? "/" : real + "/") else { throw missing }
        // A pipe must not hold us up: without O_NONBLOCK opening one waits for a writer.
        let file: File
        do { file = try File(path, O_RDONLY | O_NONBLOCK) } catch let error as FileFailure where error.number == EACCES {
            throw ObjectStorageError(
                .accessDenied, "may not read \(name(key))", hints: ["check owner and mode of the file"])
        }
        guard try file.status().st_mode & S_IFMT == S_IFREG else { throw missing }
        return file
    }

    private func check(_ file: File, _ version: ObjectVersion) throws {
        guard Self.etag(try file.status()) == version.etag else {
            throw ObjectChanged(name(version.key), detail: "the file was written to or replaced")
        }
    }

    private func walk(
        real: String, folder: String, depth: Int, prefix: String, _ isCancelled: Flag, _ found: inout [ObjectSummary]
    ) throws {
        guard depth < 64 else { return }
        if isCancelled.isRaised { throw CancellationError() }
        let path = folder.isEmpty ? real : "\(real)/\(folder)"
        for entry in try FileManager.default.contentsOfDirectory(atPath: path) {
            let key = folder.isEmpty ? entry : "\(folder)/\(entry)"
            var status = stat()
            guard lstat("\(real)/\(key)", &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFDIR where prefix.hasPrefix(key + "/") || (key + "/").hasPrefix(prefix):
                try walk(real: real, folder: key, depth: depth + 1, prefix: prefix, isCancelled, &found)
            case S_IFREG where key.hasPrefix(prefix):
                found.append(
                    ObjectSummary(
                        key: key, sizeBytes: Int64(status.st_size), lastModified: Self.time(status),
                        etag: Self.etag(status)))
            case S_IFLNK where key.hasPrefix(prefix):
                // `latest.dump.gz -> db_….dump.gz` is a habit; a link that leads out of the root is not there.
                guard let file = try? open(key), let target = try? file.status() else { continue }
                found.append(
                    ObjectSummary(
                        key: key, sizeBytes: Int64(target.st_size), lastModified: Self.time(target),
                        etag: Self.etag(target)))
            default: continue
            }
        }
    }

    private static func etag(_ status: stat) -> String {
        let changed = status.st_mtim
        return "\"\(status.st_dev)-\(status.st_ino)-\(status.st_size)-\(changed.tv_sec).\(changed.tv_nsec)\""
    }

    private static func time(_ status: stat) -> Date { Date(timeIntervalSince1970: Double(status.st_mtim.tv_sec)) }

    private func onThread<Value: Sendable>(_ body: @escaping @Sendable (Flag) throws -> Value) async throws -> Value {
        try await runBlocking("reprise-folder", body)
    }
}

/// Runs `body` on a thread of its own; the flag is raised when the task is cancelled.
func runBlocking<Value: Sendable>(_ name: String, _ body: @escaping @Sendable (Flag) throws -> Value) async throws -> Value {
    let flag = Flag()
    return try await withTaskCancellationHandler {
        try await DedicatedThread(name: name).run { try body(flag) }
    } onCancel: {
        flag.raise()
    }
}
