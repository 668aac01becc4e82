/// One side of a comparison: which of its rows are outstanding, and where their texts are.
///
/// The texts of the latest rows are kept in memory; older ones that are still outstanding are moved into a file. So memory does not
/// grow with the table.
struct SideRows {
    private final class Chunk {
        let bytes: [UInt8]
        let digests: [RowDigest]
        var outstanding = 0

        init(_ bytes: [UInt8], _ digests: [RowDigest]) { (self.bytes, self.digests) = (bytes, digests) }

        var cost: Int { bytes.count + digests.count * MemoryLayout<RowDigest>.stride }
    }

    private(set) var outstanding = Outstanding()
    private var chunks: [Int: Chunk] = [:]
    /// Numbers of chunks, the oldest first; those that are not there any more included.
    private var order: ArraySlice<Int> = []
    private var next = 1
    private var heldBytes = 0
    /// What was given away, as far as it is remembered.
    private var given = RowSample()
    private let spool: SpoolFile
    /// Bytes of text that are kept in memory.
    private let heldLimit: Int

    private static let spooled: UInt64 = 1 << 63
    private static func place(_ chunk: Int, _ digest: RowDigest) -> UInt64 { UInt64(chunk) << 32 | UInt64(digest.offset) }

    init(heldLimit: Int) throws {
        self.heldLimit = heldLimit
        spool = try SpoolFile()
    }

    /// Takes lines in; those that find their partner on the other side take it away.
    ///
    /// - Returns: how many did; of those that the other side gave away, about how many there are.
    mutating func take(_ bytes: [UInt8], _ digests: [RowDigest], meeting other: inout SideRows) throws -> Int {
        let number = next, chunk = Chunk(bytes, digests)
        var metAside = 0
        next += 1
        for digest in digests where !other.leave(digest) {
            metAside += other.given.meet(digest)
            outstanding.insert(.init(key: digest.key, row: digest.row, place: Self.place(number, digest)))
            chunk.outstanding += 1
        }
        guard chunk.outstanding > 0 else { return digests.count }
        chunks[number] = chunk
        order.append(number)
        heldBytes += chunk.cost
        while heldBytes > heldLimit, let oldest = order.popFirst() { try spool(oldest) }
        return digests.count - chunk.outstanding + metAside
    }

    /// - Returns: false where no such row is outstanding here.
    private mutating func leave(_ digest: RowDigest) -> Bool {
        guard let place = outstanding.remove(key: digest.key, row: digest.row) else { return false }
        if place & Self.spooled == 0 { release(Int(place >> 32)) }
        return true
    }

    private mutating func release(_ number: Int) {
        guard let chunk = chunks[number] else { return }
        chunk.outstanding -= 1
        guard chunk.outstanding == 0 else { return }
        chunks[number] = nil
        heldBytes -= chunk.cost
    }

    /// Moves what is outstanding of a chunk into the file.
    private mutating func spool(_ number: Int) throws {
        guard let chunk = chunks.removeValue(forKey: number) else { return }
        heldBytes -= chunk.cost
        for (index, digest) in chunk.digests.enumerated() where outstanding.contains(key: digest.key, place: Self.place(number, digest)) {
            let end = index + 1 < chunk.digests.count ? Int(chunk.digests[index + 1].offset) : chunk.bytes.count
            let start = try spool.append(chunk.bytes[Int(digest.offset)..<end])
            _ = outstanding.move(key: digest.key, from: Self.place(number, digest), to: Self.spooled | UInt64(start))
        }
    }

    /// Moves all texts into the file and gives the rows away.
    mutating func giveUp() throws -> Outstanding {
        while let oldest = order.popFirst() { try spool(oldest) }
        defer { outstanding = Outstanding() }
        outstanding.forEach { given.note($0) }
        return outstanding
    }

    /// The line of a row that was given away.
    func line(at place: UInt64) throws -> [UInt8] { try spool.line(at: Int(place & ~Self.spooled)) }
}

/// Remembers one in so many rows: enough to tell that a side has come to where the other was long before.
private struct RowSample {
    private var rows = Outstanding()
    /// A power of two.
    private var oneIn: UInt64 = 64
    private static let most = 16_384

    private func isOneOfThem(_ row: UInt64) -> Bool { row & (oneIn - 1) == 0 }

    mutating func note(_ row: Outstanding.Row) {
        guard isOneOfThem(row.row) else { return }
        rows.insert(row)
        if rows.count > Self.most { thinOut() }
    }

    private mutating func thinOut() {
        oneIn *= 2
        let old = rows
        rows = Outstanding()
        old.forEach { row in if isOneOfThem(row.row) { rows.insert(row) } }
    }

    /// - Returns: for how many rows it stands that this one was noted; it is no more.
    mutating func meet(_ digest: RowDigest) -> Int {
        guard isOneOfThem(digest.row), rows.remove(key: digest.key, row: digest.row) != nil else { return 0 }
        return Int(oneIn)
    }
}
