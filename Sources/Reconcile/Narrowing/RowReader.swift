internal import Glibc
internal import PostgreSQL
internal import RunCore

/// What tells one row from another without its text.
///
/// Two 64-bit SipHash values under keys that are drawn anew for each process: nobody can make rows that meet.
struct RowDigest {
    /// Of the key's fields; for a table without a key of the whole row.
    var key: UInt64
    /// Of all fields that are compared.
    var row: UInt64
    /// Where the row begins in its chunk.
    var offset: UInt32
}

/// Takes rows of one layout apart.
struct RowReader {
    private enum Byte {
        static let tab = UInt8(ascii: "\t"), newline = UInt8(ascii: "\n")
    }
    /// For each column that is compared, in their order, the number of its field.
    private let fields: [Int]
    /// For each column of the key the number of its field; empty: the whole row.
    private let key: [Int]
    /// Among `fields`, those that are moments and may be written with another offset than UTC's.
    private let moments: [Int]
    private let fieldCount: Int
    /// The fields stand in the line as they are compared: the line itself can be hashed.
    private let isWhole: Bool

    /// - Parameters:
    ///   - columns: those of the fields, in their order.
    ///   - compared: present on both sides.
    ///   - moments: columns of the type timestamptz, whose text depends on the session that wrote it.
    /// - Throws: `ReconcileRefused` where a column is not among the fields.
    init(columns: [SQLIdentifier], compared: [SQLIdentifier], key: [SQLIdentifier]?, moments: Set<SQLIdentifier> = []) throws {
        let places = Dictionary(columns.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        func place(_ name: SQLIdentifier) throws -> Int {
            guard let found = places[name] else {
                throw ReconcileRefused("reconcile.no-column", "the rows of one side have no column \(name)", hints: ["compare again"])
            }
            return found
        }
        fields = try compared.map(place)
        self.key = try (key ?? []).map(place)
        self.moments = compared.indices.filter { moments.contains(compared[$0]) }.map { $0 }
        fieldCount = columns.count
        isWhole = fields == Array(columns.indices)
    }

    /// The digests of all rows of a chunk.
    /// - Throws: `ReconcileRefused` (`reconcile.odd-row`) where a line has another number of fields.
    func digests(of chunk: [UInt8]) throws -> [RowDigest] {
        var digests: [RowDigest] = []
        digests.reserveCapacity(chunk.count / 64)
        var starts: [Int] = [], scratch: [UInt8] = []
        try chunk.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count {
                let end = try line(bytes, from: start, &starts)
                let line = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                digests.append(digest(line, start, starts, &scratch))
                start = end + 1
            }
        }
        return digests
    }

    /// The same rows with nothing but the fields that are compared, in their order.
    func projected(_ chunk: [UInt8]) throws -> [UInt8] {
        guard !isWhole else { return chunk }
        var result: [UInt8] = [], starts: [Int] = []
        result.reserveCapacity(chunk.count)
        try chunk.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count {
                let end = try line(bytes, from: start, &starts)
                for (index, field) in fields.enumerated() {
                    if index > 0 { result.append(Byte.tab) }
                    result.append(contentsOf: bytes[start + starts[field]..<start + starts[field + 1] - 1])
                }
                result.append(Byte.newline)
                start = end + 1
            }
        }
        return result
    }

    /// Where each field of a line begins, counted from the line's beginning, and one past the end of the last; COPY writes a tab or
    /// newline within a value as `\t` or `\n`.
    ///
    /// - Returns: the place of the newline.
    private func line(_ bytes: UnsafeRawBufferPointer, from start: Int, _ starts: inout [Int]) throws -> Int {
        guard let found = memchr(bytes.baseAddress! + start, Int32(Byte.newline), bytes.count - start) else {
            throw Self.odd("a row without an end")
        }
        let end = bytes.baseAddress!.distance(to: UnsafeRawPointer(found))
        starts.removeAll(keepingCapacity: true)
        starts.append(0)
        var at = start
        while let tab = memchr(bytes.baseAddress! + at, Int32(Byte.tab), end - at) {
            at = bytes.baseAddress!.distance(to: UnsafeRawPointer(tab)) + 1
            starts.append(at - start)
        }
        starts.append(end - start + 1)
        // A table without columns has rows without fields, and each is an empty line.
        guard starts.count == fieldCount + 1 || (fieldCount == 0 && end == start) else {
            throw Self.odd("a row of \(starts.count - 1) fields instead of \(fieldCount)")
        }
        return end
    }

    private static func odd(_ what: String) -> ReconcileRefused {
        ReconcileRefused("reconcile.odd-row", "one side sent \(what)", hints: ["the archive may be damaged: reprise backup verify"], exitStatus: .failed)
    }

    private func digest(_ line: UnsafeRawBufferPointer, _ offset: Int, _ starts: [Int], _ scratch: inout [UInt8]) -> RowDigest {
        func field(_ number: Int) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: line[starts[number]..<starts[number + 1] - 1]) }
        var row = Hasher()
        if isWhole, moments.allSatisfy({ Moment.isUTC(field(fields[$0])) }) {
            row.combine(bytes: line)
        } else {
            scratch.removeAll(keepingCapacity: true)
            for (index, number) in fields.enumerated() {
                if index > 0 { scratch.append(Byte.tab) }
                if moments.contains(index) { Moment.append(field(number), to: &scratch) } else { scratch.append(contentsOf: field(number)) }
            }
            scratch.withUnsafeBytes { row.combine(bytes: $0) }
        }
        let whole = UInt64(bitPattern: Int64(row.finalize()))
        var hash = Hasher()
        hash.combine(1 as UInt8)
        if key.isEmpty { hash.combine(whole) }
        for number in key {
            hash.combine(bytes: field(number))
            hash.combine(Byte.tab)
        }
        return RowDigest(key: UInt64(bitPattern: Int64(hash.finalize())), row: whole, offset: UInt32(offset))
    }
}
