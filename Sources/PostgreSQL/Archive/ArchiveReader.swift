/// Reads the binary table of contents.
///
/// Layout (observed behaviour of PostgreSQL's pg_backup_archiver): a header, a count, then entries whose fields depend on the
/// header's version. Integers are a sign byte and `integerSize` bytes, least significant first; strings an integer length, -1
/// for NULL, then bytes.
struct ArchiveReader {
    static let magic = Array("PGDMP".utf8)
    private var bytes: ArraySlice<UInt8>
    private var integerSize = 4
    private var offsetSize = 8
    private var version = ArchiveTOC.FormatVersion(major: 0, minor: 0)

    static func read(_ bytes: ArraySlice<UInt8>, fileBytes: Int, isTar: Bool) throws(ArchiveUnreadable) -> ArchiveTOC {
        var reader = ArchiveReader(bytes: bytes)
        return try reader.readAll(fileBytes: fileBytes, isTar: isTar)
    }

    private init(bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    private func atLeast(_ minor: Int) -> Bool { version >= .init(major: 1, minor: minor) }

    private mutating func readAll(fileBytes: Int, isTar: Bool) throws(ArchiveUnreadable) -> ArchiveTOC {
        let format = try readHeaderStart(isTar: isTar)
        let compression = try readCompression()
        let created = try readTime()
        let database = try readString("the header")
        let server = try readString("the header")
        let dump = try readString("the header")
        let count = try readInteger("the header")
        guard (0...ArchiveTOC.entryLimit).contains(count) else { throw .damaged("it claims \(count) entries") }
        var entries: [ArchiveEntry] = []
        // Not reserved by the claimed count: an entry has at least 40 bytes, so the bytes bound the memory.
        for _ in 0..<count { entries.append(try readEntry(format)) }
        return ArchiveTOC(
            format: format, formatVersion: version, compression: compression, serverVersion: server, dumpVersion: dump,
            databaseName: database, createdLocalTime: created, entries: entries,
            storedBytes: Self.sizes(of: entries, fileBytes: fileBytes))
    }

    private mutating func readHeaderStart(isTar: Bool) throws(ArchiveUnreadable) -> ArchiveTOC.Format {
        guard bytes.starts(with: Self.magic) else { throw .notAnArchive() }
        bytes = bytes.dropFirst(Self.magic.count)
        version = .init(major: Int(try readByte("the header")), minor: Int(try readByte("the header")))
        _ = try readByte("the header")
        guard (ArchiveTOC.FormatVersion(major: 1, minor: 12)...ArchiveTOC.FormatVersion(major: 1, minor: 16)).contains(version) else {
            throw .unsupported("its format version is \(version)")
        }
        integerSize = Int(try readByte("the header"))
        offsetSize = Int(try readByte("the header"))
        guard (1...8).contains(integerSize), (1...8).contains(offsetSize) else { throw .damaged("impossible sizes of numbers") }
        switch try readByte("the header") {
        case 1: return .custom
        // A folder's toc.dat calls itself tar as well.
        case 3, 5: return isTar ? .tar : .directory
        case let other: throw .unsupported("its format number is \(other)")
        }
    }

    private mutating func readCompression() throws(ArchiveUnreadable) -> ArchiveTOC.Compression {
        guard atLeast(15) else { return try readInteger("the header") == 0 ? .none : .gzip }
        switch try readByte("the header") {
        case 0: return .none
        case 1: return .gzip
        case 2: return .lz4
        case 3: return .zstd
        case let other: throw .unsupported("its compression number is \(other)")
        }
    }

    private mutating func readTime() throws(ArchiveUnreadable) -> String? {
        var parts: [Int] = []
        for _ in 0..<7 { parts.append(try readInteger("the header")) }
        let (second, minute, hour, day, month, year) = (parts[0], parts[1], parts[2], parts[3], parts[4] + 1, parts[5] + 1900)
        guard (0...60).contains(second), (0...59).contains(minute), (0...23).contains(hour), (1...31).contains(day),
            (1...12).contains(month), (1970...9999).contains(year)
        else { return nil }
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(day)) \(two(hour)):\(two(minute)):\(two(second))"
    }

    private mutating func readEntry(_ format: ArchiveTOC.Format) throws(ArchiveUnreadable) -> ArchiveEntry {
        let place = "its table of contents"
        var entry = ArchiveEntry()
        entry.dumpID = try readInteger(place)
        guard entry.dumpID > 0 else { throw .damaged("an entry has the number \(entry.dumpID)") }
        entry.hasData = try readInteger(place) != 0
        entry.tableOID = try readNumber(place)
        entry.objectOID = try readNumber(place)
        entry.tag = try readString(place) ?? ""
        entry.kind = try readString(place) ?? ""
        let section = try readInteger(place)
        guard let known = ArchiveEntry.Section(rawValue: section) else { throw .damaged("an entry is in section \(section)") }
        entry.section = known
        entry.definition = try readString(place) ?? ""
        entry.dropStatement = try readString(place) ?? ""
        entry.copyStatement = try readString(place) ?? ""
        entry.schema = try readString(place).flatMap { $0.isEmpty ? nil : $0 }
        entry.tablespace = try readString(place).flatMap { $0.isEmpty ? nil : $0 }
        if atLeast(14) { entry.accessMethod = try readString(place).flatMap { $0.isEmpty ? nil : $0 } }
        if atLeast(16) {
            let kind = try readInteger(place)
            entry.relationKind = (32...126).contains(kind) ? UnicodeScalar(UInt8(kind)) : nil
        }
        entry.owner = try readString(place).flatMap { $0.isEmpty ? nil : $0 }
        _ = try readString(place)
        while let text = try readString(place) {
            guard let number = Int(text) else { throw .damaged("a dependency is no number") }
            entry.dependencies.append(number)
        }
        entry.dataState = try readDataState(format)
        return entry
    }

