import RunCore
import Testing

/// The steps that run whatever came of the others.
@Suite struct FinallyTests {
    @Test func theLastStepsRunAfterSuccess() throws {
        var run = try Scenario(step("clean", phase: .finally), step("a"))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .start("clean"), state: .running)
        try run.succeeds("clean", state: .succeeded)
    }

    @Test func theLastStepsRunAfterAFailureAndTheRunStaysFailed() throws {
        var run = try Scenario(step("a"), step("b", needs: "a"), step("clean", needs: "b", phase: .finally))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .start("clean"), state: .running)
        try run.succeeds("clean", state: .failed)
    }

    @Test func theLastStepsRunAfterACancellation() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.cancel, gives: .end("a"), state: .cancelling)
        try run.on(.broke("a", 1, .cancelled), gives: .start("clean"), state: .cancelling)
        try run.succeeds("clean", state: .cancelled)
    }

    @Test func theLastStepsRunAfterAnUndo() throws {
        var run = try Scenario(step("a", hasUndo: true), step("b", needs: "a", onError: .undo), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .start("b"))
        try run.fails("b", gives: .startUndo("a"), state: .undoing)
        try run.on(.undoBegan("a"))
        try run.on(.undoDone("a"), gives: .start("clean"), state: .undoing)
        try run.succeeds("clean", state: .undone)
    }

    @Test func theLastStepsRunAgainAtTheNewEndOfARetriedRun() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .start("clean"))
        try run.succeeds("clean", state: .failed)
        try run.on(.retry("a"), gives: .start("a", 2), steps: ["clean": .queued])
        try run.succeeds("a", 2, gives: .start("clean", 2))
        try run.succeeds("clean", 2, state: .succeeded)
    }

    @Test func theLastStepsRunAgainAfterASkip() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .start("clean"))
        try run.succeeds("clean", state: .failed)
        try run.on(.skip("a"), gives: .start("clean", 2))
        try run.succeeds("clean", 2, state: .succeededWithWarnings)
    }

    @Test func aLastStepThatStillRunsWhenItsRunIsRetriedFinishesFirstAndRunsAgainAtTheEnd() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .start("clean"))
        try run.on(.began("clean"))
        try run.on(.retry("a"), gives: .start("a", 2))
        try run.succeeds("a", 2, state: .running)
        try run.on(.done("clean"), gives: .start("clean", 2))
        try run.succeeds("clean", 2, state: .succeeded)
    }

    @Test func aRunningLastStepIsNotForgottenWhenARetryFailsIntoAnUndo() throws {
        var run = try Scenario(step("x", hasUndo: true), step("a", needs: "x"), step("b", needs: "a", onError: .undo), step("clean", phase: .finally))
        try run.held(gives: .start("x"))
        try run.succeeds("x", gives: .start("a"))
        try run.fails("a", gives: .start("clean"))
        try run.on(.began("clean"))
        try run.on(.retry("a"), gives: .start("a", 2))
        try run.succeeds("a", 2, gives: .start("b"))
        try run.fails("b", state: .running)
        #expect(run["clean"].state == .running)
        try run.on(.done("clean"), gives: .startUndo("x"), state: .undoing)
        try run.on(.undoBegan("x"))
        try run.on(.undoDone("x"), gives: .start("clean", 2))
    }

    @Test func aLastStepInDoubtIsNotRepeatedBlindlyWhenItsRunIsRetried() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .start("clean"))
        try run.on(.began("clean"))
        try run.on(.doubted("clean"), state: .waiting)
        try run.on(.retry("a"), gives: .start("a", 2), state: .running, steps: ["clean": .inDoubt])
        try run.succeeds("a", 2, state: .waiting)
        try run.on(.resolved("clean", .notDone), gives: .start("clean", 2), state: .running)
        try run.succeeds("clean", 2, state: .succeeded)
    }

    @Test func lastStepsKeepTheirOwnOrderButAFailedOneHoldsBackNoOther() throws {
        var run = try Scenario(step("a"), step("one", phase: .finally), step("two", needs: "one", phase: .finally))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .start("one"))
        try run.fails("one", gives: .start("two"))
        try run.succeeds("two", state: .succeededWithWarnings)
    }

    @Test func aCancelledRunStillTriesItsLastStepsAgain() throws {
        var run = try Scenario(step("a"), step("clean", tries: 2, phase: .finally))
        try run.held(gives: .start("a"))
        try run.on(.cancel, gives: .start("clean"))
        try run.fails("clean", gives: .wake("clean", after: 1000))
        try run.on(.due("clean"), gives: .start("clean", 2))
        try run.succeeds("clean", 2, state: .cancelled)
    }

    @Test func cancellingDoesNotEndALastStepThatRuns() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally), step("more", needs: "clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .start("clean"))
        try run.on(.began("clean"))
        try run.on(.cancel, state: .cancelling, steps: ["more": .queued])
        try run.on(.done("clean"), gives: .start("more"))
        try run.succeeds("more", state: .cancelled)
    }

    @Test func aLastStepIsNotCutOffByACrashInACancelledRun() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally))
        try run.held(gives: .start("a"))
        try run.on(.cancel, gives: .start("clean"))
        try run.on(.began("clean"))
        try run.held(gives: .resume("clean"), state: .cancelling)
    }

    @Test func aLastStepThatFailedIsTriedAgainOrSkippedWithoutRunningTheOthersAgain() throws {
        var run = try Scenario(step("a"), step("one", phase: .finally), step("two", phase: .finally))
        try run.held(gives: .start("a"))
        try run.on(.cancel, gives: .start("one"), .start("two"))
        try run.succeeds("one")
        try run.fails("two", state: .cancelled)
        var other = run
        try run.on(.retry("two"), gives: .start("two", 2), state: .cancelling, steps: ["one": .succeeded])
        try run.succeeds("two", 2, state: .cancelled)
        try other.on(.skip("two"), state: .cancelled, steps: ["one": .succeeded])
    }

    @Test func aFailureThatAsksForUndoWithoutAHolderIsOwedToTheNextOne() throws {
        var run = try Scenario(step("a", onError: .undo))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.letGo)
        try run.on(.broke("a"), state: .running)
        try run.held(state: .undone)
    }

    @Test func aLastStepThatWasDeniedAsksAgainAtTheNewEnd() throws {
        var run = try Scenario(step("a"), step("clean", phase: .finally, approval: true))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .ask("clean"))
        try run.on(.asked("clean"))
        try run.on(.denied("clean"), state: .failed)
        try run.on(.skip("a"), gives: .ask("clean"))
    }
}
