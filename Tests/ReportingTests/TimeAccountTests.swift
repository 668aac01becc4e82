import PlanModel
import RunCore
import TestSupport
import Testing

@testable import Reporting

@Suite struct TimeAccountTests {
    /// Each step with its kind, what it needs, and when it ran, in seconds.
    private struct Row {
        let id: String, kind: String, needs: [String], start: Int64, end: Int64
        var phase: String?
        init(_ id: String, _ kind: String, _ needs: [String], _ start: Int64, _ end: Int64, phase: String? = nil) {
            (self.id, self.kind, self.needs, self.start, self.end, self.phase) = (id, kind, needs, start, end, phase)
        }
    }

    /// A new server: the database and the application side by side, people asked before the proof.
    private let server = [
        Row("db-packages", "packages", [], 0, 40), Row("app-packages", "packages", [], 0, 95), Row("cluster", "postgres-cluster", ["db-packages"], 40, 46),
        Row("fetch", "fetch-backup", ["db-packages"], 40, 90), Row("restore", "postgres-restore", ["cluster", "fetch"], 90, 150),
        Row("verify", "postgres-verify", ["restore"], 150, 180), Row("code", "git-checkout", ["app-packages", "fetch"], 95, 105),
        Row("dependencies", "command", ["code"], 105, 165, phase: "application"), Row("certificate", "certificate", ["app-packages"], 95, 97),
        Row("visit", "site-check", ["verify", "dependencies", "certificate"], 240, 248),
    ]

    private func recorded(_ rows: [Row], extra: [(second: Int64, fence: Fence, event: RunEvent)] = []) throws -> RecordedRun {
        func id(_ text: String) -> StepID { StepID(text)! }
        let steps = rows.map { PlanStep(id: id($0.id), kind: $0.kind, needs: $0.needs.map(id), phase: $0.phase) }
        let specs = rows.map { StepSpec(id: id($0.id), needs: $0.needs.map(id), needsApproval: $0.id == "visit") }
        var events = extra
        for row in rows {
            events.append((row.start, 1, .attemptStarted(AttemptStarted(step: id(row.id), attempt: 1, specHash: ""))))
            events.append((row.end, 1, .attemptSucceeded(AttemptSucceeded(step: id(row.id), attempt: 1))))
        }
        // Ends before beginnings at the same second.
        let ordered = events.enumerated().sorted { left, right in
            func rank(_ event: RunEvent) -> Int {
                switch event {
                case .held: 0
                case .attemptSucceeded: 1
                case .approvalRequested: 2
                case .approvalDecided: 3
                default: 4
                }
            }
            return (left.element.second, rank(left.element.event), left.offset) < (right.element.second, rank(right.element.event), right.offset)
        }.map(\.element)
        return try RecordedRun(steps: steps, specs: specs, events: ordered)
    }

    private var people: [(second: Int64, fence: Fence, event: RunEvent)] {
        [
            (0, 1, .held(RunHeld(by: "anna@ops (process 1)", fence: 1))),
            (180, 1, .approvalRequested(ApprovalRequested(step: StepID("visit")!, message: "look?"))),
            (240, 1, .approvalDecided(ApprovalDecided(step: StepID("visit")!, approved: true, by: "ben", comment: "go"))),
        ]
    }

    @Test func aServersRecoveryTimeIsAddedUpByItsCriticalPath() throws {
        let report = try recorded(server, extra: people).recovery(now: 9999)
        #expect(report.recoverySeconds == 248)
        #expect(report.criticalPath.map(\.step) == ["db-packages", "fetch", "restore", "verify", "visit"])
        #expect(report.phases.map(\.name) == ["packages", "cluster", "fetch", "restore", "application", "services", "verify", "proof"])
        #expect(report.phases.map(\.criticalSeconds) == [40, 0, 50, 60, 0, 0, 30, 8])
        #expect(report.phases.map(\.seconds) == [95, 6, 50, 60, 70, 2, 30, 8])
        #expect(report.phases.map(\.workSeconds) == [135, 6, 50, 60, 70, 2, 30, 8])
        #expect(report.criticalIdle == .init(waitingSeconds: 60, interruptedSeconds: 0, betweenSeconds: 0))
        let text = report.document.text(style: .plain)
        for part in ["of the recovery time", "recovery time (RTO)", "4 min 08 s", "waiting for people", "fetch 50 s \u{2192} restore 1 min 00 s"] { #expect(text.contains(part), "\(part)") }
    }

    /// The longer side is on the path, whichever it is.
    @Test func theSlowerSideIsOnThePath() throws {
        var rows = server
        rows[7] = Row("dependencies", "command", ["code"], 105, 179, phase: "application")
        rows[5] = Row("verify", "postgres-verify", ["restore"], 150, 170)
        let report = try recorded(rows, extra: people).recovery(now: 9999)
        #expect(report.criticalPath.map(\.step) == ["app-packages", "code", "dependencies", "visit"])
        #expect(report.phases.first { $0.name == "application" }?.criticalSeconds == 84)
        // From the last step's end to the question.
        #expect(report.criticalIdle.betweenSeconds == 1 && report.criticalIdle.waitingSeconds == 60)
    }

    @Test func timeWithoutADriverIsNobodysWork() throws {
        // Killed in the middle of the restore, taken up 20 s later.
        let rows = [Row("fetch", "fetch-backup", [], 0, 60), Row("restore", "postgres-restore", ["fetch"], 60, 150)]
        let extra: [(second: Int64, fence: Fence, event: RunEvent)] = [
            (0, 1, .held(RunHeld(by: "anna@ops (process 1)", fence: 1))),
            (100, 1, .observed(Observation(step: StepID("restore")!, attempt: 1, key: "k", value: 1))),
            (120, 2, .held(RunHeld(by: "ben@ops (process 2)", fence: 2))),
        ]
        let report = try recorded(rows, extra: extra).recovery(now: 9999)
        #expect(report.criticalIdle == .init(waitingSeconds: 0, interruptedSeconds: 20, betweenSeconds: 0))
        #expect(report.phases.map(\.criticalSeconds) == [60, 70])
    }

    /// Whatever the graph and the times: the parts follow each other from the beginning to the end, and each begins where another ended.
    @Test func thePathOfAnyRunIsTheWholeOfItsTime() {
        let seed = seed(#function)
        var random = SeededGenerator(seed)
        for _ in 0..<300 {
            let count = Int.random(in: 0...25, using: &random)
            var nodes: [CriticalPath.Node] = []
            for index in 0..<count {
                let needs = (0..<index).filter { _ in Int.random(in: 0...3, using: &random) == 0 }
                let ready = needs.map { nodes[$0].end }.max() ?? 0
                let start = ready + [0, 0, 5, 3000].randomElement(using: &random)!
                nodes.append(.init(id: "s\(index)", phase: "p", needs: needs.map { "s\($0)" }, start: start, end: start + Int64.random(in: 0...9000, using: &random)))
            }
            let end = (nodes.map(\.end).max() ?? 0) + Int64.random(in: 0...50, using: &random)
            let parts = CriticalPath(nodes, needs: [:], from: 0, to: end).parts
            #expect(parts.reduce(0) { $0 + $1.end - $1.start } == end, "seed \(seed)")
            #expect(parts.first?.start ?? 0 == 0 && parts.last?.end ?? end == end, "seed \(seed)")
            for (one, next) in zip(parts, parts.dropFirst()) { #expect(one.end == next.start && one.start < one.end, "seed \(seed)") }
        }
    }
}
