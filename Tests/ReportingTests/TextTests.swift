import Reporting
import Testing

@Suite struct TextTests {
    @Test func whatHostsWriteCannotSteerATerminal() {
        #expect(terminalSafe("a\u{1B}[2Jb\u{7}\r") == "a\\u{1b}[2Jb\\u{7}\\u{d}")
        #expect(terminalSafe("safe\u{202E}txt\u{9B}1m") == "safe\\u{202e}txt\\u{9b}1m")
        #expect(terminalSafe("a\n\tb") == "a\n\tb")
        #expect(terminalSafe("a\nb", keepsNewlines: false) == "a\\u{a}b")
        #expect(terminalSafe("Straße, 東京, 🙂") == "Straße, 東京, 🙂")
        #expect(oneLine(" a\n\n  b\t c ") == "a / b  c")
    }

    @Test func sizesAndCountsAreReadable() {
        #expect(bytesText(0) == "0 B")
        #expect(bytesText(999) == "999 B")
        #expect(bytesText(1000) == "1.0 kB")
        #expect(bytesText(999_949) == "1000 kB" || bytesText(999_949) == "999.9 kB")
        #expect(bytesText(1_400_000_000) == "1.4 GB")
        #expect(bytesText(123_456_789) == "123 MB")
    }

    @Test func durationsNeverShowSixtySeconds() {
        #expect(durationText(0.04) == "0.0 s")
        #expect(durationText(9.94) == "9.9 s")
        #expect(durationText(9.96) == "10 s")
        #expect(durationText(59.7) == "1 min 00 s")
        #expect(durationText(192) == "3 min 12 s")
        #expect(durationText(3599.6) == "1 h 00 min")
        #expect(durationText(7500) == "2 h 05 min")
        #expect(durationText(100_000) == "1 d 3 h")
        #expect(durationText(.infinity) == "?")
    }

    @Test func textFitsItsColumns() {
        #expect(fitted("abc", 5) == "abc  ")
        #expect(fitted("abc", 5, alignsRight: true) == "  abc")
        #expect(fitted("abcdef", 4) == "abc…")
        #expect(columns(fitted("東京都庁", 5)) == 5)
        #expect(clipped("abc", 0) == "")
        #expect(wrapped("one two three", 7) == ["one two", "three"])
        #expect(wrapped("a\n\nb", 7) == ["a", "", "b"])
    }

    @Test func timesGoThereAndBack() {
        #expect(timestamp(0) == "1970-01-01T00:00:00.000Z")
        for time: Int64 in [0, 1, 999, 1_795_400_047_123] { #expect(milliseconds(ofTimestamp: timestamp(time)) == time) }
        #expect(milliseconds(ofTimestamp: "2026-11-23T02:14:07Z") == 1_795_400_047_000)
        #expect(milliseconds(ofTimestamp: "yesterday") == nil)
        #expect(clockText(1_795_400_047_123) == "02:14:07")
    }
}
