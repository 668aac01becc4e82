internal import Engine
internal import Foundation
internal import Journal
internal import Reporting
internal import RunCore

/// Follows a run in the journal while another process drives it.
struct RunWatch {
    let options: GlobalOptions
    let journal: SQLiteJournal
    let run: RunID

    /// - Returns: when the run is settled, waits for a person, or nobody drives it any more.
    func follow() async throws -> ExitStatus {
        let loaded = try await ResumableRun.load(run, from: journal)
        let mode: LiveView.Mode = options.json ? .json : options.quiet ? .quiet : Console.outputIsTerminal ? .terminal : .lines
        let view = LiveView(
            run: run,
            settings: .init(mode: mode, style: options.style, isVerbose: options.verbose, wallClock: now, clock: monotonicMilliseconds),
            logs: nil)
        Signals.shared.onSignal { Console.write(view.finish()); exit(ExitStatus.detached.rawValue) }
        let painter = Painter(view)
        painter.start()
        let machine: RunMachine
        do {
            machine = try await fold(loaded, into: view)
            await painter.stop()
        } catch {
            await painter.stop()
            throw error
        }
        let report = try await RunFile(run, in: journal).report()
        if !options.json { Console.write("\n" + StatusText(report, style: options.style, width: Console.width).text) }
        return RunEnd(machine: machine, isDetached: false).exitStatus
    }

    private func fold(_ loaded: ResumableRun, into view: LiveView) async throws -> RunMachine {
        var machine = loaded.machine
        var last = loaded.head.sequence
        // A view that comes late is told of the present state by the last holder's own event.
        if let held = try await lastHeld(upTo: last) { view.happened(held, machine) }
        while true {
            let isHeld = try await journal.summary(run: run).holder?.isAlive ?? false
            let batch = try await journal.records(run: run, after: last, limit: 500)
            for record in batch {
                let event = try EventCodec.event(record)
                _ = try machine.apply(event)
                view.happened(event, machine)
                last = record.sequence
            }
            if batch.isEmpty {
                if !isHeld || machine.state.isSettled || machine.state == .waiting { return machine }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private func lastHeld(upTo sequence: Int64) async throws -> RunEvent? {
        let recent = try await journal.allRecords(of: run, after: max(0, sequence - 2000))
        return try recent.last { $0.kind == "run-held" }.map(EventCodec.event)
    }
}
