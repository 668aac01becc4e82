import RunCore
import Testing

/// Plans far larger than any recovery: an event must not cost what the plan holds. The times are printed, not asserted.
@Suite struct LargePlanTests {
    static let count = 10_000

    private func drive(_ name: String, _ steps: [StepSpec], undo: Bool = false) throws {
        let began = ContinuousClock.now
        var machine = try RunMachine(.plan(steps))
        let planned = ContinuousClock.now
        var events = 0
        var open = try machine.apply(.held(RunHeld(by: "ada", fence: 1)))
        func finish() throws {
            while case .startAttempt(let step, let attempt, let isUndo)? = open.popLast() {
                open += try machine.apply(isUndo ? .undoBegan(step, attempt) : .began(step, attempt))
                open += try machine.apply(isUndo ? .undoDone(step, attempt) : .done(step, attempt))
                events += 2
            }
        }
        try finish()
        #expect(machine.state == .succeeded)
        #expect(events == 2 * steps.count)
        if undo {
            open = try machine.apply(.undo)
            try finish()
            #expect(machine.state == .undone)
            #expect(events == 4 * steps.count)
        }
        print("\(name): \(events) events in \(ContinuousClock.now - planned), plan taken in \(planned - began)")
    }

    private func name(_ number: Int) -> StepID { StepID("s\(number)")! }

    @Test func tenThousandIndependentStepsOnOneHost() throws {
        try drive("wide", (0..<Self.count).map { StepSpec(id: name($0), hosts: ["db1"]) })
    }

    @Test func tenThousandStepsOfWhichTheLastNeedsAllOthers() throws {
        let steps = (0..<Self.count - 1).map { StepSpec(id: name($0)) }
        try drive("fan-in", steps + [StepSpec(id: "last", needs: steps.map(\.id))])
    }

    @Test func tenThousandStepsInAChainAndTheirUndo() throws {
        let steps = (0..<Self.count).map { StepSpec(id: name($0), needs: $0 == 0 ? [] : [name($0 - 1)], hosts: ["db1"], hasUndo: true) }
        try drive("chain and undo", steps, undo: true)
    }

    @Test func tenThousandSkippedStepsInAChainAreWalkedWithoutRecursion() throws {
        let steps = (0..<Self.count).map { StepSpec(id: name($0), needs: $0 == 0 ? [] : [name($0 - 1)]) }
        var machine = try RunMachine(.plan(steps))
        for number in 1..<Self.count - 1 { _ = try machine.apply(.skip(name(number))) }
        #expect(try machine.apply(.held(RunHeld(by: "ada", fence: 1))) == [.start(name(0))])
        _ = try machine.apply(.began(name(0)))
        #expect(try machine.apply(.done(name(0))) == [.start(name(Self.count - 1))])
    }
}
