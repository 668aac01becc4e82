// What scripts/bench measures with. Not installed; every command prints one line of `name=value` pairs.
//
//   RepriseBench journal PATH STEPS      a chain of STEPS steps: state machine and journal, intent and outcome in commits of their own
//   RepriseBench engine PATH STEPS       the same steps through the whole engine
//   RepriseBench wide PATH STEPS         the same, with no step waiting for another, 16 at a time
//   RepriseBench fill PATH EVENTS        one run of EVENTS events, with snapshots as the engine leaves them
//   RepriseBench load PATH               what `resume` does first: opens the journal and folds the run into its state
//   RepriseBench table-load|table-diff|table-merge|table-stream SOCKETFOLDER PORT DATABASE TABLE [ARCHIVE]   lays a backup beside a live
//                                        table, compares the two; or all of it, and the merge; or the same without laying it beside
//   RepriseBench fetch ENDPOINT BUCKET KEY FILE CREDENTIALS PROFILE   fetches an object, its SHA-256 taken on the way
//   RepriseBench copy ADDRESS USER KEY KNOWNHOSTS FILE TARGET   copies a file to a host over a session of its own
import Glibc
import RunCore
import SSH

signal(SIGPIPE, SIG_IGN)
prepareSSH()

let arguments = CommandLine.arguments

func say(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    _ = write(STDOUT_FILENO, bytes, bytes.count)
}

func fail(_ text: String) -> Never {
    let bytes = Array("RepriseBench: \(text)\n".utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
    exit(2)
}

func number(_ index: Int) -> Int {
    guard arguments.count > index, let value = Int(arguments[index]), value > 0 else { fail("argument \(index) must be a positive number") }
    return value
}

func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
}

guard arguments.count >= 3 else { fail("usage: RepriseBench journal|engine|wide|fill|load PATH …, or copy|fetch|table-load|table-diff|table-merge …") }

do {
    switch arguments[1] {
    case "journal": try await measureJournal(path: arguments[2], steps: number(3))
    case "engine": try await measureEngine(path: arguments[2], steps: number(3), isChain: true)
    case "wide": try await measureEngine(path: arguments[2], steps: number(3), isChain: false)
    case "fill": try await fill(path: arguments[2], events: number(3))
    case "load": try await load(path: arguments[2])
    case "fetch":
        guard arguments.count == 8 else { fail("fetch takes ENDPOINT BUCKET KEY FILE CREDENTIALS PROFILE") }
        try await measureFetch(Array(arguments[2...]))
    case "copy":
        guard arguments.count == 8 else { fail("copy takes ADDRESS USER KEY KNOWNHOSTS FILE TARGET") }
        try await measureCopy(Array(arguments[2...]))
    case "table-load", "table-diff", "table-merge", "table-stream":
        let isDiff = arguments[1] == "table-diff", words = Array(arguments[2...])
        guard words.count == (isDiff ? 4 : 5) else { fail("\(arguments[1]) takes SOCKETFOLDER PORT DATABASE TABLE\(isDiff ? "" : " ARCHIVE")") }
        if isDiff {
            try await measureTableDiff(words)
        } else {
            try await (arguments[1] == "table-load" ? loadTable : arguments[1] == "table-merge" ? measureTableMerge : measureStreamedMerge)(words)
        }
    default: fail("unknown command \(arguments[1])")
    }
} catch let error as any RepriseError {
    fail("\(error.code): \(error.message)")
}
