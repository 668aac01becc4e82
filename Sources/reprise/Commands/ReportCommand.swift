import ArgumentParser
internal import Engine
internal import Journal
internal import Reporting
internal import RunCore
internal import Steps

struct ReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "The account of a run: what came back, how it was proven, how long it took, who decided what.",
        discussion: help("--runbook prints what is left to do as commands for hands, for the day on which the tool itself is in the way."))
    @OptionGroup var target: RunArgument
    @Option(help: "text, markdown, html or json.") var format: Format = .text
    @Flag(help: "The remaining steps as commands for hands.") var runbook = false
    @OptionGroup var options: GlobalOptions

    enum Format: String, ExpressibleByArgument, CaseIterable { case text, markdown, html, json }

    func run() async throws {
        let journal = try await options.openJournal(readOnly: true)
        let run = try await journal.resolve(prefix: target.run)
        let format = options.json ? .json : format
        if runbook {
            let loaded = try await ResumableRun.load(run, from: journal)
            let outputs = Dictionary(loaded.machine.steps.map { ($0.spec.id, $0.outputs) }, uniquingKeysWith: { first, _ in first })
            let book = try Runbook(loaded.machine, StepPreviewer(loaded.frozen, kinds: .standard, outputs: outputs, run: run))
            if format == .json { return try Console.writeJSON(book) }
            return Console.write(text(book.document, format))
        }
        let report = try await RunFile(run, in: journal).recoveryReport()
        if format == .json { return try Console.writeJSON(report) }
        Console.write(text(report.document, format))
    }

    private func text(_ document: Document, _ format: Format) -> String {
        switch format {
        case .text, .json: document.text(style: options.style)
        case .markdown: document.markdown
        case .html: document.html
        }
    }
}
