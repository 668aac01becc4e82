/// A side of a comparison.
package enum Side: Sendable, Hashable, CaseIterable { case backup, live }

/// Lets equal rows of two sides take each other away, in whatever order they come; what is left are candidates for differences.
///
/// Rows that come in about the same order on both sides meet soon, and little is remembered. Where they do not, what is outstanding
/// is laid into files by its key, and each of these is looked at by itself in the end: memory stays bounded whatever the order. A sample
/// of it is remembered, so that streams which a long damaged stretch has set apart still find each other.
struct Elimination {
    private var backup: SideRows
    private var live: SideRows
    private var spill: Spill?
    private let outstandingLimit: Int

    init(_ limits: Narrowing.Limits) throws {
        (backup, live) = (try SideRows(heldLimit: limits.heldBytes), try SideRows(heldLimit: limits.heldBytes))
        outstandingLimit = limits.outstanding
    }

    /// Rows that have found no partner so far and are in memory.
    var outstanding: Int { backup.outstanding.count + live.outstanding.count }

    /// Takes lines of both sides, which hold the columns that are compared and nothing else.
    ///
    /// - Returns: the side that is behind: its lines found what the other had long before, and those of the other hardly anything.
    mutating func take(_ loose: Alignment.Loose, _ reader: RowReader) throws -> Side? {
        let backup = try take(.backup, loose.backup, reader), live = try take(.live, loose.live, reader)
        return backup > 2 * live ? .backup : live > 2 * backup ? .live : nil
    }

    /// - Returns: how many of these lines found their partners among those that came before.
    private mutating func take(_ side: Side, _ bytes: [UInt8], _ reader: RowReader) throws -> Int {
        guard !bytes.isEmpty else { return 0 }
        let digests = try reader.digests(of: bytes)
        let met =
            switch side {
            case .backup: try backup.take(bytes, digests, meeting: &live)
            case .live: try live.take(bytes, digests, meeting: &backup)
            }
        if outstanding > outstandingLimit { try layAside() }
        return met
    }

    private mutating func layAside() throws {
        let files = try spill ?? Spill()
        spill = files
        try backup.giveUp().forEach { try files.append(.backup, $0) }
        try live.giveUp().forEach { try files.append(.live, $0) }
    }

    /// The lines of all rows that have no partner: of the columns that are compared, those of one side after one another.
    mutating func finish(_ take: (Side, [UInt8]) throws -> Void) throws {
        guard let spill else { return try hand(backup.giveUp(), live.giveUp(), take) }
        try layAside()
        for partition in 0..<Spill.partitionCount {
            var (left, rest) = (Outstanding(), Outstanding())
            try spill.forEach(.backup, in: partition) { left.insert($0) }
            try spill.forEach(.live, in: partition) { row in
                if left.remove(key: row.key, row: row.row) == nil { rest.insert(row) }
            }
            try hand(left, rest, take)
        }
    }

    private func hand(_ backupRows: Outstanding, _ liveRows: Outstanding, _ take: (Side, [UInt8]) throws -> Void) throws {
        for row in backupRows.sorted { try take(.backup, backup.line(at: row.place)) }
        for row in liveRows.sorted { try take(.live, live.line(at: row.place)) }
    }
}

/// Rows without a partner, in files by their keys' digests.
final class Spill {
    static let partitionCount = 64
    private let backup: [SpoolFile]
    private let live: [SpoolFile]
    private static let bytes = MemoryLayout<Outstanding.Row>.stride

    init() throws {
        // So many buffers at a time are not to be more than the rows that are laid aside.
        backup = try (0..<Self.partitionCount).map { _ in try SpoolFile(bufferBytes: 8 * 1024) }
        live = try (0..<Self.partitionCount).map { _ in try SpoolFile(bufferBytes: 8 * 1024) }
    }

    private func files(_ side: Side) -> [SpoolFile] { side == .backup ? backup : live }

    func append(_ side: Side, _ row: Outstanding.Row) throws {
        // The upper bits: the lower ones choose the place within a partition's table.
        try withUnsafeBytes(of: row) { _ = try files(side)[Int(row.key >> 58)].append($0) }
    }

    func forEach(_ side: Side, in partition: Int, _ body: (Outstanding.Row) throws -> Void) throws {
        var rest: [UInt8] = []
        try files(side)[partition].forEachPortion { portion in
            rest += portion
            let whole = rest.count - rest.count % Self.bytes
            try rest.withUnsafeBytes { bytes in
                for at in stride(from: 0, to: whole, by: Self.bytes) {
                    try body(bytes.loadUnaligned(fromByteOffset: at, as: Outstanding.Row.self))
                }
            }
            rest.removeFirst(whole)
        }
    }
}
