import ArgumentParser
internal import Engine
internal import Foundation
internal import Journal
internal import Reporting
internal import RunCore

/// Options that every command takes.
struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The journal; default: $XDG_STATE_HOME/reprise/journal.sqlite, else ~/.local/state/…", valueName: "path"))
    var journal: String?

    @Option(
        help: ArgumentHelp(
            "The inventory; default: $REPRISE_INVENTORY, else the only inventory/*.yaml beside the plan.", valueName: "path"))
    var inventory: String?

    @Flag(help: "No colour, also on a terminal.")
    var noColor = false

    @Flag(help: "Only failures and what a person has to do.")
    var quiet = false

    @Flag(help: "Also the output of jobs, and what steps note down.")
    var verbose = false

    @Flag(help: "JSON instead of text; its fields only ever grow.")
    var json = false

    func validate() throws {
        guard !(quiet && verbose) else { throw ValidationError("--quiet and --verbose exclude each other.") }
    }

    var style: Style { Console.style(noColor: noColor) }

    var journalPath: String {
        if let journal { return absolute(journal) }
        let state = Console.environment("XDG_STATE_HOME").flatMap { $0.hasPrefix("/") ? $0 : nil }
        return (state ?? NSHomeDirectory() + "/.local/state") + "/reprise/journal.sqlite"
    }

    /// The folder of the journal: what belongs to its runs lies beside it.
    var stateFolder: String { (journalPath as NSString).deletingLastPathComponent }

    var logFolder: String { stateFolder + "/runs" }

    /// - Parameter creates: a journal that is not there is made, where it is opened to write: for a run that begins.
    func openJournal(readOnly: Bool, creates: Bool = false) async throws -> SQLiteJournal {
        // Looking at one that is missing says so.
        let isThere = creates || FileManager.default.fileExists(atPath: journalPath)
        let journal = try await SQLiteJournal.open(path: journalPath, readOnly: readOnly || !isThere)
        guard !quiet, !json else { return journal }
        for notice in try await journal.notices { Console.writeError("reprise: note: \(notice.summary)\n") }
        return journal
    }

    /// Writes `value` as JSON where `--json` was given, else `text`.
    func show(_ value: some Encodable, _ text: @autoclosure () -> String) throws {
        if json { try Console.writeJSON(value) } else { Console.write(text()) }
    }

    private func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }
}

/// The run that a command is about.
struct RunArgument: ParsableArguments {
    @Argument(help: "The run: its id, or an unambiguous beginning of it; default: the latest.")
    var run: String?
}

extension JournalStore {
    /// All records of a run after `sequence`.
    func allRecords(of run: RunID, after sequence: Int64 = 0) async throws -> [JournalRecord] {
        var all: [JournalRecord] = []
        var last = sequence
        while true {
            let batch = try await records(run: run, after: last, limit: 2000)
            guard let record = batch.last else { return all }
            all += batch
            last = record.sequence
        }
    }
}
