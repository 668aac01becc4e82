internal import BlockingIO
internal import Glibc

/// Keeps room in SQLite's write-ahead log ahead of what is written to it.
///
/// A flush of a file that grew has to bring the file system's own journal up to date too, and waits there for whatever else the
/// machine writes; a flush of bytes that were overwritten writes those bytes and nothing else. So the log is lengthened with zeros,
/// many commits at a time. (Reserved blocks alone would not do: the first write to each changes what the file system knows of it.)
///
/// SQLite takes no harm: a log that is longer than its content is what every reset of the log leaves behind, and a frame of zeros
/// has neither the salts of the log's header nor a page number, so that recovery ends before it (file format, section 4).
///
/// Not `Sendable`: it belongs to one thread, and `keep` is called under the writer lock only.
final class WALRoom {
    private static let leastBytes: Int64 = 256 << 10
    private static let mostBytes: Int64 = 1 << 20
    /// Where the disk is nearly full, the room is left to those who need it.
    private static let spareBytes: UInt64 = 64 << 20
    /// So that no rest of a frame is left at the end, which would look like one that was torn off.
    private static let headerBytes: Int64 = 32
    private static let frameBytes: Int64 = 24 + 4096

    private let path: String
    private var sizeBytes: Int64

    init(wal path: String) {
        self.path = path
        sizeBytes = JournalFiles.look(at: path)?.bytes ?? 0
    }

    /// Lengthens the log if it was written to beyond the room that it was given. The bytes are flushed with the next commit.
    ///
    /// - Parameters:
    ///   - current: the log that is written to.
    ///   - bytes: its length after the last commit.
    /// - Throws: `SystemCallFailed`, but not for want of room, which is SQLite's to notice.
    func keep(_ current: JournalFiles.FileIdentity, bytes: Int64) throws {
        guard bytes > sizeBytes else { return }
        sizeBytes = bytes
        let file = try SideFile(path, flags: O_WRONLY)
        var status = stat()
        guard fstat(file.descriptor, &status) == 0, JournalFiles.FileIdentity(status) == current else { return }
        var system = statvfs()
        guard fstatvfs(file.descriptor, &system) == 0, UInt64(system.f_bavail) * UInt64(system.f_frsize) > Self.spareBytes else { return }
        let start = Int64(status.st_size)
        let wanted = start + min(max(start, Self.leastBytes), Self.mostBytes)
        let end = Self.headerBytes + (wanted - Self.headerBytes) / Self.frameBytes * Self.frameBytes
        do {
            try file.write([UInt8](repeating: 0, count: Int(end - start)), at: start)
            sizeBytes = end
        } catch let error as SystemCallFailed where [ENOSPC, EDQUOT, EFBIG].contains(error.number) {
            // Tried again when the log grows by itself.
        }
    }
}
