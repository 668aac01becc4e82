/// Lengths of time and sizes as people write them: `90s`, `5m`, `1h30m`, `64MB`.
package enum Quantity {
    private static let timeUnits: [(name: String, milliseconds: Int64)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]
    /// Powers of 1024, as in PostgreSQL's settings and the `ls -h` of its users.
    private static let byteUnits: [(name: String, bytes: Int64)] = [
        ("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1),
    ]
    /// No wait in a recovery is longer than this; a larger number is a slip of the finger.
    package static let longestDays: Int64 = 365

    /// `1h30m`, `5m`, `30s`, `250ms`, `2d`: units in falling order, whole numbers, no sign and no spaces.
    package static func duration(_ text: String) -> Duration? {
        var rest = text[...]
        var total: Int64 = 0
        var nextUnit = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let letters = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(letters.count)
            guard let number = Int64(digits),
                let unit = timeUnits.indices.first(where: { timeUnits[$0].name == letters }), unit >= nextUnit
            else { return nil }
            nextUnit = unit + 1
            let (part, overflow) = number.multipliedReportingOverflow(by: timeUnits[unit].milliseconds)
            guard !overflow, part <= longestDays * 86_400_000 else { return nil }
            total += part
        }
        return total <= longestDays * 86_400_000 ? .milliseconds(total) : nil
    }

    /// The shortest text that `duration` reads back as the same length; finer than a millisecond is cut off.
    package static func text(_ duration: Duration) -> String {
        let parts = duration.components
        var rest = parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000
        guard rest > 0 else { return "0s" }
        var result = ""
        for unit in timeUnits where rest >= unit.milliseconds {
            result += "\(rest / unit.milliseconds)\(unit.name)"
            rest %= unit.milliseconds
        }
        return result
    }

    /// `64MB`, `1.5GB` is refused: whole numbers of B, kB, MB, GB, TB (powers of 1024; `KiB` and the like are the same).
    package static func bytes(_ text: String) -> Int64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let letters = text.dropFirst(digits.count).lowercased()
        guard let number = Int64(digits),
            let unit = byteUnits.first(where: {
                let name = $0.name.lowercased()
                return letters == name || (name.count == 2 && letters == "\(name.prefix(1))ib")
            })
        else { return nil }
        let (total, overflow) = number.multipliedReportingOverflow(by: unit.bytes)
        return overflow ? nil : total
    }
}

/// A moment, read from RFC 3339 text with its offset: `2026-11-23T02:14:07Z`, `2026-11-23 02:14+09:00`.
package struct PlanTime: Hashable, Sendable, Codable, Comparable {
    /// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
    package let secondsSinceEpoch: Int64

    package init(secondsSinceEpoch: Int64) { self.secondsSinceEpoch = secondsSinceEpoch }

    /// - Returns: nil for another form, a day that does not exist, or a time without its offset from UTC.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= bytes.count else { return nil }
            var value = 0
            for byte in bytes[range] {
                guard (48...57).contains(byte) else { return nil }
                value = value * 10 + Int(byte - 48)
            }
            return value
        }
        func isByte(_ index: Int, _ allowed: String) -> Bool {
            index < bytes.count && allowed.utf8.contains(bytes[index])
        }
        guard let year = number(0..<4), isByte(4, "-"), let month = number(5..<7), isByte(7, "-"),
            let day = number(8..<10),
            isByte(10, "Tt "), let hour = number(11..<13), isByte(13, ":"), let minute = number(14..<16)
        else { return nil }
        var index = 16
        var second = 0
        if isByte(16, ":") {
            guard let value = number(17..<19) else { return nil }
            second = value
            index = 19
        }
        var offsetMinutes = 0
        if isByte(index, "Zz") {
            index += 1
        } else {
            guard isByte(index, "+-"), let hours = number(index + 1..<index + 3), isByte(index + 3, ":"),
                let minutes = number(index + 4..<index + 6), hours < 24, minutes < 60
            else { return nil }
            offsetMinutes = (hours * 60 + minutes) * (bytes[index] == UInt8(ascii: "-") ? -1 : 1)
            index += 6
        }
        guard index == bytes.count, year >= 1970, (1...12).contains(month), day >= 1,
            day <= Self.days(inMonth: month, of: year), hour < 24, minute < 60, second < 60
        else { return nil }
        let days = Self.daysSinceEpoch(year, month, day)
        secondsSinceEpoch = Int64(days * 86_400 + hour * 3600 + (minute - offsetMinutes) * 60 + second)
    }

    package static func < (left: PlanTime, right: PlanTime) -> Bool { left.secondsSinceEpoch < right.secondsSinceEpoch }

    private static func days(inMonth month: Int, of year: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days of the proleptic Gregorian calendar, counting years from March so that the leap day comes last.
    private static func daysSinceEpoch(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        return shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
    }
}
