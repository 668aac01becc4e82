internal import BlockingIO
internal import Foundation
internal import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// What several step kinds do with PostgreSQL's own programs on the database host.
extension StepContext {
    /// Runs a job that counts and hashes content, and reads its result.
    ///
    /// - Throws: `ContentHashFailure` where nothing is known about the content.
    func hashContent(
        _ hashing: ContentHashJob, host: String, part: String, runAs: String, _ phase: String
    ) async throws -> ContentSummary {
        var job = DurableJob(host: host, part: part, script: .argv(["perl", "-"]))
        job.stdin = Array(hashing.program.utf8)
        job.runAs = runAs
        job.directory = "/"
        job.outputLimit = 256 << 20
        job.onLine = { line in
            guard let progress = ContentHashProgress(line: line) else { return }
            services.report(StepProgress(phase, done: Int64(progress.rows), unit: .rows))
        }
        let outcome = try await run(job)
        guard outcome.succeeded else { throw ContentHashFailure(jobErrors: outcome.stderrText) }
        return try ContentSummary(jobOutput: outcome.stdout)
    }

    /// The table of contents of an archive on a host.
    func contents(ofArchive path: String, host: String, part: String, runAs: String) async throws -> ArchiveTOC {
        // A table of some thousand entries is well below the first limit; only where it is longer is more carried over.
        let beginning = try await beginning(ofArchive: path, host, part, runAs, limit: Self.usualContentsLimit)
        func table(_ beginning: (bytes: [UInt8], fileBytes: Int?)) throws(ArchiveUnreadable) -> ArchiveTOC {
            do { return try ArchiveTOC(bytes: beginning.bytes, fileBytes: beginning.fileBytes) } catch { throw error.named("\(path) on \(host)") }
        }
        do {
            return try table(beginning)
        } catch {
            guard error.code == "postgresql.archive-incomplete", beginning.bytes.count >= Self.usualContentsLimit else { throw error }
            return try table(await self.beginning(ofArchive: path, host, part + "-long", runAs, limit: Self.contentsLimit))
        }
    }

    /// The table stands at the beginning of every format; a plain dump, which has none, is read through for its outline.
    private func beginning(
        ofArchive path: String, _ host: String, _ part: String, _ runAs: String, limit: Int
    ) async throws -> (bytes: [UInt8], fileBytes: Int?) {
        let script = """
            set -u
            file=\(shellQuoted(path))
            [ -d "$file" ] && file="$file/toc.dat"
            limit=\(Self.contentsLimit)
            if [ "$(head -c 5 -- "$file" | od -An -tx1 | tr -d ' \\n')" = 5047444d50 ]; then limit=\(limit); fi
            stat -c %s -- "$file" >&2
            head -c "$limit" -- "$file"
            """
        var job = DurableJob(host: host, part: part, script: .shell(script))
        job.runAs = runAs
        job.directory = "/"
        job.outputLimit = Self.contentsLimit
        job.answersWithData = true
        let outcome = try await run(job)
        guard outcome.succeeded else {
            throw StepRefused("postgresql.archive-unreadable", "the archive \(path) on \(host) cannot be read: \(outcome.tail(lines: 3))")
        }
        return (outcome.stdout, Int(outcome.stderrText.split(separator: "\n").first ?? ""))
    }

    private static var usualContentsLimit: Int { 1 << 20 }
    private static var contentsLimit: Int { 32 << 20 }

    /// The table of contents that a database would have in an archive, made by its host's own pg_dump.
    ///
    /// - Parameter excluded: a schema that is left out.
    func contents(ofDatabase name: String, _ database: DatabaseRef, part: String, without excluded: String? = nil) async throws -> ArchiveTOC {
        let exclusion = excluded.map { ["--exclude-schema=\"\($0)\""] } ?? []
        var job = DurableJob(
            host: database.host, part: part,
            script: .argv(["pg_dump", "--schema-only", "--format=custom", "--no-password"] + exclusion + ["--dbname=\(connectionString(name))"]))
        job.runAs = database.superuser
        job.environment = database.clientEnvironment
        job.directory = "/"
        job.outputLimit = Self.contentsLimit
        job.answersWithData = true
        let outcome = try await run(job)
        guard outcome.succeeded else {
            throw StepFailed("postgresql.dump-failed", "pg_dump cannot read the structure of \(name): \(outcome.tail())", evidence: outcome.evidence)
        }
        return try ArchiveTOC(bytes: outcome.stdout, fileBytes: outcome.stdout.count)
    }

    /// Calls `body`, and again where a connection was lost under it or the answer to a COMMIT: for a transaction that leaves a mark in its
    /// database, by which the next call finds what became of the last one.
    ///
    /// - Parameter orAgainAfter: other errors after which nothing has happened and the next call may succeed.
    func untilMarked<Value: Sendable>(
        on host: String, orAgainAfter isPassing: (any RepriseError) -> Bool = { _ in false }, _ body: (Deadline) async throws -> Value
    ) async throws -> Value {
        let deadline = deadline ?? Deadline(after: .seconds(3600))
        var used: (any JobLedger)?
        let passes = { (error: any RepriseError, _: Int) in
            if isPassing(error) { return true }
            guard error.isTransient || error is PostgresCommitUnknown else { return false }
            if let used { await services.forgetConnection(host, used) }
            return true
        }
        return try await trying(until: deadline, againAfter: passes) {
            used = nil
            used = try await services.ledger(host)
            return try await body(deadline)
        }
    }

    /// Progress by what pg_restore says with `--verbose`: it names each object as it comes to it.
    func progress(ofRestoring entries: Int) -> @Sendable (String) -> Void {
        let total = Int64(entries)
        let counter = Counter()
        return { line in
            guard let range = line.range(of: "pg_restore: ") else { return }
            let what = line[range.upperBound...]
            guard ["creating ", "processing data ", "executing ", "finished item", "launching item"].contains(where: what.hasPrefix) else { return }
            services.report(StepProgress("restoring", done: min(counter.next(), total), total: total))
        }
    }

    /// A connection to the administrative database of that server.
    func administer(_ database: DatabaseRef) async throws -> PostgresConnection {
        try await services.connect(database, name: "postgres")
    }
}

/// A database name as a connection string, so that a name that looks like one is still a name.
func connectionString(_ name: String) -> String {
    "dbname='" + name.escaping("\\", as: "\\\\").escaping("'", as: "\\'") + "'"
}

extension DatabaseRef {
    /// How PostgreSQL's client programs on the host find the server; holds no secret.
    var clientEnvironment: [String: String] {
        ["PGHOST": socketDirectory, "PGPORT": "\(port)", "PGUSER": superuser]
    }
}
