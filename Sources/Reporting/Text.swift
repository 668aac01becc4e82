internal import Foundation

/// ISO 8601 in UTC with milliseconds.
package func timestamp(_ milliseconds: Int64) -> String {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    return formatter.string(from: Date(timeIntervalSince1970: Double(milliseconds) / 1000))
}

/// Milliseconds since 1970 of an ISO 8601 time with or without fractions; nil for anything else.
package func milliseconds(ofTimestamp text: String) -> Int64? {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    if let date = formatter.date(from: text) { return Int64((date.timeIntervalSince1970 * 1000).rounded()) }
    formatter.formatOptions = [.withInternetDateTime]
    return formatter.date(from: text).map { Int64(($0.timeIntervalSince1970 * 1000).rounded()) }
}

/// `2026-11-23 02:14:07Z`: for tables that people read.
package func shortTimestamp(_ milliseconds: Int64) -> String {
    let text = timestamp(milliseconds)
    return text.prefix(10) + " " + text.dropFirst(11).prefix(8) + "Z"
}

/// `02:14:07`, UTC: for lines that scroll by.
package func clockText(_ milliseconds: Int64) -> String {
    String(timestamp(milliseconds).dropFirst(11).prefix(8))
}

package func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

/// Text that a host or a file wrote, safe for a terminal: control characters, and the marks that reorder text on a screen,
/// become visible instead of taking effect.
///
/// - Parameter keepsNewlines: false turns a newline into `\u{a}`, for what must stay on one line.
package func terminalSafe(_ text: String, keepsNewlines: Bool = true) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        let isHarmless = scalar == "\t" || (scalar == "\n" && keepsNewlines)
        switch scalar.value {
        case _ where isHarmless: result.append(scalar)
        case 0..<32, 127, 0x80..<0xA0, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069, 0xFEFF:
            result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
        default: result.append(scalar)
        }
    }
    return String(result)
}

/// On one line, safe for a terminal: newlines become ` / `, so that what a person wrote over several lines stays readable.
package func oneLine(_ text: String) -> String {
    let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
    return terminalSafe(lines.filter { !$0.isEmpty }.joined(separator: " / "), keepsNewlines: false)
        .replacingOccurrences(of: "\t", with: " ")
}

/// `412 B`, `1.4 GB`: powers of 1000, as networks and disks are sold.
package func bytesText(_ bytes: Int64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"]
    var value = Double(bytes), unit = 0
    while abs(value) >= 999.95, unit < units.count - 1 {
        value /= 1000
        unit += 1
    }
    return "\(fixed(value, places: unit == 0 || abs(value) >= 100 ? 0 : 1)) \(units[unit])"
}

/// `0.4 s`, `42 s`, `3 min 12 s`, `2 h 05 min`, `3 d 4 h`.
package func durationText(_ seconds: Double) -> String {
    guard seconds.isFinite else { return "?" }
    if seconds < 0 { return "-" + durationText(-seconds) }
    if seconds < 9.95 { return fixed(seconds, places: 1) + " s" }
    let whole = Int64(seconds.rounded())
    switch whole {
    case ..<60: return "\(whole) s"
    case ..<3600: return "\(whole / 60) min \(padded(whole % 60)) s"
    case ..<86_400: return "\(whole / 3600) h \(padded(whole / 60 % 60)) min"
    default: return "\(whole / 86_400) d \(whole / 3600 % 24) h"
    }
}

private func padded(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }

private func fixed(_ value: Double, places: Int) -> String { String(format: "%.\(places)f", value) }

/// How many columns a terminal takes for `text`: one for each character, two for the wide ones of East Asia and emoji.
package func columns(_ text: String) -> Int {
    text.reduce(0) { $0 + width(of: $1) }
}

private func width(of character: Character) -> Int {
    guard let scalar = character.unicodeScalars.first else { return 0 }
    switch scalar.value {
    case 0x300...0x36F, 0x200B...0x200D: return 0
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60,
        0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
        return 2
    default: return 1
    }
}

/// `text` in exactly `width` columns: filled up with spaces, or cut with an ellipsis.
package func fitted(_ text: String, _ width: Int, alignsRight: Bool = false) -> String {
    let cut = clipped(text, width)
    let fill = String(repeating: " ", count: max(0, width - columns(cut)))
    return alignsRight ? fill + cut : cut + fill
}

/// `text` in at most `width` columns, cut with an ellipsis.
package func clipped(_ text: String, _ width: Int) -> String {
    guard columns(text) > width else { return text }
    guard width > 0 else { return "" }
    var result = "", used = 0
    for character in text {
        let next = Reporting.width(of: character)
        if used + next > width - 1 { break }
        result.append(character)
        used += next
    }
    return result + "…"
}

/// `text` in lines of at most `width` columns, broken at spaces; longer words stand alone.
package func wrapped(_ text: String, _ width: Int) -> [String] {
    var lines: [String] = []
    for paragraph in text.split(separator: "\n", omittingEmptySubsequences: false) {
        var line = ""
        for word in paragraph.split(separator: " ") {
            if !line.isEmpty, columns(line) + 1 + columns(String(word)) > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        lines.append(line)
    }
    return lines
}
