import ArgumentParser
internal import Journal
internal import PlanModel
internal import Reporting
internal import RunCore

/// What an operator says about a run: the arguments of one command, and the events that they stand for.
protocol OperatorSaying: ParsableArguments {
    static var configuration: CommandConfiguration { get }
    /// The id of the run or a beginning of it; nil for the latest.
    var run: String? { get }
    /// - Throws: what does not fit the run, such as a step that it does not have.
    func events(_ machine: RunMachine) throws -> [RunEvent]
    /// Asks what has to be asked before anything is said.
    /// - Returns: the run that the word is then about.
    func confirmedRun(_ options: GlobalOptions) async throws -> String?
}

extension OperatorSaying {
    func confirmedRun(_ options: GlobalOptions) async throws -> String? { run }
}

/// Brings what an operator says into a run, which then goes on.
struct OperatorCommand<Saying: OperatorSaying>: AsyncParsableCommand {
    static var configuration: CommandConfiguration { Saying.configuration }
    @OptionGroup var saying: Saying
    @Flag(help: "Only writes the word down; the run goes on with the next `reprise resume`.")
    var noDrive = false
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let run = try await saying.confirmedRun(options)
        try await Words.drive(run, options, drives: !noDrive, words: saying.events)
    }
}

typealias PauseCommand = OperatorCommand<Pause>
typealias CancelCommand = OperatorCommand<Cancel>
typealias UndoCommand = OperatorCommand<Undo>
typealias RetryCommand = OperatorCommand<Retry>
typealias SkipCommand = OperatorCommand<Skip>
typealias ResolveCommand = OperatorCommand<Resolve>
typealias ApproveCommand = OperatorCommand<Approve>
typealias DenyCommand = OperatorCommand<Deny>

// MARK: About a run

struct Pause: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Starts nothing new in a run, and lets what runs finish.", discussion: help())
    @OptionGroup var target: RunArgument
    @Option(help: "Why; it is journaled.") var reason = ""

    var run: String? { target.run }
    func events(_ machine: RunMachine) -> [RunEvent] { [.pauseRequested(OperatorWord(by: operatorName, reason: reason))] }
}

struct Cancel: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Ends a run: what runs on hosts is ended, and counts as ended once the hosts confirm it.",
        discussion: help("What was done stays done; `reprise undo` puts it back."))
    @OptionGroup var target: RunArgument
    @Option(help: "Why; it is journaled.") var reason = ""

    var run: String? { target.run }
    func events(_ machine: RunMachine) -> [RunEvent] { [.cancelRequested(OperatorWord(by: operatorName, reason: reason))] }
}

struct Undo: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "undo", abstract: "Puts back what a run did, the last step first.",
        discussion: help("Asks for the run's id to be typed, or takes --yes."))
    @OptionGroup var target: RunArgument
    @Option(help: "Why; it is journaled.") var reason = ""
    @Flag(help: "Stands for typing the run's id.") var yes = false

    var run: String? { target.run }
    func events(_ machine: RunMachine) -> [RunEvent] { [.undoRequested(OperatorWord(by: operatorName, reason: reason))] }

    func confirmedRun(_ options: GlobalOptions) async throws -> String? {
        let id = try await options.openJournal(readOnly: true).resolve(prefix: target.run)
        try await Confirmation.require(
            [id.rawValue], isGiven: yes, what: "undoing", does: "puts back what the run has done, the last step first",
            hints: ["look first: reprise status \(id)"])
        return id.rawValue
    }
}

// MARK: About a step

/// The step that a command is about, after the run.
struct StepArguments: ParsableArguments {
    @Argument(help: ArgumentHelp("The run and the step; with one word only it is the step, of the latest run.", valueName: "run step"))
    var words: [String]

    func validate() throws {
        guard (1...2).contains(words.count) else { throw ValidationError("Name a step, or a run and a step.") }
        _ = try step
    }

    var run: String? { words.count == 2 ? words[0] : nil }

    var step: StepID {
        get throws {
            guard let word = words.last, let step = StepID(word) else { throw ValidationError("The step's name is not one that plans can have.") }
            return step
        }
    }

    /// - Throws: with the nearest right spelling where the run has no such step.
    func step(in machine: RunMachine) throws -> StepID {
        let step = try step
        guard machine[step] == nil else { return step }
        var speller = Speller()
        throw Refusal(
            "unknown-step", "the run has no step \(step)",
            hints: speller.hints(for: step.rawValue, among: machine.steps.map(\.spec.id.rawValue), what: "steps of the run"))
    }

