/// One side of a comparison: which of its rows are outstanding, and where their texts are.
///
/// The texts of the latest rows are kept in memory, since most are matched at once; older ones that are still outstanding are moved
/// into a file. So memory does not grow with the table.
struct SideRows {
    private struct Chunk {
        let bytes: [UInt8]
        let reader: RowReader
        let digests: [RowDigest]
        var outstanding: Int
    }

    private(set) var outstanding = Outstanding()
    private var chunks: [Int: Chunk] = [:]
    /// Numbers of chunks, the oldest first; those that are not there any more included.
    private var order: ArraySlice<Int> = []
    private var next = 1
    private var heldBytes = 0
    private let spool: SpoolFile
    /// Bytes of text that are kept in memory.
    private let heldLimit: Int

    private static let spooled: UInt64 = 1 << 63
    static func place(chunk: Int, offset: UInt32) -> UInt64 { UInt64(chunk) << 32 | UInt64(offset) }

    init(heldLimit: Int) throws {
        self.heldLimit = heldLimit
        spool = try SpoolFile()
    }

    /// Takes rows in; those that find their partner on the other side take it away.
    mutating func take(_ bytes: [UInt8], _ digests: [RowDigest], _ reader: RowReader, meeting other: inout SideRows) throws {
        let number = next
        next += 1
        var left = 0
        for digest in digests where !other.leave(digest) {
            outstanding.insert(.init(key: digest.key, row: digest.row, place: Self.place(chunk: number, offset: digest.offset)))
            left += 1
        }
        guard left > 0 else { return }
        chunks[number] = Chunk(bytes: bytes, reader: reader, digests: digests, outstanding: left)
        order.append(number)
        heldBytes += Self.cost(bytes, digests)
        while heldBytes > heldLimit, let oldest = order.popFirst() { try spool(oldest) }
    }

    private static func cost(_ bytes: [UInt8], _ digests: [RowDigest]) -> Int { bytes.count + digests.count * MemoryLayout<RowDigest>.stride }

    /// - Returns: false where no such row is outstanding here.
    private mutating func leave(_ digest: RowDigest) -> Bool {
        guard let place = outstanding.remove(key: digest.key, row: digest.row) else { return false }
        if place & Self.spooled == 0 { release(Int(place >> 32)) }
        return true
    }

    private mutating func release(_ number: Int) {
        chunks[number]?.outstanding -= 1
        guard let chunk = chunks[number], chunk.outstanding == 0 else { return }
        chunks[number] = nil
        heldBytes -= Self.cost(chunk.bytes, chunk.digests)
    }

    /// Moves what is outstanding of a chunk into the file.
    private mutating func spool(_ number: Int) throws {
        guard let chunk = chunks.removeValue(forKey: number) else { return }
        heldBytes -= Self.cost(chunk.bytes, chunk.digests)
        for digest in chunk.digests {
            let place = Self.place(chunk: number, offset: digest.offset)
            guard outstanding.contains(key: digest.key, place: place) else { continue }
            let start = try spool.append(chunk.reader.projected(chunk.bytes, at: Int(digest.offset)))
            _ = outstanding.move(key: digest.key, from: place, to: Self.spooled | UInt64(start))
        }
    }

    /// Moves all texts into the file and gives the rows away.
    mutating func giveUp() throws -> [Outstanding.Row] {
        while let oldest = order.popFirst() { try spool(oldest) }
        defer { outstanding.removeAll() }
        return outstanding.rows
    }

    /// The text of a row that was given away: the columns that are compared.
    func line(at place: UInt64) throws -> [UInt8] { try spool.line(at: Int(place & ~Self.spooled)) }
}
