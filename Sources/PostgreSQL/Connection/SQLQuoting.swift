package import RunCore

/// A name that SQL cannot hold.
package struct InvalidSQLName: RepriseError, Equatable {
    package let code = "postgresql.invalid-name"
    package let message: String
    package var hints: [String] { ["a name has 1 to 63 bytes of UTF-8 and no NUL"] }
    package var exitStatus: ExitStatus { .usage }
}

/// The name of a database, table, column, role or the like. Always quoted, so that case, spaces and reserved words survive.
package struct SQLIdentifier: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
    package let name: String

    /// PostgreSQL cuts longer names off with a mere notice, which would make two names one.
    package static let limitBytes = 63

    /// - Throws: `InvalidSQLName` where `name` is empty, longer than 63 bytes of UTF-8 or holds NUL.
    package init(_ name: String) throws {
        guard !name.isEmpty else { throw InvalidSQLName(message: "an empty name was given") }
        guard !name.utf8.contains(0) else { throw InvalidSQLName(message: "a name holds the NUL character") }
        guard name.utf8.count <= Self.limitBytes else {
            throw InvalidSQLName(message: "the name \"\(name)\" has \(name.utf8.count) bytes, more than \(Self.limitBytes)")
        }
        self.name = name
    }

    /// The name as SQL text.
    package var sql: String { "\"" + name.escaping("\"", as: "\"\"") + "\"" }

    /// For people: quoted only where SQL needs it.
    package var description: String { Self.isPlain(name) ? name : sql }

    package static func < (left: Self, right: Self) -> Bool { left.name.utf8.lexicographicallyPrecedes(right.name.utf8) }

    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(name)
    }

    private static func isPlain(_ name: String) -> Bool {
        guard let first = name.utf8.first, first == UInt8(ascii: "_") || (97...122).contains(first) else { return false }
        return name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "_") }
    }
}

/// A relation or the like within its schema.
package struct QualifiedName: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
    package let schema: SQLIdentifier
    package let name: SQLIdentifier

    package init(schema: String, name: String) throws {
        self.schema = try SQLIdentifier(schema)
        self.name = try SQLIdentifier(name)
    }

    package var sql: String { "\(schema.sql).\(name.sql)" }
    package var description: String { "\(schema).\(name)" }

    package static func < (left: Self, right: Self) -> Bool {
        (left.schema, left.name) < (right.schema, right.name)
    }
}

/// A string as SQL text, for statements that take no parameters (ALTER DATABASE … SET, COMMENT ON).
package struct SQLLiteral: Hashable, Sendable {
    package let value: String

    /// - Throws: `InvalidSQLName` where `value` holds NUL, which no server text can.
    package init(_ value: String) throws {
        guard !value.utf8.contains(0) else { throw InvalidSQLName(message: "a value holds the NUL character") }
        self.value = value
    }

    /// Means the same whatever `standard_conforming_strings` says: a value with backslashes is written as `E'…'`.
    package var sql: String {
        let quoted = "'" + value.escaping("'", as: "''") + "'"
        return value.utf8.contains(UInt8(ascii: "\\")) ? "E" + quoted.escaping("\\", as: "\\\\") : quoted
    }
}

/// A dictionary by names is an object in JSON, whose order does not depend on chance.
extension SQLIdentifier: CodingKeyRepresentable {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    package var codingKey: any CodingKey { Key(stringValue: name) }
    package init?<T: CodingKey>(codingKey: T) { try? self.init(codingKey.stringValue) }
}
