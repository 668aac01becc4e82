internal import BlockingIO
internal import Glibc
internal import RunCore

/// A folder for the socket of one tunnel, which this user alone can enter.
///
/// Whoever made it holds a lock on it. A process that is killed leaves its folders; the next that makes one removes those that nobody holds.
final class TunnelFolder {
    let path: String
    /// What the lock is on; -1 once the folder is removed.
    private var descriptor: Int32

    /// - Throws: `SystemCallFailed`.
    init() throws {
        _ = Self.leftOversAreGone
        // mkdtemp makes it 0700. A unix socket's path has at most 107 bytes, hence the short one.
        var template = Array("\(Self.parent)/\(Self.prefix)XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemCallFailed("mkdtemp \(Self.parent)/\(Self.prefix)XXXXXX", errno: errno) }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        descriptor = Self.open(path)
        guard descriptor >= 0 else {
            let number = errno
            rmdir(path)
            throw SystemCallFailed("opening \(path)", errno: number)
        }
        // On a file system without locks nobody gets one to remove anything either.
        _ = flock(descriptor, LOCK_EX | LOCK_NB)
    }

    deinit { remove() }

    /// With the sockets in it. Idempotent.
    func remove() {
        guard descriptor >= 0 else { return }
        Self.clear(descriptor, path)
        close(descriptor)
        descriptor = -1
    }

    static let parent = "/tmp"
    static let prefix = "reprise-tunnel-"
    /// A younger one may be between its making and its lock.
    private static let minimumAge = 60

    private static let leftOversAreGone: Void = removeLeftOvers()

    /// Removes what processes that have ended left, where it is this user's and holds nothing but sockets.
    static func removeLeftOvers(now: time_t = time(nil)) {
        for name in names(in: Glibc.open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) where name.hasPrefix(prefix) {
            let path = "\(parent)/\(name)"
            let descriptor = open(path)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            var status = stat()
            guard fstat(descriptor, &status) == 0, status.st_uid == geteuid(), status.st_mtim.tv_sec <= now - minimumAge,
                flock(descriptor, LOCK_EX | LOCK_NB) == 0
            else { continue }
            clear(descriptor, path)
        }
    }

    /// Never through a link.
    private static func open(_ path: String) -> Int32 { Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) }

    /// Whatever is no socket stays, and the folder with it.
    private static func clear(_ descriptor: Int32, _ path: String) {
        for name in names(in: dup(descriptor)) {
            var status = stat()
            guard fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFSOCK else { continue }
            unlinkat(descriptor, name, 0)
        }
        rmdir(path)
    }

    /// Takes over `descriptor`, and closes it.
    private static func names(in descriptor: Int32) -> [String] {
        guard descriptor >= 0, let folder = fdopendir(descriptor) else { return [] }
        defer { closedir(folder) }
        var found: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) { String(cString: $0) }
            }
            if name != ".", name != ".." { found.append(name) }
        }
        return found
    }
}
