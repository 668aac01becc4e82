import ArgumentParser
internal import Journal
internal import PlanModel
internal import Reporting
internal import RunCore

struct DriveOptions: ParsableArguments {
    @Flag(help: "Only writes the word down; the run goes on with the next `reprise resume`.")
    var noDrive = false
}

struct PauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Starts nothing new in a run, and lets what runs finish.", discussion: help())
    @OptionGroup var target: RunArgument
    @Option(help: "Why; it is journaled.") var reason = ""
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        try await Words.drive(target.run, options, drives: !drive.noDrive) { _ in
            [.pauseRequested(OperatorWord(by: operatorName, reason: reason))]
        }
    }
}

struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Ends a run: what runs on hosts is ended, and counts as ended once the hosts confirm it.",
        discussion: help("What was done stays done; `reprise undo` puts it back."))
    @OptionGroup var target: RunArgument
    @Option(help: "Why; it is journaled.") var reason = ""
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        try await Words.drive(target.run, options, drives: !drive.noDrive) { _ in
            [.cancelRequested(OperatorWord(by: operatorName, reason: reason))]
        }
    }
}

struct UndoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undo", abstract: "Puts back what a run did, the last step first.",
        discussion: help("Asks for the run's id to be typed, or takes --yes."))
    @OptionGroup var target: RunArgument
    @Option(help: "Why; it is journaled.") var reason = ""
    @Flag(help: "Stands for typing the run's id.") var yes = false
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let id = try await options.openJournal(readOnly: true).resolve(prefix: target.run)
        try await Confirmation.require([id.rawValue], isGiven: yes, what: "undoing")
        try await Words.drive(id.rawValue, options, drives: !drive.noDrive) { _ in
            [.undoRequested(OperatorWord(by: operatorName, reason: reason))]
        }
    }
}

struct RetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Runs a failed step again, as a new attempt.", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "Why; it is journaled.") var reason = ""
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        try await Words.drive(target.run, options, drives: !drive.noDrive) { machine in
            [.stepRetryRequested(OperatorOnStep(step: try known(target.step, machine), by: operatorName, reason: reason))]
        }
    }
}

struct SkipCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "skip", abstract: "Goes on without a step. The run can then at best succeed with warnings.", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "Why; it is journaled and reported.") var reason: String
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        try await Words.drive(target.run, options, drives: !drive.noDrive) { machine in
            [.stepSkipped(OperatorOnStep(step: try known(target.step, machine), by: operatorName, reason: reason))]
        }
    }
}

struct ResolveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resolve", abstract: "Says whether a step that is in doubt has happened.",
        discussion: help("Look at the target yourself first: `reprise status` shows the evidence that there is."))
    @OptionGroup var target: StepArguments
    @Option(name: .customLong("as"), help: "done: it happened; not-done: it did not, and is run as a new attempt.")
    var verdict: Verdict
    @Option(help: "What you saw; it is journaled and reported.") var reason: String
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    enum Verdict: String, ExpressibleByArgument, CaseIterable {
        case done
        case notDone = "not-done"
    }

    func run() async throws {
        try await Words.drive(target.run, options, drives: !drive.noDrive) { machine in
            [
                .doubtResolved(
                    DoubtResolved(
                        step: try known(target.step, machine), verdict: verdict == .done ? .done : .notDone, by: operatorName, reason: reason))
            ]
        }
    }
}

struct ApproveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Agrees to a step that waits for a person, and goes on with the run.", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "What you have looked at; it is journaled and reported.") var comment: String
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        try await decide(target, true, comment, drive, options)
    }
}

struct DenyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deny", abstract: "Refuses a step that waits for a person.", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "Why; it is journaled and reported.") var comment: String
    @OptionGroup var drive: DriveOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        try await decide(target, false, comment, drive, options)
    }
}

private func decide(
    _ target: StepArguments, _ approved: Bool, _ comment: String, _ drive: DriveOptions, _ options: GlobalOptions
) async throws {
    try await Words.drive(target.run, options, drives: !drive.noDrive) { machine in
        let step = try known(target.step, machine)
        if approved, let refusal = machine.refusesApproval(of: step, by: operatorName) {
            throw Refusal("approver-is-starter", oneLine(refusal.message), hints: refusal.hints, exitStatus: .waitingForPerson)
        }
        return [.approvalDecided(ApprovalDecided(step: step, approved: approved, by: operatorName, comment: comment))]
    }
}

/// - Throws: with the nearest right spelling where the run has no such step.
private func known(_ step: StepID, _ machine: RunMachine) throws -> StepID {
    guard machine[step] == nil else { return step }
    var speller = Speller()
    throw Refusal(
        "unknown-step", "the run has no step \(step)",
        hints: speller.hints(for: step.rawValue, among: machine.steps.map(\.spec.id.rawValue), what: "steps of the run"))
}
