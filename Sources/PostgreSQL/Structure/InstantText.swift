internal import Foundation

/// Instants inside definitions, independent of the session that wrote them.
///
/// pg_dump writes a `timestamptz` constant (a partition's bound, a default, a condition) in its own session's time zone, which is
/// recorded nowhere. Two definitions of the same thing are therefore compared with all instants in UTC.
enum InstantText {
    /// `text` with each `YYYY-MM-DD HH:MM:SS[.f]±HH[:MM[:SS]][ BC]` turned into UTC.
    static func inUTC(_ text: String) -> String {
        guard text.contains(":") else { return text }
        return text.replacing(#/(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?([+\-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?/#) { match in
            func number(_ part: Substring?) -> Int { part.flatMap { Int($0) } ?? 0 }
            let year = match.12 == nil ? number(match.1) : 1 - number(match.1)
            let offset = number(match.9) * 3600 + number(match.10) * 60 + number(match.11)
            let local = number(match.4) * 3600 + number(match.5) * 60 + number(match.6)
            let seconds = days(year, number(match.2), number(match.3)) * 86_400 + local + (match.8 == "-" ? offset : -offset)
            // A count of seconds names the instant as well as a date does, and is compared only with others of its kind.
            return "@\(seconds)\(match.7 ?? "")"
        }
    }

    /// Days from 1970-01-01 in the proleptic Gregorian calendar, after Howard Hinnant's `days_from_civil`.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
