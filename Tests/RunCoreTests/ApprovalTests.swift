import RunCore
import Testing

/// Steps that a person has to agree to.
@Suite struct ApprovalTests {
    @Test func aStepAsksThenWaitsThenRunsOnceApproved() throws {
        var run = try Scenario(step("swap", approval: true))
        try run.held(gives: .ask("swap"), state: .running)
        try run.on(.asked("swap"), state: .waiting, steps: ["swap": .waiting])
        #expect(run["swap"].approval?.message == "swap?")
        try run.on(.approved("swap"), gives: .start("swap"), state: .running)
        try run.succeeds("swap", state: .succeeded)
    }

    @Test func otherStepsGoOnWhileOneWaitsForItsApproval() throws {
        var run = try Scenario(step("swap", approval: true), step("b"), limits: .init(perHost: 1, total: 1))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"), gives: .start("b"), state: .running)
        try run.succeeds("b", state: .waiting)
    }

    @Test func aDenialFailsTheStepForGoodAndARetryAsksAgain() throws {
        var run = try Scenario(step("swap", tries: 5, approval: true))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        try run.on(.denied("swap"), state: .failed, steps: ["swap": .failed])
        #expect(run["swap"].failure?.code == "run.approval-denied")
        try run.on(.retry("swap"), gives: .ask("swap"), state: .running)
        try run.on(.asked("swap"), state: .waiting)
        try run.on(.approved("swap"), gives: .start("swap"))
    }

    @Test func aWordAnswersOnlyTheQuestionThatItWasGivenTo() throws {
        var run = try Scenario(step("swap", approval: true))
        try run.held(gives: .ask("swap"))
        #expect(run["swap"].questions == 0)
        try run.on(.asked("swap"))
        let early = run.refuses(.approved("swap", question: 0))
        #expect(early?.message == "step swap waits for an answer to its question 1, and the approval of bob was given to none: it had not asked yet")
        try run.on(.denied("swap", question: 1))
        try run.on(.retry("swap"), gives: .ask("swap"))
        try run.on(.asked("swap"), state: .waiting)
        let late = run.refuses(.approved("swap", question: 1))
        #expect(late?.message == "step swap waits for an answer to its question 2, and the approval of bob was given to question 1")
        run.refuses(.denied("swap", question: 1))
        try run.on(.approved("swap", question: 2), gives: .start("swap"))
    }

    @Test func whoIsSecondIsToldWhoWasFirst() throws {
        var run = try Scenario(step("swap", approval: true))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        var other = run
        try run.on(.approved("swap", by: "ada"), gives: .start("swap"))
        #expect(run.refuses(.denied("swap"))?.message == "step swap was approved by ada already and is QUEUED: a denial cannot follow")
        try other.on(.denied("swap", by: "ada"))
        #expect(other.refuses(.approved("swap"))?.message == "step swap was denied by ada already and is FAILED: an approval cannot follow")
    }

    @Test func whoStartedTheRunMayNotApproveWhereThePlanSaysSoButMayDeny() throws {
        var run = try Scenario(step("swap", approval: true, byAnother: true), startedBy: "ada")
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        let error = run.refuses(.approved("swap", by: "ada"))
        #expect(error?.message == "step swap must be approved by another person than ada, who started the run")
        #expect(error?.hints == ["have a second person run: reprise approve RUN swap --comment …"])
        var other = run
        try run.on(.approved("swap", by: "bob"), gives: .start("swap"))
        try other.on(.denied("swap", by: "ada"), state: .failed)
    }

    @Test(arguments: [
        ("ada@bastion (process 1)", "ada@bastion (process 2)", true),
        ("ada@bastion (process 1, from 192.0.2.7 50022 22)", "ada@bastion (process 2, from 192.0.2.7 61000 22)", true),
        // Two people who share an account.
        ("ops@bastion (process 1, from 192.0.2.7 50022 22)", "ops@bastion (process 2, from 192.0.2.8 50022 22)", false),
        ("ada@bastion (process 1)", "ada@laptop (process 1)", false),
        ("ada@bastion (process 1)", "bob@bastion (process 1)", false),
    ])
    func anotherProcessOfWhoStartedTheRunIsNotAnotherPerson(starter: String, approver: String, isSame: Bool) throws {
        var run = try Scenario(step("swap", approval: true, byAnother: true), startedBy: starter)
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        if isSame { #expect(run.refuses(.approved("swap", by: approver)) != nil) } else { try run.on(.approved("swap", by: approver), gives: .start("swap")) }
    }

    @Test func aRetryWithinTheTriesDoesNotAskAgain() throws {
        var run = try Scenario(step("swap", tries: 2, approval: true))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        try run.on(.approved("swap"), gives: .start("swap"))
        try run.fails("swap", gives: .wake("swap", after: 1000))
        try run.on(.due("swap"), gives: .start("swap", 2))
    }

    @Test func anOperatorsRetryAsksAgainAlthoughTheFirstAttemptWasApproved() throws {
        var run = try Scenario(step("swap", approval: true))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        try run.on(.approved("swap"), gives: .start("swap"))
        try run.fails("swap", state: .failed)
        try run.on(.retry("swap"), gives: .ask("swap"))
    }

    @Test func aCrashBeforeTheRequestAsksAgainAndOneAfterItDoesNot() throws {
        var run = try Scenario(step("swap", approval: true))
        try run.held(gives: .ask("swap"))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        try run.held(state: .waiting)
    }

    @Test func anApprovalIsTakenWhileNobodyHoldsTheRunAndStartsWithTheNextHolder() throws {
        var run = try Scenario(step("swap", approval: true))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        try run.on(.letGo, state: .waiting)
        try run.on(.approved("swap"), state: .running)
        try run.held(gives: .start("swap"))
    }

    @Test func aStepThatWaitsCanBeSkipped() throws {
        var run = try Scenario(step("swap", approval: true))
        try run.held(gives: .ask("swap"))
        try run.on(.asked("swap"))
        try run.on(.skip("swap"), state: .succeededWithWarnings)
        run.refuses(.approved("swap"))
    }

    @Test func nothingStartsWithoutTheDecision() throws {
        var run = try Scenario(step("swap", approval: true))
        run.refuses(.asked("swap"))
        try run.held(gives: .ask("swap"))
        run.refuses(.approved("swap"))
        run.refuses(.began("swap"))
        try run.on(.asked("swap"))
        run.refuses(.began("swap"))
        run.refuses(.asked("swap"))
    }
}
