import RunCore
import Testing

@Suite struct PauseAndCancelTests {
    @Test func aPausedRunLetsWhatRunsFinishAndGoesOnWhenItIsHeldAgain() throws {
        var run = try Scenario(step("a"), step("b", needs: "a"))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.pause, state: .pausing)
        run.refuses(.pause)
        try run.on(.done("a"), state: .paused)
        try run.held(gives: .start("b"), state: .running)
        try run.succeeds("b", state: .succeeded)
    }

    @Test func aRetryThatFallsDueInAPauseWaitsForItsEnd() throws {
        var run = try Scenario(step("a", tries: 2))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .wake("a", after: 1000))
        try run.on(.pause, state: .pausing)
        try run.on(.due("a"), state: .paused)
        try run.held(gives: .start("a", 2))
    }

    @Test func aRunThatEndedCannotBePausedOrCancelled() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.succeeds("a", state: .succeeded)
        run.refuses(.pause)
        run.refuses(.cancel)
    }

    @Test func cancellingEndsWhatRunsAndStartsNothingElse() throws {
        var run = try Scenario(step("a"), step("b"), step("c", needs: "a"), step("swap", approval: true))
        try run.held(gives: .start("a"), .start("b"), .ask("swap"))
        try run.on(.began("a"))
        try run.on(.asked("swap"))
        try run.on(.cancel, gives: .end("a"), state: .cancelling, steps: ["b": .cancelled, "c": .cancelled, "swap": .cancelled])
        run.refuses(.began("b"))
        run.refuses(.approved("swap"))
        run.refuses(.pause)
        run.refuses(.cancel)
        try run.on(.broke("a", 1, .cancelled), state: .cancelled)
    }

    @Test func anAttemptThatSucceedsAllTheSameStaysSucceededInACancelledRun() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.cancel, gives: .end("a"))
        try run.on(.done("a"), state: .cancelled, steps: ["a": .succeeded])
    }

    @Test func aCancelledRunRetriesNothing() throws {
        var run = try Scenario(step("a", tries: 3), step("b", tries: 3))
        try run.held(gives: .start("a"), .start("b"))
        try run.fails("b", gives: .wake("b", after: 1000))
        try run.on(.began("a"))
        try run.on(.cancel, gives: .end("a"), steps: ["b": .cancelled])
        run.refuses(.due("b"))
        try run.on(.broke("a"), state: .cancelled, steps: ["a": .failed])
    }

    @Test func anAttemptThatIsInDoubtWhenItIsCancelledWaitsForAPerson() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.cancel, gives: .end("a"))
        try run.on(.doubted("a"), state: .waiting)
        try run.on(.resolved("a", .done), state: .cancelled)
    }

    @Test func aRunThatNeverStartedIsCancelledWithoutAHolder() throws {
        var run = try Scenario(step("a"))
        try run.on(.cancel, state: .cancelled)
        try run.held(state: .cancelled)
    }

    @Test func aCancelledRunWithoutAHolderStillOwesItsLastSteps() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.on(.cancel, state: .cancelling)
        try run.held(gives: .start("clean"), state: .cancelling)
        try run.succeeds("clean", state: .cancelled)
    }

    @Test func aMainPhaseThatEndsWithoutAHolderStillOwesItsLastSteps() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.letGo)
        try run.on(.done("a"), state: .running)
        try run.held(gives: .start("clean"))
    }

    @Test func pausedAndFailedRunsCanBeCancelled() throws {
        var paused = try Scenario(step("a"), step("b", needs: "a"))
        try paused.held(gives: .start("a"))
        try paused.on(.pause)
        try paused.succeeds("a", state: .paused)
        try paused.on(.cancel, state: .cancelled, steps: ["b": .cancelled])
        var failed = try Scenario(step("a"), step("b", needs: "a"))
        try failed.held(gives: .start("a"))
        try failed.fails("a", state: .failed)
        try failed.on(.cancel, state: .cancelled, steps: ["a": .failed, "b": .cancelled])
    }

    @Test func aStepIsNotRetriedWhileItsRunIsBeingCancelledButAfterwards() throws {
        var run = try Scenario(step("a"), step("b"))
        try run.held(gives: .start("a"), .start("b"))
        try run.on(.began("a"))
        try run.on(.cancel, gives: .end("a"))
        run.refuses(.retry("b"))
        try run.on(.done("a"), state: .cancelled)
        try run.on(.retry("b"), gives: .start("b"), state: .running)
        try run.succeeds("b", state: .succeeded)
    }

    @Test func takingUpACancelledRunDoesNotUndoItForTheSakeOfStepsThatNeverFailed() throws {
        var run = try Scenario(step("a", hasUndo: true), step("b", needs: "a", onError: .undo), step("c", needs: "b", onError: .undo))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .start("b"))
        try run.on(.cancel, state: .cancelled, steps: ["b": .cancelled, "c": .cancelled])
        try run.on(.retry("c"), state: .failed, steps: ["a": .succeeded])
        try run.on(.retry("b"), gives: .start("b"), state: .running)
    }
}
