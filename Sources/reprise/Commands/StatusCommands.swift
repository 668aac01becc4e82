import ArgumentParser
internal import Engine
internal import Foundation
internal import Journal
internal import Reporting
internal import RunCore

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Where a run stands, step by step, and what to do next.",
        discussion: help("The exit status is that of the command, not of the run: 0 wherever the status could be shown."))
    @OptionGroup var target: RunArgument
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let journal = try await options.openJournal(readOnly: true)
        let report = try await RunFile(try await journal.resolve(prefix: target.run), in: journal).report()
        try options.show(report, StatusText(report, style: options.style, width: Console.width).text)
    }
}

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "The runs of the journal, the newest first.", discussion: help())
    @Option(help: "At most so many.") var limit = 50
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let entries = try await entries()
        let rows = entries.map {
            Document.Table.Row([$0.run, $0.state, $0.startedAt, $0.plan, $0.holder ?? ""], role(ofRunState: $0.state))
        }
        let table = Document.Table([.init("RUN"), .init("STATE"), .init("STARTED"), .init("PLAN"), .init("HELD BY")], rows)
        try options.show(entries, entries.isEmpty ? "no runs yet\n" : tableText(table, style: options.style))
    }

    private func entries() async throws -> [RunListEntry] {
        let journal: SQLiteJournal
        do {
            journal = try await options.openJournal(readOnly: true)
        } catch let unusable as JournalUnusable where unusable.code == "journal.missing" {
            return []
        }
        var entries: [RunListEntry] = []
        for summary in try await journal.runs(limit: max(1, limit)) {
            entries.append(RunListEntry(summary, plan: try await planName(summary.run, journal)))
        }
        return entries
    }

    private func planName(_ run: RunID, _ journal: SQLiteJournal) async throws -> String {
        guard let first = try await journal.records(run: run, after: 0, limit: 1).first,
            case .accepted(let accepted) = try EventCodec.event(first)
        else { return "" }
        return accepted.planName
    }
}

struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Shows a run that another process drives, as it goes on.",
        discussion: help("Ends when the run ends, waits for a person, or is left; the exit status then says which."))
    @OptionGroup var target: RunArgument
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let journal = try await options.openJournal(readOnly: true)
        let run = try await journal.resolve(prefix: target.run)
        let status = try await RunWatch(options: options, journal: journal, run: run).follow()
        try Ended.check(status)
    }
}

struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "What the jobs of a run have written.",
        discussion: help("Secrets are taken out before anything is stored. Output beyond a job's limit is on no disk."))
    @Argument(help: "The run and the step; the step may be left out. A word that is a step of the latest run is taken as one.")
    var words: [String] = []
    @Option(help: "Only this attempt.") var attempt: Int?
    @Flag(help: "The text alone, without time and source.") var raw = false
    @OptionGroup var options: GlobalOptions

    func validate() throws {
        guard words.count <= 2 else { throw ValidationError("Name a run, and a step of it if you like.") }
    }

    func run() async throws {
        let journal = try await options.openJournal(readOnly: true)
        let (run, step) = try await target(journal)
        if let step, try await ResumableRun.load(run, from: journal).machine[step] == nil {
            throw Refusal("unknown-step", "run \(run) has no step \(step)", hints: ["see its steps with: reprise status \(run)"])
        }
        let lines = LogReader(folder: options.logFolder, run: run).lines(step: step, attempt: attempt)
        if lines.isEmpty, !options.quiet, !options.json {
            let what = (step.map { "step \($0) of " } ?? "") + "run \(run)" + (attempt.map { ", attempt \($0)," } ?? "")
            Console.writeError("reprise: note: no job of \(what) has written anything; what it did stands in: reprise report \(run)\n")
        }
        try options.show(lines, lines.map(text).joined())
    }

    private func target(_ journal: SQLiteJournal) async throws -> (RunID, StepID?) {
        if words.count == 2 {
            guard let step = StepID(words[1]) else { throw Refusal("bad-step", "that is no name of a step") }
            return (try await journal.resolve(prefix: words[0]), step)
        }
        let latest = try await journal.resolve(prefix: nil)
        guard let word = words.first else { return (latest, nil) }
        if let step = StepID(word), try await ResumableRun.load(latest, from: journal).machine[step] != nil { return (latest, step) }
        return (try await journal.resolve(prefix: word), nil)
    }

    private func text(_ line: LogLine) -> String {
        let text = terminalSafe(line.text, keepsNewlines: false)
        if raw { return text + "\n" }
        let source = "\(line.time.dropFirst(11).prefix(12)) \(line.step).\(line.attempt)\(line.isUndo ? " undo" : "") \(oneLine(line.source))"
        return options.style.paint("\(source) \(line.stream == .err ? "!" : "|") ", .faint) + text + "\n"
    }
}
