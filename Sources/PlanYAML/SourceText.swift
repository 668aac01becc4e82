package import PlanModel

/// The bytes of a file that a person wrote, checked to be UTF-8 text, with its lines.
package struct SourceText: Sendable {
    /// The largest plan or inventory that is read.
    package static let mostBytes = 2 * 1024 * 1024

    package let file: String
    let bytes: [UInt8]
    /// Where each line begins.
    private let lineStarts: [Int]

    /// - Parameter file: as it is shown in messages.
    package init(_ bytes: [UInt8], file: String) {
        self.bytes = bytes
        self.file = file
        var starts = [0]
        var index = 0
        while index < bytes.count {
            let width = Self.breakWidth(bytes, at: index)
            index += max(width, 1)
            if width > 0 { starts.append(index) }
        }
        lineStarts = starts
    }

    /// The length of the line break at `index`, 0 where there is none. As libyaml counts: LF, CR, CR LF, NEL, LS, PS.
    private static func breakWidth(_ bytes: [UInt8], at index: Int) -> Int {
        switch bytes[index] {
        case 0x0A: 1
        case 0x0D: index + 1 < bytes.count && bytes[index + 1] == 0x0A ? 2 : 1
        case 0xC2: index + 1 < bytes.count && bytes[index + 1] == 0x85 ? 2 : 0
        case 0xE2: index + 2 < bytes.count && bytes[index + 1] == 0x80 && (bytes[index + 2] & 0xFE) == 0xA8 ? 3 : 0
        default: 0
        }
    }

    /// The place of a byte.
    package func mark(atByte offset: Int) -> SourceMark {
        var low = 0
        var high = lineStarts.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if lineStarts[middle] <= offset { low = middle } else { high = middle - 1 }
        }
        let column = bytes[lineStarts[low]..<min(offset, bytes.count)].count { $0 & 0xC0 != 0x80 }
        return SourceMark(file: file, line: low + 1, column: column + 1)
    }

    /// One line without its break; nil beyond the end. Invalid bytes show as U+FFFD.
    package func line(_ number: Int) -> String? {
        guard lineStarts.indices.contains(number - 1) else { return nil }
        let end = number < lineStarts.count ? lineStarts[number] : bytes.count
        var text = String(decoding: bytes[lineStarts[number - 1]..<end], as: UTF8.self).unicodeScalars
        while let last = text.last, ["\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"].contains(last) { text.removeLast() }
        return String(text)
    }

    /// The line of `mark` with a caret under its column. Long lines are cut around it; nothing in it can steer a terminal.
    package func excerpt(at mark: SourceMark) -> String? {
        guard mark.file == file, let line = line(mark.line) else { return nil }
        let scalars = Array(line.unicodeScalars)
        let window = 100
        let start = max(0, min(mark.column - 1 - window / 2, scalars.count - window))
        let end = min(scalars.count, start + window)
        let shown = scalars[start..<end].map { isControl($0) ? $0 == "\t" ? " " : "\u{FFFD}" : $0 }
        let prefix = start > 0 ? "…" : ""
        let gutter = String(repeating: " ", count: max(0, 5 - String(mark.line).count)) + "\(mark.line) | "
        let body = prefix + String(String.UnicodeScalarView(shown)) + (end < scalars.count ? "…" : "")
        let caret =
            String(repeating: " ", count: 6) + "| "
            + String(repeating: " ", count: prefix.count + max(0, min(mark.column - 1, scalars.count) - start)) + "^"
        return gutter + body + "\n" + caret
    }

    /// True where a line looks as if a secret stood in it, whatever the finding is about.
    private static func isSensitive(_ line: String) -> Bool {
        let line = line.lowercased()
        return ["password", "passwd", "passphrase", "_pass", "token", "api_key", "apikey", "private key"].contains(
            where: line.contains)
    }

    /// Adds the excerpt to every finding of this file that may show one.
    package func explain(_ diagnostics: [Diagnostic]) -> [Diagnostic] {
        diagnostics.map { diagnostic in
            guard !diagnostic.hidesSource, let line = line(diagnostic.mark.line), !Self.isSensitive(line) else {
                return diagnostic
            }
            var explained = diagnostic
            explained.excerpt = excerpt(at: diagnostic.mark)
            return explained
        }
    }

    /// What makes these bytes no text at all: too many, not UTF-8, or a control character.
    func problem() -> Diagnostic? {
        let start = SourceMark(file: file, line: 1, column: 1)
        if bytes.count > Self.mostBytes {
            return Diagnostic(
                at: start, code: "yaml.too-large",
                "the file has \(bytes.count) bytes or more; \(Self.mostBytes) are the limit",
                hints: ["is this really a plan or an inventory?"])
        }
        if let offset = firstInvalidByte() {
            let hex = String(bytes[offset], radix: 16, uppercase: true)
            let hints =
                bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
                ? ["this looks like UTF-16; save the file as UTF-8"] : ["save the file as UTF-8"]
            return Diagnostic(
                at: mark(atByte: offset), code: "yaml.not-utf8", "the byte at offset \(offset) (0x\(hex)) is not UTF-8",
                hints: hints)
        }
        guard
            let offset = bytes.firstIndex(where: { $0 < 0x20 && $0 != 0x09 && $0 != 0x0A && $0 != 0x0D || $0 == 0x7F })
        else { return nil }
        let name =
            bytes[offset] == 0
            ? "a NUL character"
            : "the control character U+00\(bytes[offset] < 16 ? "0" : "")\(String(bytes[offset], radix: 16, uppercase: true))"
        return Diagnostic(
            at: mark(atByte: offset), code: "yaml.control-character", "\(name) at offset \(offset)",
            hints: [#"in a quoted text it can be written as an escape, such as "\x1b""#])
    }

    private func firstInvalidByte() -> Int? {
        if String(validating: bytes, as: UTF8.self) != nil { return nil }
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var offset = 0
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let encoded): offset += encoded.count
            case .emptyInput, .error: return min(offset, max(0, bytes.count - 1))
            }
        }
    }
}
