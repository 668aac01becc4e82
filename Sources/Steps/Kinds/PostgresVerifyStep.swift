internal import BlockingIO
internal import Foundation
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Proves that a database is what the backup holds: structure, exact row counts and content, references, sequences, indexes.
///
/// It changes nothing. What it expects comes from the archive alone, never from the damaged database.
package struct PostgresVerifyStep: StepKind {
    package static let schema = StepKindSchema(
        name: "postgres-verify", summary: "compares a database with the backup: structure, every row count, every row's content",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the production database's name in the inventory"),
            FieldSchema("name", .identifier, help: "the database to look at, if it is not production itself"),
            FieldSchema("backup", .stepRef, isRequired: true, help: "the fetch-backup step"),
            FieldSchema("settled", .stepRef, help: "the postgres-settle step: what it changed on purpose is expected, and nothing else"),
            FieldSchema("structure", .boolean, default: .boolean(true), help: "keys, constraints, indexes, triggers, owners, grants, …"),
            FieldSchema("content", .boolean, default: .boolean(true), help: "exact counts and content hashes of every table"),
            FieldSchema("orphans", .boolean, default: .boolean(true), help: "rows whose foreign keys lead nowhere"),
            FieldSchema("sequences", .boolean, default: .boolean(true), help: "no sequence hands out a key that exists"),
            FieldSchema("amcheck", .choice(["auto", "require", "off"]), default: .string("auto"), help: "B-tree indexes, where amcheck is installed"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let name = context.optionalString("name") ?? database.database
        let backup = try context.outputs(ofStepIn: "backup")
        // Side by side: much of each is waiting for the other end. All are waited for, so that none is left running.
        async let structureResult = result { try await structure(name, database, backup, context) }
        async let contentResult = result { try await content(name, database, backup, context) }
        async let integrityResult = result { try await integrity(name, database, context) }
        let (compared, contents, looked) = await (structureResult, contentResult, integrityResult)
        var evidence: [String: JSONValue] = ["database": .string(name)]
        var findings: [String] = []
        if let diff = try compared.get() {
            findings += diff.findings.map(\.text)
            evidence["objects-compared"] = .integer(Int64(diff.comparedObjects))
            evidence["definitions-compared"] = .bool(diff.comparesDefinitions)
        }
        var summary = "Verified \(name) against the archive."
        if let comparison = try contents.get() {
            findings += comparison.findings
            // The whole comparison: the report shows it table by table.
            evidence["content"] = try decodeJSON(JSONValue.self, encodeJSON(comparison))
            evidence["sequences-compared"] = .integer(Int64(comparison.sequences.count))
            let rows = comparison.tables.reduce(0) { $0 + ($1.actualRows ?? 0) }
            summary += " \(counted(comparison.tables.count, "table")) with \(counted(rows, "row")), equal in count and content."
        }
        let more = try looked.get()
        findings += more.findings
        let warnings = more.warnings
        evidence.merge(more.evidence) { first, _ in first }
        guard findings.isEmpty else { throw mismatch(name, findings, evidence) }
        if let settlement = try context.settlement(ofStepIn: "settled") { summary += " Changed on purpose, and nothing else: \(settlement.text)." }
        return StepOutcome(evidence: .object(evidence), outputs: ["summary": .string(summary)], warnings: warnings)
    }

    private func mismatch(_ name: String, _ findings: [String], _ evidence: [String: JSONValue]) -> StepRefused {
        var evidence = evidence
        evidence["findings"] = .array(findings.prefix(200).map { .string($0) })
        return StepRefused(
            "postgres-verify.mismatch",
            "database \(name) is not what the backup holds; \(findings.count) findings: \(findings.prefix(5).joined(separator: "; "))",
            hints: ["do not swap; see all findings with: reprise status --json", "restore again, or choose another backup"],
            exitStatus: .verificationMismatch, evidence: .object(evidence))
    }

    private func structure(
        _ name: String, _ database: DatabaseRef, _ backup: [String: JSONValue], _ context: StepContext
    ) async throws -> StructureDiff? {
        guard context.boolean("structure", default: true) else { return nil }
        context.services.report(StepProgress("comparing structure"))
        guard let path = backup["path"]?.stringValue else {
            throw StepRefused("postgres-verify.no-archive", "the backup step left no archive to compare with")
        }
        async let expected = context.contents(ofArchive: path, host: database.host, part: "expected-structure", runAs: database.superuser)
        async let actual = context.contents(
            ofDatabase: name, database, part: "actual-structure", without: context.settlement(ofStepIn: "settled")?.schema.name)
        // A drill restores without publications and subscriptions.
        let (archive, present) = try await (expected, actual)
        return StructureDiff(archive: context.isDrill ? archive.withoutReplication : archive, database: present)
    }

    private func content(
        _ name: String, _ database: DatabaseRef, _ backup: [String: JSONValue], _ context: StepContext
    ) async throws -> ContentComparison? {
        guard context.boolean("content", default: true) else { return nil }
        guard let path = backup["path"]?.stringValue, let value = backup["content"],
            let expected = try? decodeJSON(ContentSummary.self, encodeJSON(value))
        else {
            throw StepRefused(
                "postgres-verify.no-counts", "the backup was fetched without being decoded: what it holds is not known",
                hints: ["set `verify-archive: true` on the fetch-backup step"], exitStatus: .usage)
        }
        let verification = ContentVerification(context: context, database: database, name: name, archive: path, settlement: try context.settlement(ofStepIn: "settled"))
        return try await verification.compare(with: expected)
    }

    // MARK: Inside the database

    private struct Integrity {
        var findings: [String] = []
        var warnings: [String] = []
        var evidence: [String: JSONValue] = [:]
    }

    private func integrity(_ name: String, _ database: DatabaseRef, _ context: StepContext) async throws -> Integrity {
        let connection = try await context.services.connect(database, name: name)
        let catalog = Catalog(connection, timeout: context.deadline?.remaining ?? .seconds(3600))
        var result = Integrity()
        if let settlement = try context.settlement(ofStepIn: "settled") { result.findings += try await settlement.findings(catalog) }
        if context.boolean("orphans", default: true) {
            context.services.report(StepProgress("looking for orphans"))
            result.evidence["foreign-keys-checked"] = .integer(Int64(try await catalog.foreignKeys().count))
            result.findings += try await catalog.orphans().map { "\(counted($0.rows, "row")) of \($0.key.table) break\($0.rows == 1 ? "s" : "") \($0.key.name)" }
        }
        if context.boolean("sequences", default: true) {
            result.findings += try await catalog.sequencesBehindTheirKeys().map {
                "sequence \($0.sequence) would hand out \($0.nextValue), and \($0.column) is at \($0.key) already"
            }
        }
        try await indexes(catalog, context, &result)
        let server = try await catalog.server()
        if !server.fsync || !server.fullPageWrites {
            result.findings.append("the server runs with fsync or full_page_writes off: a crash would destroy what was restored")
        }
        result.warnings += try await catalog.collationMismatches().map { "collation \($0.collation) has another version than its indexes were built with" }
        await connection.close()
        return result
    }

    private func indexes(_ catalog: Catalog, _ context: StepContext, _ result: inout Integrity) async throws {
        let wish = context.optionalString("amcheck") ?? "auto"
        guard wish != "off" else { return }
        context.services.report(StepProgress("checking indexes"))
        if let problems = try await catalog.indexProblems() {
            result.evidence["indexes-checked"] = true
            result.findings += problems.map { "index \($0.index): \($0.problem)" }
        } else if wish == "require" {
            result.findings.append("amcheck is not installed in the database, and the plan requires it")
        }
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "a verification only reads and can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database() else { return [] }
        let name = context.optionalString("name") ?? database.database
        let path = (try? context.outputs(ofStepIn: "backup"))?["path"]?.stringValue ?? "NAME.dump"
        let counts = (try? context.outputs(ofStepIn: "backup"))?["content"].flatMap { try? decodeJSON(ContentSummary.self, encodeJSON($0)) }
        return [
            "# on \(database.host), as \(database.superuser): compare structure, then every count",
            "diff <(pg_restore -s -f - \(shellQuoted(path))) <(pg_dump -s \(shellQuoted(name)))",
        ] + (counts?.tables ?? []).prefix(50).map { "psql -X -d \(shellQuoted(name)) -Atc \(shellQuoted("SELECT count(*) FROM \($0.name.sql)"))   # expected: \($0.rows)" }
    }
}
