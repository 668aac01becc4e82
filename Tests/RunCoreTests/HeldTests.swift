import RunCore
import Testing

/// What a process does that takes up a run which another left behind.
@Suite struct HeldTests {
    @Test func anIssuedAttemptIsStartedAgainAndOnlyOneOfTheTwoIntentsIsTaken() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"), state: .running)
        try run.held(gives: .start("a"), state: .running)
        try run.on(.began("a"))
        run.refuses(.began("a"))
        run.refuses(.began("a", 2))
    }

    @Test func aRunningAttemptIsResumedAndNeverStartedAgain() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.saw("a", "pid", 7))
        try run.held(gives: .resume("a"), state: .running)
        #expect(run["a"].observations == ["pid": 7])
        try run.on(.done("a"), state: .succeeded)
    }

    @Test func aStepThatWaitedForItsRetryIsDueAtOnce() throws {
        var run = try Scenario(step("a", tries: 2))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .wake("a", after: 1000))
        try run.held(gives: .wake("a", after: 0))
        try run.on(.due("a"), gives: .start("a", 2))
    }

    @Test func aCrashWhileCancellingEndsTheAttemptAgain() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.cancel, gives: .end("a"))
        try run.held(gives: .resume("a"), .end("a"), state: .cancelling)
    }

    @Test func aCrashWhilePausingLetsTheRunGoOn() throws {
        var run = try Scenario(step("a"), step("b"), limits: .init(total: 1))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.pause, state: .pausing)
        try run.held(gives: .resume("a"), state: .running)
        try run.on(.done("a"), gives: .start("b"))
    }

    @Test func anIssuedUndoIsStartedAgainAndARunningOneResumed() throws {
        var run = try Scenario(step("a", hasUndo: true))
        try run.held(gives: .start("a"))
        try run.succeeds("a", state: .succeeded)
        try run.on(.undo, gives: .startUndo("a"))
        try run.held(gives: .startUndo("a"), state: .undoing)
        try run.on(.undoBegan("a"))
        run.refuses(.undoBegan("a"))
        try run.held(gives: .resumeUndo("a"), state: .undoing)
    }

    @Test func theFenceOfTheLastHolderCounts() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.held(gives: .start("a"))
        #expect(run.machine.fence == 2)
        #expect(run.machine.isHeld)
        try run.on(.letGo)
        #expect(!run.machine.isHeld)
    }

    @Test func aReplayOfTheEventsGivesTheSameMachine() throws {
        var run = try Scenario(step("a", tries: 2), step("b", needs: "a"))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .wake("a", after: 1000))
        try run.held(gives: .wake("a", after: 0))
        try run.on(.due("a"), gives: .start("a", 2))
        try run.on(.began("a", 2))
        #expect(try run.replayed() == run.machine)
    }
}

/// Events that cannot follow change nothing.
@Suite struct RefusalTests {
    private static let ofSteps: [RunEvent] = [
        .began("ghost"), .saw("ghost", "k", 1), .done("ghost"), .broke("ghost"), .doubted("ghost"), .due("ghost"), .asked("ghost"),
        .approved("ghost"), .resolved("ghost", .done), .skip("ghost"), .retry("ghost"),
    ]

    @Test(arguments: ofSteps) func stepsThatTheRunDoesNotHaveAreNamed(_ event: RunEvent) throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        #expect(run.refuses(event)?.message == "the run has no step ghost")
    }

    private static let beforeTheIntent: [RunEvent] = [
        .began("a", 0), .began("a", 2), .undoBegan("a"), .saw("a", "k", 1), .done("a"), .broke("a"), .doubted("a"), .due("a"),
        .asked("a"), .approved("a"), .resolved("a", .done), .skip("a"), .retry("a"),
    ]

    @Test(arguments: beforeTheIntent) func nothingButItsIntentFollowsAnIssuedAttempt(_ event: RunEvent) throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        run.refuses(event)
        try run.on(.began("a"))
    }

    private static let ofOtherAttempts: [RunEvent] = [
        .began("a"), .began("a", 2), .done("a", 2), .done("a", 0), .broke("a", 2), .doubted("a", 2), .saw("a", attempt: 2, "k", 1),
        .undoDone("a"), .undoBroke("a"), .doubted("a", isUndo: true), .skip("a"), .retry("a"), .asked("a"), .denied("a"),
    ]

    @Test(arguments: ofOtherAttempts) func outcomesOfAnotherAttemptAreRefused(_ event: RunEvent) throws {
        var run = try Scenario(step("a", hasUndo: true))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        run.refuses(event)
        try run.on(.done("a"), state: .succeeded)
        run.refuses(.done("a"))
        run.refuses(.broke("a"))
    }

    @Test func aRunIsAcceptedOnce() throws {
        var run = try Scenario(step("a"))
        run.refuses(.accepted(.plan([])))
    }
}
