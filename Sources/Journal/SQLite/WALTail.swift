internal import Glibc

/// Looks at SQLite's write-ahead log for a transaction that was never finished.
///
/// From SQLite's file format, section 4.1: a 32-byte header with two salts at 16, then frames of a 24-byte header (the salts
/// again at 8) and a page. Frames of an earlier round of the log carry other salts. SQLite itself ignores an unfinished
/// transaction, and overwrites it; this only finds out, so that a person can be told.
enum WALTail {
    private static let headerBytes: Int64 = 32
    private static let frameHeaderBytes: Int64 = 24

    /// - Parameter committedFrames: the frames that SQLite found whole.
    /// - Returns: how many bytes of unfinished frames follow them.
    static func tornBytes(wal path: String, committedFrames: Int) throws -> Int {
        guard JournalFiles.identity(of: path) != nil else { return 0 }
        // Closing this descriptor loses no lock: SQLite locks the database and the shared memory, never the log.
        let file = try SideFile(path, flags: O_RDONLY)
        let header = try file.read(at: 0, count: Int(headerBytes))
        guard header.count == Int(headerBytes) else { return 0 }
        let pageBytes = header[8..<12].reduce(Int64(0)) { $0 << 8 | Int64($1) }
        guard pageBytes >= 512, pageBytes <= 65_536 else { return 0 }
        let size = Int64(lseek(file.descriptor, 0, SEEK_END))
        let start = headerBytes + Int64(committedFrames) * (frameHeaderBytes + pageBytes)
        var end = start
        while end < size {
            let frame = try file.read(at: end, count: Int(frameHeaderBytes))
            // Less than its salts is left of the last frame: it was being written.
            if frame.count >= 16, Array(frame[8..<16]) != Array(header[16..<24]) { break }
            end = min(size, end + frameHeaderBytes + pageBytes)
        }
        return Int(max(0, end - start))
    }
}
