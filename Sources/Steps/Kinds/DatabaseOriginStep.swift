internal import BlockingIO
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Says from which backup a database is, and which revision of the application belongs to it: what must go together must be asked of the
/// data that is there, and not of the store, where a newer backup may have come since.
///
/// In a run that brought the backup the step that fetched it knows. Over a database that was there already, the note on the database
/// itself says it, whoever restored it and from wherever.
package struct DatabaseOriginStep: StepKind {
    package static let schema = StepKindSchema(
        name: "database-origin", summary: "says from which backup a database is, and which revision of the application belongs to it",
        fields: [
            FieldSchema("database", .databaseRef, isRequired: true, help: "the database's name in the inventory"),
            FieldSchema("backup", .stepRef, isRequired: true, help: "the fetch-backup step, which may have been left out because the database is there"),
            FieldSchema("revision", .string, help: "the application's revision, where the database that is there does not say it, or has moved on since"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let database = try context.database()
        let given = context.optionalString("revision").flatMap { $0.isEmpty ? nil : $0 }
        let fetched = try context.outputs(ofStepIn: "backup")
        let origin: DatabaseOrigin, found: String
        if let brought = DatabaseOrigin(fetched) {
            (origin, found) = (brought, "fetched")
        } else {
            (origin, found) = (try await noted(on: database, context) ?? DatabaseOrigin(backup: ""), "noted")
        }
        // People who name a revision for a database that lives know what was deployed since.
        let revision = found == "fetched" ? origin.revision ?? given : given ?? origin.revision
        guard let revision else { throw unknown(origin, database) }
        var outputs: [String: JSONValue] = ["revision": .string(revision), "found": .string(found)]
        if !origin.backup.isEmpty { outputs["key"] = .string(origin.backup) }
        outputs["time"] = origin.time.map { .string($0) }
        outputs["summary"] = .string(summary(origin, database, revision))
        return StepOutcome(evidence: .object(outputs), outputs: outputs, changed: false)
    }

    private func noted(on database: DatabaseRef, _ context: StepContext) async throws -> DatabaseOrigin? {
        let connection = try await context.administer(database)
        let facts = try await Catalog(connection).database(named: database.database)
        await connection.close()
        guard let facts else {
            throw StepRefused(
                "database-origin.no-database", "\(database.host) has no database \(database.database), and no backup was fetched in this run",
                hints: ["the `unless` of the fetching step said that it is there: look at it, and at the database host"])
        }
        // Whoever owns the database can write there what they like.
        guard var origin = facts.origin else { return nil }
        if let revision = origin.revision, !BackupFacts.isRevision(revision) { origin.revision = nil }
        return origin
    }

    private func unknown(_ origin: DatabaseOrigin, _ database: DatabaseRef) -> StepRefused {
        let what = origin.backup.isEmpty ? "does not say from which backup it is" : "is from \(origin.backup), and nothing says which revision of the application belongs to that"
        return StepRefused(
            "database-origin.no-revision", "the database \(database.database) on \(database.host) \(what)",
            hints: ["give the revision that belongs to its data: --param revision=COMMIT"], exitStatus: .usage)
    }

    private func summary(_ origin: DatabaseOrigin, _ database: DatabaseRef, _ revision: String) -> String {
        let from = origin.backup.isEmpty ? "does not say from which backup it is" : "is from \(origin.backup)\(origin.time.map { " of \($0)" } ?? "")"
        let differs = origin.revision.map { $0 == revision ? "" : ", as the plan says; that backup's was \($0)" } ?? ""
        return "\(database.database) \(from). The application belongs at \(revision)\(differs)."
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "it only asks and can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let database = try? context.database() else { return [] }
        return [
            "# on \(database.host), as \(database.superuser): the backup that the database is from, and the revision that belongs to it",
            "psql -X -d \(shellQuoted(database.database)) -Atc 'SHOW reprise.backup' -c 'SHOW reprise.revision'",
        ]
    }
}

extension DatabaseOrigin {
    /// As a fetch-backup step left it; nil where it fetched nothing.
    init?(_ fetched: [String: JSONValue]) {
        guard let key = fetched["key"]?.stringValue else { return nil }
        self.init(backup: key, time: fetched["time"]?.stringValue, sha256: fetched["sha256"]?.stringValue, revision: fetched["revision"]?.stringValue)
    }
}
