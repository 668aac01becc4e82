internal import Foundation

func formatTimestamp(_ milliseconds: Int64) -> String {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    return formatter.string(from: Date(timeIntervalSince1970: Double(milliseconds) / 1000))
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

/// Text that a host or a file wrote, safe for a terminal: control characters become visible instead of taking effect.
package func terminalSafe(_ text: String, keepsNewlines: Bool = true) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        let isHarmless = scalar == "\t" || (scalar == "\n" && keepsNewlines)
        switch scalar.value {
        case _ where isHarmless: result.append(scalar)
        case 0..<32, 127, 0x80..<0xA0, 0x202A...0x202E, 0x2066...0x2069:
            result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
        default: result.append(scalar)
        }
    }
    return String(result)
}

/// `412 B`, `1.4 GB`: powers of 1000, as networks and disks are sold.
package func bytesText(_ bytes: Int64) -> String {
    scaled(Double(bytes), ["B", "kB", "MB", "GB", "TB"])
}

/// `2,400,000`.
package func countText(_ count: Int64) -> String {
    let digits = String(count.magnitude)
    var groups: [Substring] = []
    var rest = digits[...]
    while rest.count > 3 {
        groups.insert(rest.suffix(3), at: 0)
        rest = rest.dropLast(3)
    }
    groups.insert(rest, at: 0)
    return (count < 0 ? "-" : "") + groups.joined(separator: ",")
}

/// `0.4 s`, `42 s`, `3 min 12 s`, `2 h 05 min`.
package func durationText(_ seconds: Double) -> String {
    switch seconds {
    case ..<10: return String(format: "%.1f s", seconds)
    case ..<60: return String(format: "%.0f s", seconds)
    case ..<3600: return String(format: "%d min %02d s", Int(seconds) / 60, Int(seconds) % 60)
    default: return String(format: "%d h %02d min", Int(seconds) / 3600, Int(seconds) / 60 % 60)
    }
}

private func scaled(_ value: Double, _ units: [String]) -> String {
    var value = value, unit = 0
    while value >= 1000, unit < units.count - 1 {
        value /= 1000
        unit += 1
    }
    return unit == 0 || value >= 100 ? String(format: "%.0f %@", value, units[unit]) : String(format: "%.1f %@", value, units[unit])
}
