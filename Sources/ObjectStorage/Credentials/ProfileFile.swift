/// The INI dialect of the AWS shared files: sections, `key = value`, and indented lines that belong to the key above them.
struct ProfileFile: Sendable {
    /// Section name → key → value; a nested `key` under `parent` is `parent.key`.
    private(set) var sections: [String: [String: String]] = [:]

    /// - Parameter path: for messages only.
    /// - Throws: `ObjectStorageError` naming the line; never its text, which may hold a secret.
    init(_ text: String, path: String) throws {
        var section: String?
        var parent: String?
        for (index, rawLine) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let line = rawLine.trimmed
            if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("[") {
                guard let end = line.firstIndex(of: "]") else { throw Self.broken(path, index, "a section without ]") }
                section = Self.normalized(line[line.index(after: line.startIndex)..<end])
                parent = nil
                sections[section ?? "", default: [:]].merge([:]) { old, _ in old }
                continue
            }
            guard let section else { throw Self.broken(path, index, "a setting before the first [section]") }
            guard let equals = line.firstIndex(of: "=") else { throw Self.broken(path, index, "no =") }
            let key = line[..<equals].trimmed.lowercased()
            let value = Self.withoutComment(line[line.index(after: equals)...].trimmed)
            if rawLine.first?.isWhitespace == true, let parent {
                sections[section]?["\(parent).\(key)"] = value
            } else {
                sections[section]?[key] = value
                parent = value.isEmpty ? key : nil
            }
        }
    }

    init() {}

    /// `[profile x]` and `[x]` name the same profile: the config file writes the first, the credentials file the second.
    private static func normalized(_ header: Substring) -> String {
        let words = header.split(whereSeparator: \.isWhitespace)
        guard words.count > 1, words[0] == "profile" else { return header.trimmed }
        return words.dropFirst().joined(separator: " ").trimmingQuotes
    }

    private static func withoutComment(_ value: String) -> String {
        for mark in [" #", " ;", "\t#", "\t;"] {
            if let range = value.firstRange(of: mark) { return value[..<range.lowerBound].trimmed }
        }
        return value
    }

    private static func broken(_ path: String, _ index: Int, _ what: String) -> ObjectStorageError {
        ObjectStorageError(.badCredentials, "\(path):\(index + 1): \(what)")
    }
}

extension StringProtocol {
    var trimmed: String {
        var slice = self[...]
        while let first = slice.first, first.isWhitespace { slice.removeFirst() }
        while let last = slice.last, last.isWhitespace { slice.removeLast() }
        return String(slice)
    }

    var trimmingQuotes: String {
        guard count >= 2, let first, first == last, first == "\"" || first == "'" else { return String(self) }
        return String(dropFirst().dropLast())
    }
}
