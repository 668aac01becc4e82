internal import PostgreSQL

/// The text of a timestamptz, which every session writes in its own zone.
enum Moment {
    /// Written in UTC, or one that has no zone (`infinity`, NULL).
    static func isUTC(_ text: UnsafeRawBufferPointer) -> Bool {
        guard text.count > 3 else { return true }
        let end = text.count
        return (text[end - 1] == zero && text[end - 2] == zero && text[end - 3] == plus) || !text.contains { $0 == colon }
    }

    /// Appends the text as a session in UTC would write it. What is no plain moment after Christ is appended as it is: it will be
    /// found different, and then looked at by the server.
    static func append(_ text: UnsafeRawBufferPointer, to line: inout [UInt8]) {
        guard !isUTC(text), let moment = Parts(text) else { return line.append(contentsOf: text) }
        let total = SQLMoments.days(moment.year, moment.month, moment.day) * 86_400 + moment.clock - moment.zone
        let day = total >= 0 ? total / 86_400 : (total - 86_399) / 86_400
        let date = SQLMoments.date(day), seconds = total - day * 86_400
        guard date.year > 0 else { return line.append(contentsOf: text) }
        append(date.year, 4, &line)
        for (separator, number) in [(dash, date.month), (dash, date.day), (space, seconds / 3600), (colon, seconds / 60 % 60), (colon, seconds % 60)] {
            line.append(separator)
            append(number, 2, &line)
        }
        line.append(contentsOf: moment.fraction)
        line += [plus, zero, zero]
    }

    private static let zero = UInt8(ascii: "0"), plus = UInt8(ascii: "+"), dash = UInt8(ascii: "-"), colon = UInt8(ascii: ":")
    private static let space = UInt8(ascii: " "), dot = UInt8(ascii: ".")

    private static func append(_ number: Int, _ digits: Int, _ line: inout [UInt8]) {
        let text = Array(String(number).utf8)
        line += [UInt8](repeating: zero, count: max(0, digits - text.count)) + text
    }

    /// `YYYY-MM-DD hh:mm:ss[.ffffff]±hh[:mm[:ss]]`.
    private struct Parts {
        let year, month, day, clock, zone: Int
        let fraction: Slice<UnsafeRawBufferPointer>

        init?(_ text: UnsafeRawBufferPointer) {
            var at = 0
            func number() -> Int? {
                var value = 0
                let start = at
                while at < text.count, at - start < 7, (48...57).contains(text[at]) {
                    value = value * 10 + Int(text[at] - 48)
                    at += 1
                }
                return at > start ? value : nil
            }
            func skip(_ byte: UInt8) -> Bool {
                guard at < text.count, text[at] == byte else { return false }
                at += 1
                return true
            }
            guard let year = number(), skip(dash), let month = number(), skip(dash), let day = number(), skip(space), let hour = number(),
                skip(colon), let minute = number(), skip(colon), let second = number()
            else { return nil }
            let beginning = at
            if skip(dot) { _ = number() }
            fraction = text[beginning..<at]
            guard let sign = skip(plus) ? 1 : skip(dash) ? -1 : nil, var offset = number().map({ $0 * 3600 }) else { return nil }
            if skip(colon) { offset += (number() ?? 0) * 60 }
            if skip(colon) { offset += number() ?? 0 }
            guard at == text.count else { return nil }
            (self.year, self.month, self.day, clock, zone) = (year, month, day, (hour * 60 + minute) * 60 + second, sign * offset)
        }
    }
}
