import Glibc
import Journal
import RunCore

/// Opens the journal and obeys one command a line:
///
/// `create RUN`, `acquire RUN`, `take-over RUN`, `release`, `append [COUNT]`, `holder RUN`, `close`, `exit STATUS`.
/// Answers: `ready PID NOTICE…` at first, then `held FENCE`, `ack SEQUENCE` for each record, `ok`, or `error …`.
struct Server {
    let path: String

    func serve() async throws {
        let journal = try await SQLiteJournal.open(path: path)
        let notices = try await journal.notices.map(\.summary).joined(separator: "; ")
        say("ready \(getpid()) \(notices)")
        var hold: Hold?
        while let line = readLine() {
            let words = line.split(separator: " ").map(String.init)
            do {
                try await obey(words, journal, &hold)
            } catch {
                say(describe(error))
            }
        }
    }

    private func obey(_ words: [String], _ journal: SQLiteJournal, _ hold: inout Hold?) async throws {
        func run() -> RunID { RunID(words[1])! }
        if ["release", "append"].contains(words.first), hold == nil { return say("error usage 2 nothing is held") }
        let entry = JournalEntry(kind: "probe", step: StepID("step-1"), attempt: 1, payload: Array(#"{"probe":true}"#.utf8))
        switch words.first {
        case "create":
            hold = try await journal.create(run: run(), first: entry, operator: .current, label: "RUNNING")
            say("held \(hold!.fence)")
        case "acquire":
            hold = try await journal.acquire(run: run(), operator: .current)
            say("held \(hold!.fence)")
        case "take-over":
            hold = try await journal.acquire(run: run(), operator: .current, takeOver: "test", atLeast: 0)
            say("held \(hold!.fence)")
        case "release":
            try await journal.release(hold!)
            say("ok")
        case "append":
            for _ in 0..<(words.count > 1 ? Int(words[1])! : 1) {
                let records = try await journal.append([entry], hold: hold!)
                say("ack \(records[0].sequence)")
            }
        case "holder":
            let holder = try await journal.summary(run: run()).holder
            say(holder.map { "holder \($0.identity.pid) \($0.isAlive ? "alive" : "dead")" } ?? "free")
        case "close":
            try await journal.close()
            say("ok")
        case "exit": exit(Int32(words[1])!)
        default: say("error usage 2 unknown command")
        }
    }
}
