internal import BlockingIO
internal import Foundation
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Restores a backup into a scratch database beside the damaged one. Production is not touched.
///
/// The scratch database carries a mark of its run: a number from the instant at which it is made, then a comment. One without a mark is never
/// dropped; one with it is dropped and begun again whenever a restore did not come to its end: that is how a doubt is resolved here.
package struct PostgresRestoreStep: StepKind {
    package static let schema = StepKindSchema(
        name: "postgres-restore", summary: "restores a backup into a scratch database, from nothing each time",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the production database's name in the inventory"),
            FieldSchema("backup", .stepRef, isRequired: true, help: "the fetch-backup step"),
            FieldSchema("scratch", .identifier, isRequired: true, help: "name of the database to restore into"),
            FieldSchema("jobs", .integer, default: .integer(2), range: 1...64, help: "parallel jobs of pg_restore"),
            FieldSchema("tolerate", .list(.string), help: "regular expressions; errors of pg_restore that match are warnings"),
            FieldSchema("settings", .map(.string), help: "server settings for the restoring sessions"),
            FieldSchema(
                "cluster", .stepRef,
                help: "the postgres-cluster step of a server that serves nobody yet: restored without waiting for the disk, which no crash survives unnoticed"),
            FieldSchema("roles", .stepRef, help: "the postgres-roles step, whose roles are made again where the cluster had to be begun again"),
        ], isDestructive: false)

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let scratch = try context.string("scratch")
        let backup = try context.outputs(ofStepIn: "backup")
        guard scratch != database.database, let path = backup["path"]?.stringValue else {
            throw StepRefused("postgres-restore.bad-target", "the scratch database must not be production itself", exitStatus: .usage)
        }
        let contents = try await context.contents(ofArchive: path, host: database.host, part: "contents", runAs: database.superuser)
        if context.isDrill, contents.format == .plain, contents.entries.count != contents.withoutReplication.entries.count {
            throw StepRefused(
                "postgres-restore.drill-replicates", "a plain SQL dump cannot be restored without its publications and subscriptions, as a drill has to",
                hints: ["drill with a backup in pg_dump's custom format"])
        }
        let cluster = try cluster(context)
        // Where the host knows the restoring job already, the scratch database is its business and is not made anew.
        if try await !context.jobExists(on: database.host, part: "restore") {
            if let cluster { try await bringBack(cluster, database, context) }
            try await prepare(database, scratch, contents, DatabaseOrigin(backup), context)
        }
        var job = try restoreJob(database, scratch, path, contents, context)
        if let cluster { job = try fast(job, cluster, database) }
        let outcome = try await context.run(job)
        let warnings = try judge(outcome, contents, context)
        try await endLeftovers(database, scratch, context)
        return StepOutcome(
            evidence: outcome.evidence,
            outputs: [
                "database": .string(scratch), "fast": .bool(outcome.stdoutText.contains("evidence: fast\n")), "seconds": .number(Double(outcome.result.durationMilliseconds) / 1000),
                "tolerated-errors": .integer(Int64(warnings.count)),
            ], warnings: warnings)
    }

    // MARK: A server that serves nobody yet

    /// What the cluster was made with, for a program on the host.
    private func cluster(_ context: StepContext) throws -> [String: String]? {
        guard context.with["cluster"] != nil else { return nil }
        guard let made = try context.outputs(ofStepIn: "cluster")["cluster"]?.objectValue else {
            throw StepRefused(
                "postgres-restore.no-cluster", "`cluster` names a step that left no cluster: it has to be a postgres-cluster step that was not left out",
                exitStatus: .usage)
        }
        return made.compactMapValues(\.stringValue)
    }

    /// A cluster that a host's going down in the middle of a fast restore has spoilt is made anew, with its roles; one that its job's end left
    /// down is started. Any other is left as it is.
    private func bringBack(_ cluster: [String: String], _ database: DatabaseRef, _ context: StepContext) async throws {
        var job = DurableJob(host: database.host, part: "cluster", script: .shell(ClusterProgram.make))
        job.environment = cluster
        let outcome = try await context.run(job)
        _ = try WantedStateReport(of: outcome, on: database.host, context, kind: Self.schema.name)
        guard context.with["roles"] != nil else { return }
        _ = try await WantedRoles(try context.outputs(ofStepIn: "roles")).make(on: database, context)
    }

    /// The same restore in a program of root's, which makes the server fast before it and safe after it, whatever became of it.
    private func fast(_ job: DurableJob, _ cluster: [String: String], _ database: DatabaseRef) throws -> DurableJob {
        guard case .shell(let program) = job.script else { return job }
        var job = job
        job.script = .shell(ClusterProgram.restore)
        job.runAs = nil
        // What was restored is flushed before the server starts as usual. Where that takes longer, the cluster is left down.
        job.grace = .seconds(300)
        job.environment.merge(cluster) { own, _ in own }
        job.environment.merge(["RESTORE_PROGRAM": program, "RESTORE_AS": database.superuser, "RESTORE_FAST": "1"]) { own, _ in own }
        return job
    }

    // MARK: Scratch database

    /// The comment by which a scratch database is known to be this run's.
    static func mark(_ context: StepContext) -> String { "reprise scratch database of run \(context.run)" }

    /// By this number one is known that has no comment yet: PostgreSQL gives a database its limit in the statement that makes it, and its
    /// comment only afterwards. Nobody's own has it by chance.
    static let unmarkedLimit = 1_919_250_535

    /// An empty database with the encoding and locale of production, and a note of the backup that it is for, after whatever an earlier
    /// attempt left is gone.
    private func prepare(_ database: DatabaseRef, _ scratch: String, _ contents: ArchiveTOC, _ origin: DatabaseOrigin?, _ context: StepContext) async throws {
        context.services.report(StepProgress("making the scratch database \(scratch)"))
        let connection = try await context.administer(database)
        try await context.requireDrillable(connection, database)
        let catalog = Catalog(connection)
        let deadline = Deadline(after: .seconds(120))
        try await removeOwn(scratch, catalog, deadline)
        Failpoint.hit("restore.before-create", context.place())
        try await catalog.createEmpty(scratch, like: database, or: contents, connectionLimit: Self.unmarkedLimit, deadline: deadline)
        Failpoint.hit("restore.before-mark", context.place())
        let name = try SQLIdentifier(scratch).sql
        try await connection.execute("COMMENT ON DATABASE \(name) IS \(try SQLLiteral(Self.mark(context)).sql)", deadline: deadline)
        try await connection.execute("ALTER DATABASE \(name) CONNECTION LIMIT -1", deadline: deadline)
        Failpoint.hit("restore.after-mark", context.place())
        // It goes along when the database gets its name.
        try await origin?.note(onDatabase: scratch, connection, deadline: deadline)
        await connection.close()
    }

    /// Drops a scratch database of this run or an earlier one; refuses what is anybody else's.
    private func removeOwn(_ scratch: String, _ catalog: Catalog, _ deadline: Deadline) async throws {
        guard let found = try await catalog.database(named: scratch) else { return }
        // Killed between CREATE and COMMENT: still empty.
        let isUnmarked = found.comment == nil && found.connectionLimit == Self.unmarkedLimit
        guard isUnmarked || found.comment?.hasPrefix("reprise scratch database of run ") == true else {
            throw StepRefused(
                "postgres-restore.scratch-taken", "a database named \"\(scratch)\" exists already and is not a scratch database of Reprise",
                hints: ["choose another name: --param scratch=…", "or, if nobody needs it, drop it by hand"])
        }
        // An orphan of a killed restore goes on, and may even commit, unless it is ended first.
        _ = try await catalog.terminateSessions(inDatabase: found.oid)
        try await catalog.connection.execute("DROP DATABASE \(try SQLIdentifier(scratch).sql) WITH (FORCE)", deadline: deadline)
    }

    private func endLeftovers(_ database: DatabaseRef, _ scratch: String, _ context: StepContext) async throws {
        let connection = try await context.administer(database)
        let catalog = Catalog(connection)
        if let found = try await catalog.database(named: scratch) { _ = try await catalog.terminateSessions(inDatabase: found.oid) }
        await connection.close()
    }

    // MARK: pg_restore

    private func restoreJob(
        _ database: DatabaseRef, _ scratch: String, _ path: String, _ contents: ArchiveTOC, _ context: StepContext
    ) throws -> DurableJob {
        let jobs = max(1, context.optionalInteger("jobs") ?? 2)
        let target = shellQuoted(connectionString(scratch)), file = shellQuoted(path)
        // The archive format that pg_restore cannot read in parallel is restored by one job.
        let parallel = contents.format == .custom || contents.format == .directory ? "--jobs=\(jobs)" : ""
        // A subscription that is restored, and dropped with its drill, drops the slot on the real publisher.
        let drill = context.isDrill ? "--no-publications --no-subscriptions" : ""
        let restore = contents.format == .plain
            ? "psql -X -q -w -v ON_ERROR_STOP=0 -f \(file) -d \(target)"
            : "pg_restore --verbose --no-password \(parallel) \(drill) --dbname=\(target) -- \(file)"
        // The script goes on after a failure so that every error is known.
        var job = DurableJob(
            host: database.host, part: "restore",
            script: .shell("set +e\nexport LC_ALL=C\n\(restore)\nstatus=$?\nvacuumdb --analyze-only --quiet --no-password --jobs=\(jobs) --dbname=\(target) || exit 90\nexit $status"))
        job.runAs = database.superuser
        job.directory = "/"
        job.environment = database.clientEnvironment
        job.environment["PGOPTIONS"] = try Self.options(context)
        job.environment["PGAPPNAME"] = "reprise/\(context.run)"
        job.outputLimit = 32 << 20
        job.onLine = context.progress(ofRestoring: contents.entries.count)
        return job
    }

    /// Settings that make a restore faster and that end with its sessions.
    private static func options(_ context: StepContext) throws -> String {
        var settings = ["maintenance_work_mem": "256MB", "synchronous_commit": "off", "client_connection_check_interval": "500", "statement_timeout": "0", "lock_timeout": "0"]
        for (name, value) in context.with["settings"]?.objectValue ?? [:] { settings[name] = value.plainText }
        return settings.sorted { $0.key < $1.key }.map { name, value in
            "-c \(name)=" + value.map { $0 == " " || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
        }.joined(separator: " ")
    }

    /// Warnings for errors that the plan tolerates; throws where any other is left.
    private func judge(_ outcome: DurableJobOutcome, _ contents: ArchiveTOC, _ context: StepContext) throws -> [String] {
        guard outcome.result.exitStatus != ClusterProgram.notSafeStatus else {
            throw StepFailed("postgres-restore.not-safe", outcome.tail(lines: 3), hints: ["mend the cause, then: reprise retry \(context.run) \(context.step)"], evidence: outcome.evidence)
        }
        let errors = RestoreErrors.read(outcome.stderrText)
        let patterns = try context.strings("tolerate").map { pattern in
            do { return try Regex(pattern) } catch {
                throw StepRefused("postgres-restore.bad-pattern", "`tolerate: \(pattern)` is no regular expression", exitStatus: .usage)
            }
        }
        let (known, unknown) = errors.reduce(into: ([String](), [String]())) { result, error in
            if patterns.contains(where: { error.contains($0) }) { result.0.append(error) } else { result.1.append(error) }
        }
        if contents.format == .plain, !outcome.stdoutText.isEmpty || unknown.isEmpty, outcome.result.exitStatus == 0 { return known }
        guard unknown.isEmpty, outcome.result.exitStatus == 0 || !known.isEmpty else {
            if ServerGone.isSaid(in: outcome.stderrText) {
                throw StepFailed(
                    "postgres-restore.server-lost", "the server went away while it was being restored into: \(outcome.tail(lines: 2))",
                    hints: ["see why it stopped: pg_lsclusters and its log on the database host"], evidence: outcome.evidence)
            }
            let shown = unknown.isEmpty ? outcome.tail() : unknown.prefix(3).joined(separator: "; ")
            throw StepRefused(
                "postgres-restore.failed", "restoring ended with \(unknown.count) errors: \(shown)",
                hints: RestoreErrors.remedies(unknown) + ["production is as it was; then: reprise retry \(context.run) \(context.step)"],
                evidence: .array(unknown.prefix(50).map { .string($0) }))
        }
        return known.map { "tolerated while restoring: \($0)" }
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "the scratch database is dropped and restored from nothing")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database(), let scratch = context.optionalString("scratch") else { return [] }
        let path = (try? context.outputs(ofStepIn: "backup"))?["path"]?.stringValue ?? "NAME.dump"
        return [
            "# on \(database.host), as \(database.superuser):", "createdb -T template0 \(shellQuoted(scratch))",
            "pg_restore --jobs=2 --dbname=\(shellQuoted(scratch)) \(shellQuoted(path))", "vacuumdb --analyze-only \(shellQuoted(scratch))",
        ]
    }
}

