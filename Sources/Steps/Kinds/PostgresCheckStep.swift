internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Decides whether a restored copy may be put beside a damaged database, by what the server and the kernel show of the storage.
///
/// It only reads. One bad database on sound storage is restored beside itself; on a dying disk every write makes it worse, and the way
/// is another disk or host.
package struct PostgresCheckStep: StepKind {
    package static let schema = StepKindSchema(
        name: "postgres-check", summary: "refuses to go on where the storage under a database server itself is failing or full",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the production database's name in the inventory"),
            FieldSchema("known-damage", .list(.identifier), help: "other databases whose checksum failures are known, such as one kept as evidence"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        context.services.report(StepProgress("asking the server about its storage"))
        let connection = try await context.administer(database)
        try await context.requireDrillable(connection, database)
        var findings = try await server(Catalog(connection), database, context)
        await connection.close()
        if let folder = findings.dataFolder { try await host(folder, database, context, &findings) }
        guard findings.reasons.isEmpty else { throw refusal(findings, database, context) }
        return StepOutcome(
            evidence: findings.evidence, outputs: ["summary": .string(summary(findings, database))], warnings: findings.warnings)
    }

    private struct Findings {
        var dataFolder: String?
        var copyBytes: Int64?
        var reasons: [String] = []
        var warnings: [String] = []
        var notes: [String] = []
        /// Databases with failed pages that look like ones which earlier recoveries kept.
        var kept: [String] = []
        var members: [String: JSONValue] = [:]

        var evidence: JSONValue {
            .object(members.merging(["reasons": strings(reasons), "notes": strings(notes)]) { first, _ in first })
        }

        private func strings(_ texts: [String]) -> JSONValue { .array(texts.map { .string($0) }) }
    }

    // MARK: What the server shows

    private func server(_ catalog: Catalog, _ database: DatabaseRef, _ context: StepContext) async throws -> Findings {
        var result = Findings()
        let server = try await catalog.server()
        let facts = try await catalog.database(named: database.database)
        result.dataFolder = server.dataFolder
        result.copyBytes = facts?.bytes
        result.members["system-identifier"] = server.systemIdentifier.map { .string($0) } ?? .null
        result.members["data-checksums"] = .bool(server.hasDataChecksums)
        if server.isInRecovery { result.reasons.append("the server is a standby and takes no writes") }
        if server.dataFolder == nil { result.notes.append("the server does not tell where its data lies, so its disk was not looked at") }
        if !server.hasDataChecksums { result.notes.append("data checksums are off: damage by the disk does not show in the statistics") }
        result.reasons += try await catalog.unreadableSharedCatalogs().map { "a catalog that all databases share cannot be read: \($0)" }
        let known = Set(context.strings("known-damage") + [database.database])
        for failures in try await catalog.checksumFailures() {
            // One damaged database is what this recovery is for; more than one is the disk's doing.
            if let name = failures.database, known.contains(name) { continue }
            result.reasons.append("\(failures.failures) pages of \(failures.database ?? "what all databases share") failed their checksum, the last \(failures.last ?? "at an unknown time")")
            if let name = failures.database, try await looksKept(name, catalog, beside: database, facts, context) { result.kept.append(name) }
        }
        try await neighbours(catalog, database, facts, context, &result)
        return result
    }

    /// A database that a recovery set aside was production once: it has production's owner, and nobody's inventory names it.
    private func looksKept(
        _ name: String, _ catalog: Catalog, beside database: DatabaseRef, _ production: DatabaseFacts?, _ context: StepContext
    ) async throws -> Bool {
        guard !context.inventory.databases.contains(where: { $0.host == database.host && $0.database == name }) else { return false }
        guard let production, let other = try await catalog.database(named: name) else { return false }
        return other.owner == production.owner
    }

    /// What hangs on the database: named now, so that it is not met for the first time at the swap.
    private func neighbours(
        _ catalog: Catalog, _ database: DatabaseRef, _ facts: DatabaseFacts?, _ context: StepContext, _ result: inout Findings
    ) async throws {
        let prepared = try await catalog.preparedTransactions(inDatabase: database.database).map { "prepared transaction \"\($0)\"" }
        let slots = try await catalog.logicalSlots(inDatabase: database.database).map { "logical replication slot \"\($0)\"" }
        if !context.isDrill, !(prepared + slots).isEmpty {
            result.warnings.append("these will stop a swap of names: \((prepared + slots).joined(separator: ", "))")
        }
        if let facts, let subscriptions = try await catalog.subscriptions(inDatabase: facts.oid), !subscriptions.isEmpty {
            result.notes.append("subscriptions of the database: \(subscriptions.joined(separator: ", "))")
        }
        for standby in try await catalog.standbys() {
            result.notes.append("standby \(standby.applicationName) is \(standby.replayLagBytes.map { "\($0) bytes" } ?? "an unknown way") behind")
        }
    }

    // MARK: What its host shows

    private func host(_ folder: String, _ database: DatabaseRef, _ context: StepContext, _ result: inout Findings) async throws {
        context.services.report(StepProgress("looking at the disk under \(folder)"))
        var job = DurableJob(host: database.host, part: "storage", script: .shell(StorageEvidence.script(folder: folder)))
        job.directory = "/"
        let outcome = try await context.run(job)
        let storage = StorageEvidence(outcome.stdoutText)
        result.reasons += storage.reasonsAgainst(copyBytes: result.copyBytes)
        let remarks = storage.remarks(copyBytes: result.copyBytes)
        result.warnings += remarks.warnings
        result.notes += remarks.notes
        result.members["free-bytes"] = storage.freeBytes.map { .integer($0) } ?? .null
        result.members["devices"] = .array(storage.devices.map { .string($0) })
        result.members["kernel-log-read"] = .bool(storage.kernelErrors != nil)
    }

    // MARK: What is said

    private func refusal(_ findings: Findings, _ database: DatabaseRef, _ context: StepContext) -> StepRefused {
        StepRefused(
            "postgres-check.storage",
            "nothing should be restored beside database \(database.name) on \(database.host): \(findings.reasons.joined(separator: "; "))",
            hints: [
                "leave the data directory as it is; recover to a server on another disk or host, named in an inventory of its own",
                Self.knownDamageHint(findings.kept, known: context.strings("known-damage"), step: context.step.rawValue),
                "where it is harmless: reprise skip \(context.run) \(context.step) --reason …",
            ], evidence: findings.evidence)
    }

    /// - Parameter known: what the step has under `known-damage` already.
    static func knownDamageHint(_ kept: [String], known: [String], step: String) -> String {
        guard !kept.isEmpty else { return "checksum failures of a database that is kept as evidence are named under `known-damage`" }
        func yaml(_ name: String) -> String {
            // What YAML could take for something else than a text stands in quotes.
            let words = ["yes", "no", "on", "off", "y", "n", "true", "false", "null"]
            let isPlain = name.wholeMatch(of: #/[a-z][a-z0-9_]*/#) != nil && !words.contains(name)
            return isPlain ? name : "\"" + name.escaping("\\", as: "\\\\").escaping("\"", as: "\\\"") + "\""
        }
        return "where \(kept.joined(separator: ", ")) is what an earlier recovery kept, give step \(step) in the plan's file, under `with`, "
            + "`known-damage: [\((known + kept).map(yaml).joined(separator: ", "))]`, and start anew"
    }

    private func summary(_ findings: Findings, _ database: DatabaseRef) -> String {
        (["Nothing speaks against restoring on \(database.host)"] + findings.notes).joined(separator: "; ") + "."
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "looking can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database() else { return [] }
        return [
            "# on \(database.host): is it the disk?", "dmesg | grep -Ei 'I/O error|medium error|read-only'", "df -h /var/lib/postgresql",
            "psql -X -U \(database.superuser) -d postgres -c 'SELECT datname, checksum_failures FROM pg_stat_database WHERE checksum_failures > 0'",
        ]
    }
}
