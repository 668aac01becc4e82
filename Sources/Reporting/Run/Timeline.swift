internal import Engine
package import Journal
package import RunCore

/// What happened in a run, one sentence for each event.
package struct TimelineEntry: Codable, Hashable, Sendable {
    package var sequence: Int64
    package var time: String
    package var fence: Fence
    package var kind: String
    package var step: String?
    package var attempt: Int?
    package var sentence: String

    /// - Throws: `UnknownEvent`, `DamagedEvent`.
    package init(_ record: JournalRecord) throws {
        let event = try EventCodec.event(record)
        sequence = record.sequence
        time = timestamp(record.timeMilliseconds)
        fence = record.fence
        kind = record.kind
        step = record.step?.rawValue
        attempt = record.attempt
        sentence = Reporting.sentence(event)
    }
}

/// The event as a person would tell it, on one line and safe for a terminal.
package func sentence(_ event: RunEvent) -> String {
    oneLine(plainSentence(event))
}

private func plainSentence(_ event: RunEvent) -> String {
    switch event {
    case .accepted(let event):
        "\(event.startedBy) started plan \(event.planName) as a \(event.mode), \(counted(event.spec.steps.count, "step"))"
    case .held(let event):
        "\(event.by) holds the run under fence \(event.fence)" + (event.takeOverReason.map { ", taken over: \($0)" } ?? "")
    case .released(let event): "\(event.by) let go of the run: \(event.reason)"
    case .hostPinned(let event):
        "host \(event.host) is machine \(event.machineID)" + (event.hostKey.map { " with host key \($0)" } ?? "")
    case .attemptStarted(let event): "\(subject(event.step, event.isUndo)) started, attempt \(event.attempt)"
    case .observed(let event): "\(subject(event.step, event.isUndo)) noted \(event.key): \(shortText(event.value))"
    case .attemptSucceeded(let event): succeeded(event)
    case .attemptFailed(let event): "\(subject(event.step, event.isUndo)) \(verb(event.failure.kind)): \(event.failure.message)"
    case .attemptDoubted(let event): "\(subject(event.step, event.isUndo)) is in doubt: \(event.message)"
    case .retryDue(let event): "\(event.step) is tried again"
    case .approvalRequested(let event): "\(event.step) waits for approval: \(event.message)"
    case .approvalDecided(let event): "\(event.by) \(event.approved ? "approved" : "denied") \(event.step)" + remark(event.comment)
    case .doubtResolved(let event):
        "\(event.by) resolved the doubt about \(event.step) as \(event.verdict.rawValue)" + remark(event.reason)
    case .stepSkipped(let event): "\(event.by) skipped \(event.step)" + remark(event.reason)
    case .stepRetryRequested(let event): "\(event.by) asked for another attempt of \(event.step)" + remark(event.reason)
    case .pauseRequested(let event): "\(event.by) asked for a pause" + remark(event.reason)
    case .cancelRequested(let event): "\(event.by) cancelled the run" + remark(event.reason)
    case .undoRequested(let event): "\(event.by) asked to undo the run" + remark(event.reason)
    }
}

private func subject(_ step: StepID, _ isUndo: Bool) -> String { isUndo ? "undo of \(step)" : "\(step)" }

private func remark(_ text: String) -> String { text.isEmpty ? "" : ": \(text)" }

private func succeeded(_ event: AttemptSucceeded) -> String {
    // An approval that was given, or that the plan's parameters waived, is nothing that was found.
    let asked = event.evidence["asked"]?.boolValue.map { $0 ? "is approved" : "was waived: nobody was asked" }
    let what = asked ?? (event.changed ? "succeeded" : "is unchanged: it was done already")
    let summary = event.outputs["summary"]?.stringValue.map { ": \($0)" } ?? ""
    let warnings = event.warnings.isEmpty ? "" : " (\(counted(event.warnings.count, "warning")): \(event.warnings.joined(separator: "; ")))"
    return "\(subject(event.step, event.isUndo)) \(what)\(summary)\(warnings)"
}

private func verb(_ kind: Failure.Kind) -> String {
    switch kind {
    case .failed, .permanent: "failed"
    case .timedOut: "ran out of time"
    case .cancelled: "was ended"
    }
}

/// A JSON value in a few words, for lines.
package func shortText(_ value: JSONValue, limit: Int = 120) -> String {
    let text: String
    switch value {
    case .null: text = "nothing"
    case .bool(let flag): text = flag ? "yes" : "no"
    case .integer(let number): text = "\(number)"
    case .number(let number): text = "\(number)"
    case .string(let string): text = string
    case .array(let items): text = items.map { shortText($0, limit: limit) }.joined(separator: ", ")
    case .object(let members):
        text = members.sorted { $0.key < $1.key }.map { "\($0.key) \(shortText($0.value, limit: limit))" }.joined(separator: ", ")
    }
    return clipped(text, limit)
}

extension RunEvent {
    /// What the event means for the one who watches.
    package var role: Style.Role {
        switch self {
        case .accepted, .held, .hostPinned, .retryDue, .stepRetryRequested: .normal
        case .attemptStarted: .active
        case .observed: .faint
        case .attemptSucceeded(let event): event.warnings.isEmpty ? .good : .attention
        case .attemptFailed: .bad
        case .released, .attemptDoubted, .approvalRequested, .doubtResolved, .stepSkipped, .pauseRequested, .cancelRequested,
            .undoRequested:
            .attention
        case .approvalDecided(let event): event.approved ? .good : .bad
        }
    }
}
