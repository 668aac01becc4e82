internal import Foundation
internal import RunCore

/// What one pass over an archive or a database found.
package struct ContentSummary: Sendable, Hashable, Codable {
    package struct Table: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package let columns: [String]
        package let rows: Int
        /// 32 hexadecimal digits: the sums, modulo 2^64 each, of the two halves of every row's MD5. A row is its COPY text, with
        /// moments in UTC. Equal for equal rows in whatever order. Nil where rows were not hashed one by one.
        package var hash: String?
        /// MD5 of the table's whole COPY text as it came, 32 hexadecimal digits. Equal ones prove equal content; different ones
        /// prove nothing, since another order of rows or another time zone makes another text. Nil where there is no one text.
        package var stream: String?
        /// COPY text including newlines, bytes.
        package let bytes: Int
    }

    package struct Sequence: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package let value: Int64
        /// False: the next number is `value` itself.
        package let isCalled: Bool
    }

    package struct LargeObjects: Sendable, Hashable, Codable {
        package let count: Int
        package let hash: String
        package let bytes: Int
    }

    /// A table that was expected and cannot be compared.
    package struct Missing: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package let reason: String
    }

    /// A table that the archive holds no data of.
    package struct Extra: Sendable, Hashable, Codable {
        package let name: QualifiedName
        package let rows: Int
    }

    package var tables: [Table] = []
    package var sequences: [Sequence] = []
    package var largeObjects = LargeObjects(count: 0, hash: String(repeating: "0", count: 32), bytes: 0)
    package var missing: [Missing] = []
    package var extra: [Extra] = []
    /// The client encoding of the COPY text.
    package var encoding = "UTF8"
    package var seconds: Double = 0

    package var rows: Int { tables.reduce(0) { $0 + $1.rows } }
    package var bytes: Int { tables.reduce(0) { $0 + $1.bytes } }

    /// With the row hashes that another, slower pass took of some of the tables.
    package func adding(rowHashesOf other: ContentSummary) -> ContentSummary {
        let hashes = Dictionary(other.tables.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var result = self
        for index in tables.indices where hashes[tables[index].name]?.columns == tables[index].columns {
            result.tables[index].hash = hashes[tables[index].name]?.hash
        }
        return result
    }

    /// - Parameter output: the job's whole standard output.
    /// - Throws: `ContentHashFailure` (`postgresql.content-incomplete`) where its last line is missing: no partial result counts.
    package init(jobOutput output: some Collection<UInt8>) throws {
        var totals: (tables: Int, rows: Int)?
        for line in output.split(separator: UInt8(ascii: "\n")) {
            guard totals == nil, let record = try? JSONDecoder().decode(Line.self, from: Data(line)) else {
                throw ContentHashFailure.incomplete("a line of its output is not what it writes")
            }
            try record.add(to: &self)
            if record.complete == true { totals = (record.tables ?? -1, record.rows ?? -1) }
        }
        guard let totals, totals == (tables.count, rows) else {
            throw ContentHashFailure.incomplete("its output lacks its last line or does not agree with it")
        }
    }

    private struct Line: Decodable {
        var table, sequence, missing, extra, schema, name, hash, stream, reason, encoding: String?
        var columns: [String]?
        var rows, bytes, largeObjects, tables: Int?
        var value: Int64?
        var called, complete: Bool?
        var seconds: Double?

        func add(to summary: inout ContentSummary) throws {
            func wanted<Value>(_ value: Value?) throws -> Value {
                guard let value else { throw ContentHashFailure.incomplete("a field is missing in its output") }
                return value
            }
            func qualified() throws -> QualifiedName { try QualifiedName(schema: wanted(schema), name: wanted(name)) }
            func whole(_ hash: String?) throws -> String? {
                guard hash?.utf8.count ?? 32 == 32, hash?.allSatisfy(\.isHexDigit) ?? true else { throw ContentHashFailure.incomplete("a hash is cut off") }
                return hash
            }
            if table != nil {
                try summary.tables.append(
                    Table(
                        name: qualified(), columns: wanted(columns), rows: wanted(rows), hash: whole(hash), stream: whole(stream),
                        bytes: wanted(bytes)))
            } else if sequence != nil {
                try summary.sequences.append(Sequence(name: qualified(), value: wanted(value), isCalled: wanted(called)))
            } else if missing != nil {
                try summary.missing.append(Missing(name: qualified(), reason: wanted(reason)))
            } else if extra != nil {
                try summary.extra.append(Extra(name: qualified(), rows: wanted(rows)))
            } else if let largeObjects {
                summary.largeObjects = try LargeObjects(count: largeObjects, hash: wanted(whole(hash)), bytes: wanted(bytes))
            } else if complete == true {
                summary.encoding = try wanted(encoding)
                summary.seconds = try wanted(seconds)
            } else {
                throw ContentHashFailure.incomplete("a line of its output is of no known kind")
            }
        }
    }
}

/// How far a job is.
package struct ContentHashProgress: Sendable, Hashable {
    package let rows: Int
    /// COPY text hashed so far, bytes.
    package let bytes: Int

    private struct Envelope: Decodable {
        struct Progress: Decodable { let rows, bytes: Int }
        let progress: Progress
    }

    /// - Returns: nil for every other line of the job's standard error.
    package init?(line: some StringProtocol) {
        guard let found = try? JSONDecoder().decode(Envelope.self, from: Data(line.utf8)) else { return nil }
        (rows, bytes) = (found.progress.rows, found.progress.bytes)
    }
}

/// The job could not count and hash; nothing is known about the content.
package struct ContentHashFailure: RepriseError, Equatable {
    /// `postgresql.content-<reason>`; see the hint for each.
    package let code: String
    package let message: String
    /// The server went away under the job, or a program of it was killed; it only reads, and can be done again.
    package let isTransient: Bool

    /// The reason that the job itself gave in a line of its standard error, else that it said none.
    package init(jobErrors: String) {
        struct Envelope: Decodable {
            struct Failure: Decodable { let code, message: String }
            let error: Failure
        }
        let found = jobErrors.split(whereSeparator: \.isNewline).reversed().lazy
            .compactMap { try? JSONDecoder().decode(Envelope.self, from: Data($0.utf8)) }.first
        code = "postgresql.content-\(found?.error.code ?? "failed")"
        message = found?.error.message ?? "the job that hashes content failed without saying why"
        isTransient = ServerGone.isSaid(in: jobErrors) || found?.error.code == "program-killed"
    }

    private init(code: String, message: String) {
        self.code = code
        self.message = message
        isTransient = false
    }

    static func incomplete(_ reason: String) -> Self {
        .init(code: "postgresql.content-incomplete", message: "the job that hashes content gave no whole result: \(reason)")
    }

    package var hints: [String] {
        switch code {
        case "postgresql.content-truncated", "postgresql.content-archive-damaged": ["choose an older backup: this one cannot be restored whole"]
        case "postgresql.content-inserts": ["make backups without --inserts, --column-inserts and --rows-per-insert"]
        case "postgresql.content-module-missing": ["install Debian's perl on that host: apt-get install perl"]
        case "postgresql.content-program-missing": ["install PostgreSQL's client programs on that host, or mend them: pg_restore --version"]
        case "postgresql.content-program-killed": ["see who did: dmesg | grep -i oom", "then go on: the archive is as it was"]
        default: ["the job's own log holds what pg_restore or psql said"]
        }
    }
}
