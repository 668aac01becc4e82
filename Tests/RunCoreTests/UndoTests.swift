import RunCore
import Testing

@Suite struct UndoTests {
    /// `a` then `b` then `c`, all succeeded; `b` has no undo.
    private func succeeded(c: Bool = true) throws -> Scenario {
        var run = try Scenario(step("a", hasUndo: true), step("b", needs: "a"), step("c", needs: "b", hasUndo: true))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .start("b"))
        try run.succeeds("b", gives: .start("c"))
        try run.on(.began("c"))
        try run.on(.done("c", changed: c), state: .succeeded)
        return run
    }

    @Test func stepsAreUndoneOneAtATimeInReverseOrderOfTheirStart() throws {
        var run = try succeeded()
        try run.on(.undo, gives: .startUndo("c"), state: .undoing)
        run.refuses(.undo)
        try run.on(.undoBegan("c"))
        try run.on(.undoDone("c"), gives: .startUndo("a"), steps: ["c": .undone])
        run.refuses(.undoDone("c"))
        run.refuses(.undoBroke("c"))
        try run.on(.undoBegan("a"))
        try run.on(.undoDone("a"), state: .undone, steps: ["a": .undone, "b": .succeeded])
        run.refuses(.undo)
    }

    @Test func theOrderIsThatOfTheLastAttemptsNotOfThePlan() throws {
        var run = try Scenario(step("a", tries: 2, hasUndo: true), step("b", hasUndo: true))
        try run.held(gives: .start("a"), .start("b"))
        try run.fails("a", gives: .wake("a", after: 1000))
        try run.succeeds("b")
        try run.on(.due("a"), gives: .start("a", 2))
        try run.succeeds("a", 2, state: .succeeded)
        try run.on(.undo, gives: .startUndo("a"))
        try run.on(.undoBegan("a"))
        try run.on(.undoDone("a"), gives: .startUndo("b"))
    }

    @Test func whatWasFoundAlreadyDoneIsNotUndone() throws {
        var run = try succeeded(c: false)
        try run.on(.undo, gives: .startUndo("a"))
    }

    @Test func anUndoThatFailsStopsTheOthersAndCanBeAskedForAgain() throws {
        var run = try succeeded()
        try run.on(.undo, gives: .startUndo("c"))
        try run.on(.undoBegan("c"))
        try run.on(.undoBroke("c"), state: .failed, steps: ["c": .succeeded, "a": .succeeded])
        try run.on(.undo, gives: .startUndo("c", 2), state: .undoing)
        try run.on(.undoBegan("c", 2))
        try run.on(.undoDone("c", 2), gives: .startUndo("a"))
    }

    @Test func anUndoInDoubtWaitsAndIsNotRepeatedBlindly() throws {
        var run = try succeeded()
        try run.on(.undo, gives: .startUndo("c"))
        try run.on(.undoBegan("c"))
        try run.on(.doubted("c", isUndo: true), state: .waiting)
        try run.held(state: .waiting)
        run.refuses(.undo)
        run.refuses(.skip("c"))
        var other = run
        try run.on(.resolved("c", .done), gives: .startUndo("a"), state: .undoing, steps: ["c": .undone])
        try other.on(.resolved("c", .notDone), gives: .startUndo("c", 2), state: .undoing, steps: ["c": .succeeded])
    }

    @Test func aFailedStepWhoseUndoIsInDoubtCannotBeSkippedPastItsEvidence() throws {
        var run = try Scenario(step("a", hasUndo: true))
        try run.held(gives: .start("a"))
        try run.fails("a", state: .failed)
        try run.on(.undo, gives: .startUndo("a"))
        run.refuses(.skip("a"))
        try run.on(.undoBegan("a"))
        run.refuses(.skip("a"))
        try run.on(.doubted("a", isUndo: true), state: .waiting)
        run.refuses(.skip("a"))
        #expect(run["a"].doubt != nil)
    }

    @Test func nothingIsUndoneWhileSomethingRuns() throws {
        var run = try Scenario(step("a", tries: 2, hasUndo: true))
        try run.held(gives: .start("a"))
        run.refuses(.undo)
        try run.on(.began("a"))
        run.refuses(.undo)
        try run.on(.broke("a"), gives: .wake("a", after: 1000))
        run.refuses(.undo)
    }

    @Test func aRunThatIsUndoneDoesNotTakeARetry() throws {
        var run = try Scenario(step("a", hasUndo: true), step("b", needs: "a"), step("c", hasUndo: true))
        try run.held(gives: .start("a"), .start("c"))
        try run.succeeds("a", gives: .start("b"))
        try run.on(.began("c"))
        try run.fails("b")
        try run.on(.broke("c"), state: .failed)
        try run.on(.undo, gives: .startUndo("c"))
        run.refuses(.retry("b"))
        try run.on(.undoBegan("c"))
        try run.on(.undoBroke("c"), state: .failed)
        run.refuses(.retry("b"))
        run.refuses(.retry("c"))
    }

    @Test func undoCancelsWhatHasNotStarted() throws {
        var run = try Scenario(step("a", hasUndo: true), step("swap", needs: "a", approval: true), step("b", needs: "swap"))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .ask("swap"))
        try run.on(.asked("swap"), state: .waiting)
        try run.on(.undo, gives: .startUndo("a"), state: .undoing, steps: ["swap": .cancelled, "b": .cancelled])
    }

    @Test func aRunThatNobodyHoldsIsNotUndoneUntilSomebodyDoesIt() throws {
        var run = try succeeded()
        try run.on(.letGo, state: .succeeded)
        try run.on(.undo, state: .undoing)
        try run.held(gives: .startUndo("c"), state: .undoing)
    }

    @Test func observationsOfAnUndoAreItsOwn() throws {
        var run = try succeeded()
        try run.on(.undo, gives: .startUndo("c"))
        run.refuses(.saw("c", isUndo: true, "rows", 2))
        try run.on(.undoBegan("c"))
        try run.on(.saw("c", isUndo: true, "rows", 2))
        #expect(run["c"].undo.observations == ["rows": 2])
        #expect(run["c"].observations.isEmpty)
        run.refuses(.saw("c", "rows", 2))
        run.refuses(.done("c"))
        run.refuses(.undoDone("c", 2))
    }
}
