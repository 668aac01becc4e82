/// Writes tar archives byte by byte, as no sane program would.
struct TarBuilder {
    private(set) var bytes: [UInt8] = []

    /// An archive of these entries with its end mark.
    static func archive(_ entries: [Entry]) -> [UInt8] {
        var builder = TarBuilder()
        for entry in entries { builder.add(entry) }
        return builder.bytes + [UInt8](repeating: 0, count: 1024)
    }

    struct Entry {
        var name: [UInt8]
        var type: Character = "0"
        var data: [UInt8] = []
        var mode = 0o644
        var target: [UInt8] = []
        /// What the header says; without it the data's own.
        var size: Int?
        var user = ""
        var userNumber = 0

        static func file(_ name: String, _ text: String = "x", mode: Int = 0o644) -> Entry { Entry(name: Array(name.utf8), data: Array(text.utf8), mode: mode) }
        static func folder(_ name: String, mode: Int = 0o755) -> Entry { Entry(name: Array(name.utf8), type: "5", mode: mode) }
        static func link(_ name: String, to target: String) -> Entry { Entry(name: Array(name.utf8), type: "2", target: Array(target.utf8)) }
        static func hardLink(_ name: String, to target: String) -> Entry { Entry(name: Array(name.utf8), type: "1", target: Array(target.utf8)) }
        static func special(_ name: String, _ type: Character) -> Entry { Entry(name: Array(name.utf8), type: type) }

        /// An extended header of pax for the entry behind it.
        static func pax(_ records: [(String, String)], type: Character = "x") -> Entry {
            Entry(name: Array("pax".utf8), type: type, data: records.flatMap { key, value -> [UInt8] in
                let rest = " \(key)=\(value)\n"
                var length = rest.utf8.count
                while "\(length)".utf8.count + rest.utf8.count != length { length = "\(length)".utf8.count + rest.utf8.count }
                return Array("\(length)\(rest)".utf8)
            })
        }
    }

    mutating func add(_ entry: Entry) {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ field: [UInt8], _ at: Int, _ length: Int) { header.replaceSubrange(at..<at + min(field.count, length), with: field.prefix(length)) }
        func octal(_ value: Int, _ digits: Int) -> [UInt8] {
            let text = String(value, radix: 8)
            return Array((String(repeating: "0", count: max(0, digits - text.count)) + text).utf8) + [0]
        }
        put(entry.name, 0, 100)
        put(octal(entry.mode, 7), 100, 8)
        put(octal(entry.userNumber, 7), 108, 8)
        put(octal(0, 7), 116, 8)
        put(octal(entry.size ?? entry.data.count, 11), 124, 12)
        put(octal(1_700_000_000, 11), 136, 12)
        put(Array("        ".utf8), 148, 8)
        put(Array(String(entry.type).utf8), 156, 1)
        put(entry.target, 157, 100)
        put(Array("ustar\u{0}00".utf8), 257, 8)
        put(Array(entry.user.utf8), 265, 32)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + [UInt8(ascii: " ")], 148, 8)
        bytes += header + entry.data + [UInt8](repeating: 0, count: (512 - entry.data.count % 512) % 512)
    }
}
