internal import BlockingIO
internal import PostgreSQL

/// Rows with the digests of the large objects that they name as further fields: contents that differ make a row differ.
enum NamedContents {
    /// What the further fields are called, one for each column that names objects.
    static func fields(_ columns: [SQLIdentifier]) -> [SQLIdentifier] {
        // Never refused: short, and without a NUL.
        columns.indices.compactMap { try? SQLIdentifier("reprise content \($0)") }
    }

    /// The digest as text, on a server; NULL where the column names nothing that is there.
    static func digest(of column: String) -> String { "pg_catalog.encode(\(ObjectSQL.digest(of: "\(column)::pg_catalog.oid")), 'hex')" }

    /// Rows of an archive, whose objects are known by their numbers.
    struct Rows: RowSource {
        let rows: any RowSource
        let columns: [SQLIdentifier]
        let digests: ObjectDigests

        func read(deadline: Deadline, _ take: @escaping @Sendable (RowChunk) throws -> Void) async throws -> Int {
            try await rows.read(deadline: deadline) { chunk in
                let numbers = try RowReader(columns: chunk.columns, compared: columns, key: nil).projected(chunk.bytes)
                try take(RowChunk(columns: chunk.columns + NamedContents.fields(columns), bytes: append(to: chunk.bytes, numbers)))
            }
        }

        /// - Parameter numbers: for each line the fields of the columns.
        private func append(to lines: [UInt8], _ numbers: [UInt8]) throws -> [UInt8] {
            var result: [UInt8] = []
            result.reserveCapacity(lines.count + numbers.count * 8)
            let theirs = numbers.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            for (line, fields) in zip(lines.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast(), theirs) {
                result += line
                for field in fields.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false) {
                    result.append(UInt8(ascii: "\t"))
                    result += try digest(field)
                }
                result.append(UInt8(ascii: "\n"))
            }
            return result
        }

        private func digest(_ field: ArraySlice<UInt8>) throws -> [UInt8] {
            guard let number = UInt32(String(decoding: field, as: UTF8.self)), let digest = try digests.digest(of: number) else { return Array("\\N".utf8) }
            return HexText.of(digest)
        }
    }
}

enum HexText {
    private static let digits = Array("0123456789abcdef".utf8)

    static func of(_ bytes: [UInt8]) -> [UInt8] { bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] } }
}

extension RowLines {
    /// The same lines with some of their fields; where these are all of them, these very lines.
    func projected(_ columns: [SQLIdentifier], to wanted: [SQLIdentifier]) throws -> RowLines {
        guard columns != wanted else { return self }
        let result = try RowLines(), reader = try RowReader(columns: columns, compared: wanted, key: nil)
        try forEachBlock { _, lines in try result.append(reader.projected(lines), count: lines.count { $0 == UInt8(ascii: "\n") }) }
        return result
    }
}
