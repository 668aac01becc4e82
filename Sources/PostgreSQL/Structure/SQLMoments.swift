/// Moments in definitions (bounds of partitions, predicates, defaults), whose text depends on the TimeZone of the session that
/// dumped them.
package enum SQLMoments {
    /// The text with each quoted timestamp that has an offset written in UTC. Others are left alone.
    static func inUTC(_ text: String) -> String {
        guard text.contains("'") else { return text }
        let pattern = #/'(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?'/#
        return text.replacing(pattern) { match in
            func number(_ part: Substring?) -> Int { part.flatMap { Int($0) } ?? 0 }
            let zone = (number(match.9) * 60 + number(match.10)) * 60 + number(match.11)
            let year = match.12 == nil ? number(match.1) : 1 - number(match.1)
            let clock = (number(match.4) * 60 + number(match.5)) * 60 + number(match.6)
            let total = days(year, number(match.2), number(match.3)) * 86_400 + clock - (match.8 == "-" ? -zone : zone)
            let day = total >= 0 ? total / 86_400 : (total - 86_399) / 86_400
            let seconds = total - day * 86_400
            let date = date(day)
            let shown = date.year > 0 ? date.year : 1 - date.year
            return "'\(padded(shown, 4))-\(padded(date.month, 2))-\(padded(date.day, 2)) \(padded(seconds / 3600, 2)):"
                + "\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))\(match.7 ?? "")+00\(date.year > 0 ? "" : " BC")'"
        }
    }

    private static func padded(_ number: Int, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    /// Days since 0000-03-01 of a date of the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms").
    package static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let ofEra = shifted - era * 400
        let ofYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear
    }

    /// The date so many days after 0000-03-01.
    package static func date(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let ofEra = days - era * 146_097
        let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let shifted = (5 * ofYear + 2) / 153
        let month = shifted + (shifted < 10 ? 3 : -9)
        return (year + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * shifted + 2) / 5 + 1)
    }
}
