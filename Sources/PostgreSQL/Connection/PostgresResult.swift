internal import RunCore

/// A value that goes to the server beside the statement, never in it.
package enum PostgresParameter: Sendable, Hashable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByNilLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByStringInterpolation
{
    case text(String)
    case null

    package init(stringLiteral value: String) { self = .text(value) }
    package init(integerLiteral value: Int64) { self = .text(String(value)) }
    package init(booleanLiteral value: Bool) { self = .text(value ? "t" : "f") }
    package init(nilLiteral: ()) { self = .null }
    package static func integer(_ value: some BinaryInteger) -> Self { .text(String(value)) }
    package static func bool(_ value: Bool) -> Self { .text(value ? "t" : "f") }
    package static func optional(_ value: String?) -> Self { value.map { .text($0) } ?? .null }
    /// An array of text, as one parameter that the statement casts (`$1::text[]`).
    package static func array(_ values: [String]) -> Self {
        let elements = values.map { "\"" + $0.escaping("\\", as: "\\\\").escaping("\"", as: "\\\"") + "\"" }
        return .text("{" + elements.joined(separator: ",") + "}")
    }
}

/// The whole answer to one statement, as text.
package struct PostgresResult: Sendable {
    package let columns: [String]
    package let rows: [PostgresRow]
    /// For example `UPDATE 3`.
    package let commandTag: String

    init(columns: [String], values: [[String?]], commandTag: String) {
        self.columns = columns
        self.commandTag = commandTag
        let index = Dictionary(columns.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        rows = values.map { PostgresRow(values: $0, index: index) }
    }

    /// Rows affected or returned, from the command tag; 0 where it names none.
    package var affectedRows: Int {
        commandTag.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }

    /// The only row.
    package func only() throws -> PostgresRow {
        guard rows.count == 1 else { throw PostgresUnexpectedResult("expected one row, got \(rows.count)") }
        return rows[0]
    }
}

/// One row. Accessors are by column name; the plain ones throw on NULL, those called `optional…` return nil.
package struct PostgresRow: Sendable {
    package let values: [String?]
    let index: [String: Int]

    package func optionalString(_ column: String) throws -> String? {
        guard let position = index[column] else { throw PostgresUnexpectedResult("the result has no column \"\(column)\"") }
        return values[position]
    }

    package func string(_ column: String) throws -> String {
        guard let value = try optionalString(column) else { throw PostgresUnexpectedResult("column \"\(column)\" is NULL") }
        return value
    }

    package func optionalInteger<Number: FixedWidthInteger>(_ column: String, as type: Number.Type = Number.self) throws -> Number? {
        try optionalString(column).map { text in
            guard let number = Number(text) else { throw PostgresUnexpectedResult("column \"\(column)\" is no \(type)") }
            return number
        }
    }

    package func integer<Number: FixedWidthInteger>(_ column: String, as type: Number.Type = Number.self) throws -> Number {
        guard let value = try optionalInteger(column, as: type) else { throw PostgresUnexpectedResult("column \"\(column)\" is NULL") }
        return value
    }

    package func optionalDouble(_ column: String) throws -> Double? {
        try optionalString(column).map { text in
            guard let number = Double(text) else { throw PostgresUnexpectedResult("column \"\(column)\" is no number") }
            return number
        }
    }

    package func optionalBool(_ column: String) throws -> Bool? {
        switch try optionalString(column) {
        case "t": true
        case "f": false
        case nil: nil
        default: throw PostgresUnexpectedResult("column \"\(column)\" is no boolean")
        }
    }

    package func bool(_ column: String) throws -> Bool {
        guard let value = try optionalBool(column) else { throw PostgresUnexpectedResult("column \"\(column)\" is NULL") }
        return value
    }

    /// A one-dimensional text array.
    package func strings(_ column: String) throws -> [String] {
        try optionalString(column).map(TextArray.parse) ?? []
    }
}

/// PostgreSQL's output form of one-dimensional arrays.
enum TextArray {
    static func parse(_ text: String) throws -> [String] {
        guard text.hasPrefix("{"), text.hasSuffix("}") else { throw PostgresUnexpectedResult("a value is no array") }
        var result: [String] = []
        var current = ""
        var quoted = false
        var escaped = false
        var seen = false
        for character in text.dropFirst().dropLast() {
            if escaped {
                current.append(character)
                escaped = false
            } else if character == "\\" {
                escaped = true
            } else if character == "\"" {
                quoted.toggle()
                seen = true
            } else if character == ",", !quoted {
                result.append(current)
                current = ""
                seen = false
            } else {
                current.append(character)
            }
        }
        if seen || !current.isEmpty || !result.isEmpty { result.append(current) }
        return result
    }
}