    /// - Throws: with those that do where this one waits for nobody.
    func waitingStep(in machine: RunMachine) throws -> StepID {
        let step = try step(in: machine)
        // Of one that is decided the run says who has decided it.
        guard let record = machine[step], record.state != .waiting, record.approval?.decision == nil else { return step }
        let waiting = machine.steps.filter { $0.state == .waiting }.map(\.spec.id.rawValue)
        throw Refusal(
            "nothing-waits", "nothing waits for a person's word at step \(step) of this run, which is \(record.state.word)",
            hints: waiting.isEmpty
                ? ["no step of this run waits; see which run does: reprise list"]
                : ["\(waiting.joined(separator: " and ")) \(waiting.count == 1 ? "does" : "do")"])
    }
}

struct Retry: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Runs a failed step again, as a new attempt.",
        usage: "reprise retry [<run>] <step> [--reason <reason>] [--no-drive] [options]", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "Why; it is journaled.") var reason = ""

    var run: String? { target.run }
    func events(_ machine: RunMachine) throws -> [RunEvent] {
        [.stepRetryRequested(OperatorOnStep(step: try target.step(in: machine), by: operatorName, reason: reason))]
    }
}

struct Skip: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "skip", abstract: "Goes on without a step. The run can then at best succeed with warnings.",
        usage: "reprise skip [<run>] <step> --reason <reason> [--no-drive] [options]", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "Why; it is journaled and reported.") var reason: String

    func validate() throws { try requireWords(reason, in: "--reason") }

    var run: String? { target.run }
    func events(_ machine: RunMachine) throws -> [RunEvent] {
        [.stepSkipped(OperatorOnStep(step: try target.step(in: machine), by: operatorName, reason: reason))]
    }
}

struct Resolve: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "resolve", abstract: "Says whether a step that is in doubt has happened.",
        usage: "reprise resolve [<run>] <step> --as done|not-done --reason <reason> [--no-drive] [options]",
        discussion: help("Look at the target yourself first: `reprise status` shows the evidence that there is."))
    @OptionGroup var target: StepArguments
    @Option(name: .customLong("as"), help: "done: it happened; not-done: it did not, and is run as a new attempt.")
    var verdict: Verdict
    @Option(help: "What you saw; it is journaled and reported.") var reason: String

    enum Verdict: String, ExpressibleByArgument, CaseIterable {
        case done
        case notDone = "not-done"
    }

    var run: String? { target.run }
    func events(_ machine: RunMachine) throws -> [RunEvent] {
        let step = try target.step(in: machine)
        // About the doubt that the operator can have seen; where there is none yet, about no attempt at all.
        let doubt = machine[step]?.doubt
        let word = DoubtResolved(
            step: step, verdict: verdict == .done ? .done : .notDone, by: operatorName, reason: reason, attempt: doubt?.attempt ?? 0,
            isUndo: doubt?.isUndo)
        return [.doubtResolved(word)]
    }
}

/// Whoever reads the report later has nothing else to go by.
private func requireWords(_ text: String, in option: String) throws {
    guard text.contains(where: { !$0.isWhitespace }) else { throw ValidationError("\(option) says nothing.") }
}

struct Approve: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Agrees to a step that waits for a person, and goes on with the run.",
        usage: "reprise approve [<run>] <step> --comment <comment> [--no-drive] [options]", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "What you have looked at; it is journaled and reported.") var comment: String

    func validate() throws { try requireWords(comment, in: "--comment") }

    var run: String? { target.run }
    func events(_ machine: RunMachine) throws -> [RunEvent] {
        let step = try target.waitingStep(in: machine)
        if let refusal = machine.refusesApproval(of: step, by: operatorName) {
            throw Refusal("approver-is-starter", oneLine(refusal.message), hints: refusal.hints, exitStatus: .waitingForPerson)
        }
        let question = machine[step]?.questions
        return [.approvalDecided(ApprovalDecided(step: step, approved: true, by: operatorName, comment: comment, question: question))]
    }
}

struct Deny: OperatorSaying {
    static let configuration = CommandConfiguration(
        commandName: "deny", abstract: "Refuses a step that waits for a person.",
        usage: "reprise deny [<run>] <step> --comment <comment> [--no-drive] [options]", discussion: help())
    @OptionGroup var target: StepArguments
    @Option(help: "Why; it is journaled and reported.") var comment: String

    func validate() throws { try requireWords(comment, in: "--comment") }

    var run: String? { target.run }
    func events(_ machine: RunMachine) throws -> [RunEvent] {
        let step = try target.waitingStep(in: machine), question = machine[step]?.questions
        return [.approvalDecided(ApprovalDecided(step: step, approved: false, by: operatorName, comment: comment, question: question))]
    }
}