/// What pg_restore and psql say went wrong.
enum RestoreErrors {
    /// Each error as one line, with the server's own words.
    static func read(_ stderr: String) -> [String] {
        stderr.split(separator: "\n").compactMap { line in
            if let range = line.range(of: "pg_restore: error: ") { return String(line[range.upperBound...]) }
            // psql says where in a file it was; of a statement in its arguments it says nothing.
            if ["psql:", "ERROR:  ", "FATAL:  "].contains(where: line.hasPrefix), let range = line.range(of: "ERROR:  ") ?? line.range(of: "FATAL:  ") { return String(line[range.upperBound...]) }
            return nil
        }
    }

    /// What is usually behind an error, once for each kind.
    static func remedies(_ errors: [String]) -> [String] {
        let known: [(String, String)] = [
            ("role \"", "create the missing roles first: pg_dumpall --globals-only from the old server has them"),
            ("extension \"", "install the extension's package on the database host"),
            ("could not open extension control file", "install the extension's package on the database host"),
            ("No space left", "make room on the database's disk"),
            ("could not read from input file", "the archive is cut off: choose an older backup with --param backup=before:TIME"),
            ("unsupported version", "the archive is newer than this host's pg_restore: install a newer postgresql-client"),
            ("does not exist", "where a function depends on search_path, name the error under `tolerate:` and create the object by hand"),
        ]
        return known.filter { pattern, _ in errors.contains { $0.contains(pattern) } }.map(\.1)
    }
}
