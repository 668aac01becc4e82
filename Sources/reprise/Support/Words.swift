import ArgumentParser
internal import Engine
internal import Foundation
internal import Journal
internal import Reporting
internal import RunCore
internal import Synchronization

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
        // Made once, from what the operator can have seen: said again to another holder, they mean the same question.
        var said = try words(try await ResumableRun.load(run, from: journal).machine)
        for isLast in [false, false, true] {
            do {
                guard drives else { return try note(run, try await orchestrator.note(said, in: run), options) }
                let loop = DriveLoop(options: options, orchestrator: orchestrator, redactor: redactor)
                let status = try await loop.run(run, words: said, takeOverReason: takeOver) {
                    try await orchestrator.open(run, takeOver: takeOver, observer: $0, staysForPeople: false)
                }
                return try Ended.check(status)
            } catch let refused as InvalidTransition {
                throw InvalidTransition(refused.message, hints: run.named(in: refused.hints))
            } catch let held as HeldByAnother where !said.isEmpty {
                try await leaveForHolder(&said, of: run, held, journal)
                if said.isEmpty { return }
                // The holder let go of the run before it looked, so it can be said to the run itself.
                if isLast { throw held }
            }
        }
    }

    /// Leaves the words with the live process that holds the run, which takes them in at its next turn.
    ///
    /// - Parameter words: those that are left in the end were taken back, because nobody holds the run any more.
    private static func leaveForHolder(
        _ words: inout [RunEvent], of run: RunID, _ held: HeldByAnother, _ journal: any JournalStore
    ) async throws {
        while let word = words.first {
            let entry = try EventCodec.entry(word)
            let name = try await journal.leaveWord(run: run, kind: entry.kind, payload: entry.payload)
            guard try await isTaken(name, run, held, journal) else { return }
            words.removeFirst()
        }
        Console.write("\(held.holder.identity.summary) drives run \(run) and has taken it in; watch it with: reprise watch \(run)\n")
    }

    /// In tenths of a second. The holder looks several times a second; one that does not answer for so long is stopped or stuck.
    private static let patience = 100

    /// Waits for the holder's answer. A word that is given up is taken back first: it must not be obeyed later, when the run has gone on
    /// and asks something else.
    ///
    /// - Returns: false where nobody holds the run any more, and the word was taken back.
    private static func isTaken(_ name: String, _ run: RunID, _ held: HeldByAnother, _ journal: any JournalStore) async throws -> Bool {
        let isInterrupted = Flag()
        Signals.shared.onSignal { isInterrupted.raise() }
        defer { Signals.shared.onSignal(nil) }
        for turn in 1...2 * patience {
            switch try await journal.fateOfWord(run: run, name: name) {
            case .taken: return true
            case .refused(let why):
                throw Refusal(
                    "word-refused", "the process that drives run \(run) refused: \(why)", hints: ["see where it stands: reprise status \(run)"])
            case .waiting: break
            }
            let isFree = turn % 10 == 0 ? try await journal.summary(run: run).holder?.isAlive != true : false
            if isFree || isInterrupted.isRaised || turn >= patience, try await journal.withdrawWord(run: run, name: name) {
                if isFree { return false }
                throw withdrawn(run, held, isInterrupted: isInterrupted.isRaised)
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw Refusal(
            "word-unanswered",
            "\(held.holder.identity.summary), who drives run \(run), has taken the word up and not answered; whether it counts is not known",
            hints: ["see whether it did: reprise status \(run)"] + held.hints, exitStatus: .heldByAnother)
    }

    private static func withdrawn(_ run: RunID, _ held: HeldByAnother, isInterrupted: Bool) -> Refusal {
        isInterrupted
            ? Refusal("word-withdrawn", "interrupted: the word for run \(run) was taken back and changes nothing", exitStatus: .detached)
            : Refusal(
                "word-withdrawn",
                "\(held.message), which has not answered for \(patience / 10) seconds; the word was taken back and changes nothing",
                hints: held.hints, exitStatus: .heldByAnother)
    }

    /// Raised from a signal's handler.
    private final class Flag: Sendable {
        private let value = Mutex(false)
        var isRaised: Bool { value.withLock { $0 } }
        func raise() { value.withLock { $0 = true } }
    }

    private static func note(_ run: RunID, _ machine: RunMachine, _ options: GlobalOptions) throws {
        let state = RunReport.shownState(machine.state, isHeld: false)
        try options.show(Noted(run: run.rawValue, state: state), "noted; run \(run) is \(state), go on with: reprise resume \(run)\n")
    }
}
