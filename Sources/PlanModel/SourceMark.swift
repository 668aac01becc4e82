/// A place in a file that a person wrote.
///
/// Lines and columns count from 1; columns count Unicode scalars, as editors and libyaml do.
package struct SourceMark: Hashable, Sendable, Comparable, CustomStringConvertible {
    package var file: String
    package var line: Int
    package var column: Int

    package init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    package var description: String { "\(file):\(line):\(column)" }

    package static func < (left: SourceMark, right: SourceMark) -> Bool {
        (left.file, left.line, left.column) < (right.file, right.line, right.column)
    }
}

extension SourceMark: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let parts = try container.decode(String.self).split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count >= 3, let line = Int(parts[parts.count - 2]), let column = Int(parts[parts.count - 1]) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not file:line:column")
        }
        self.init(file: parts.dropLast(2).joined(separator: ":"), line: line, column: column)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// A value that takes no part in equality and hashing.
///
/// Marks are wrapped in it, so that a plan with one more comment line is still the same plan.
@propertyWrapper
package struct Unhashed<Value: Sendable>: Hashable, Sendable {
    package var wrappedValue: Value

    package init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    package static func == (left: Unhashed, right: Unhashed) -> Bool { true }
    package func hash(into hasher: inout Hasher) {}
}

extension Unhashed: Codable where Value: Codable {
    package init(from decoder: any Decoder) throws {
        self.init(wrappedValue: try Value(from: decoder))
    }

    package func encode(to encoder: any Encoder) throws {
        try wrappedValue.encode(to: encoder)
    }
}
