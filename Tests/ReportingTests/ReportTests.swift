import Engine
import Foundation
import Journal
import PlanModel
import Reporting
import RunCore
import Steps
import Testing

/// A run whose events are given, as a journal would hold it.
struct RecordedRun {
    static let start: Int64 = 1_795_400_000_000
    let loaded: ResumableRun
    let records: [JournalRecord]
    let summary: RunSummary
    let run = RunID("20261123-021320-abcd")!

    init(steps: [PlanStep], specs: [StepSpec], events: [(second: Int64, fence: Fence, event: RunEvent)], isHeld: Bool = false) throws {
        let plan = Plan(name: "p", title: "A plan", steps: steps)
        let frozen = try FrozenRun(plan: plan, inventory: Inventory(), parameters: ParameterBinding(values: [:]), mode: .recovery, planPath: "p.yaml")
        let accepted = RunAccepted(
            spec: RunSpec(steps: specs), planName: "p", mode: "recovery", startedBy: "anna@ops (process 1)", document: try EventCodec.value(frozen))
        var machine = try RunMachine(accepted)
        var records: [JournalRecord] = []
        var previous = JournalChain.origin(of: run)
        for (second, fence, event) in [(0, 1, .accepted(accepted))] + events {
            if case .accepted = event {} else { _ = try machine.apply(event) }
            let record = JournalRecord(
                run: run, sequence: Int64(records.count + 1), timeMilliseconds: Self.start + second * 1000, fence: fence,
                entry: try EventCodec.entry(event), previousHash: previous)
            records.append(record)
            previous = record.hash
        }
        let last = try #require(records.last)
        self.records = records
        struct Head: Encodable { let sequence: Int64, hash: [UInt8] }
        struct Summary: Encodable {
            let run: RunID, createdMilliseconds: Int64, lastEventMilliseconds: Int64, head: Head, fence: Fence, label: String, holder: Holder?
        }
        struct Holder: Encodable { let identity: OperatorIdentity, fence: Fence, isAlive: Bool }
        let holder = Holder(
            identity: OperatorIdentity(user: "anna", host: "ops", pid: 1, from: nil, processNonce: "n"), fence: 1, isAlive: isHeld)
        summary = try EventCodec.decode(
            RunSummary.self,
            EventCodec.json(
                Summary(
                    run: run, createdMilliseconds: Self.start, lastEventMilliseconds: last.timeMilliseconds,
                    head: Head(sequence: last.sequence, hash: last.hash), fence: last.fence, label: machine.state.rawValue, holder: holder)))
        loaded = ResumableRun(machine: machine, frozen: frozen, head: summary.head)
    }

    func report(now second: Int64) -> RunReport {
        RunReport(loaded, summary: summary, records: records, now: Self.start + second * 1000)
    }

    func recovery(now second: Int64) throws -> RecoveryReport {
        try RecoveryReport(loaded, summary: summary, records: records, now: Self.start + second * 1000)
    }
}

@Suite struct ReportTests {
    private let fetch = StepID("fetch")!, verify = StepID("verify")!, swap = StepID("swap")!

    private var steps: [PlanStep] {
        [
            PlanStep(id: fetch, kind: "fetch-backup", title: "Fetch it"), PlanStep(id: verify, kind: "postgres-verify", needs: [fetch]),
            PlanStep(id: swap, kind: "postgres-swap", needs: [verify]),
        ]
    }

    private var specs: [StepSpec] {
        [StepSpec(id: fetch, hosts: ["db1"]), StepSpec(id: verify, needs: [fetch]), StepSpec(id: swap, needs: [verify], needsApproval: true)]
    }

    private func content(actualRows: Int64) -> JSONValue {
        let objects: JSONValue = ["count": 0, "hash": "00", "bytes": 0]
        let table: JSONValue = [
            "table": ["schema": "public", "name": "members"], "expectedRows": 2_000_000, "actualRows": .integer(actualRows),
            "isContentEqual": .bool(actualRows == 2_000_000), "expectedHash": "ab", "actualHash": "cd",
        ]
        return ["content": ["tables": [table], "sequences": [], "extra": [], "expectedLargeObjects": objects, "actualLargeObjects": objects]]
    }

