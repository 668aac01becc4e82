internal import Foundation
internal import ObjectStorage
package import PlanModel
internal import RunCore

/// Chooses a backup and says what belongs to it, without fetching anything: steps before and after the fetch can build on it, also
/// in a run that finds the database restored already.
package struct ChooseBackupStep: StepKind {
    package static let schema = StepKindSchema(
        name: "choose-backup", summary: "chooses a backup and reads which revision of the application belongs to it",
        fields: [
            FieldSchema("store", .storeRef, isRequired: true, help: "a store of the inventory"),
            FieldSchema("kind", .choice(["database", "files"]), default: .string("database")),
            FieldSchema("choose", .string, default: .string("latest"), help: "latest, name:KEY, or before:TIME"),
            FieldSchema("revision", .string, help: "the application's revision where no file beside the backup names it"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let name = try context.string("store")
        let store = try await context.services.store(name)
        guard let reference = context.inventory.store(name) else {
            throw StepRefused("steps.unknown-store", "the inventory has no store \(name)")
        }
        let choice = try BackupChoice(try context.string("choose"))
        let isDatabase = context.optionalString("kind") != "files"
        let found = try await context.decided("choice") {
            let selection = try await choice.select(isDatabase: isDatabase, in: store, reference)
            let facts = try await BackupFacts(beside: selection.key, in: store)
            var outputs: [String: JSONValue] = ["key": .string(selection.key), "time": .string(selection.time.ISO8601Format()), "bytes": .integer(selection.version.sizeBytes)]
            outputs["server-version"] = facts?.serverVersion.map { .string($0) }
            let given = context.optionalString("revision").flatMap { $0.isEmpty ? nil : $0 }
            outputs["revision"] = (facts?.revision ?? given).map { .string($0) }
            outputs["revision-from"] = facts?.revision != nil ? "backup" : given != nil ? "plan" : nil
            return .object(outputs)
        }
        var outputs = found.objectValue ?? [:]
        let key = outputs["key"]?.stringValue ?? "", revision = outputs["revision"]?.stringValue
        guard !isDatabase || revision != nil || context.with["revision"] == nil else {
            throw StepRefused(
                "choose-backup.no-revision", "no file \(key).json says which revision of the application belongs to \(key), and none was given",
                hints: ["give the revision that production ran: --param revision=COMMIT", "from now on, let the backup write \(key).json: {\"application-revision\": \"COMMIT\"}"],
                exitStatus: .usage)
        }
        outputs["summary"] = .string("Backup \(key) of \(outputs["time"]?.stringValue ?? "an unknown time")" + (revision.map { ", with the application at \($0)." } ?? "."))
        return StepOutcome(evidence: found, outputs: outputs, changed: false)
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "asking the store changes nothing")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# choose a backup, and see which revision of the application belongs to it", "aws s3 ls s3://BUCKET/database/ | sort | tail -n 5", "aws s3 cp s3://BUCKET/database/NAME.dump.gz.json -"]
    }
}
