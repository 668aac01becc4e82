internal import Engine
internal import Foundation
internal import Journal
internal import Reporting
internal import RunCore
internal import Synchronization

/// Drives a run in this process: shows it, asks for approvals on a terminal, and lets go at Ctrl-C.
struct DriveLoop {
    let options: GlobalOptions
    let orchestrator: Orchestrator
    let redactor: Redactor
    /// False: an approval ends the command with exit status 5, also on a terminal.
    var asksPeople = true

    private struct End: Encodable {
        let type = "end"
        let run: String
        let state: String
        let exitStatus: Int32
        let next: [String]
        let choices: [NextChoice]
    }

    /// - Parameter open: gives the driver, with the observer that it is told of.
    func run(
        _ run: RunID, words: [RunEvent] = [], takeOverReason: String? = nil, open: (any RunObserver) async throws -> RunDriver
    ) async throws -> ExitStatus {
        let logs = LogStore(folder: options.logFolder, run: run, redact: { redactor.redact($0) }, now: now)
        let view = LiveView(
            run: run,
            settings: .init(mode: mode, style: options.style, isVerbose: options.verbose, wallClock: now, clock: monotonicMilliseconds),
            logs: logs)
        var end = try await drive(view, words, takeOverReason, open)
        while asksPeople, Console.isInteractive, !options.json, end.exitStatus == .waitingForPerson,
            let word = try await Approvals(options: options, run: run).ask(end.machine)
        {
            end = try await drive(view, [word], nil) {
                try await orchestrator.open(run, observer: $0, staysForPeople: false)
            }
        }
        if let failure = logs.failure { Console.writeError("reprise: warning: \(failure)\n") }
        try await conclude(run, end)
        return end.exitStatus
    }

    private var mode: LiveView.Mode {
        if options.json { return .json }
        if options.quiet { return .quiet }
        return Console.outputIsTerminal ? .terminal : .lines
    }

    private func drive(
        _ view: LiveView, _ words: [RunEvent], _ takeOverReason: String?, _ open: (any RunObserver) async throws -> RunDriver
    ) async throws -> RunEnd {
        let driver = try await open(view)
        Signals.shared.onSignal {
            view.note("letting go: jobs on hosts go on (once more Ctrl-C to end at once)")
            driver.detach(reason: "the operator let go")
        }
        defer { Signals.shared.onSignal(nil) }
        let painter = Painter(view)
        painter.start()
        do {
            let end = try await driver.drive(words: words, takeOverReason: takeOverReason)
            await painter.stop()
            return end
        } catch {
            await painter.stop()
            throw error
        }
    }

    /// Where the run stands now, and what a person can do.
    private func conclude(_ run: RunID, _ end: RunEnd) async throws {
        let report = try await RunFile(run, in: orchestrator.journal).report()
        if options.json {
            return try Console.writeJSON(End(run: run.rawValue, state: report.state, exitStatus: end.exitStatus.rawValue, next: report.next, choices: report.choices))
        }
        if end.isDetached {
            return Console.write("\nlet go of run \(run); jobs on hosts go on. Pick them up with:\n  reprise resume \(run)\n")
        }
        if options.quiet, end.exitStatus == .done { return }
        Console.write("\n" + StatusText(report, style: options.style, width: Console.width).text)
    }
}

/// A run read from a journal.
struct RunFile {
    let run: RunID
    let journal: any JournalStore

    init(_ run: RunID, in journal: any JournalStore) {
        self.run = run
        self.journal = journal
    }

    /// Of a long run, its last events: enough for the times of the steps that are still of interest.
    private static let recentEvents: Int64 = 20_000

    func report() async throws -> RunReport {
        let loaded = try await ResumableRun.load(run, from: journal)
        let summary = try await journal.summary(run: run)
        let records = try await journal.allRecords(of: run, after: max(0, loaded.head.sequence - Self.recentEvents))
        return RunReport(loaded, summary: summary, records: records, now: now())
    }

    func recoveryReport() async throws -> RecoveryReport {
        let loaded = try await ResumableRun.load(run, from: journal)
        let summary = try await journal.summary(run: run)
        return try RecoveryReport(loaded, summary: summary, records: try await journal.allRecords(of: run), now: now())
    }
}
