/// A small strict reader for the few XML answers of S3: elements, text, character and the five named references, comments,
/// CDATA. Document types are refused, so nothing expands; depth and size are bounded.
struct XMLElement: Sendable, Equatable {
    /// Without a namespace prefix.
    let name: String
    private(set) var text = ""
    private(set) var children: [XMLElement] = []

    subscript(_ name: String) -> String? { children.first { $0.name == name }?.text }

    func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }

    struct Malformed: Error, Equatable {
        let reason: String
        let offset: Int
    }

    static func parse(_ bytes: [UInt8]) throws(Malformed) -> XMLElement {
        guard let checked = String(validating: bytes, as: UTF8.self) else { throw Malformed(reason: "not UTF-8", offset: 0) }
        var reader = Reader(bytes: Array(checked.utf8))
        return try reader.document()
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0
        static let depthLimit = 16

        init(bytes: [UInt8]) {
            self.bytes = bytes
            if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        }

        mutating func document() throws(Malformed) -> XMLElement {
            try skipMisc()
            guard peek("<") else { throw broken("no element") }
            let root = try element(depth: 0)
            try skipMisc()
            guard position == bytes.count else { throw broken("something follows the last element") }
            return root
        }

        /// White space, comments and processing instructions around the root.
        private mutating func skipMisc() throws(Malformed) {
            while true {
                skipSpace()
                if accept("<?") {
                    try skip(past: "?>")
                } else if accept("<!--") {
                    try skip(past: "-->")
                } else {
                    return
                }
            }
        }

        private mutating func element(depth: Int) throws(Malformed) -> XMLElement {
            guard depth < Self.depthLimit else { throw broken("elements are nested too deeply") }
            guard accept("<") else { throw broken("no element") }
            let fullName = try takeName()
            var element = XMLElement(name: Self.local(fullName))
            try skipAttributes()
            if accept("/>") { return element }
            guard accept(">") else { throw broken("a tag is not closed") }
            var text: [UInt8] = []
            while true {
                if accept("</") {
                    guard try takeName() == fullName else { throw broken("an end tag does not match") }
                    skipSpace()
                    guard accept(">") else { throw broken("a tag is not closed") }
                    element.text = String(decoding: text, as: UTF8.self)
                    return element
                } else if accept("<!--") {
                    try skip(past: "-->")
                } else if accept("<![CDATA[") {
                    let start = position
                    try skip(past: "]]>")
                    text += bytes[start..<position - 3]
                } else if accept("<?") {
                    try skip(past: "?>")
                } else if peek("<!") {
                    throw broken("a declaration inside an element")
                } else if peek("<") {
                    element.children.append(try self.element(depth: depth + 1))
                } else {
                    try takeText(into: &text)
                }
            }
        }

        private mutating func takeText(into text: inout [UInt8]) throws(Malformed) {
            guard position < bytes.count else { throw broken("it ends inside an element") }
            guard bytes[position] == UInt8(ascii: "&") else {
                text.append(bytes[position])
                position += 1
                return
            }
            position += 1
            guard let end = bytes[position...].prefix(12).firstIndex(of: UInt8(ascii: ";")) else {
                throw broken("a reference without ;")
            }
            let reference = String(decoding: bytes[position..<end], as: UTF8.self)
            position = end + 1
            switch reference {
            case "lt": text.append(UInt8(ascii: "<"))
            case "gt": text.append(UInt8(ascii: ">"))
            case "amp": text.append(UInt8(ascii: "&"))
            case "quot": text.append(UInt8(ascii: "\""))
            case "apos": text.append(UInt8(ascii: "'"))
            default:
                guard reference.hasPrefix("#") else { throw broken("an unknown reference") }
                let digits = reference.dropFirst()
                let code = digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
                guard let scalar = code.flatMap(Unicode.Scalar.init) else { throw broken("an impossible character") }
                text += Array(String(Character(scalar)).utf8)
            }
        }

        /// Attributes carry nothing that is needed; they must still be well formed.
        private mutating func skipAttributes() throws(Malformed) {
            skipSpace()
            while position < bytes.count, !peek(">"), !peek("/>") {
                _ = try takeName()
                skipSpace()
                guard accept("=") else { throw broken("an attribute without a value") }
                skipSpace()
                guard let quote = ["\"", "'"].first(where: peek) else { throw broken("an attribute without quotes") }
                position += 1
                try skip(past: quote)
                skipSpace()
            }
        }

        private mutating func takeName() throws(Malformed) -> String {
            let start = position
            while position < bytes.count {
                let byte = bytes[position]
                let isName = byte >= 0x80 || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
                    || byte == UInt8(ascii: ".") || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
                    || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
                guard isName else { break }
                position += 1
            }
            guard position > start else { throw broken("a name is missing") }
            return String(decoding: bytes[start..<position], as: UTF8.self)
        }

        private static func local(_ name: String) -> String {
            name.firstIndex(of: ":").map { String(name[name.index(after: $0)...]) } ?? name
        }

        private mutating func skipSpace() {
            while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
        }

        private mutating func skip(past mark: String) throws(Malformed) {
            while position < bytes.count {
                if accept(mark) { return }
                position += 1
            }
            throw broken("it ends before \(mark)")
        }

        private func peek(_ mark: String) -> Bool { bytes[position...].starts(with: mark.utf8) }

        private mutating func accept(_ mark: String) -> Bool {
            guard peek(mark) else { return false }
            position += mark.utf8.count
            return true
        }

        private func broken(_ reason: String) -> Malformed { Malformed(reason: reason, offset: position) }
    }
}
