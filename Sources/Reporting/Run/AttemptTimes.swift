internal import Engine
package import Journal
package import RunCore

/// When attempts started and ended, when the run waited for people, and when nobody drove it; from the journal's times.
package struct AttemptTimes: Sendable {
    package struct Span: Sendable, Hashable {
        package var start: Int64
        package var end: Int64?

        package init(start: Int64, end: Int64? = nil) {
            self.start = start
            self.end = end
        }
    }

    /// The last attempt of each step, or its wait for a person where it has no other work.
    package private(set) var last: [StepID: Span] = [:]
    /// All attempts of each step, in order.
    package private(set) var all: [StepID: [Span]] = [:]
    package private(set) var undos: [Span] = []
    /// From the request of an approval, or a doubt, to a person's answer.
    package private(set) var waits: [Span] = []
    /// From the last record before a process let go of the run or died to the first of the next one.
    package private(set) var gaps: [Span] = []
    package private(set) var first: Int64?
    package private(set) var end: Int64?
    private var openWaits: [StepID: Int] = [:]

    package init(_ records: [JournalRecord]) {
        first = records.first?.timeMilliseconds
        var previous: JournalRecord?
        for record in records {
            if record.kind == "run-held", let previous, previous.fence < record.fence {
                gaps.append(Span(start: previous.timeMilliseconds, end: record.timeMilliseconds))
            }
            if let step = record.step { take(record, step) }
            previous = record
        }
        end = previous?.timeMilliseconds
    }

    private mutating func take(_ record: JournalRecord, _ step: StepID) {
        let time = record.timeMilliseconds
        if record.kind.hasPrefix("attempt-"), isUndo(record) { return takeUndo(record.kind, time) }
        switch record.kind {
        case "attempt-started":
            last[step] = Span(start: time)
            all[step, default: []].append(Span(start: time))
        case "attempt-succeeded", "attempt-failed":
            close(step, time)
        case "attempt-in-doubt":
            close(step, time)
            beginWait(step, time)
        case "approval-requested":
            if last[step] == nil { last[step] = Span(start: time) }
            beginWait(step, time)
        case "approval-decided", "doubt-resolved":
            endWait(step, time)
            if all[step] == nil { last[step]?.end = time }
        default: break
        }
    }

    private func isUndo(_ record: JournalRecord) -> Bool {
        switch try? EventCodec.event(record) {
        case .attemptStarted(let event): event.isUndo
        case .attemptSucceeded(let event): event.isUndo
        case .attemptFailed(let event): event.isUndo
        case .attemptDoubted(let event): event.isUndo
        default: false
        }
    }

    /// One undo runs at a time.
    private mutating func takeUndo(_ kind: String, _ time: Int64) {
        if kind == "attempt-started" {
            undos.append(Span(start: time))
        } else if let index = undos.indices.last, undos[index].end == nil {
            undos[index].end = time
        }
    }

    private mutating func close(_ step: StepID, _ time: Int64) {
        if let span = last[step], span.end == nil { last[step]?.end = time }
        if let index = all[step]?.indices.last, all[step]?[index].end == nil { all[step]?[index].end = time }
    }

    private mutating func beginWait(_ step: StepID, _ time: Int64) {
        guard openWaits[step] == nil else { return }
        openWaits[step] = waits.count
        waits.append(Span(start: time))
    }

    private mutating func endWait(_ step: StepID, _ time: Int64) {
        guard let index = openWaits.removeValue(forKey: step) else { return }
        waits[index].end = time
    }

    /// Milliseconds in which at least one of `spans` was under way and none of `without` was.
    package static func union(_ spans: [Span], without: [Span] = [], now: Int64) -> Int64 {
        covered(spans + without, now: now) - covered(without, now: now)
    }

    private static func covered(_ spans: [Span], now: Int64) -> Int64 {
        var total: Int64 = 0
        var reached = Int64.min
        for (start, end) in spans.map({ ($0.start, max($0.start, $0.end ?? now)) }).sorted(by: { $0.0 < $1.0 }) {
            if end <= reached { continue }
            total += end - max(start, reached)
            reached = end
        }
        return total
    }
}
