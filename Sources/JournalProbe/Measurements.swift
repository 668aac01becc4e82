import Glibc
import Journal
import RunCore

/// What a step of a real plan writes, roughly: 300 bytes of JSON.
private func payload(_ number: Int) -> [UInt8] {
    let filler = String(repeating: "x", count: 220)
    return Array(#"{"evidence":"\#(filler)","number":\#(number),"specHash":"0123456789abcdef"}"#.utf8)
}

private func entry(_ kind: String, _ number: Int) -> JournalEntry {
    JournalEntry(kind: kind, step: StepID("step-\(number)"), attempt: 1, payload: payload(number))
}

private func milliseconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) * 1000 + Double(duration.components.attoseconds) / 1e15
}

/// An engine that lives on the journal's own thread.
private actor Lane {
    private let journal: SQLiteJournal
    nonisolated var unownedExecutor: UnownedSerialExecutor { journal.executor.asUnownedSerialExecutor() }

    init(_ journal: SQLiteJournal) { self.journal = journal }

    func steps(_ count: Int, _ hold: Hold) throws {
        for step in 0..<count {
            _ = try journal.appendHere([entry("step.intent", step)], hold: hold)
            _ = try journal.appendHere([entry("step.outcome", step)], hold: hold)
        }
    }
}

/// Trivial steps, each an intent and an outcome in a commit of its own.
func bench(path: String, steps: Int, lanes: Int) async throws {
    let journal = try await SQLiteJournal.open(path: path)
    let run = RunID("bench-\(getpid())")!
    let hold = try await journal.create(run: run, first: entry("run.accepted", 0), operator: .current, label: "RUNNING")
    let start = ContinuousClock.now
    if lanes == 0 { try await Lane(journal).steps(steps, hold) }
    if lanes > 0 {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for lane in 0..<lanes {
                group.addTask {
                    for step in stride(from: lane, to: steps, by: lanes) {
                        _ = try await journal.append([entry("step.intent", step)], hold: hold)
                        _ = try await journal.append([entry("step.outcome", step)], hold: hold)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
    let taken = milliseconds(ContinuousClock.now - start)
    say("steps \(steps) lanes \(lanes) milliseconds \(Int(taken)) steps/s \(Int(Double(steps) * 1000 / taken))")
    try await journal.close()
}

func fill(path: String, runs: Int, events: Int, snapshotEvery: Int) async throws {
    let journal = try await SQLiteJournal.open(path: path)
    let state = [UInt8](repeating: UInt8(ascii: "s"), count: 16_384)
    for number in 1...runs {
        let run = RunID("fill-\(String(1_000_000 + number))")!
        let hold = try await journal.create(run: run, first: entry("run.accepted", 0), operator: .current, label: "SUCCEEDED")
        var done = 1
        while done < events {
            let count = min(snapshotEvery, events - done)
            let batch = (0..<count).map { entry("step.outcome", done + $0) }
            // The last batch leaves no snapshot, so that a load has a tail to verify.
            done += count
            _ = try await journal.append(batch, hold: hold, label: nil, snapshot: done < events ? state : nil)
        }
        try await journal.release(hold)
    }
    try await journal.close()
}

func load(path: String) async throws {
    let start = ContinuousClock.now
    let journal = try await SQLiteJournal.open(path: path, readOnly: true)
    let opened = ContinuousClock.now
    let listed = try await journal.runs(limit: 20)
    let run = try await journal.resolve(prefix: nil)
    let loaded = try await journal.load(run: run)
    let end = ContinuousClock.now
    say(
        "opened \(milliseconds(opened - start)) ms, listed \(listed.count) and loaded \(loaded.tail.count) of \(loaded.head.sequence)"
            + " events in \(milliseconds(end - opened)) ms, peak \(peakMegabytes()) MB")
}

/// The high-water mark of this program's own memory; `getrusage` would count what its parent had before `exec`.
private func peakMegabytes() -> Int {
    guard let file = fopen("/proc/self/status", "r") else { return -1 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, Int32(line.count), file) != nil {
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if text.hasPrefix("VmHWM:"),
            let kilobytes = Int(
                text.split(separator: " ", omittingEmptySubsequences: true).dropLast().last?.split(separator: "\t").last ?? "")
        {
            return kilobytes / 1024
        }
    }
    return -1
}
