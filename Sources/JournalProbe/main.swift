// A small program around the journal, for tests that kill, stop, trace and measure a process of its own. Not installed.
//
//   JournalProbe serve PATH               commands on stdin, one answer a line on stdout (see `Server`)
//   JournalProbe bench PATH STEPS LANES   two commits a step, LANES steps side by side
//   JournalProbe fill PATH RUNS EVENTS EVERY   RUNS runs of EVENTS events, a snapshot every EVERY events
//   JournalProbe load PATH                opens for reading, lists, loads the latest run
//   JournalProbe verify PATH
import Glibc
import Journal
import RunCore

signal(SIGPIPE, SIG_IGN)

let arguments = CommandLine.arguments
guard arguments.count >= 3 else { fail("usage: JournalProbe serve|bench|fill|load|verify PATH …") }

/// One line to stdout, at once: whoever traces or kills this program sees all that it said.
func say(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
}

func fail(_ text: String, status: Int32 = 2) -> Never {
    say(text)
    exit(status)
}

func number(_ index: Int) -> Int {
    guard arguments.count > index, let value = Int(arguments[index]) else { fail("argument \(index) must be a number") }
    return value
}

/// `error CODE EXIT MESSAGE`
func describe(_ error: any Error) -> String {
    guard let error = error as? any RepriseError else { return "error unknown 1 \(error)" }
    return "error \(error.code) \(error.exitStatus.rawValue) \(error.message)"
}

do {
    switch arguments[1] {
    case "serve": try await Server(path: arguments[2]).serve()
    case "bench": try await bench(path: arguments[2], steps: number(3), lanes: number(4))
    case "fill": try await fill(path: arguments[2], runs: number(3), events: number(4), snapshotEvery: number(5))
    case "load": try await load(path: arguments[2])
    case "verify":
        let report = try await SQLiteJournal.open(path: arguments[2], readOnly: true).verify(run: nil)
        say("runs \(report.runsChecked) records \(report.recordsChecked) damage \(report.damage.map(\.summary))")
    default: fail("unknown command")
    }
} catch {
    let status = (error as? any RepriseError)?.exitStatus.rawValue ?? 1
    fail(describe(error), status: status)
}
