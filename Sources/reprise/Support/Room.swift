internal import BlockingIO
internal import Engine
internal import ObjectStorage
internal import PlanModel
internal import Reporting
internal import RunCore
internal import SSH
internal import Steps

/// Whether what a plan brings to a host will find room there.
extension Readiness {
    /// What will lie under `folder` because of one backup, for each byte that the backup has in its store.
    private struct Load {
        let step: String
        let folder: String
        let backup: PlannedBackup
        let kept: Int64
        let peak: Int64
        let usual: Int64

        func bytes(_ size: Int64) -> DiskLoad { DiskLoad(step: step, folder: folder, kept: size * kept, peak: size * peak, usual: size * usual) }
    }

    private func loads(on host: String) -> [Load] {
        preview.steps.filter { $0.places(frozen.inventory).contains(host) }.compactMap { step in
            switch step.kind {
            // As it is stored, and unwrapped beside that, which takes half of the rest.
            case FetchBackupStep.schema.name: load(step, of: step.id, folder: FetchBackupStep.folder(to: step.with["to"]?.stringValue), kept: 1, peak: 2, usual: 3)
            // The database with its indexes, and what is written while it is restored.
            case PostgresRestoreStep.schema.name where clusterStep(on: host) != nil:
                load(step, of: step.with["backup"]?.stringValue, folder: "/var/lib/postgresql", kept: 3, peak: 3, usual: 6)
            // What is in the archive; pictures do not compress.
            case ArchiveStep.schema.name:
                load(step, of: step.with["from"]?.stringValue, folder: step.with["into"]?.stringValue ?? "/var", kept: 1, peak: 1, usual: 2)
            default: nil
            }
        }
    }

    private func load(_ step: StepPreview, of fetch: String?, folder: String, kept: Int64, peak: Int64, usual: Int64) -> Load? {
        guard let backup = PlannedBackup.all(preview, frozen.inventory).first(where: { $0.step == fetch }) else { return nil }
        return Load(step: step.id, folder: folder, backup: backup, kept: kept, peak: peak, usual: usual)
    }

    func checkRoom(_ host: String, _ connection: HostConnection) async -> [Finding] {
        guard let remote = connection.remote else { return [] }
        var known: [DiskLoad] = []
        for load in loads(on: host) {
            // A backup that is not there is its store's own finding.
            if let size = try? await backups.select(load.backup).backup.version.sizeBytes { known.append(load.bytes(size)) }
        }
        guard !known.isEmpty else { return [] }
        let question = "sh -c \(shellQuoted(DiskRoom.question(known)))"
        guard let result = try? await remote.run(question, stdin: [], outputLimit: 1 << 16, deadline: Deadline(after: .seconds(30))) else { return [] }
        return DiskRoom.disks(of: known, answer: result.stdoutText).map { Self.finding($0, host) }
    }

    private static func finding(_ disk: DiskRoom, _ host: String) -> Finding {
        let subject = "\(host): room for \(disk.steps.count == 1 ? "step" : "steps") \(disk.steps.joined(separator: ", "))"
        let need = "what comes there needs \(bytesText(disk.least)) at the very least, and \(bytesText(disk.usual)) as a rule"
        let text = "\(bytesText(disk.free)) free at \(disk.folders.joined(separator: ", ")); \(need)"
        guard disk.free >= disk.least else {
            return Finding(.missing, subject, text, hints: ["give \(host) a larger disk before anything is started"])
        }
        return Finding(disk.free < disk.usual ? .warning : .ok, subject, text)
    }
}
