import Engine
import Glibc
import Journal
import RunCore

/// Steps of the run that the events belong to.
private let stepCount = 100
/// As `DriverSettings` has it.
private let eventsPerSnapshot = 256

/// One run that has seen `count` events: a hundred steps, sixteen of them under way and observed again and again.
///
/// Commits hold 256 events, so that filling takes seconds; what is read afterwards is the same.
func fill(path: String, events count: Int) async throws {
    let journal = try await SQLiteJournal.open(path: path)
    let frozen = try frozenRun(steps: stepCount, isChain: false)
    let (loaded, hold) = try await accept(frozen, as: runID("bench"), by: .current, kinds: nothingOnly, into: journal)
    var machine = loaded.machine
    var batch: [JournalEntry] = []
    var written = 1

    func note(_ event: RunEvent) async throws {
        _ = try machine.apply(event)
        batch.append(try EventCodec.entry(event))
        guard batch.count == eventsPerSnapshot || written + batch.count == count else { return }
        written += batch.count
        // The last events are left without a snapshot, so that there is something to fold.
        let isLast = written + eventsPerSnapshot > count
        _ = try await journal.append(
            batch, hold: hold, label: machine.state.rawValue, snapshot: isLast ? nil : try EventCodec.snapshot(machine))
        batch = []
    }

    try await note(.held(RunHeld(by: "bench", fence: hold.fence, takeOverReason: nil)))
    var number = 0
    while written + batch.count < count {
        // Observations of a step under way are the events of which there can be any number.
        let step = stepID(number % 16 + 1)
        if machine[step]?.attempt == 0 {
            try await note(.attemptStarted(AttemptStarted(step: step, attempt: 1, isUndo: false, specHash: "bench")))
        } else {
            try await note(.observed(Observation(step: step, attempt: 1, isUndo: false, key: "progress", value: .integer(Int64(number)))))
        }
        number += 1
    }
    try await journal.release(hold)
    try await journal.close()
    say("events=\(written)")
}

func load(path: String) async throws {
    let start = ContinuousClock.now
    let journal = try await SQLiteJournal.open(path: path, readOnly: true)
    let run = try await journal.resolve(prefix: nil)
    let loaded = try await ResumableRun.load(run, from: journal)
    let taken = seconds(ContinuousClock.now - start)
    say("events=\(loaded.head.sequence) state=\(loaded.machine.state.rawValue) seconds=\(taken)")
}
