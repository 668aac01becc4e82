package import PlanModel

/// Writes a value as YAML that reads back as the same value, here and by YAML 1.1 readers.
package func writeYAML(_ value: PlanValue) -> String {
    var writer = YAMLWriter()
    switch value {
    case .map(let entries) where !entries.isEmpty: writer.map(entries, level: 0, isFirstInline: false)
    case .list(let items) where !items.isEmpty: writer.list(items, level: 0, isFirstInline: false)
    default: writer.text += writer.scalar(value) + "\n"
    }
    return writer.text
}

private struct YAMLWriter {
    var text = ""

    mutating func map(_ entries: [MapEntry], level: Int, isFirstInline: Bool) {
        for (index, entry) in entries.enumerated() {
            if index > 0 || !isFirstInline { text += indentation(level) }
            text += key(entry.key) + ":"
            child(entry.value.value, level: level)
        }
    }

    mutating func list(_ items: [Located], level: Int, isFirstInline: Bool) {
        for (index, item) in items.enumerated() {
            if index > 0 || !isFirstInline { text += indentation(level) }
            text += "-"
            switch item.value {
            case .map(let entries) where !entries.isEmpty:
                text += " "
                map(entries, level: level + 1, isFirstInline: true)
            case .list(let inner) where !inner.isEmpty:
                text += " "
                list(inner, level: level + 1, isFirstInline: true)
            default: leaf(item.value, level: level)
            }
        }
    }

    private mutating func child(_ value: PlanValue, level: Int) {
        switch value {
        case .map(let entries) where !entries.isEmpty:
            text += "\n"
            map(entries, level: level + 1, isFirstInline: false)
        case .list(let items) where !items.isEmpty:
            text += "\n"
            list(items, level: level + 1, isFirstInline: false)
        default: leaf(value, level: level)
        }
    }

    private mutating func leaf(_ value: PlanValue, level: Int) {
        guard case .string(let string) = value, let lines = Self.literalLines(string) else {
            text += " " + scalar(value) + "\n"
            return
        }
        text += string.hasSuffix("\n") ? " |\n" : " |-\n"
        for line in lines { text += line.isEmpty ? "\n" : indentation(level + 1) + line + "\n" }
    }

    private func indentation(_ level: Int) -> String { String(repeating: "  ", count: level) }

    func scalar(_ value: PlanValue) -> String {
        switch value {
        case .string(let string): return Self.isPlain(string) ? string : jsonString(string)
        case .integer(let number): return String(number)
        case .double(let number): return String(number)
        case .boolean(let flag): return flag ? "true" : "false"
        case .null: return "null"
        case .list: return "[]"
        case .map: return "{}"
        case .opaque(let tag): return "\(tag.hasPrefix("!") ? tag : "!<\(tag)>") \"\""
        }
    }

    private func key(_ key: String) -> String { Self.isPlain(key) && key != "<<" ? key : jsonString(key) }

    /// Words that no reader takes for anything but text, and no syntax.
    private static func isPlain(_ text: String) -> Bool {
        guard let first = text.utf8.first, (97...122).contains(first) || (65...90).contains(first) || first == 47,
            text.utf8.count <= 120
        else { return false }
        let typed: Set<String> = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
        guard !typed.contains(text.lowercased()), plainValue(text) == .string(text) else { return false }
        let isSafe = text.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
                || " -_./@+".utf8.contains(byte)
        }
        return isSafe && text.utf8.last != UInt8(ascii: " ")
    }

    /// The lines of a text that a literal block can hold: several, ordinary characters, no space at its edges.
    private static func literalLines(_ text: String) -> [Substring]? {
        let scalars = text.unicodeScalars
        guard scalars.dropLast().contains("\n"), !text.hasSuffix("\n\n"), let first = scalars.first, first != " ",
            first != "\n", first != "\t",
            !scalars.contains(where: { $0 != "\n" && isControl($0) })
        else { return nil }
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map {
            Substring($0)
        }
        if text.hasSuffix("\n") { lines.removeLast() }
        return lines.contains { $0.utf8.last == UInt8(ascii: " ") } ? nil : lines
    }
}