    /// Fetched, killed for 100 s, verified, approved after 60 s, swapped.
    private func events(actualRows: Int64 = 2_000_000) -> [(second: Int64, fence: Fence, event: RunEvent)] {
        let backup: [String: JSONValue] = [
            "key": "database/db_20261122_021320.dump.gz", "store": "s3://backups", "time": "2026-11-22T02:13:20Z", "bytes": 123_000_000,
            "sha256": "feed",
        ]
        return [
            (0, 1, .held(RunHeld(by: "anna@ops (process 1)", fence: 1))),
            (1, 1, .attemptStarted(AttemptStarted(step: fetch, attempt: 1, specHash: ""))),
            (5, 1, .observed(Observation(step: fetch, attempt: 1, key: "choice", value: "x"))),
            (105, 2, .held(RunHeld(by: "ben@ops (process 2)", fence: 2, takeOverReason: "anna is asleep"))),
            (111, 2, .attemptSucceeded(AttemptSucceeded(step: fetch, attempt: 1, outputs: backup, warnings: ["an older one"]))),
            (111, 2, .attemptStarted(AttemptStarted(step: verify, attempt: 1, specHash: ""))),
            (115, 2, .attemptSucceeded(AttemptSucceeded(step: verify, attempt: 1, evidence: content(actualRows: actualRows)))),
            (115, 2, .approvalRequested(ApprovalRequested(step: swap, message: "12 rows will be lost"))),
            (175, 2, .approvalDecided(ApprovalDecided(step: swap, approved: true, by: "cleo@ops (process 3)", comment: "go"))),
            (175, 2, .attemptStarted(AttemptStarted(step: swap, attempt: 1, specHash: ""))),
            (177, 2, .attemptSucceeded(AttemptSucceeded(step: swap, attempt: 1))),
        ]
    }

