import ArgumentParser
internal import BlockingIO
internal import Engine
internal import Foundation
internal import Glibc
internal import PlanModel
internal import PostgreSQL
internal import Reconcile
internal import Reporting
internal import RunCore
internal import Steps

struct MergeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge", abstract: "Merges rows of a backup or a database into tables of a database, outside of any plan.",
        discussion: help(
            """
            \(DataSide.help)

            Shows what would be merged, asks, and merges exactly that in one transaction, with every row before and after in \
            reprise_audit.changes. By default only rows that are missing are inserted. Without a terminal the answer is given with \
            --agree: the hash that the same command showed before; until then the exit status is 5. --undo takes a merge back. \
            Rows that wait for a person (--changed decide, --column NAME=decide) are written to the file of --undecided, a line of JSON \
            each; with `backup` or `live` in each `take` that file is what --decisions reads. \
            A production incident is better served by plans/table-restore.yaml, which is journaled and resumed.
            """))
    @Argument(help: "What rows are taken from; with --undo the database that was merged into.") var source: String
    @Argument(help: "The database that is merged into.") var target: String?
    @OptionGroup var tables: TableArguments
    @OptionGroup var policy: PolicyArguments
    @Option(help: "Rows that others need which come back, such as a member's organisation: skip, or follow, which brings them too.")
    var parents: Parents = .skip
    @Option(help: "Where a publication of all tables would send on those that are made here: refuse, or accept.") var published: Published = .refuse
    @Option(help: ArgumentHelp("What people decided of rows that wait, a line of JSON for each.", valueName: "file")) var decisions: String?
    @Option(help: ArgumentHelp("Write rows that wait for a decision into this new file.", valueName: "file")) var undecided: String?
    @Option(help: ArgumentHelp("Merge without being asked, where the preview has this hash.", valueName: "hash")) var agree: String?
    @Option(help: ArgumentHelp("A trigger that is off during the merge: TABLE:TRIGGER. Writers of the table wait meanwhile. May be repeated.", valueName: "name")) var disableTrigger: [String] = []
    @Option(help: ArgumentHelp("How long to wait for a row or table that somebody holds.", valueName: "seconds")) var lockTimeout = 10
    @Option(help: ArgumentHelp("Take back the merge of that id.", valueName: "id")) var undo: String?
    @Option(help: "Give up after so many seconds.") var timeout = 7200
    @OptionGroup var options: GlobalOptions

    enum Parents: String, ExpressibleByArgument, CaseIterable { case skip, follow }
    enum Published: String, ExpressibleByArgument, CaseIterable { case refuse, accept }

    private var deadline: Deadline { Deadline(after: .seconds(timeout)) }

    func run() async throws {
        let opener = DataSides(options: options, application: "reprise/merge")
        if let undo {
            guard target == nil else { throw Refusal("undo-one-database", "--undo takes one database, the one that was merged into") }
            let side = try DataSide(source)
            return try await opener.with(side) { try await takeBack(undo, try Self.database($0), side) }
        }
        guard let target else { throw Refusal("no-target", "no database to merge into is named", hints: ["reprise merge SOURCE TARGET --table NAME"]) }
        let sides = try (DataSide(source), DataSide(target)), names = try tables.names()
        guard sides.0 != sides.1 else {
            return try await opener.with(sides.1) { both in try await merge(.sameDatabase, into: try Self.database(both), sides.1, names) }
        }
        switch sides.1 {
        case .store, .file: throw Self.targetIsArchive
        case .database, .server: break
        }
        try await opener.with(sides.0, sides.1) { source, target in
            let backup: TableComparison.Backup =
                switch source {
                case .archive(let path, let contents): .archive(path: path, contents: contents)
                case .database(let connection): .database(connection)
                }
            try await merge(backup, into: try Self.database(target), sides.1, names)
        }
    }

    private static func database(_ opened: DataSides.Opened) throws -> PostgresConnection {
        guard case .database(let connection) = opened else { throw targetIsArchive }
        return connection
    }

    private static var targetIsArchive: Refusal { Refusal("target-is-archive", "an archive cannot be merged into", hints: ["name a database"]) }

    /// Where the tables that are made for it lie. One merge of this command at a time: so what a killed one left can be thrown away.
    private static let schema = "reprise_merge"
    private static let lock = 7_233_179_127

    private func merge(
        _ backup: TableComparison.Backup, into live: PostgresConnection, _ side: DataSide, _ names: [TableComparison.Names]
    ) async throws {
        let deadline = deadline, schema = try SQLIdentifier(Self.schema), meter = ComparisonMeter(options)
        // What is wrong in a file is said before anything is compared.
        let rules = try policy.ruleSet(over: tables.rules()), decisions = try decisions.map(DecisionsFile.read) ?? []
        let isOurs = try await live.query("SELECT pg_catalog.pg_try_advisory_lock(\(Self.lock)) AS ours", deadline: deadline).only().bool("ours")
        guard isOurs else {
            throw Refusal(
                "merge-at-work", "another reprise merge is at work in this database", hints: ["wait for it, or end it"], exitStatus: .heldByAnother)
        }
        if published == .refuse { try await Publications.requireUnread(live, deadline: deadline) }
        try await Self.drop(schema, live)
        try await live.execute("CREATE SCHEMA \(schema.sql)", deadline: deadline)
        do {
            var comparison = TableComparison(with: backup, of: live, in: schema)
            comparison.followsParents = parents == .follow
            let compared = try await comparison.compare(names, by: rules, deadline: deadline) { meter.tell($0, $1) }
            meter.end()
            let plan = try MergePlan(compared.map(\.diff), followingParents: parents == .follow).disabling(try triggers())
            try await agreeAndMerge(plan, decisions, "merge-\(UUID().uuidString.lowercased().prefix(8))", live, side, deadline)
        } catch {
            // Also after Ctrl-C: what is left holds people's data.
            await Task { try? await Self.drop(schema, live) }.value
            throw error
        }
        try await Self.drop(schema, live)
    }

    private static func drop(_ schema: SQLIdentifier, _ live: PostgresConnection) async throws {
        try await live.execute("DROP SCHEMA IF EXISTS \(schema.sql) CASCADE", deadline: Deadline(after: .seconds(60)))
    }

    private func agreeAndMerge(
        _ plan: MergePlan, _ decisions: [Decision], _ id: String, _ live: PostgresConnection, _ side: DataSide, _ deadline: Deadline
    ) async throws {
        let preview = try await plan.prepare(live, decisions: decisions, deadline: deadline)
        try tellUndecided(preview)
        guard preview.tables.contains(where: { table in [.insert, .update, .delete].contains { table.rows($0) > 0 } }) else {
            return try options.show(Outcome(merge: nil, preview: preview.hash, tables: []), "\(preview.text)\nThere is nothing to merge.\n")
        }
        // Who agreed has seen it; then the outcome is all that a script reads.
        if !options.json || agree == nil { try options.show(preview, "\(terminalSafe(preview.text))\n\(terminalSafe(preview.samplesText))\n") }
        try await requireAgreement(preview)
        // Before it is done: where its end is not seen, this is the name by which it is asked for.
        if !options.quiet { Console.writeError("reprise: note: merging as \(id)\n") }
        let lockTimeout = Duration.seconds(lockTimeout)
        let outcome = try await Self.namingUnknown(id) {
            try await writing(into: live, side, deadline) {
                try await plan.merge(as: id, agreed: preview.hash, lockTimeout: lockTimeout, live, deadline: deadline)
            }
        }
        try options.show(Outcome(merge: id, preview: preview.hash, tables: outcome.tables.map(Outcome.Table.init)), Self.text(outcome) + "To take it back: reprise merge '\(printable(target ?? source))' --undo \(id)\n")
    }

    /// Where the connection is lost at the COMMIT only the database knows whether it happened: says by what to ask it.
    private static func namingUnknown<Value: Sendable>(_ id: String, _ body: () async throws -> Value) async throws -> Value {
        do {
            return try await TableRights.named(body)
        } catch let error as PostgresCommitUnknown {
            throw Refusal(
                "commit-unknown", error.message,
                hints: [
                    "it is merged if this finds a row: SELECT merged_at, undone_at FROM reprise_audit.merges WHERE id = '\(id)'",
                    "if not, nothing was merged: the same command again",
                ], exitStatus: .unreachable)
        }
    }

    /// Which rows wait, and which lines of the decisions decide none.
    private func tellUndecided(_ preview: MergePreview) throws {
        func note(_ text: String) { if !options.quiet { Console.writeError("reprise: note: \(text)\n") } }
        for line in preview.unusedDecisions { note("line \(line) of the decisions decides no row that waits for one") }
        // Who has agreed to their staying as they are has seen them.
        guard agree == nil, preview.tables.contains(where: { $0.undecidedRows > 0 }) else { return }
        guard let undecided else { return note("rows wait for a decision; --undecided FILE writes them down, and --decisions FILE decides them") }
        // Others have no business in it, and what somebody has filled in is not written over.
        let file = open(undecided, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw Refusal(
                "undecided-file", "\(printable(undecided)) cannot be written: \(String(cString: strerror(errno)).lowercased())",
                hints: ["name a file that is not there yet"])
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        try handle.write(contentsOf: Data((preview.undecidedLines + "\n").utf8))
        note("rows that wait for a decision stand in \(printable(undecided))")
    }

    /// - Throws: exit status 5 where nobody can be asked.
    private func requireAgreement(_ preview: MergePreview) async throws {
        if let agree {
            guard agree.count >= 12, preview.hash.hasPrefix(agree) else {
                throw Refusal(
                    "other-preview", "the differences are not those that were agreed to: preview \(preview.hash.prefix(12)) instead of \(printable(agree))",
                    hints: ["look at them again, without --agree"], exitStatus: .verificationMismatch)
            }
            return
        }
        guard Console.isInteractive, !options.json else {
            throw Refusal(
                "not-agreed", "nobody has agreed to preview \(preview.hash.prefix(12)); nothing was merged",
                hints: ["if it is right, the same command again with --agree \(preview.hash.prefix(12))"], exitStatus: .waitingForPerson)
        }
        let answer = try await Console.ask("Merge this? Type yes: ")
        guard answer == "yes" else { throw Refusal("not-agreed", "nothing was merged", exitStatus: .failed) }
    }

    private func triggers() throws -> [QualifiedName: [SQLIdentifier]] {
        try disableTrigger.reduce(into: [:]) { triggers, word in
            let parts = word.split(separator: ":", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw Refusal("bad-trigger", "\(printable(word)) is not TABLE:TRIGGER") }
            triggers[try TableName.read(parts[0]), default: []].append(try SQLIdentifier(parts[1]))
        }
    }

    /// Calls `body`, which writes through `live` in one transaction, and again after a race with others. From a second session it is seen who
    /// holds what the first one waits for.
    private func writing(
        into live: PostgresConnection, _ side: DataSide, _ deadline: Deadline, _ body: @escaping @Sendable () async throws -> MergeOutcome
    ) async throws -> MergeOutcome {
        let isSaid = !options.quiet
        return try await DataSides(options: options, application: "reprise/merge").with(side) { second in
            let observer = try Self.database(second)
            let isRace = { (error: any RepriseError, failed: Int) in
                guard LiveWrite.isRace(error) else { return false }
                if isSaid { Console.writeError("reprise: note: \(terminalSafe(error.message)); trying again (\(failed + 1) of \(mostTries))\n") }
                return true
            }
            return try await trying(until: deadline, againAfter: isRace) { try await LockWatch.naming(holdersFor: live, from: observer, body) }
        }
    }

    private func takeBack(_ id: String, _ live: PostgresConnection, _ side: DataSide) async throws {
        let triggers = try triggers(), lockTimeout = Duration.seconds(lockTimeout), deadline = deadline
        let outcome = try await writing(into: live, side, deadline) {
            try await AuditTrail.undo(id, disabling: triggers, lockTimeout: lockTimeout, live, deadline: deadline)
        }
        try options.show(
            Outcome(merge: id, preview: nil, tables: outcome.tables.map(Outcome.Table.init)),
            outcome.wasDoneAlready ? "It was taken back before.\n" : Self.text(outcome))
    }

    private struct Outcome: Encodable {
        struct Table: Encodable {
            let table: String
            let inserted, updated, deleted: Int
            let skipped: [String: Int]

            init(_ table: MergeOutcome.Table) {
                self.table = "\(table.name)"
                (inserted, updated, deleted, skipped) = (table.inserted, table.updated, table.deleted, table.skipped)
            }
        }
        /// nil: there was nothing to merge.
        let merge: String?
        let preview: String?
        let tables: [Table]
    }

    private static func text(_ outcome: MergeOutcome) -> String {
        outcome.tables.map { table in
            let skipped = table.skipped.sorted { $0.key < $1.key }.map { "  left alone: \(countText($0.value)), \($0.key)\n" }
            return "\(table.name): \(countText(table.inserted)) inserted, \(countText(table.updated)) updated, "
                + "\(countText(table.deleted)) deleted\n" + skipped.joined()
        }.joined()
    }
}
