import Engine
import Foundation
import Reporting
import RunCore
import Steps
import Synchronization
import Testing

@Suite struct LiveTests {
    private final class Clock: Sendable {
        private let time = Mutex<Int64>(0)
        var now: Int64 { time.withLock { $0 } }
        func advance(_ milliseconds: Int64) { time.withLock { $0 += milliseconds } }
    }

    private let clock = Clock()
    private let fetch = StepID("fetch")!, swap = StepID("swap")!

    private func view(_ mode: LiveView.Mode, verbose: Bool = false) -> LiveView {
        let clock = clock
        return LiveView(
            run: RunID("r1")!,
            settings: .init(
                mode: mode, style: .plain, isVerbose: verbose, wallClock: { 1_795_400_047_000 + clock.now }, clock: { clock.now }),
            logs: nil)
    }

    private func machine() throws -> RunMachine {
        try RunMachine(
            RunAccepted(
                spec: RunSpec(steps: [StepSpec(id: fetch), StepSpec(id: swap, needs: [fetch], needsApproval: true)]), planName: "p",
                mode: "recovery", startedBy: "anna@ops", document: .null))
    }

    /// Applies the events and tells the view of each, as the driver does.
    private func play(_ events: [RunEvent], _ machine: inout RunMachine, _ view: LiveView) throws {
        for event in events {
            _ = try machine.apply(event)
            view.happened(event, machine)
        }
    }

    private var start: [RunEvent] {
        [.held(RunHeld(by: "anna@ops", fence: 1)), .attemptStarted(AttemptStarted(step: fetch, attempt: 1, specHash: ""))]
    }

    @Test func linesShowProgressAtAChangeOfPhaseAndEveryFiveSeconds() throws {
        let view = view(.lines)
        var machine = try machine()
        try play(start, &machine, view)
        _ = view.paint(width: 100)
        for second in 0..<12 {
            view.progressed(fetch, StepProgress("fetching", done: Int64(second) * 1_000_000, total: 20_000_000, unit: .bytes))
            clock.advance(1000)
        }
        view.progressed(fetch, StepProgress("checking"))
        let lines = view.paint(width: 100).split(separator: "\n").map(String.init)
        #expect(lines.count == 4)
        #expect(lines[1].hasSuffix("fetch: fetching, 25%  1.0 MB/s  15 s left"))
        #expect(lines[3].hasSuffix("fetch: checking"))
    }

    @Test func aTerminalRepaintsExactlyTheLinesThatItPainted() throws {
        let view = view(.terminal)
        var machine = try machine()
        try play(start, &machine, view)
        let first = view.paint(width: 100)
        #expect(first.hasSuffix("\n") && !first.contains("\u{1B}"))
        #expect(first.contains("fetch") && first.contains("RUNNING") && first.contains("0 of 2 steps"))
        view.progressed(fetch, StepProgress("fetching \u{1B}[2J", done: 5, total: 10, unit: .rows))
        let second = view.paint(width: 100)
        #expect(second.hasPrefix("\u{1B}[2A\r\u{1B}[J"))
        #expect(second.contains("50%") && second.contains("██████████░░░░░░░░░░"))
        #expect(second.dropFirst(9).contains("\u{1B}") == false)
        clock.advance(4200)
        try play([.attemptSucceeded(AttemptSucceeded(step: fetch, attempt: 1))], &machine, view)
        let third = view.paint(width: 100)
        #expect(third.contains("✓ fetch succeeded  4.2 s\n"))
        #expect(view.finish() == "\u{1B}[1A\r\u{1B}[J")
    }

    @Test func noPaintedLineIsWiderThanTheTerminal() throws {
        let view = view(.terminal)
        var machine = try machine()
        try play(start, &machine, view)
        view.progressed(fetch, StepProgress(String(repeating: "long phase 東京 ", count: 30), done: 1, total: 3, unit: .bytes))
        for width in [40, 60, 80, 200] {
            let lines = view.paint(width: width).replacingOccurrences(of: "\u{1B}[2A\r\u{1B}[J", with: "").split(separator: "\n")
            #expect(lines.suffix(2).allSatisfy { columns(String($0)) < width }, "\(width)")
        }
    }

    @Test func everyLineOfJSONIsAnObject() throws {
        let view = view(.json)
        var machine = try machine()
        try play(start, &machine, view)
        view.progressed(fetch, StepProgress("fetching", done: 5, total: 10, unit: .bytes))
        try play(
            [
                .attemptSucceeded(AttemptSucceeded(step: fetch, attempt: 1, warnings: ["a\nb"])),
                .approvalRequested(ApprovalRequested(step: swap, message: "swap?\u{1B}")),
            ], &machine, view)
        let lines = view.paint(width: 100).split(separator: "\n")
        #expect(lines.count == 5)
        for line in lines { #expect(try JSONSerialization.jsonObject(with: Data(line.utf8)) is [String: Any]) }
    }

    @Test func quietShowsFailuresAndWhatAPersonHasToDo() throws {
        let view = view(.quiet)
        var machine = try machine()
        try play(start + [.attemptSucceeded(AttemptSucceeded(step: fetch, attempt: 1))], &machine, view)
        #expect(view.paint(width: 100).isEmpty)
        try play([.approvalRequested(ApprovalRequested(step: swap, message: "rows will be lost"))], &machine, view)
        #expect(view.paint(width: 100).contains("swap waits for approval\n          rows will be lost"))
    }

    @Test func aResumeIsCalledOutOnce() throws {
        let view = view(.lines)
        var machine = try machine()
        _ = try machine.apply(.held(RunHeld(by: "old", fence: 1)))
        _ = try machine.apply(.attemptStarted(AttemptStarted(step: fetch, attempt: 1, specHash: "")))
        try play([.held(RunHeld(by: "new", fence: 2))], &machine, view)
        #expect(view.paint(width: 100).contains("RESUMED by new under fence 2"))
        try play([.released(RunReleased(by: "new", reason: "WAITING")), .held(RunHeld(by: "new", fence: 3))], &machine, view)
        #expect(view.paint(width: 100).isEmpty)
    }

    @Test func aMeterMeasuresThePresentPhaseOnly() {
        var meter = StepMeter(StepProgress("a", done: 0, total: 100, unit: .items), at: 0)
        #expect(meter.rate == nil)
        meter.take(StepProgress("a", done: 50, total: 100), at: 1000)
        #expect(meter.rate == 50)
        #expect(meter.remainingSeconds == 1)
        meter.take(StepProgress("b", done: 10, total: 100), at: 2000)
        #expect(meter.rate == nil)
        meter.take(StepProgress("b", done: 0, total: 0), at: 3000)
        #expect(meter.fraction == nil)
        // After a stall the rate sinks instead of freezing at the best that was seen.
        meter = StepMeter(StepProgress("c", done: 0, total: 1000), at: 0)
        for second in 1...30 { meter.take(StepProgress("c", done: second <= 5 ? Int64(second) * 100 : 500, total: 1000), at: Int64(second) * 1000) }
        #expect(meter.rate == nil)
    }
}
