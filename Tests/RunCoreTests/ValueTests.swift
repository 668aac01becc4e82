import Foundation
import RunCore
import Testing

@Suite struct BackoffTests {
    @Test func delaysDoubleUntilTheirMaximumAndJitterTakesAtMostHalf() {
        let policy = RetryPolicy(attempts: 9, initialMilliseconds: 1000, factor: 2, maximumMilliseconds: 5000)
        #expect([1, 2, 3, 4, 64, 5000].map { policy.delayMilliseconds(after: $0, jitter: 1) } == [1000, 2000, 4000, 5000, 5000, 5000])
        #expect(policy.delayMilliseconds(after: 2, jitter: 0) == 1000)
        #expect(policy.delayMilliseconds(after: 2, jitter: 0.5) == 1500)
    }

    @Test func theFirstDelayIsBoundedToo() {
        #expect(RetryPolicy(initialMilliseconds: 9000, maximumMilliseconds: 100).delayMilliseconds(after: 1, jitter: 1) == 100)
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity, -1, 7]) func jitterOutOfRangeGivesADelayWithinBounds(_ jitter: Double) {
        #expect((500...60_000).contains(RetryPolicy.once.delayMilliseconds(after: 1, jitter: jitter)))
    }

    @Test func theLargestDelaysDoNotOverflow() {
        let policy = RetryPolicy(initialMilliseconds: .max, factor: .infinity, maximumMilliseconds: .max)
        #expect(policy.delayMilliseconds(after: 1, jitter: 1) == .max)
        #expect(policy.delayMilliseconds(after: .max, jitter: 1) == .max)
    }

    @Test func senselessPoliciesAreMadeSensible() {
        let policy = RetryPolicy(attempts: -3, initialMilliseconds: -1, factor: .nan, maximumMilliseconds: -1)
        #expect(policy.attempts == 1)
        #expect(policy.delayMilliseconds(after: 3, jitter: 1) == 0)
    }
}

@Suite struct JSONValueTests {
    private static let values: [JSONValue] = [
        .null, true, false, 0, 1, .integer(.min), .integer(.max), .number(2), .number(-0.0), .number(0.1), .number(1e300),
        .number(9_007_199_254_740_992), "", "2", "true", "a\u{0}\n\"é\u{1F600}", [], [[], [.null]], [:], ["a": ["b": [1, 2.5]]],
    ]

    @Test(arguments: values) func aValueIsReadBackAsItWasWritten(_ value: JSONValue) throws {
        let data = try JSONEncoder().encode(["value": value])
        #expect(try JSONDecoder().decode([String: JSONValue].self, from: data) == ["value": value])
    }

    @Test func equalValuesHashAlikeAndOthersDiffer() {
        #expect(JSONValue.number(2) == 2)
        #expect(Set([JSONValue.number(2), .integer(2)]).count == 1)
        for (position, left) in Self.values.enumerated() {
            for (other, right) in Self.values.enumerated() where position != other {
                let areBothZero = left.integerValue == 0 && right.integerValue == 0
                #expect((left == right) == areBothZero, "\(left) and \(right)")
            }
        }
    }

    @Test func stringsAreMappedWhereverTheyStand() {
        let value: JSONValue = ["key": ["secret", 1, ["in": "secret"]]]
        #expect(value.mapStrings { $0 == "secret" ? "***" : $0 } == ["key": ["***", 1, ["in": "***"]]])
    }
}

extension JSONValue: ExpressibleByFloatLiteral {
    public init(floatLiteral value: Double) { self = .number(value) }
}
