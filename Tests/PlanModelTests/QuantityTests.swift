import PlanModel
import TestSupport
import Testing

@Suite struct QuantityTests {
    @Test func durationsReadAsWritten() {
        let expected: [(String, Duration?)] = [
            ("30s", .seconds(30)), ("5m", .seconds(300)), ("1h30m", .seconds(5400)), ("2d", .seconds(172_800)),
            ("250ms", .milliseconds(250)),
            ("0s", .zero), ("365d", .seconds(365 * 86_400)), ("366d", nil), ("", nil), ("5", nil), ("m", nil),
            ("5 m", nil), ("-5m", nil), ("1.5h", nil),
            ("30m1h", nil), ("1h1h", nil), ("5M", nil), ("99999999999999999999s", nil), ("9223372036854775807d", nil),
            ("٣s", nil),
        ]
        for (text, duration) in expected { #expect(Quantity.duration(text) == duration, "\(text)") }
    }

    @Test func durationsWriteAsTheyRead() {
        let seed = seed("durationsWriteAsTheyRead")
        var random = SeededGenerator(seed)
        for _ in 0..<1000 {
            let duration = Duration.milliseconds(Int64.random(in: 0...365 * 86_400_000, using: &random))
            #expect(Quantity.duration(Quantity.text(duration)) == duration, "seed \(seed)")
        }
    }

    @Test func sizesArePowersOf1024() {
        let expected: [(String, Int64?)] = [
            ("0B", 0), ("512kB", 512 << 10), ("64MB", 64 << 20), ("2GB", 2 << 30), ("1TB", 1 << 40),
            ("64MiB", 64 << 20), ("64mb", 64 << 20),
            ("64", nil), ("1.5GB", nil), ("-1B", nil), ("64 MB", nil), ("9223372036854775807kB", nil), ("", nil),
            ("MB", nil),
        ]
        for (text, bytes) in expected { #expect(Quantity.bytes(text) == bytes, "\(text)") }
    }

    @Test func timesNeedTheirOffsetAndARealDay() {
        let expected: [(String, Int64?)] = [
            ("1970-01-01T00:00:00Z", 0), ("2026-11-23T02:14:07Z", 1_795_400_047),
            ("2026-11-23 02:14:07Z", 1_795_400_047),
            ("2026-11-23T11:14:07+09:00", 1_795_400_047), ("2026-11-22T21:14:07-05:00", 1_795_400_047),
            ("2026-11-23T02:14Z", 1_795_400_040),
            ("2024-02-29T00:00:00Z", 1_709_164_800), ("2023-02-29T00:00:00Z", nil), ("2100-02-29T00:00:00Z", nil),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2026-11-23T02:14:07", nil), ("2026-11-23", nil), ("2026-13-01T00:00:00Z", nil),
            ("2026-11-31T00:00:00Z", nil), ("2026-11-23T24:00:00Z", nil),
            ("2026-11-23T02:14:60Z", nil), ("2026-11-23T02:14:07Zx", nil), ("2026-11-23T02:14:07+9:00", nil),
            ("yesterday", nil), ("", nil), ("1969-01-01T00:00:00Z", nil),
        ]
        for (text, seconds) in expected { #expect(PlanTime(text)?.secondsSinceEpoch == seconds, "\(text)") }
    }
}
