import ArgumentParser
internal import Engine
internal import Foundation
internal import Journal
internal import Reporting
internal import RunCore

/// Brings an operator's words into a run.
enum Words {
    private struct Noted: Encodable {
        let run: String
        let state: String
        let isNoted = true
    }

    /// Says `words` and goes on with the run in this process; where a live process holds the run, leaves them for it.
    ///
    /// - Parameters:
    ///   - takeOver: why a live holder is replaced; nil to respect it.
    ///   - drives: false: the words are written down, and nothing is run.
    ///   - words: made from the state of the run; what does not fit is refused by the run itself.
    static func drive(
        _ prefix: String?, _ options: GlobalOptions, takeOver: String? = nil, drives: Bool = true,
        words: (RunMachine) throws -> [RunEvent]
    ) async throws {
        let journal = try await options.openJournal(readOnly: false)
        let run = try await journal.resolve(prefix: prefix)
        let redactor = Redactor()
        let orchestrator = Wiring.orchestrator(journal, redactor: redactor)
        let said = try words(try await ResumableRun.load(run, from: journal).machine)
        do {
            guard drives else { return try note(run, try await orchestrator.note(said, in: run), options) }
            let loop = DriveLoop(options: options, orchestrator: orchestrator, redactor: redactor)
            let status = try await loop.run(run, words: said, takeOverReason: takeOver) {
                try await orchestrator.open(run, takeOver: takeOver, observer: $0, staysForPeople: false)
            }
            try Ended.check(status)
        } catch let held as HeldByAnother where !said.isEmpty {
            try await leaveForHolder(said, of: run, held, journal, options)
        }
    }

    /// Leaves the words with the live process that holds the run, which takes them in at its next turn.
    ///
    /// - Throws: `HeldByAnother` where the journal has no place for words to a holder.
    private static func leaveForHolder(
        _ words: [RunEvent], of run: RunID, _ held: HeldByAnother, _ journal: any JournalStore, _ options: GlobalOptions
    ) async throws {
        for word in words {
            let entry = try EventCodec.entry(word)
            let name = try await journal.leaveWord(run: run, kind: entry.kind, payload: entry.payload)
            try await awaitAnswer(name, run, held, journal)
        }
        Console.write("\(held.holder.identity.summary) drives run \(run) and has taken it in; watch it with: reprise watch \(run)\n")
    }

    /// The holder looks several times a second; one that does not answer is stopped or stuck, and the word stays for it.
    private static func awaitAnswer(_ name: String, _ run: RunID, _ held: HeldByAnother, _ journal: any JournalStore) async throws {
        for _ in 0..<100 {
            switch try await journal.fateOfWord(run: run, name: name) {
            case .taken: return
            case .refused(let why):
                throw Refusal(
                    "word-refused", "the process that drives run \(run) refused: \(why)", hints: ["see where it stands: reprise status \(run)"])
            case .waiting: try await Task.sleep(for: .milliseconds(100))
            }
        }
        throw held
    }

    private static func note(_ run: RunID, _ machine: RunMachine, _ options: GlobalOptions) throws {
        let state = RunReport.shownState(machine.state, isHeld: false)
        try options.show(Noted(run: run.rawValue, state: state), "noted; run \(run) is \(state), go on with: reprise resume \(run)\n")
    }
}
