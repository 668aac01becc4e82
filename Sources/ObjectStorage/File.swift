internal import CLinux
internal import Glibc
internal import RunCore

/// An open file. Closes itself.
///
/// Sendable: the descriptor never changes, and `pread`/`pwrite` take no shared position.
final class File: Sendable {
    let descriptor: Int32
    let path: String

    /// Opens without following a link at the end of the path unless `followsLinks`, and never inherited by children.
    init(_ path: String, _ flags: Int32, mode: mode_t = 0o600, followsLinks: Bool = false) throws {
        self.path = path
        let all = flags | O_CLOEXEC | (followsLinks ? 0 : O_NOFOLLOW)
        var opened: Int32
        repeat { opened = open(path, all, mode) } while opened < 0 && errno == EINTR
        guard opened >= 0 else { throw FileFailure.error("open", path, errno) }
        descriptor = opened
    }

    deinit { close(descriptor) }

    func status() throws -> stat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileFailure.error("stat", path, errno) }
        return status
    }

    /// Writes all of `bytes` at `offset`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
            if count < 0 {
                if errno == EINTR { continue }
                throw FileFailure.error("write", path, errno)
            }
            done += count
        }
    }

    /// Fills `buffer` from `offset` as far as the file goes.
    /// - Returns: the bytes read; fewer than asked for only at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0 {
                if errno == EINTR { continue }
                throw FileFailure.error("read", path, errno)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    func synchronize() throws {
        guard fdatasync(descriptor) == 0 else { throw FileFailure.error("flush", path, errno) }
    }

    /// Has the kernel begin to write these bytes to the disk, so that a later `synchronize` finds less to do. It promises nothing,
    /// and so its failure is no news.
    func startWriteback(_ range: Range<Int64>) {
        let begin: UInt32 = 2  // SYNC_FILE_RANGE_WRITE, from linux/fs.h
        _ = sync_file_range(descriptor, off_t(range.lowerBound), off_t(range.count), begin)
    }

    func truncate(to size: Int64) throws {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw FileFailure.error("truncate", path, errno) }
    }

    /// Reserves room. Where the file system cannot, that is no error: room then shows when writing.
    func preallocate(_ size: Int64) throws {
        guard size > 0, fallocate(descriptor, 0, 0, off_t(size)) != 0 else { return }
        if [EOPNOTSUPP, ENOSYS, EINVAL].contains(errno) { return }
        throw FileFailure.error("reserve room for", path, errno)
    }

    /// Makes names in a folder durable.
    static func synchronizeFolder(of path: String) throws {
        try File(folder(of: path), O_RDONLY | O_DIRECTORY, followsLinks: true).synchronizeFolder()
    }

    private func synchronizeFolder() throws {
        guard fsync(descriptor) == 0 else { throw FileFailure.error("flush the folder", path, errno) }
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func rename(_ from: String, to: String) throws {
        guard Glibc.rename(from, to) == 0 else { throw FileFailure.error("rename to", to, errno) }
    }

    /// No error where there is none.
    static func remove(_ path: String) throws {
        guard unlink(path) != 0, errno != ENOENT else { return }
        throw FileFailure.error("remove", path, errno)
    }

    static func freeBytes(at path: String) -> Int64? {
        var status = statvfs()
        guard statvfs(folder(of: path), &status) == 0 else { return nil }
        return Int64(status.f_bavail) * Int64(status.f_frsize)
    }
}

/// A file operation failed.
package struct FileFailure: RepriseError {
    package let code: String
    package let message: String
    package let hints: [String]
    /// The system's number, for example `ENOSPC`.
    package let number: Int32

    /// Room ran out. What was finished stays, so that the same call goes on when there is room.
    package var isDiskFull: Bool { code == "file.disk-full" }

    private init(code: String, message: String, hints: [String] = [], number: Int32) {
        (self.code, self.message, self.hints, self.number) = (code, message, hints, number)
    }

    static func error(_ operation: String, _ path: String, _ number: Int32) -> FileFailure {
        let reason = String(cString: strerror(number)).lowercased()
        let message = "cannot \(operation) \(path): \(reason)"
        switch number {
        case ENOSPC, EDQUOT:
            return FileFailure(
                code: "file.disk-full", message: message,
                hints: ["make room on that disk and try again (a step: reprise retry); what was finished is kept"], number: number)
        case EACCES, EPERM, EROFS:
            return FileFailure(
                code: "file.no-permission", message: message, hints: ["check owner and mode of the folder"], number: number)
        case ENOENT:
            return FileFailure(code: "file.not-found", message: message, hints: ["check that the folder exists"], number: number)
        default: return FileFailure(code: "file.failed", message: message, number: number)
        }
    }

    static func noRoom(_ path: String, needed: Int64, free: Int64) -> FileFailure {
        FileFailure(
            code: "file.disk-full",
            message: "there is no room for \(path): \(needed) bytes are needed, \(free) are free",
            hints: ["make room on that disk and try again (a step: reprise retry); what was finished is kept"], number: ENOSPC)
    }
}

