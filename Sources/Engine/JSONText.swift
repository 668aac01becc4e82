internal import RunCore

/// Writes values as JSON without building a tree of them first, which is most of what Foundation's encoder takes for an event.
///
/// Keys of a type stand in the order in which it encodes them, those of a JSON object sorted, so that the same value gives the same
/// text. Reads back with any decoder. Not for types that JSON has no form for and Foundation invents one (`Data`, `Date`, `URL`).
enum JSONText {
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let text = Text()
        try text.append(value)
        text.close(to: 0)
        return text.bytes
    }
}

/// The text so far, and the objects and arrays that are open in it. A container is closed when one around it goes on.
private final class Text {
    private(set) var bytes: [UInt8] = []
    private var open: [(closing: UInt8, isEmpty: Bool)] = []

    init() { bytes.reserveCapacity(512) }

    /// - Returns: the depth under which the container's entries are written.
    func begin(_ opening: UInt8, _ closing: UInt8) -> Int {
        bytes.append(opening)
        open.append((closing, true))
        return open.count
    }

    func entry(_ depth: Int) {
        close(to: depth)
        if !open[depth - 1].isEmpty { bytes.append(UInt8(ascii: ",")) }
        open[depth - 1].isEmpty = false
    }

    func key(_ name: String, _ depth: Int) {
        entry(depth)
        append(name)
        bytes.append(UInt8(ascii: ":"))
    }

    func close(to depth: Int) {
        precondition(open.count >= depth, "an entry was written to a container that was closed already")
        while open.count > depth { bytes.append(open.removeLast().closing) }
    }

    func append<Value: Encodable>(_ value: Value) throws {
        if Value.self == String.self {
            append(value as! String)
        } else if Value.self == JSONValue.self {
            try append(value as! JSONValue)
        } else if Value.self == [String: JSONValue].self {
            try append(value as! [String: JSONValue])
        } else {
            let depth = open.count, start = bytes.count
            try value.encode(to: TextEncoder(text: self))
            close(to: depth)
            if bytes.count == start { raw("{}") }
        }
    }

    func append(_ value: JSONValue) throws {
        switch value {
        case .null: raw("null")
        case .bool(let flag): raw(flag ? "true" : "false")
        case .integer(let number): raw(String(number))
        case .number(let number): try append(number)
        case .string(let text): append(text)
        case .array(let items):
            let depth = begin(UInt8(ascii: "["), UInt8(ascii: "]"))
            for item in items {
                entry(depth)
                try append(item)
            }
            close(to: depth - 1)
        case .object(let members): try append(members)
        }
    }

    private func append(_ members: [String: JSONValue]) throws {
        let depth = begin(UInt8(ascii: "{"), UInt8(ascii: "}"))
        for (name, value) in members.count > 1 ? members.sorted(by: { $0.key < $1.key }) : Array(members) {
            key(name, depth)
            try append(value)
        }
        close(to: depth - 1)
    }

    func append(_ number: Double) throws {
        guard number.isFinite else {
            throw EncodingError.invalidValue(number, .init(codingPath: [], debugDescription: "JSON has no \(number)"))
        }
        raw(number.description)
    }

    func append(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case UInt8(ascii: "\n"): raw("\\n")
            case UInt8(ascii: "\r"): raw("\\r")
            case UInt8(ascii: "\t"): raw("\\t")
            case 0..<0x20: raw("\\u00" + (byte < 0x10 ? "0" : "") + String(byte, radix: 16))
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }
}

private struct TextEncoder: Encoder {
    let text: Text
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(Keyed<Key>(text))
    }
    func unkeyedContainer() -> any UnkeyedEncodingContainer { Unkeyed(text) }
    func singleValueContainer() -> any SingleValueEncodingContainer { Single(text: text) }
}

private struct Keyed<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let text: Text
    let depth: Int
    var codingPath: [any CodingKey] { [] }

    init(_ text: Text) {
        self.text = text
        depth = text.begin(UInt8(ascii: "{"), UInt8(ascii: "}"))
    }

    private func write(_ key: Key, _ value: String) {
        text.key(key.stringValue, depth)
        text.raw(value)
    }

    mutating func encodeNil(forKey key: Key) { write(key, "null") }
    mutating func encode(_ value: Bool, forKey key: Key) { write(key, value ? "true" : "false") }
    mutating func encode(_ value: Int, forKey key: Key) { write(key, String(value)) }
    mutating func encode(_ value: Int64, forKey key: Key) { write(key, String(value)) }
    mutating func encode(_ value: String, forKey key: Key) {
        text.key(key.stringValue, depth)
        text.append(value)
    }
    mutating func encode(_ value: Double, forKey key: Key) throws {
        text.key(key.stringValue, depth)
        try text.append(value)
    }
    mutating func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
        text.key(key.stringValue, depth)
        try text.append(value)
    }
    mutating func nestedContainer<NestedKey: CodingKey>(keyedBy type: NestedKey.Type, forKey key: Key) -> KeyedEncodingContainer<NestedKey> {
        text.key(key.stringValue, depth)
        return KeyedEncodingContainer(Keyed<NestedKey>(text))
    }
    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        text.key(key.stringValue, depth)
        return Unkeyed(text)
    }
    mutating func superEncoder() -> any Encoder { preconditionFailure("classes are not written as JSON here") }
    mutating func superEncoder(forKey key: Key) -> any Encoder { superEncoder() }
}

private struct Unkeyed: UnkeyedEncodingContainer {
    let text: Text
    let depth: Int
    private(set) var count = 0
    var codingPath: [any CodingKey] { [] }

    init(_ text: Text) {
        self.text = text
        depth = text.begin(UInt8(ascii: "["), UInt8(ascii: "]"))
    }

    private mutating func next() {
        text.entry(depth)
        count += 1
    }

    mutating func encodeNil() {
        next()
        text.raw("null")
    }
    mutating func encode<Value: Encodable>(_ value: Value) throws {
        next()
        try text.append(value)
    }
    mutating func nestedContainer<NestedKey: CodingKey>(keyedBy type: NestedKey.Type) -> KeyedEncodingContainer<NestedKey> {
        next()
        return KeyedEncodingContainer(Keyed<NestedKey>(text))
    }
    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        next()
        return Unkeyed(text)
    }
    mutating func superEncoder() -> any Encoder { preconditionFailure("classes are not written as JSON here") }
}

private struct Single: SingleValueEncodingContainer {
    let text: Text
    var codingPath: [any CodingKey] { [] }

    mutating func encodeNil() { text.raw("null") }
    mutating func encode(_ value: Bool) { text.raw(value ? "true" : "false") }
    mutating func encode(_ value: String) { text.append(value) }
    mutating func encode(_ value: Double) throws { try text.append(value) }
    mutating func encode(_ value: Float) throws { try text.append(Double(value)) }
    mutating func encode(_ value: Int) { text.raw(String(value)) }
    mutating func encode(_ value: Int8) { text.raw(String(value)) }
    mutating func encode(_ value: Int16) { text.raw(String(value)) }
    mutating func encode(_ value: Int32) { text.raw(String(value)) }
    mutating func encode(_ value: Int64) { text.raw(String(value)) }
    mutating func encode(_ value: UInt) { text.raw(String(value)) }
    mutating func encode(_ value: UInt8) { text.raw(String(value)) }
    mutating func encode(_ value: UInt16) { text.raw(String(value)) }
    mutating func encode(_ value: UInt32) { text.raw(String(value)) }
    mutating func encode(_ value: UInt64) { text.raw(String(value)) }
    mutating func encode<Value: Encodable>(_ value: Value) throws { try text.append(value) }
}
