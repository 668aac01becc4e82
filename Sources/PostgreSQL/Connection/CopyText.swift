package import BlockingIO
internal import Glibc

/// Rows as COPY writes them in text format: one line a row, fields apart by tabs.
package enum CopyText {
    /// The values of a line, which stands there without its newline; nil for NULL.
    package static func values(_ line: ArraySlice<UInt8>) -> [String?] { line.withUnsafeBytes { values($0[...]) } }

    static func values(_ line: Slice<UnsafeRawBufferPointer>) -> [String?] {
        var values: [String?] = [], rest = line
        while let end = place(of: "\t", in: rest) {
            values.append(value(rest[..<end]))
            rest = rest[(end + 1)...]
        }
        values.append(value(rest))
        return values
    }

    static func place(of sign: Unicode.Scalar, in bytes: Slice<UnsafeRawBufferPointer>) -> Int? {
        let own = UnsafeRawBufferPointer(rebasing: bytes)
        guard let start = own.baseAddress, let found = memchr(start, Int32(sign.value), own.count) else { return nil }
        return bytes.startIndex + start.distance(to: UnsafeRawPointer(found))
    }

    private static func value(_ field: Slice<UnsafeRawBufferPointer>) -> String? {
        guard place(of: "\\", in: field) != nil else { return String(decoding: UnsafeRawBufferPointer(rebasing: field), as: UTF8.self) }
        guard !field.elementsEqual([UInt8(ascii: "\\"), UInt8(ascii: "N")]) else { return nil }
        let escapes: [UInt8: UInt8] = [98: 8, 102: 12, 110: 10, 114: 13, 116: 9, 118: 11]
        var result: [UInt8] = [], rest = field
        result.reserveCapacity(field.count)
        while let escape = place(of: "\\", in: rest), escape + 1 < rest.endIndex {
            result.append(contentsOf: rest[..<escape])
            result.append(escapes[rest[escape + 1]] ?? rest[escape + 1])
            rest = rest[(escape + 2)...]
        }
        result.append(contentsOf: rest)
        return String(decoding: result, as: UTF8.self)
    }
}

extension PostgresConnection {
    /// Hands the rows of a query on one by one, as they come: however many there are and however large, no more than a few are held.
    ///
    /// - Parameters:
    ///   - columns: what the query's columns are called, in their order.
    ///   - sql: takes no parameters.
    ///   - body: runs on the connection's thread, which it may hold up; what it throws ends the query and is passed on.
    package func forEachRow(
        _ columns: [String], of sql: String, deadline: Deadline, _ body: @Sendable (PostgresRow) throws -> Void
    ) async throws {
        let index = Dictionary(columns.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        _ = try await copyOut("COPY (\(sql)) TO STDOUT", deadline: deadline) { chunk in
            try chunk.withUnsafeBytes { bytes in
                var rest = bytes[...]
                while let end = CopyText.place(of: "\n", in: rest) {
                    try body(PostgresRow(values: CopyText.values(rest[..<end]), index: index))
                    rest = rest[(end + 1)...]
                }
            }
        }
    }
}
