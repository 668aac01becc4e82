import Foundation
import RunCore
import Testing

/// How events are journaled. A name or field that is changed here makes existing journals unreadable.
@Suite struct RunEventCodecTests {
    private static let failure = Failure(
        kind: .permanent, code: "pg.mismatch", message: "counts differ", hints: ["look"], exitStatus: .verificationMismatch, evidence: ["rows": 2])

    /// Every kind once: its journaled name, the event, and the payload as an earlier version wrote it.
    private static let all: [(kind: String, event: RunEvent, payload: String)] = [
        ("run-accepted", .accepted(RunAccepted(
            spec: RunSpec(steps: [StepSpec(id: "a"), StepSpec(
                id: "b", needs: ["a"], hosts: ["db1"], retry: RetryPolicy(attempts: 3, initialMilliseconds: 5, factor: 1.5, maximumMilliseconds: 9),
                onError: .continue, hasUndo: true, phase: .finally, needsApproval: true, approverIsNotStarter: true)],
                limits: .init(perHost: 2, total: 3)),
            planName: "p", mode: "drill", startedBy: "ada", document: ["plan": "p"])),
        #"{"spec":{"steps":[{"id":"a","needs":[],"hosts":[],"retry":{"attempts":1,"initialMilliseconds":1000,"factor":2,"maximumMilliseconds":60000},"onError":"stop","hasUndo":false,"phase":"main","needsApproval":false,"approverIsNotStarter":false},{"id":"b","needs":["a"],"hosts":["db1"],"retry":{"attempts":3,"initialMilliseconds":5,"factor":1.5,"maximumMilliseconds":9},"onError":"continue","hasUndo":true,"phase":"finally","needsApproval":true,"approverIsNotStarter":true}],"limits":{"perHost":2,"total":3}},"planName":"p","mode":"drill","startedBy":"ada","document":{"plan":"p"}}"#),
        ("run-held", .held(RunHeld(by: "ada", fence: 7, takeOverReason: "gone")), #"{"by":"ada","fence":7,"takeOverReason":"gone"}"#),
        ("run-released", .released(RunReleased(by: "ada", reason: "done")), #"{"by":"ada","reason":"done"}"#),
        ("host-pinned", .hostPinned(HostPinned(host: "db1", machineID: "4f", hostKey: "SHA256:x")),
            #"{"host":"db1","machineID":"4f","hostKey":"SHA256:x"}"#),
        ("attempt-started", .attemptStarted(AttemptStarted(step: "a", attempt: 2, isUndo: true, specHash: "0f")),
            #"{"step":"a","attempt":2,"isUndo":true,"specHash":"0f"}"#),
        ("observed", .observed(Observation(step: "a", attempt: 2, key: "k", value: [1, "x"])),
            #"{"step":"a","attempt":2,"isUndo":false,"key":"k","value":[1,"x"]}"#),
        ("attempt-succeeded", .attemptSucceeded(AttemptSucceeded(
            step: "a", attempt: 2, evidence: ["rows": 3], outputs: ["o": true], warnings: ["w"], changed: false)),
            #"{"step":"a","attempt":2,"isUndo":false,"evidence":{"rows":3},"outputs":{"o":true},"warnings":["w"],"changed":false}"#),
        ("attempt-failed", .attemptFailed(AttemptFailed(step: "a", attempt: 2, failure: failure, jitter: 0.25)),
            #"{"step":"a","attempt":2,"isUndo":false,"failure":{"kind":"permanent","code":"pg.mismatch","message":"counts differ","hints":["look"],"exitStatus":3,"evidence":{"rows":2}},"jitter":0.25}"#),
        ("attempt-in-doubt", .attemptDoubted(AttemptDoubted(step: "a", attempt: 2, message: "m", evidence: .null)),
            #"{"step":"a","attempt":2,"isUndo":false,"message":"m","evidence":null}"#),
        ("retry-due", .retryDue(StepNamed(step: "a")), #"{"step":"a"}"#),
        ("approval-requested", .approvalRequested(ApprovalRequested(step: "a", message: "m")), #"{"step":"a","message":"m"}"#),
        ("approval-decided", .approvalDecided(ApprovalDecided(step: "a", approved: true, by: "bob", comment: "c")),
            #"{"step":"a","approved":true,"by":"bob","comment":"c"}"#),
        ("doubt-resolved", .doubtResolved(DoubtResolved(step: "a", verdict: .notDone, by: "bob", reason: "r")),
            #"{"step":"a","verdict":"not-done","by":"bob","reason":"r"}"#),
        ("step-skipped", .stepSkipped(OperatorOnStep(step: "a", by: "bob", reason: "r")), #"{"step":"a","by":"bob","reason":"r"}"#),
        ("step-retry-requested", .stepRetryRequested(OperatorOnStep(step: "a", by: "bob", reason: "r")), #"{"step":"a","by":"bob","reason":"r"}"#),
        ("pause-requested", .pauseRequested(OperatorWord(by: "bob", reason: "r")), #"{"by":"bob","reason":"r"}"#),
        ("cancel-requested", .cancelRequested(OperatorWord(by: "bob", reason: "r")), #"{"by":"bob","reason":"r"}"#),
        ("undo-requested", .undoRequested(OperatorWord(by: "bob", reason: "r")), #"{"by":"bob","reason":"r"}"#),
    ]

    /// Exhaustive without `default`, so that a new case does not compile until it stands in the list above.
    private static func number(_ event: RunEvent) -> Int {
        switch event {
        case .accepted: 0
        case .held: 1
        case .released: 2
        case .hostPinned: 3
        case .attemptStarted: 4
        case .observed: 5
        case .attemptSucceeded: 6
        case .attemptFailed: 7
        case .attemptDoubted: 8
        case .retryDue: 9
        case .approvalRequested: 10
        case .approvalDecided: 11
        case .doubtResolved: 12
        case .stepSkipped: 13
        case .stepRetryRequested: 14
        case .pauseRequested: 15
        case .cancelRequested: 16
        case .undoRequested: 17
        }
    }

    static func decode(_ kind: String, _ data: Data) throws -> RunEvent? {
        try RunEvent(kind: kind) { type in try JSONDecoder().decode(type, from: data) }
    }

    @Test func everyKindStandsInTheListOnceAndHasItsName() {
        #expect(Self.all.map { Self.number($0.event) } == Array(0..<18))
        #expect(Self.all.map(\.event.kind) == Self.all.map(\.kind))
        #expect(Set(Self.all.map(\.kind)).count == 18)
    }

    @Test(arguments: all.indices) func whatIsWrittenIsReadBack(_ position: Int) throws {
        let event = Self.all[position].event
        #expect(try Self.decode(event.kind, try JSONEncoder().encode(event.payload)) == event)
    }

    @Test(arguments: all.indices) func whatAnEarlierVersionWroteIsRead(_ position: Int) throws {
        let (kind, event, payload) = Self.all[position]
        #expect(try Self.decode(kind, Data(payload.utf8)) == event)
        let written = try JSONDecoder().decode(JSONValue.self, from: try JSONEncoder().encode(event.payload))
        #expect(written == (try JSONDecoder().decode(JSONValue.self, from: Data(payload.utf8))), "fields were renamed, added or removed")
    }

    /// Fields that came later, and that earlier versions' journals do not have.
    @Test func whatAWordAnswersIsReadBack() throws {
        let approval = RunEvent.approvalDecided(ApprovalDecided(step: "a", approved: true, by: "bob", comment: "c", question: 2))
        let doubt = RunEvent.doubtResolved(DoubtResolved(step: "a", verdict: .done, by: "bob", reason: "r", attempt: 3, isUndo: true))
        for event in [approval, doubt] { #expect(try Self.decode(event.kind, try JSONEncoder().encode(event.payload)) == event) }
        #expect(try Self.decode("approval-decided", Data(#"{"step":"a","approved":true,"by":"bob","comment":"c","question":2}"#.utf8)) == approval)
        let written = #"{"step":"a","verdict":"done","by":"bob","reason":"r","attempt":3,"isUndo":true}"#
        #expect(try Self.decode("doubt-resolved", Data(written.utf8)) == doubt)
    }

    @Test func aKindOfANewerVersionIsNil() throws {
        #expect(try Self.decode("run-teleported", Data("{}".utf8)) == nil)
        #expect(try Self.decode("", Data("{}".utf8)) == nil)
    }

    @Test func aPayloadOfTheWrongShapeIsAnError() {
        #expect(throws: DecodingError.self) { try Self.decode("retry-due", Data(#"{"step":7}"#.utf8)) }
        #expect(throws: DecodingError.self) { try Self.decode("retry-due", Data(#"{"step":"../etc"}"#.utf8)) }
        #expect(throws: DecodingError.self) { try RunEvent(kind: "retry-due") { _ in "not a payload" } }
    }

    @Test func stepAndAttemptAreThoseOfThePayload() {
        for (kind, event, _) in Self.all {
            let isOfRun = kind.hasPrefix("run-") || ["host-pinned", "pause-requested", "cancel-requested", "undo-requested"].contains(kind)
            #expect(event.step == (isOfRun ? nil : "a"), "\(kind)")
            #expect(event.attempt == (kind.hasPrefix("attempt-") || kind == "observed" ? 2 : nil), "\(kind)")
        }
    }
}
