import RunCore
import Testing

/// Which step starts when.
@Suite struct OrderTests {
    @Test func aChainRunsOneStepAfterTheOther() throws {
        var run = try Scenario(step("a"), step("b", needs: "a"), step("c", needs: "b"))
        #expect(run.machine.state == .accepted)
        try run.held(gives: .start("a"), state: .running)
        try run.succeeds("a", gives: .start("b"), state: .running)
        try run.succeeds("b", gives: .start("c"), state: .running)
        try run.succeeds("c", state: .succeeded)
    }

    @Test func independentStepsRunSideBySideAndADiamondClosesWhenBothAreDone() throws {
        var run = try Scenario(step("top"), step("left", needs: "top"), step("right", needs: "top"), step("end", needs: "left", "right"))
        try run.held(gives: .start("top"))
        try run.succeeds("top", gives: .start("left"), .start("right"))
        try run.succeeds("left")
        try run.succeeds("right", gives: .start("end"))
        try run.succeeds("end", state: .succeeded)
    }

    @Test func noMoreThanTheTotalRunAtOnce() throws {
        var run = try Scenario(step("a"), step("b"), step("c"), limits: .init(perHost: 9, total: 2))
        try run.held(gives: .start("a"), .start("b"))
        try run.on(.began("a"))
        try run.on(.done("a"), gives: .start("c"))
    }

    @Test func aFullHostHoldsBackItsOwnStepsOnly() throws {
        var run = try Scenario(
            step("a", hosts: ["db"]), step("b", hosts: ["db"]), step("both", hosts: ["app", "db"]), step("c", hosts: ["app"]),
            limits: .init(perHost: 1, total: 9))
        try run.held(gives: .start("a"), .start("c"))
        try run.succeeds("c")
        try run.succeeds("a", gives: .start("b"))
        try run.succeeds("b", gives: .start("both"))
        try run.succeeds("both", state: .succeeded)
    }

    @Test func aStepThatWaitsForItsRetryFreesItsSlot() throws {
        var run = try Scenario(step("a", tries: 2), step("b"), limits: .init(perHost: 1, total: 1))
        try run.held(gives: .start("a"))
        try run.fails("a", gives: .wake("a", after: 1000), .start("b"))
        try run.on(.due("a"))
        try run.succeeds("b", gives: .start("a", 2))
    }

    @Test func nothingStartsBeforeAProcessHoldsTheRunOrAfterItLetGo() throws {
        var run = try Scenario(step("a"), step("b", needs: "a"))
        try run.on(.letGo, state: .accepted)
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.letGo, state: .running)
        try run.on(.done("a"), state: .running)
        try run.held(gives: .start("b"))
    }

    @Test func aRunWithoutStepsSucceedsAtOnce() throws {
        var run = try Scenario()
        try run.held(state: .succeeded)
    }

    @Test func aWarningKeepsTheRunFromAPlainSuccess() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.done("a", warnings: ["2 rows skipped"]), state: .succeededWithWarnings)
    }

    @Test func plansThatCannotRunAreRefused() {
        #expect(throws: InvalidTransition.self) { try Scenario(step("a"), step("a")) }
        #expect(throws: InvalidTransition.self) { try Scenario(step("a", needs: "ghost")) }
        #expect(throws: InvalidTransition.self) { try Scenario(step("a", needs: "b"), step("b", needs: "a")) }
        #expect(throws: InvalidTransition.self) { try Scenario(step("a", needs: "z"), step("z", phase: .finally)) }
    }

    @Test func outputsObservationsAndEvidenceAreKept() throws {
        var run = try Scenario(step("a", tries: 2))
        try run.held(gives: .start("a"))
        try run.on(.began("a"))
        try run.on(.saw("a", "object", "s3://b/k"))
        #expect(run["a"].observations == ["object": "s3://b/k"])
        try run.on(.broke("a"), gives: .wake("a", after: 1000))
        try run.on(.due("a"), gives: .start("a", 2))
        try run.on(.began("a", 2))
        #expect(run["a"].observations.isEmpty, "facts of an attempt end with it")
        #expect(run["a"].earlierObservations == ["object": "s3://b/k"], "and are remembered as an earlier one's")
        try run.on(
            .attemptSucceeded(.init(step: "a", attempt: 2, evidence: ["rows": 3], outputs: ["path": "/tmp/x"])), state: .succeeded)
        #expect(run["a"].evidence == ["rows": 3])
        #expect(run["a"].outputs == ["path": "/tmp/x"])
        #expect(run["a"].failure == nil)
    }

    @Test func aHostIsTheSameMachineForTheWholeRun() throws {
        var run = try Scenario(step("a"))
        try run.held(gives: .start("a"))
        let db1 = HostPinned(host: "db1", machineID: "4f", hostKey: "SHA256:x")
        try run.on(.hostPinned(db1))
        try run.on(.hostPinned(db1), state: .running)
        #expect(run.machine.pins == ["db1": db1])
        run.refuses(.hostPinned(HostPinned(host: "db1", machineID: "5a", hostKey: "SHA256:x")))
        run.refuses(.hostPinned(HostPinned(host: "db1", machineID: "4f", hostKey: "SHA256:y")))
        try run.on(.hostPinned(HostPinned(host: "db2", machineID: "5a", hostKey: nil)))
    }
}
