internal import Foundation

/// A date and time of day in UTC, in the Gregorian calendar.
///
/// Conversion as in "chrono-Compatible Low-Level Date Algorithms" (days from civil), which is exact for all years used here.
struct CivilTime: Hashable, Sendable {
    var year, month, day, hour, minute, second: Int

    init(year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
        (self.year, self.month, self.day) = (year, month, day)
        (self.hour, self.minute, self.second) = (hour, minute, second)
    }

    init(secondsSinceEpoch: Int64) {
        let days = Int((Double(secondsSinceEpoch) / 86_400).rounded(.down))
        let rest = Int(secondsSinceEpoch) - days * 86_400
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        self.init(
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month: month, day: dayOfYear - (153 * marchMonth + 2) / 5 + 1,
            hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60)
    }

    /// Nil unless this is a date and time that exists.
    var secondsSinceEpoch: Int64? {
        guard (1...9999).contains(year), (1...12).contains(month), (0...23).contains(hour), (0...59).contains(minute),
            (0...60).contains(second), day >= 1
        else { return nil }
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = shiftedYear / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        let seconds = Int64(days) * 86_400 + Int64(hour * 3600 + minute * 60 + min(second, 59))
        let check = CivilTime(secondsSinceEpoch: seconds)
        return check.month == month && check.day == day ? seconds : nil
    }

    var date: Date? { secondsSinceEpoch.map { Date(timeIntervalSince1970: Double($0)) } }

    /// `2026-11-23T02:14:07.000Z`, as S3 lists times; fractions are dropped.
    init?(iso8601 text: String) {
        let fields = text.split(omittingEmptySubsequences: false) { "-T:.Z".contains($0) }
        guard text.hasSuffix("Z"), fields.count >= 7 else { return nil }
        let numbers = fields.prefix(6).map { Int($0) ?? -1 }
        self.init(
            year: numbers[0], month: numbers[1], day: numbers[2], hour: numbers[3], minute: numbers[4], second: numbers[5])
        guard secondsSinceEpoch != nil else { return nil }
    }

    /// `Mon, 23 Nov 2026 02:14:07 GMT`, as HTTP headers write times (RFC 9110, 5.6.7).
    init?(httpDate text: String) {
        let fields = text.split(whereSeparator: { " ,:".contains($0) })
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard fields.count == 8, fields[7] == "GMT", let month = months.firstIndex(of: String(fields[2])) else { return nil }
        let numbers = [1, 3, 4, 5, 6].map { Int(fields[$0]) ?? -1 }
        self.init(
            year: numbers[1], month: month + 1, day: numbers[0], hour: numbers[2], minute: numbers[3], second: numbers[4])
        guard secondsSinceEpoch != nil else { return nil }
    }
}
