/// The frozen copy of a plan keeps every type and place exactly: one letter names the type, so that 1, 1.0 and "1" stay apart.
extension Located: Codable {
    private enum Key: String, CodingKey, CaseIterable {
        case at, plain, s, i, d, b, n, l, m, o
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let mark = try container.decodeIfPresent(SourceMark.self, forKey: .at) ?? .generated
        let isPlain = try container.decodeIfPresent(Bool.self, forKey: .plain) ?? false
        guard let key = container.allKeys.first(where: { $0 != .at && $0 != .plain }) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: container.codingPath, debugDescription: "a value without a type"))
        }
        self.init(try Self.decodeValue(container, key), at: mark, isPlain: isPlain)
    }

    private static func decodeValue(_ container: KeyedDecodingContainer<Key>, _ key: Key) throws -> PlanValue {
        switch key {
        case .s: return .string(try container.decode(String.self, forKey: key))
        case .i: return .integer(try container.decode(Int.self, forKey: key))
        case .d:
            guard let number = Double(try container.decode(String.self, forKey: key)) else {
                throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "not a number")
            }
            return .double(number)
        case .b: return .boolean(try container.decode(Bool.self, forKey: key))
        case .l: return .list(try container.decode([Located].self, forKey: key))
        case .m: return .map(try container.decode([MapEntry].self, forKey: key))
        case .o: return .opaque(tag: try container.decode(String.self, forKey: key))
        case .n, .at, .plain: return .null
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        if mark != .generated { try container.encode(mark, forKey: .at) }
        if isPlain { try container.encode(true, forKey: .plain) }
        switch value {
        case .string(let text): try container.encode(text, forKey: .s)
        case .integer(let number): try container.encode(number, forKey: .i)
        case .double(let number): try container.encode(String(number), forKey: .d)
        case .boolean(let flag): try container.encode(flag, forKey: .b)
        case .null: try container.encode(true, forKey: .n)
        case .list(let items): try container.encode(items, forKey: .l)
        case .map(let entries): try container.encode(entries, forKey: .m)
        case .opaque(let tag): try container.encode(tag, forKey: .o)
        }
    }
}

extension PlanValue: Codable {
    package init(from decoder: any Decoder) throws { self = try Located(from: decoder).value }
    package func encode(to encoder: any Encoder) throws { try Located(self).encode(to: encoder) }
}

extension PlanValue {
    /// The value as JSON. With `isSorted`, keys are ordered by their bytes: equal values give equal text, whatever the
    /// order in which their keys were written, so that it can be hashed.
    ///
    /// - Parameter indent: nil for one line, else the spaces of each level.
    package func json(indent: Int? = nil, isSorted: Bool = false) -> String {
        var writer = JSONWriter(indent: indent, isSorted: isSorted)
        writer.write(self, level: 0)
        return writer.text
    }

    /// One line of JSON with sorted keys and no places: the form that is hashed.
    package var canonicalJSON: String { json(isSorted: true) }
}

private struct JSONWriter {
    let indent: Int?
    let isSorted: Bool
    var text = ""

    mutating func write(_ value: PlanValue, level: Int) {
        switch value {
        case .string(let string): text += jsonString(string)
        case .integer(let number): text += String(number)
        // JSON knows no infinities; none can be written in a plan either.
        case .double(let number): text += number.isFinite ? String(number) : "null"
        case .boolean(let flag): text += flag ? "true" : "false"
        case .null: text += "null"
        case .list(let items):
            text += "["
            for (index, item) in items.enumerated() {
                startItem(index, level)
                write(item.value, level: level + 1)
            }
            end("]", isEmpty: items.isEmpty, level)
        case .map(let entries):
            text += "{"
            let ordered = isSorted ? entries.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } : entries
            for (index, entry) in ordered.enumerated() {
                startItem(index, level)
                text += jsonString(entry.key) + (indent == nil ? ":" : ": ")
                write(entry.value.value, level: level + 1)
            }
            end("}", isEmpty: entries.isEmpty, level)
        case .opaque(let tag):
            write(.object(["$opaque": .string(tag)]), level: level)
        }
    }

    private mutating func startItem(_ index: Int, _ level: Int) {
        if index > 0 { text += "," }
        newLine(level + 1)
    }

    private mutating func end(_ bracket: String, isEmpty: Bool, _ level: Int) {
        if !isEmpty { newLine(level) }
        text += bracket
    }

    private mutating func newLine(_ level: Int) {
        guard let indent else { return }
        text += "\n" + String(repeating: " ", count: indent * level)
    }
}

/// A JSON string literal; valid as a double-quoted YAML scalar too.
package func jsonString(_ string: String) -> String {
    var result = "\""
    for scalar in string.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        default:
            if isControl(scalar) {
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
    return result + "\""
}
