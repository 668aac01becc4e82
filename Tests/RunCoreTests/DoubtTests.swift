import RunCore
import Testing

/// Steps of which nobody can tell whether they happened.
@Suite struct DoubtTests {
    private func doubtful(_ more: StepSpec...) throws -> Scenario {
        var run = try Scenario(step("a", tries: 3, hasUndo: true), step("b", needs: "a"))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.doubted("a"), state: .waiting, steps: ["a": .inDoubt])
        return run
    }

    @Test func aStepInDoubtStopsTheRunWithItsEvidenceAndIsNotRepeated() throws {
        var run = try doubtful()
        #expect(run["a"].doubt?.evidence == ["boot": "b1"])
        try run.held(state: .waiting)
        run.refuses(.due("a"))
        run.refuses(.began("a", 2))
        run.refuses(.retry("a"))
        run.refuses(.undo)
    }

    @Test func resolvedAsDoneTheRunGoesOnButNeverToAPlainSuccess() throws {
        var run = try doubtful()
        try run.on(.resolved("a", .done), gives: .start("b"), state: .running, steps: ["a": .succeeded])
        #expect(run["a"].warnings == ["taken as done on the word of bob: looked"])
        #expect(run["a"].doubt == nil)
        try run.succeeds("b", state: .succeededWithWarnings)
    }

    @Test func resolvedAsNotDoneANewAttemptStarts() throws {
        var run = try doubtful()
        try run.on(.resolved("a", .notDone), gives: .start("a", 2), state: .running)
        try run.succeeds("a", 2, gives: .start("b"))
        try run.succeeds("b", state: .succeeded)
    }

    @Test func aWordAnswersOnlyTheDoubtThatItWasGivenTo() throws {
        var run = try doubtful()
        let early = run.refuses(.resolved("a", .done, 0))
        #expect(early?.message == "step a is in doubt at attempt 1, and the word of bob was given before there was a doubt")
        run.refuses(.resolved("a", .done, 1, isUndo: true))
        try run.on(.resolved("a", .notDone, 1), gives: .start("a", 2))
        try run.on(.began("a", 2))
        try run.on(.doubted("a", 2), state: .waiting)
        let late = run.refuses(.resolved("a", .done, 1))
        #expect(late?.message == "step a is in doubt at attempt 2, and the word of bob was given about attempt 1")
        try run.on(.resolved("a", .done, 2), gives: .start("b"))
        // An undo is in doubt for itself.
        try run.succeeds("b")
        try run.on(.undo, gives: .startUndo("a"))
        try run.on(.undoBegan("a"))
        try run.on(.doubted("a", isUndo: true), state: .waiting)
        run.refuses(.resolved("a", .done, 1))
        try run.on(.resolved("a", .done, 1, isUndo: true), state: .undone)
    }

    @Test func skippedTheStepCountsAsNeither() throws {
        var run = try doubtful()
        try run.on(.skip("a"), gives: .start("b"), steps: ["a": .skipped])
        try run.succeeds("b", state: .succeededWithWarnings)
    }

    @Test func aLostLedgerIsForgivenOnceBySomebodysAnswer() throws {
        let db1 = HostPinned(host: "db1", machineID: "4f", hostKey: "SHA256:x")
        for answer in [RunEvent.resolved("a", .notDone), .resolved("a", .done), .skip("a")] {
            var run = try Scenario(step("a"), step("b", needs: "a"))
            try run.held(gives: .start("a"))
            try run.on(.began("a"))
            try run.on(.hostPinned(db1))
            #expect(run.machine.forgivenLedgers.isEmpty)
            try run.on(
                .attemptDoubted(AttemptDoubted(step: "a", attempt: 1, message: "lost", evidence: AttemptDoubted.lostLedgerEvidence("db1"))),
                state: .waiting)
            #expect(run.machine.forgivenLedgers.isEmpty, "nobody has answered yet")
            var machine = run.machine
            _ = try machine.apply(answer)
            #expect(machine.forgivenLedgers == ["db1"])
            // The host knows the run again: what is lost after that is another loss.
            _ = try machine.apply(.hostPinned(db1))
            #expect(machine.forgivenLedgers.isEmpty)
        }
        var other = try doubtful().machine
        _ = try other.apply(.resolved("a", .notDone))
        #expect(other.forgivenLedgers.isEmpty, "another doubt forgives no ledger")
    }

    @Test func onlyAStepInDoubtCanBeResolved() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        run.refuses(.resolved("a", .done))
        try run.on(.began("a"))
        run.refuses(.resolved("a", .done))
        try run.on(.done("a"))
        run.refuses(.resolved("a", .notDone))
        run.refuses(.resolved("ghost", .done))
    }

    @Test func otherStepsFinishWhileOneIsInDoubt() throws {
        var run = try Scenario(step("a"), step("b"))
        try run.held(gives: .start("a"), .start("b"))
        try run.on(.began("a"))
        try run.on(.doubted("a"), state: .running)
        try run.succeeds("b", state: .waiting)
    }

    @Test func aDoubtThatIsResolvedInACancelledRunDoesNotStartTheStepAgain() throws {
        var run = try doubtful()
        try run.on(.cancel, state: .waiting, steps: ["b": .cancelled])
        try run.on(.resolved("a", .notDone), state: .cancelled, steps: ["a": .cancelled])
    }

    @Test func skippingADoubtDoesNotOverruleACancellation() throws {
        var run = try doubtful()
        try run.on(.cancel, state: .waiting)
        try run.on(.skip("a"), state: .cancelled, steps: ["a": .skipped, "b": .cancelled])
    }

    @Test func aPausedDoubtStaysPausedUntilTheRunIsTakenUpAgain() throws {
        var run = try doubtful()
        try run.on(.pause, state: .paused)
        try run.on(.resolved("a", .done), state: .paused)
        try run.held(gives: .start("b"), state: .running)
    }
}
