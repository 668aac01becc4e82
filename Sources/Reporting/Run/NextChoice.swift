internal import Engine
internal import PlanModel
internal import RunCore
internal import SSH

/// Something that a person can do about a run now. Its fields only ever grow.
package struct NextChoice: Codable, Hashable, Sendable {
    /// What speaks for it, as the beginning of a sentence; empty where there is nothing to choose.
    package var when: String
    package var commands: [String]

    init(_ when: String = "", _ commands: [String]) { (self.when, self.commands) = (when, commands) }
}

extension NextChoice {
    static func all(_ machine: RunMachine, _ frozen: FrozenRun, run: RunID, isHeld: Bool) -> [NextChoice] {
        var asked: [String] = []
        for record in machine.steps {
            let id = record.spec.id
            switch record.state {
            case .waiting: asked += ["reprise approve \(run) \(id) --comment …", "reprise deny \(run) \(id) --comment …"]
            case .inDoubt: asked.append("reprise resolve \(run) \(id) --as done|not-done --reason …")
            case .failed, .timedOut, .queued, .running, .succeeded, .failedIgnored, .skipped, .cancelled, .undone: break
            }
        }
        let choices = [NextChoice("", asked)] + failed(machine, frozen, run) + whole(machine.state, frozen, run, isHeld)
        return choices.filter { !$0.commands.isEmpty }
    }

    /// A failed step is tried again, or the run begun anew: that depends on where the cause lies.
    private static func failed(_ machine: RunMachine, _ frozen: FrozenRun, _ run: RunID) -> [NextChoice] {
        let failed = machine.steps.filter { $0.state == .failed || $0.state == .timedOut }
        guard !failed.isEmpty, ![.cancelled, .undone].contains(machine.state) else { return [] }
        let curable = failed.filter { $0.failure?.needsNewRun != true }
        func each(_ records: [StepRecord], _ command: (StepID) -> String) -> [String] { records.map { command($0.spec.id) } }
        let logs = NextChoice("all that its jobs have said", each(failed) { "reprise logs \(run) \($0)" })
        let retry = NextChoice(
            "once the cause is mended outside of the plan (a host, a secret, a store, the data)", each(curable) { "reprise retry \(run) \($0)" })
        let skip = NextChoice("to go on without it, where nothing that follows needs it", each(failed.filter { $0.spec.isApproval != true }) { "reprise skip \(run) \($0) --reason …" })
        // While others still run, a run is not begun anew.
        guard machine.state == .failed else { return [logs, retry, skip] }
        let anew = ["reprise cancel \(run)", start(frozen)]
        if curable.isEmpty {
            let why = "the plan, the inventory or a parameter has to be another one, and this run goes by its own copies: a retry would find the same"
            return [NextChoice(why, anew), logs, skip]
        }
        return [
            logs, retry, NextChoice("where the plan, the inventory or a parameter has to be another one, since this run goes by its own copies", anew), skip,
        ]
    }

    private static func whole(_ state: RunState, _ frozen: FrozenRun, _ run: RunID, _ isHeld: Bool) -> [NextChoice] {
        switch state {
        case .accepted, .running, .pausing, .cancelling, .undoing: [NextChoice("", [isHeld ? "reprise watch \(run)" : "reprise resume \(run)"])]
        case .paused: [NextChoice("", ["reprise resume \(run)"])]
        case .waiting: [NextChoice("", ["reprise undo \(run)", "reprise report \(run) --runbook"])]
        case .failed:
            [
                NextChoice("to put back what was done", ["reprise undo \(run)"]),
                NextChoice("to do the rest by hand", ["reprise report \(run) --runbook"]),
            ]
        case .cancelled:
            [
                NextChoice("to begin anew; what is done is done again or found done, as the plan says", [start(frozen)]),
                NextChoice("to put back what was done", ["reprise undo \(run)"]),
            ]
        case .undone, .succeeded, .succeededWithWarnings: [NextChoice("", ["reprise report \(run)"])]
        }
    }

    /// The command by which the run was started; what has to be different is for a person to change.
    private static func start(_ frozen: FrozenRun) -> String {
        var words = ["reprise", "start", frozen.planPath.isEmpty ? frozen.plan.name : frozen.planPath]
        if let inventory = frozen.inventory.hosts.first?.mark.file, frozen.inventory.hosts.first?.mark != .generated { words += ["--inventory", inventory] }
        if frozen.isDrill { words += ["--mode", "drill"] }
        for name in frozen.parameters.given {
            if let value = frozen.parameters[name] { words += ["--param", "\(name)=\(value.text)"] }
        }
        return words.map { $0.allSatisfy(isPlain) ? $0 : shellQuoted($0) }.joined(separator: " ")
    }

    private static func isPlain(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || "-_./:=,@+".contains(character))
    }
}
