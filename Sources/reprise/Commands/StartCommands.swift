import ArgumentParser
internal import Engine
internal import Foundation
internal import Journal
internal import PlanModel
internal import Reporting
internal import RunCore

struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Starts a run of a plan, and shows it until it ends.",
        discussion: help(
            """
            The plan and the inventory are frozen in the journal: editing the files afterwards changes nothing in the run. \
            A plan that overwrites or removes something asks for its name to be typed, or takes --yes, which never counts as an \
            approval. On a terminal approvals are asked for there; elsewhere the command ends with status 5 and says how to approve. \
            Ctrl-C lets go of the run: jobs on hosts go on, and `reprise resume` picks them up.
            """))
    @OptionGroup var plan: PlanArgument
    @OptionGroup var parameters: ParameterOptions
    @Flag(help: "Shows the steps with their values and what is destructive, and starts nothing.")
    var dryRun = false
    @Flag(help: "Stands for typing the name of what is overwritten; never for an approval.")
    var yes = false
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let prepared = try PreparedRun(plan.plan, parameters, options)
        let preview = try prepared.preview()
        if dryRun { return try options.show(preview, preview.document.text(style: options.style)) }
        try Contradiction.refuseAny(in: preview, prepared.frozen.inventory)
        try await Confirmation.require(try prepared.destructiveTargets(), isGiven: yes, what: "plan \(prepared.frozen.plan.name)")
        let journal = try await options.openJournal(readOnly: false, creates: true)
        let redactor = Redactor()
        let orchestrator = Wiring.orchestrator(journal, redactor: redactor)
        try await orchestrator.refuseDrillOnProduction(prepared.frozen)
        let names = KeptNames(frozen: prepared.frozen, preview: preview)
        async let areFree: Void = orchestrator.refuseHeldDatabases(prepared.frozen) { host, connection in
            if let taken = try await names.taken(on: host, connection).first { throw taken }
        }
        try await BackupsAtHand(frozen: prepared.frozen, preview: preview).require()
        try await areFree
        let id = makeRunID(secondsSince1970: now() / 1000, suffix: .random(in: 0 ... .max))
        if !options.json, !options.quiet { Console.write("run \(id)\n\(prepared.origins(journal: options.journalPath))\n") }
        let status = try await DriveLoop(options: options, orchestrator: orchestrator, redactor: redactor).run(id) {
            try await orchestrator.accept(prepared.frozen, as: id, observer: $0, staysForPeople: false)
        }
        try Ended.check(status)
    }
}

struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Goes on with a paused or interrupted run.",
        discussion: help(
            """
            What was under way when the run was left is asked for on its hosts, and never simply repeated. A run that a live process \
            holds is left alone, unless --take-over says why it is taken from it; the other process can then do nothing more.
            """))
    @OptionGroup var run_: RunArgument
    @Flag(help: "Takes the run from a process that is stuck or out of reach.")
    var takeOver = false
    @Option(help: "Why it is taken over; it is journaled.")
    var reason: String?
    @OptionGroup var options: GlobalOptions

    func validate() throws {
        guard !takeOver || !(reason ?? "").isEmpty else { throw ValidationError("--take-over needs --reason.") }
    }

    func run() async throws {
        try await Words.drive(run_.run, options, takeOver: takeOver ? reason : nil) { _ in [] }
    }
}