    @Test func theRecoveryReportSaysFromWhatHowLongAndHowItWasProven() throws {
        let report = try RecordedRun(steps: steps, specs: specs, events: events()).recovery(now: 9999)
        #expect(report.run.state == "SUCCEEDED_WITH_WARNINGS")
        #expect(report.recoverySeconds == 177)
        #expect(report.lossSeconds == 86_400)
        #expect(report.backups.first?.sizeBytes == 123_000_000)
        #expect(report.tables.map(\.table) == ["public.members"])
        #expect(report.tables.allSatisfy(\.isEqual) && report.findings.isEmpty)
        #expect(report.phases.map(\.name) == ["fetch", "verify", "cutover"])
        // The 100 s in which nobody drove the run are not the fetch's.
        #expect(report.phases.map(\.seconds) == [10, 4, 2])
        #expect(report.interruptedSeconds == 100)
        #expect(report.waitingSeconds == 60)
        // One after the other: all of it is on the critical path.
        #expect(report.phases.map(\.criticalSeconds) == [10, 4, 2])
        let idle = report.criticalIdle
        #expect([idle.waitingSeconds, idle.interruptedSeconds, idle.betweenSeconds] == [60, 100, 1])
        #expect(report.decisions.map(\.what) == ["taken over", "approved"])
        #expect(report.timeline.count == 12)
        let text = report.document.text(style: .plain)
        for part in ["2,000,000", "1 d 0 h", "anna is asleep", "cleo@ops", "an older one", report.run.journalHead] { #expect(text.contains(part), "\(part)") }
        for format in [report.document.markdown, report.document.html] { #expect(format.contains("2,000,000")) }
    }

    /// A merge of rows compares no whole tables, and nothing that was written since its backup is lost.
    @Test func aMergeOfRowsIsToldInFullAndByItsOwnProof() throws {
        let merge = StepID("merge")!, proof = StepID("proof")!
        let steps = [PlanStep(id: merge, kind: "table-merge"), PlanStep(id: proof, kind: "table-proof", needs: [merge])]
        let specs = [StepSpec(id: merge), StepSpec(id: proof, needs: [merge])]
        let long = "public.members: 20 written; still other than in the backup: 12 kept, 2 changed since by others. public.other: 60 written."
        var events: [(second: Int64, fence: Fence, event: RunEvent)] = [
            (0, 1, .held(RunHeld(by: "anna@ops (process 1)", fence: 1))),
            (1, 1, .attemptStarted(AttemptStarted(step: merge, attempt: 1, specHash: ""))),
            (2, 1, .attemptSucceeded(AttemptSucceeded(step: merge, attempt: 1, outputs: ["summary": "20 inserted"]))),
            (2, 1, .attemptStarted(AttemptStarted(step: proof, attempt: 1, specHash: ""))),
        ]
        func text() throws -> String {
            try RecordedRun(steps: steps, specs: specs, events: events).recovery(now: 9).document.markdown
        }
        #expect(try text().contains("has compared once more after the merge so far"))
        events.append((3, 1, .attemptSucceeded(AttemptSucceeded(step: proof, attempt: 1, outputs: ["summary": .string(long)]))))
        #expect(try text().contains("all is as it was to be. \(long)"))
        #expect(try text().contains("merge: 20 inserted") && !text().contains("RPO"))
    }

    /// A run that replaced nothing, or that was taken back, lost nothing; and of an undo that failed the reason is told.
    @Test func whatWasTakenBackOrNeverHappenedIsNoLoss() throws {
        let swap = StepID("swap")!, steps = [PlanStep(id: swap, kind: "postgres-swap")], specs = [StepSpec(id: swap, hasUndo: true)]
        let taken = Failure(kind: .permanent, code: "x", message: "the name is taken"), word = OperatorWord(by: "anna@ops", reason: "no")
        let begun: [(second: Int64, fence: Fence, event: RunEvent)] = [
            (0, 1, .held(RunHeld(by: "anna@ops (process 1)", fence: 1))), (1, 1, .attemptStarted(AttemptStarted(step: swap, attempt: 1, specHash: ""))),
        ]
        func report(_ more: [RunEvent]) throws -> RecoveryReport {
            try RecordedRun(steps: steps, specs: specs, events: begun + more.map { (2, 1, $0) }).recovery(now: 9)
        }
        let refused = try report([.attemptFailed(AttemptFailed(step: swap, attempt: 1, failure: taken))])
        #expect(refused.document.markdown.contains("the database was not replaced") && !refused.document.markdown.contains("RPO"))
        let swapped: [RunEvent] = [
            .attemptSucceeded(AttemptSucceeded(step: swap, attempt: 1)), .undoRequested(word), .attemptStarted(AttemptStarted(step: swap, attempt: 1, isUndo: true, specHash: "")),
        ]
        let undone = try report(swapped + [.attemptSucceeded(AttemptSucceeded(step: swap, attempt: 1, isUndo: true))])
        #expect(undone.run.state == "UNDONE" && undone.document.markdown.contains("what the run did was taken back") && !undone.document.markdown.contains("RPO"))
        let stuck = try report(swapped + [.attemptFailed(AttemptFailed(step: swap, attempt: 1, isUndo: true, failure: taken))])
        #expect(stuck.document.markdown.contains("undo of swap failed: the name is taken"))
        #expect(StatusText(stuck.run, style: .plain, width: 100).text.contains("undo of swap failed: the name is taken"))
    }

    /// A timeline's line is cut off; that people are led elsewhere is told in full.
    @Test func whatAVisitHasFoundIsToldInFull() throws {
        let visit = StepID("visit")!, found = "the name service leads chms.example.org to 192.0.2.7 and not to 198.51.100.20: people do not reach it"
        let events: [(second: Int64, fence: Fence, event: RunEvent)] = [
            (0, 1, .held(RunHeld(by: "anna@ops (process 1)", fence: 1))), (1, 1, .attemptStarted(AttemptStarted(step: visit, attempt: 1, specHash: ""))),
            (2, 1, .attemptSucceeded(AttemptSucceeded(step: visit, attempt: 1, evidence: ["found": [.string(found), "/ answered 200"]]))),
        ]
        let report = try RecordedRun(steps: [PlanStep(id: visit, kind: "site-check")], specs: [StepSpec(id: visit)], events: events).recovery(now: 9)
        #expect(report.document.markdown.contains("visit: \(found)") && report.document.markdown.contains("Seen from outside"))
    }

    @Test func aMismatchIsShownWithBothCounts() throws {
        let report = try RecordedRun(steps: steps, specs: specs, events: events(actualRows: 1_999_999)).recovery(now: 9999)
        #expect(report.tables.first?.isEqual == false)
        #expect(report.findings.count == 1)
        let text = report.document.text(style: .plain)
        #expect(text.contains("1,999,999") && text.contains("2,000,000") && text.contains("DIFFERENT COUNT"))
    }

    @Test func aRunningRunWithoutALiveHolderIsInterrupted() throws {
        let few = Array(events().prefix(3))
        let left = try RecordedRun(steps: steps, specs: specs, events: few).report(now: 50)
        #expect(left.state == "INTERRUPTED")
        #expect(left.elapsedSeconds == 5)
        #expect(left.next == ["reprise resume 20261123-021320-abcd"])
        let text = StatusText(left, style: .plain, width: 80).text
        #expect(text.contains("interrupted") && text.contains("nobody drives this run"))
        #expect(text.split(separator: "\n").allSatisfy { columns(String($0)) <= 80 })
        let held = try RecordedRun(steps: steps, specs: specs, events: few, isHeld: true).report(now: 50)
        #expect(held.state == "RUNNING")
        #expect(held.elapsedSeconds == 50)
        #expect(held.steps.first?.seconds == 49)
    }

    @Test func statusShowsTheQuestionTheDoubtAndTheFailureWithWhatToDo() throws {
        let waiting = try RecordedRun(steps: steps, specs: specs, events: Array(events().prefix(8))).report(now: 200)
        let text = StatusText(waiting, style: .plain).text
        #expect(text.contains("12 rows will be lost") && text.contains("reprise approve 20261123-021320-abcd swap"))

        let started = Array(events().prefix(2))
        let doubted = RunEvent.attemptDoubted(
            AttemptDoubted(step: fetch, attempt: 1, message: "no result\u{1B}[0m", evidence: ["boot-id": "another"]))
        let inDoubt = try RecordedRun(steps: steps, specs: specs, events: started + [(3, 1, doubted)]).report(now: 200)
        let doubtText = StatusText(inDoubt, style: .plain).text
        #expect(doubtText.contains("boot-id: another") && doubtText.contains("reprise resolve"))
        #expect(!doubtText.contains("\u{1B}"))

        let failure = Failure(code: "x.y", message: "disk full", hints: ["free some space"])
        let failed = try RecordedRun(
            steps: steps, specs: specs, events: started + [(3, 1, .attemptFailed(AttemptFailed(step: fetch, attempt: 1, failure: failure)))]
        ).report(now: 200)
        let failureText = StatusText(failed, style: .plain).text
        #expect(failureText.contains("fetch failed: disk full\nHINT: free some space"))
        #expect(failureText.contains("reprise retry 20261123-021320-abcd fetch"))
    }

    /// Whether the step is tried again or the run begun anew depends on where the cause lies, and both ways are said.
    @Test func aFailureSaysWhenToTryAgainAndWhenToBeginAnew() throws {
        let started = Array(events().prefix(2)), run = "20261123-021320-abcd"
        let failure = Failure(kind: .permanent, code: "x.y", message: "disk full")
        let failed = try RecordedRun(
            steps: steps, specs: specs, events: started + [(3, 1, .attemptFailed(AttemptFailed(step: fetch, attempt: 1, failure: failure)))]
        ).report(now: 200)
        #expect(
            failed.next == [
                "reprise logs \(run) fetch", "reprise retry \(run) fetch", "reprise cancel \(run)", "reprise start p.yaml",
                "reprise skip \(run) fetch --reason …", "reprise undo \(run)", "reprise report \(run) --runbook",
            ])
        let text = StatusText(failed, style: .plain).text
        #expect(
            text.contains(
                """
                  once the cause is mended outside of the plan (a host, a secret, a store, the data):
                    reprise retry \(run) fetch
                  where the plan, the inventory or a parameter has to be another one, since this run goes by its own copies:
                    reprise cancel \(run)
                    reprise start p.yaml

                """), "\(text)")
        let cancelled = RunEvent.cancelRequested(OperatorWord(by: "anna", reason: ""))
        let after = try RecordedRun(
            steps: steps, specs: specs,
            events: started + [(3, 1, .attemptFailed(AttemptFailed(step: fetch, attempt: 1, failure: failure))), (4, 1, cancelled)]
        ).report(now: 200)
        #expect(after.state == "CANCELLED" && after.next == ["reprise start p.yaml", "reprise undo \(run)"], "\(after.state) \(after.next)")
    }