    private mutating func readDataState(_ format: ArchiveTOC.Format) throws(ArchiveUnreadable) -> ArchiveEntry.DataState {
        guard format == .custom else {
            let file = try readString("its table of contents")
            return file.flatMap { $0.isEmpty ? nil : .file($0) } ?? .none
        }
        let state = try readByte("its table of contents")
        var offset: UInt64 = 0
        for index in 0..<offsetSize {
            offset |= UInt64(try readByte("its table of contents")) << UInt64(8 * index)
        }
        switch state {
        case 1: return .unknownPosition
        case 2:
            guard offset <= UInt64(Int64.max) else { throw .damaged("an entry's data is at an impossible place") }
            return .at(offset: Int64(offset))
        case 3: return .none
        default: throw .damaged("an entry's data has the unknown state \(state)")
        }
    }

    /// The distance to the next entry's data. Approximate at the end of the file, exact enough to share out work.
    private static func sizes(of entries: [ArchiveEntry], fileBytes: Int) -> [Int: Int] {
        let places = entries.compactMap { entry -> (offset: Int, dumpID: Int)? in
            guard case .at(let offset) = entry.dataState else { return nil }
            return (Int(offset), entry.dumpID)
        }.sorted { $0 < $1 }
        var result: [Int: Int] = [:]
        for (index, place) in places.enumerated() {
            let next = index + 1 < places.count ? places[index + 1].offset : max(fileBytes, place.offset)
            result[place.dumpID] = next - place.offset
        }
        return result
    }

    // MARK: Numbers and strings

    private mutating func readByte(_ place: String) throws(ArchiveUnreadable) -> UInt8 {
        guard let byte = bytes.popFirst() else { throw .incomplete(place) }
        return byte
    }

    private mutating func readInteger(_ place: String) throws(ArchiveUnreadable) -> Int {
        let isNegative = try readByte(place) != 0
        var value: UInt64 = 0
        for index in 0..<integerSize { value |= UInt64(try readByte(place)) << UInt64(8 * index) }
        guard value <= UInt64(Int32.max) else { throw .damaged("a number is out of range") }
        return isNegative ? -Int(value) : Int(value)
    }

    private mutating func readString(_ place: String) throws(ArchiveUnreadable) -> String? {
        let count = try readInteger(place)
        if count == -1 { return nil }
        guard count >= 0 else { throw .damaged("a text has the length \(count)") }
        guard bytes.count >= count else { throw .incomplete(place) }
        defer { bytes = bytes.dropFirst(count) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    private mutating func readNumber(_ place: String) throws(ArchiveUnreadable) -> UInt32 {
        guard let text = try readString(place), let number = UInt32(text) else { throw .damaged("an object's number is no number") }
        return number
    }
}

/// Finds `toc.dat` in a tar-format archive.
enum TarIndex {
    private static let blockBytes = 512
    /// pg_dump writes `toc.dat` first; other tools may repack.
    private static let memberLimit = 100_000

    /// - Returns: the member's bytes, or nil where this is no tar.
    static func contentsMember(of bytes: [UInt8]) throws(ArchiveUnreadable) -> ArraySlice<UInt8>? {
        var offset = 0
        for _ in 0..<memberLimit {
            guard bytes.count >= offset + blockBytes else {
                if offset == 0 { return nil }
                throw .incomplete("the tar file, before its toc.dat")
            }
            let header = bytes[offset..<offset + blockBytes]
            guard header.dropFirst(257).starts(with: "ustar".utf8) else {
                if offset == 0 { return nil }
                throw .damaged("the tar file holds no toc.dat")
            }
            guard let size = size(header), size <= Int.max / 2 else { throw .damaged("a tar header's size is no number") }
            let start = offset + blockBytes
            let name = header.prefix(100).prefix { $0 != 0 }
            if name.elementsEqual("toc.dat".utf8) {
                guard size <= bytes.count - start else { throw .incomplete("the tar file's toc.dat") }
                return bytes[start..<start + size]
            }
            let padded = size + (blockBytes - size % blockBytes) % blockBytes
            guard padded <= bytes.count - start else { throw .incomplete("the tar file, before its toc.dat") }
            offset = start + padded
        }
        throw .damaged("the tar file holds too many members")
    }

    /// Octal digits, or base 256 where the first bit is set (members over 8 GB).
    private static func size(_ header: ArraySlice<UInt8>) -> Int? {
        let field = Array(header.dropFirst(124).prefix(12))
        if field[0] & 0x80 != 0 {
            var value = Int(field[0] & 0x7f)
            for byte in field.dropFirst() {
                let (product, overflow) = value.multipliedReportingOverflow(by: 256)
                guard !overflow, product >= 0 else { return nil }
                value = product + Int(byte)
            }
            return value
        }
        let digits = field.filter { $0 != 0 && $0 != UInt8(ascii: " ") }
        return Int(String(decoding: digits, as: UTF8.self), radix: 8)
    }
}
