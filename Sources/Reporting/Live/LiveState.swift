internal import RunCore
internal import Steps

/// What a live view remembers. It keeps no copy of the machine: that would make each event cost as much as the run has steps.
struct LiveState {
    struct Active {
        var since: Int64
        var hosts: String
        var isUndo: Bool
        var meter: StepMeter?
    }

    var pending: [String] = []
    var paintedLines = 0
    var turn = 0
    private let startedAt: Int64
    private var runState = RunState.accepted
    private var total = 0
    private var ended: Set<StepID> = []
    private var active: [StepID: Active] = [:]
    private var attempts: [StepID: (main: AttemptNumber, undo: AttemptNumber)] = [:]
    private var shownProgress: [StepID: (phase: String, time: Int64)] = [:]
    private var lastHolder: String?

    init(startedAt: Int64) { self.startedAt = startedAt }

    /// - Returns: how long the attempt took that the event ends, where this process saw it begin.
    mutating func take(_ event: RunEvent, _ machine: RunMachine, at now: Int64) -> Double? {
        runState = machine.state
        var seconds: Double?
        if let step = event.step {
            seconds = active[step].map { Double(now - $0.since) / 1000 }
            if let record = machine[step] { update(record, at: now) }
        } else {
            // Words on the whole run may change any step.
            total = machine.steps.count
            for record in machine.steps { update(record, at: now) }
        }
        return seconds
    }

    private mutating func update(_ record: StepRecord, at now: Int64) {
        let id = record.spec.id
        attempts[id] = (record.attempt, record.undo.attempt)
        let isUndo = record.undo.state == .running
        if record.state == .running || isUndo {
            if active[id]?.isUndo != isUndo {
                active[id] = Active(since: now, hosts: record.spec.hosts.joined(separator: ","), isUndo: isUndo)
            }
        } else {
            active[id] = nil
            shownProgress[id] = nil
        }
        switch record.state {
        case .succeeded, .failed, .failedIgnored, .timedOut, .skipped, .cancelled, .undone: ended.insert(id)
        case .queued, .running, .waiting, .inDoubt: ended.remove(id)
        }
    }

    mutating func take(_ progress: StepProgress, of step: StepID, at now: Int64) -> StepMeter? {
        guard active[step] != nil else { return nil }
        if active[step]?.meter == nil { active[step]?.meter = StepMeter(progress, at: now) } else { active[step]?.meter?.take(progress, at: now) }
        return active[step]?.meter
    }

    /// True at a change of phase, and then every five seconds.
    mutating func isProgressDue(_ step: StepID, _ phase: String, at now: Int64) -> Bool {
        if let last = shownProgress[step], last.phase == phase, now - last.time < 5000 { return false }
        shownProgress[step] = (phase, now)
        return true
    }

    func attempt(of step: StepID, isUndo: Bool) -> AttemptNumber {
        attempts[step].map { isUndo ? $0.undo : $0.main } ?? 0
    }

    /// True where the event says that another process than before has the run in hand.
    mutating func isNewHolder(_ event: RunEvent) -> Bool {
        guard case .held(let held) = event else { return false }
        defer { lastHolder = held.by }
        return lastHolder != held.by
    }

    func frame(run: RunID, at now: Int64) -> LiveFrame {
        let steps = active.sorted { ($0.value.since, $0.key) < ($1.value.since, $1.key) }.map { step, active in
            LiveFrame.ActiveStep(
                step: step.rawValue, hosts: active.hosts, meter: active.meter, elapsedMilliseconds: now - active.since, isUndo: active.isUndo)
        }
        return LiveFrame(
            run: run.rawValue, state: runState, ended: ended.count, total: total, elapsedMilliseconds: now - startedAt, active: steps, turn: turn)
    }
}