    @Test func everyEventIsToldInOneLine() throws {
        let hostile = "a\nb\u{1B}[2Jc"
        let step = fetch
        let all: [RunEvent] = [
            .accepted(RunAccepted(spec: RunSpec(steps: specs), planName: hostile, mode: "drill", startedBy: hostile, document: .null)),
            .held(RunHeld(by: hostile, fence: 1)), .released(RunReleased(by: hostile, reason: hostile)),
            .hostPinned(HostPinned(host: "db1", machineID: hostile, hostKey: "SHA256:x")),
            .attemptStarted(AttemptStarted(step: step, attempt: 1, specHash: "")),
            .observed(Observation(step: step, attempt: 1, key: hostile, value: ["k": .array([.string(hostile), .null, .bool(true), .number(1.5)])])),
            .attemptSucceeded(AttemptSucceeded(step: step, attempt: 1, warnings: [hostile])),
            .attemptFailed(AttemptFailed(step: step, attempt: 1, failure: Failure(kind: .timedOut, code: "c", message: hostile))),
            .attemptDoubted(AttemptDoubted(step: step, attempt: 1, message: hostile, evidence: .null)), .retryDue(StepNamed(step: step)),
            .approvalRequested(ApprovalRequested(step: step, message: hostile)),
            .approvalDecided(ApprovalDecided(step: step, approved: false, by: hostile, comment: hostile)),
            .doubtResolved(DoubtResolved(step: step, verdict: .notDone, by: hostile, reason: hostile)),
            .stepSkipped(OperatorOnStep(step: step, by: hostile, reason: hostile)),
            .stepRetryRequested(OperatorOnStep(step: step, by: hostile, reason: "")), .pauseRequested(OperatorWord(by: hostile, reason: "")),
            .cancelRequested(OperatorWord(by: hostile, reason: hostile)), .undoRequested(OperatorWord(by: hostile, reason: hostile)),
        ]
        #expect(Set(all.map(\.kind)).count == 18)
        for event in all {
            let told = sentence(event)
            #expect(!told.isEmpty && !told.contains("\n") && !told.contains("\u{1B}"), "\(event.kind)")
            if let step = event.step { #expect(told.contains(step.rawValue), "\(event.kind)") }
        }
    }

    @Test func whatRunsSideBySideIsCountedOnce() {
        let spans = [AttemptTimes.Span(start: 0, end: 10), .init(start: 5, end: 20), .init(start: 30, end: nil)]
        #expect(AttemptTimes.union(spans, now: 40) == 30)
        #expect(AttemptTimes.union(spans, without: [.init(start: 8, end: 32)], now: 40) == 16)
        #expect(AttemptTimes.union([], without: [.init(start: 0, end: 5)], now: 40) == 0)
    }
}
