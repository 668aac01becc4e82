import ArgumentParser
internal import Engine
internal import Journal
internal import Reporting
internal import RunCore

struct JournalGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "journal", abstract: "Verifies, shows and exports the journal.", discussion: help(),
        subcommands: [JournalVerify.self, JournalShow.self, JournalExport.self])
}

struct JournalVerify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Recomputes the hash chains, and names the first bad record.",
        discussion: help("Exit status 1 where anything is not as it was written."))
    @Argument(help: ArgumentHelp("Only this run; default: all runs, and the journal's own bookkeeping.", valueName: "run")) var run_: String?
    @Option(help: "A head that was kept elsewhere: the run must still hold that record.") var head: String?
    @OptionGroup var options: GlobalOptions

    func validate() throws {
        guard head == nil || run_ != nil else { throw ValidationError("--head needs the run that it belongs to.") }
    }

    func run() async throws {
        let journal = try await options.openJournal(readOnly: true)
        var run: RunID?
        if let run_ { run = try await journal.resolve(prefix: run_) }
        let report = try await journal.verify(run: run)
        try options.show(report, text(report))
        try Ended.check(report.isIntact ? .done : .failed)
        if let run, let head { try await require(head, of: run, journal) }
    }

    private func text(_ report: VerificationReport) -> String {
        let size = "\(counted(report.runsChecked, "run")), \(countText(report.recordsChecked)) records"
        guard report.isIntact else {
            return options.style.paint("NOT INTACT (\(size))", .bad) + "\n" + report.damage.map { "\(oneLine($0.summary))\n" }.joined()
        }
        let head = report.head.map { "journal head: record \($0.position), \(hexadecimal($0.hash))\n" } ?? ""
        return options.style.paint("intact", .good) + " (\(size))\n" + head
    }

    private func require(_ head: String, of run: RunID, _ journal: SQLiteJournal) async throws {
        let wanted = head.lowercased()
        guard try await journal.allRecords(of: run).contains(where: { hexadecimal($0.hash) == wanted }) else {
            throw Refusal(
                "head-not-found", "run \(run) holds no record with hash \(oneLine(head))",
                hints: ["the journal was changed or replaced since that head was written down"], exitStatus: .failed)
        }
        if !options.json { Console.write("the head that was kept is in the run\n") }
    }
}

struct JournalShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Everything that happened in a run, one sentence for each event.", discussion: help())
    @OptionGroup var target: RunArgument
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let journal = try await options.openJournal(readOnly: true)
        let records = try await journal.allRecords(of: try await journal.resolve(prefix: target.run))
        let entries = try records.map(TimelineEntry.init)
        let rows = entries.map { Document.Table.Row(["\($0.sequence)", $0.time, "\($0.fence)", $0.kind, $0.sentence]) }
        let table = Document.Table(
            [.init("#", isNumber: true), .init("TIME"), .init("FENCE", isNumber: true), .init("EVENT"), .init("WHAT HAPPENED")], rows)
        try options.show(entries, tableText(table, style: options.style))
    }
}

struct JournalExport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "The records of a run with their hashes, one JSON object a line, to keep or to check elsewhere.",
        discussion: help("How hashes are made is documented in docs/ and in Sources/Journal/JournalRecord.swift."))
    @OptionGroup var target: RunArgument
    @OptionGroup var options: GlobalOptions

    private struct Line: Encodable {
        let run: String
        let sequence: Int64
        let timeMilliseconds: Int64
        let fence: Int64
        let kind: String
        let step: String?
        let attempt: Int?
        /// The payload's bytes as text: the hash is taken of exactly these.
        let payload: String
        let previousHash: String
        let hash: String

        init(_ record: JournalRecord) {
            run = record.run.rawValue
            sequence = record.sequence
            timeMilliseconds = record.timeMilliseconds
            fence = record.fence
            kind = record.kind
            step = record.step?.rawValue
            attempt = record.attempt
            payload = String(decoding: record.payload, as: UTF8.self)
            previousHash = hexadecimal(record.previousHash)
            hash = hexadecimal(record.hash)
        }
    }

    func run() async throws {
        let journal = try await options.openJournal(readOnly: true)
        let run = try await journal.resolve(prefix: target.run)
        var last: Int64 = 0
        while true {
            let batch = try await journal.records(run: run, after: last, limit: 500)
            guard let record = batch.last else { return }
            for record in batch { try Console.writeJSON(Line(record)) }
            last = record.sequence
        }
    }
}
