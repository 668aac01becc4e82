internal import Glibc

/// The newest record of a journal.
struct LastRecord: Equatable {
    /// Journal-wide, from 1; 0 in an empty journal.
    var position: Int64
    /// See `RecordKey`.
    var key: Int64
    var hash: [UInt8]

    static let none = LastRecord(position: 0, key: 0, hash: [UInt8](repeating: 0, count: JournalLimits.hashBytes))
}

/// The small file beside the journal that remembers the last acknowledged record outside of the database.
///
/// It is how a deleted or damaged `-wal`, or an old copy of the database put back, is noticed: the database then ends before
/// the record that this file names, or holds another one in its place. It is written after each commit and **not** flushed
/// (a flush would double the cost of a commit), so its reach is: after the death of a process it is exact, after a power
/// loss it may be as old as the kernel's write-back (about 30 s), never newer than the database. It is flushed at each
/// checkpoint and close. It cannot notice that all files together were put back; a host that has seen a higher fence does.
///
/// Two slots are written in turn, so that a reader never meets a half-written one. Not `Sendable`: it belongs to one thread.
final class HeadFile {
    struct Content: Equatable {
        var generation: Int64
        /// Chosen at random when the journal was created; kept in the database too.
        var journal: [UInt8]
        /// Position, key and hash of the last acknowledged record; zeros before the first.
        var last: LastRecord

        static func empty(journal: [UInt8]) -> Content {
            Content(generation: 1, journal: journal, last: .none)
        }
    }

    static let journalIDBytes = 16
    private static let slotBytes = 112
    private static let slotStride: Int64 = 512
    private static let fileBytes = 1024
    private static let magic = Array("reprhd01".utf8)

    private let file: SideFile
    private(set) var content: Content

    /// - Returns: nil if neither slot is valid.
    init?(file: SideFile) throws {
        self.file = file
        guard let content = try Self.read(file) else { return nil }
        self.content = content
    }

    /// Creates the file whole and durable, over whatever was there.
    static func create(path: String, content: Content) throws {
        let temporary = path + ".new"
        let file = try SideFile(temporary, flags: O_RDWR | O_CREAT | O_TRUNC)
        try file.write([UInt8](repeating: 0, count: fileBytes), at: 0)
        try file.write(encode(content), at: (content.generation & 1) * slotStride)
        try file.synchronize()
        try JournalFiles.rename(temporary, to: path)
    }

    /// Writes the slot that is not in use. The caller holds the writer lock.
    /// - Parameter othersWrote: another process may have advanced the file since this object did; its generations are
    ///   followed, so that the newest slot is never the one overwritten.
    func advance(to last: LastRecord, othersWrote: Bool) throws {
        let newest = othersWrote ? try Self.read(file) ?? content : content
        content = Content(
            generation: max(newest.generation, content.generation) + 1, journal: content.journal, last: last)
        try file.write(Self.encode(content), at: (content.generation & 1) * Self.slotStride)
    }

    func synchronize() throws { try file.synchronize() }

    private static func read(_ file: SideFile) throws -> Content? {
        let bytes = try file.read(at: 0, count: fileBytes)
        return [0, slotStride]
            .compactMap { bytes.count >= Int($0) + slotBytes ? decode(Array(bytes[Int($0)..<Int($0) + slotBytes])) : nil }
            .max { $0.generation < $1.generation }
    }

    private static func encode(_ content: Content) -> [UInt8] {
        var bytes = magic
        withUnsafeBytes(of: content.generation.bigEndian) { bytes.append(contentsOf: $0) }
        bytes += content.journal
        withUnsafeBytes(of: content.last.position.bigEndian) { bytes.append(contentsOf: $0) }
        withUnsafeBytes(of: content.last.key.bigEndian) { bytes.append(contentsOf: $0) }
        bytes += content.last.hash
        return bytes + checksum(bytes)
    }

    private static func decode(_ bytes: [UInt8]) -> Content? {
        let body = Array(bytes.dropLast(JournalLimits.hashBytes))
        guard body.starts(with: magic), checksum(body) == Array(bytes.suffix(JournalLimits.hashBytes)) else { return nil }
        func integer(_ offset: Int) -> Int64 { body[offset..<offset + 8].reduce(0) { $0 << 8 | Int64($1) } }
        return Content(
            generation: integer(8), journal: Array(body[16..<32]),
            last: LastRecord(position: integer(32), key: integer(40), hash: Array(body[48..<80])))
    }

    private static func checksum(_ bytes: [UInt8]) -> [UInt8] {
        var encoder = CanonicalEncoder(domain: "reprise.head.1")
        encoder.append(bytes)
        return encoder.sha256
    }
}
