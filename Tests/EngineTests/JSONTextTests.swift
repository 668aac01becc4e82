import Foundation
import RunCore
import Testing

@testable import Engine

/// What is written without Foundation has to read back with it, as the same value.
@Suite struct JSONTextTests {
    private struct Everything: Codable {
        enum Choice: Codable, Hashable { case plain, named(String), both(left: Int, right: [String: JSONValue]) }
        struct Empty: Codable, Hashable {}
        var text = "quote \" backslash \\ newline \n return \r tab \t bell \u{7} unit \u{1F} é / 😀 \u{2028}"
        var flag = true
        var small: UInt8 = 255
        var large = Int64.min
        var fractions: [Double] = [0, -0.5, 1e-7, 1e300, .pi, 3]
        var choices: [Choice] = [.plain, .named("x"), .both(left: -1, right: ["b": 1, "a": [.null, false]])]
        var missing: String?
        var empty = Empty()
        var lists: [[Int]] = [[], [1], [2, 3]]
        var numbered: [Int: String] = [1: "one"]
        var value: JSONValue = ["z": [], "y": ["x": .null], "w": .number(2.5), "v": "s"]
    }

    @Test func everyFormReadsBackAsTheSameValue() throws {
        let value = Everything()
        let read = try JSONDecoder().decode(Everything.self, from: Data(JSONText.encode(value)))
        #expect(read.text == value.text && read.large == value.large && read.fractions == value.fractions && read.small == value.small)
        #expect(read.choices == value.choices && read.lists == value.lists && read.numbered == value.numbered && read.value == value.value)
        #expect(read.missing == nil && read.flag)
    }

    @Test func aKeyOfAnObjectHasOnePlace() throws {
        let value: JSONValue = ["b": 1, "a": 2, "c": ["f": 3, "e": 4, "d": 5]]
        #expect(String(decoding: try JSONText.encode(value), as: UTF8.self) == #"{"a":2,"b":1,"c":{"d":5,"e":4,"f":3}}"#)
        #expect(String(decoding: try JSONText.encode(["k": value]), as: UTF8.self) == #"{"k":{"a":2,"b":1,"c":{"d":5,"e":4,"f":3}}}"#)
    }

    @Test func whatIsNoNumberIsRefused() {
        for number in [Double.nan, .infinity] {
            #expect(throws: EncodingError.self) { try JSONText.encode(JSONValue.number(number)) }
            #expect(throws: EncodingError.self) { try JSONText.encode([number]) }
        }
    }

    @Test func aMachineReadsBackFromItsSnapshot() throws {
        let steps = try (1...20).map { StepSpec(id: try #require(StepID("s-\($0)")), needs: $0 > 1 ? [try #require(StepID("s-1"))] : []) }
        var machine = try RunMachine(
            RunAccepted(spec: RunSpec(steps: steps), planName: "p", mode: "recovery", startedBy: "anna", document: .null))
        _ = try machine.apply(.held(RunHeld(by: "anna", fence: 1)))
        let first = try #require(StepID("s-1"))
        _ = try machine.apply(.attemptStarted(AttemptStarted(step: first, attempt: 1, specHash: "x")))
        _ = try machine.apply(.observed(Observation(step: first, attempt: 1, key: "k", value: ["a": .number(1.5)])))
        _ = try machine.apply(.attemptSucceeded(AttemptSucceeded(step: first, attempt: 1, outputs: ["o": "\"\u{0}"], warnings: ["w"])))
        #expect(try EventCodec.decode(RunMachine.self, EventCodec.snapshot(machine)) == machine)
    }
}
