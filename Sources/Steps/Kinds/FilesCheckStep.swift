internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Holds the files that a database names against those that are on the hosts: after a recovery one side is older than the other.
///
/// It only reads. Rows without their file are broken links and pictures; files without a row are what was uploaded since the backup, or
/// what nobody removed.
package struct FilesCheckStep: StepKind {
    package static let schema = StepKindSchema(
        name: "files-check", summary: "finds rows whose file is not there, and files that belong to no row",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("name", .identifier, help: "the database on that server, if it is another one"),
            FieldSchema("sql", .string, isRequired: true, help: "a query with one column: paths relative to `directory`; NULL is no path"),
            FieldSchema("directory", .path, isRequired: true, help: "the folder on each host of the step that holds the files"),
            FieldSchema("as", .account, help: "the operating-system user who lists them; without it the one who logs in (root where the host says become)"),
            FieldSchema("ignore", .list(.string), help: "patterns of files that need no row: `*.tmp` by the name, `cache/*` by the path"),
            FieldSchema("rows-without-file", .choice(["warn", "fail", "ignore"]), default: .string("warn"), help: "what a row is worth whose file is not there"),
            FieldSchema("files-without-row", .choice(["warn", "fail", "ignore"]), default: .string("warn"), help: "what a file is worth that no row names"),
        ], needsHost: true)

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let name = context.optionalString("name") ?? database.database
        let rows = try await paths(in: name, database, context)
        let compared = try await context.onEachHost { host, part in
            let files = try await listing(on: host, part, context)
            return FileComparison(rows: rows, files: files, ignoring: context.strings("ignore"))
        }
        let found = compared.flatMap { host, comparison in
            Finding.all(comparison, place: "\(host):\(context.optionalString("directory") ?? "")", database: name)
        }
        let evidence = Self.evidence(compared)
        let failing = found.filter { context.optionalString($0.field) == "fail" }
        guard failing.isEmpty else {
            throw StepRefused(
                "files-check.failed", failing.map(\.text).joined(separator: "; "),
                hints: [
                    "restore the missing files from their own backup, then: reprise retry \(context.run) \(context.step)",
                    "the first hundred names stand in: reprise journal show \(context.run)",
                ],
                exitStatus: .verificationMismatch, evidence: evidence)
        }
        return StepOutcome(
            evidence: evidence, outputs: ["summary": .string(Self.summary(compared, found))],
            warnings: found.filter { context.optionalString($0.field) != "ignore" }.map(\.text))
    }

    // MARK: Both sides

    private func paths(in name: String, _ database: DatabaseRef, _ context: StepContext) async throws -> [[UInt8]] {
        context.services.report(StepProgress("asking \(name) which files it names"))
        let connection = try await context.services.connect(database, name: name)
        let sql = try context.string("sql")
        let result = try await context.readOnly(sql, connection)
        await connection.close()
        guard result.columns.count == 1 else {
            throw StepRefused(
                "files-check.not-one-column", "`sql` must return one column, the paths; this returned \(result.columns.count): \(sql)", exitStatus: .usage)
        }
        return result.rows.compactMap { row in row.values[0].map { Array($0.utf8) } }
    }

    private func listing(on host: String, _ part: String?, _ context: StepContext) async throws -> [[UInt8]] {
        let directory = try context.string("directory")
        context.services.report(StepProgress("listing \(host):\(directory)"))
        var job = DurableJob(host: host, part: part, script: .argv(["find", "-L", ".", "-type", "f", "-print0"]))
        job.directory = directory
        job.runAs = context.optionalString("as")
        job.outputLimit = 256 << 20
        let outcome = try await context.run(job)
        guard outcome.succeeded else {
            throw StepFailed(
                "files-check.unlisted", "the files under \(directory) on \(host) cannot all be listed: \(outcome.ending)",
                hints: ["name a user who may read them under `as`", "then: reprise retry \(context.run) \(context.step)"], evidence: outcome.evidence)
        }
        guard outcome.result.stdoutBytes == outcome.stdout.count else {
            throw StepRefused(
                "files-check.too-many",
                "the names of the files under \(directory) on \(host) take \(outcome.result.stdoutBytes) bytes, more than the "
                    + "\(job.outputLimit) that are compared",
                hints: ["divide them among several steps, each with a folder of its own"])
        }
        return FileComparison.paths(inListing: outcome.stdout)
    }

    // MARK: What is said

    private struct Finding {
        /// The field that says what it is worth.
        let field: String
        let text: String

        static func all(_ comparison: FileComparison, place: String, database: String) -> [Finding] {
            let missing = comparison.rowsWithoutFile, unknown = comparison.filesWithoutRow
            var found: [Finding] = []
            if !missing.isEmpty {
                let text = "\(countText(missing.count)) of \(counted(comparison.rows, "file")) that \(database) names \(missing.count == 1 ? "is" : "are") not in \(place)"
                found.append(Finding(field: "rows-without-file", text: "\(text): \(FilesCheckStep.sample(missing))"))
            }
            if !unknown.isEmpty {
                let text = "\(countText(unknown.count)) of \(counted(comparison.files, "file")) in \(place) \(unknown.count == 1 ? "has" : "have") no row in \(database)"
                found.append(Finding(field: "files-without-row", text: "\(text): \(FilesCheckStep.sample(unknown))"))
            }
            return found
        }
    }

    private static func sample(_ paths: [[UInt8]]) -> String {
        paths.prefix(3).map { String(decoding: $0, as: UTF8.self) }.joined(separator: ", ") + (paths.count > 3 ? ", …" : "")
    }

    private static func summary(_ compared: [(host: String, value: FileComparison)], _ found: [Finding]) -> String {
        guard found.isEmpty else { return found.map { "\($0.text)." }.joined(separator: " ") }
        return "Each of \(compared.map { "\(counted($0.value.files, "file")) on \($0.host)" }.joined(separator: ", ")) has its row, and each row its file."
    }

    /// With the first hundred of each kind by name.
    private static func evidence(_ compared: [(host: String, value: FileComparison)]) -> JSONValue {
        func names(_ paths: [[UInt8]]) -> JSONValue {
            ["count": .integer(Int64(paths.count)), "first": .array(paths.prefix(100).map { .string(String(decoding: $0, as: UTF8.self)) })]
        }
        return .object(
            Dictionary(uniqueKeysWithValues: compared.map { host, comparison in
                (host, ["rows": .integer(Int64(comparison.rows)), "files": .integer(Int64(comparison.files)),
                    "rows-without-file": names(comparison.rowsWithoutFile), "files-without-row": names(comparison.filesWithoutRow)])
            }))
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "looking can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let database = try? context.database()
        return ["# in psql \(context.optionalString("name") ?? database?.database ?? "") on \(database?.host ?? "the database host"): which files are named?", "\(context.optionalString("sql") ?? "");"]
            + context.hosts.flatMap { ["# on \($0): which are there?", "find -L '\(context.optionalString("directory") ?? "")' -type f"] }
    }
}
