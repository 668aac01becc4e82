import RunCore
import Testing

/// Failures, retries and what they do to the run.
@Suite struct FailureTests {
    @Test func aFailureIsTriedAgainWithBackoffUntilTheTriesAreUsedUp() throws {
        var run = try Scenario(step("a", tries: 3))
        try run.held(gives: .start("a"))
        try run.fails("a", 1, gives: .wake("a", after: 1000), state: .running)
        try run.on(.due("a"), gives: .start("a", 2))
        try run.fails("a", 2, .timedOut, gives: .wake("a", after: 2000), state: .running)
        try run.on(.due("a"), gives: .start("a", 3))
        try run.fails("a", 3, state: .failed)
        #expect(run["a"].state == .failed)
        #expect(run["a"].attempt == 3)
    }

    @Test func theJitterOfTheFailureSetsTheDelay() throws {
        var run = try Scenario(step("a", tries: 2))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.broke("a", 1, jitter: 0), gives: .wake("a", after: 500))
    }

    @Test(arguments: [Failure.Kind.permanent, .cancelled])
    func aFailureThatTryingAgainCannotHelpIsNotTriedAgain(_ kind: Failure.Kind) throws {
        var run = try Scenario(step("a", tries: 3))
        try run.held(gives: .start("a"))
        try run.fails("a", 1, kind, state: .failed)
        #expect(run["a"].state == (kind == .cancelled ? .cancelled : .failed))
    }

    @Test func timeoutsAreNamedAsSuch() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.fails("a", 1, .timedOut, state: .failed)
        #expect(run["a"].state == .timedOut)
    }

    @Test func onErrorStopLetsRunningStepsFinishAndStartsNothingNew() throws {
        var run = try Scenario(step("a"), step("b"), step("c", needs: "b"))
        try run.held(gives: .start("a"), .start("b"))
        try run.on(.began("b"))
        try run.fails("a", state: .running)
        try run.on(.done("b"), state: .failed, steps: ["c": .queued])
    }

    @Test func onErrorContinueGoesOnAndCanOnlyWarn() throws {
        var run = try Scenario(step("a", onError: .continue), step("b", needs: "a"))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .start("b"))
        #expect(run["a"].state == .failedIgnored)
        try run.succeeds("b", state: .succeededWithWarnings)
    }

    @Test func onErrorContinueIgnoresATimeoutToo() throws {
        var run = try Scenario(step("a", onError: .continue))
        try run.held(gives: .start("a"))
        try run.fails("a", 1, .timedOut, state: .succeededWithWarnings)
        #expect(run["a"].state == .failedIgnored)
    }

    @Test func onErrorUndoPutsBackWhatWasDoneOnceNothingRuns() throws {
        var run = try Scenario(step("a", hasUndo: true), step("b", needs: "a", onError: .undo), step("c", needs: "a", hasUndo: true))
        try run.held(gives: .start("a"))
        try run.succeeds("a", gives: .start("b"), .start("c"))
        try run.on(.began("c"))
        try run.fails("b", state: .running)
        try run.on(.done("c"), gives: .startUndo("c"), state: .undoing)
        try run.on(.undoBegan("c"))
        try run.on(.undoDone("c"), gives: .startUndo("a"))
        try run.on(.undoBegan("a"))
        try run.on(.undoDone("a"), state: .undone, steps: ["a": .undone, "b": .failed, "c": .undone])
    }

    @Test func anOperatorsRetryIsANewAttemptAndTheRunGoesOn() throws {
        var run = try Scenario(step("a"), step("b", needs: "a"))
        try run.held(gives: .start("a"))
        try run.fails("a", state: .failed)
        try run.on(.retry("a"), gives: .start("a", 2), state: .running)
        try run.succeeds("a", 2, gives: .start("b"))
        try run.succeeds("b", state: .succeeded)
    }

    @Test func aFailedStepThatIsSkippedLetsTheRestGoOnButNeverPlainly() throws {
        var run = try Scenario(step("a"), step("b", needs: "a"))
        try run.held(gives: .start("a"))
        try run.fails("a", state: .failed)
        try run.on(.skip("a"), gives: .start("b"), state: .running)
        try run.succeeds("b", state: .succeededWithWarnings)
        #expect(run["a"].note == "skipped by bob: by hand")
    }

    @Test func aSkippedStepDoesNotLetALaterOneOvertakeAnEarlierOne() throws {
        var run = try Scenario(step("restore"), step("verify", needs: "restore"), step("lint", needs: "verify"), step("swap", needs: "lint"))
        try run.held(gives: .start("restore"))
        try run.on(.began("restore"))
        try run.on(.skip("verify"))
        try run.on(.skip("lint"))
        try run.on(.done("restore"), gives: .start("swap"))
    }

    @Test func aQueuedStepCanBeSkippedButNotARunningOrIssuedOne() throws {
        var run = try Scenario(step("a"), step("b", needs: "a"), step("c", needs: "b"))
        try run.held(gives: .start("a"))
        run.refuses(.skip("a"))
        try run.on(.began("a"))
        run.refuses(.skip("a"))
        try run.on(.skip("b"))
        try run.on(.done("a"), gives: .start("c"))
        run.refuses(.skip("a"))
        run.refuses(.skip("b"))
    }

    @Test func aStepThatWaitsForItsRetryCanBeSkippedAndItsTimerIsThenRefused() throws {
        var run = try Scenario(step("a", tries: 2))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .wake("a", after: 1000))
        try run.on(.skip("a"), state: .succeededWithWarnings)
        run.refuses(.due("a"))
    }

    @Test func anIgnoredFailureCanBeTriedAgainToAPlainSuccess() throws {
        var run = try Scenario(step("a", onError: .continue))
        try run.held(gives: .start("a"))
        try run.fails("a", state: .succeededWithWarnings)
        try run.on(.retry("a"), gives: .start("a", 2), state: .running)
        try run.succeeds("a", 2, state: .succeeded)
    }
}
