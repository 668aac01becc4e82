internal import BlockingIO
internal import Engine
internal import ObjectStorage
internal import PlanModel
internal import Reporting
internal import RunCore
internal import SSH
internal import Steps

/// Whether what a plan brings to a host that has nothing yet will find room there.
extension Readiness {
    /// What will lie under `folder` because of one backup.
    private struct Load {
        let step: String
        let folder: String
        let backup: PlannedBackup
        /// Bytes on the disk for each byte of the backup: less cannot do, and what usually does.
        let least: Int64
        let usual: Int64
    }

    private func loads(on host: String) -> [Load] {
        preview.steps.filter { $0.places(frozen.inventory).contains(host) }.compactMap { step in
            switch step.kind {
            // The compressed dump, the database with its indexes, and what is written while it is restored.
            case PostgresRestoreStep.schema.name where clusterStep(on: host) != nil:
                load(step, from: "backup", folder: "/var/lib/postgresql", least: 4, usual: 8)
            // The archive and what is in it; pictures do not compress.
            case ArchiveStep.schema.name: load(step, from: "from", folder: step.with["into"]?.stringValue ?? "/var", least: 2, usual: 3)
            default: nil
            }
        }
    }

    private func load(_ step: StepPreview, from field: String, folder: String, least: Int64, usual: Int64) -> Load? {
        guard let fetch = step.with[field]?.stringValue, let backup = PlannedBackup.all(preview, frozen.inventory).first(where: { $0.step == fetch }) else { return nil }
        return Load(step: step.id, folder: folder, backup: backup, least: least, usual: usual)
    }

    func checkRoom(_ host: String, _ connection: HostConnection) async -> [Finding] {
        guard let remote = connection.remote else { return [] }
        var findings: [Finding] = []
        for load in loads(on: host) {
            // A backup that is not there is its store's own finding.
            guard let size = try? await backups.select(load.backup).backup.version.sizeBytes else { continue }
            guard let free = await Self.free(at: load.folder, remote) else { continue }
            let subject = "\(host): room for step \(load.step)", least = size * load.least, usual = size * load.usual
            let text = "\(bytesText(free)) free at \(load.folder); a backup of \(bytesText(size)) needs \(bytesText(least)) at the very least, and \(bytesText(usual)) as a rule"
            if free < least {
                findings.append(Finding(.missing, subject, text, hints: ["give \(host) a larger disk before anything is started"]))
            } else {
                findings.append(Finding(free < usual ? .warning : .ok, subject, text))
            }
        }
        return findings
    }

    /// Bytes that are free where the folder is, or will be.
    private static func free(at folder: String, _ remote: any RemoteHost) async -> Int64? {
        let script = "p=\(shellQuoted(folder)); while [ ! -e \"$p\" ]; do p=$(dirname -- \"$p\"); done; df -Pk -- \"$p\" | awk 'NR == 2 { print $4 }'"
        let result = try? await remote.run("sh -c \(shellQuoted(script))", stdin: [], outputLimit: 4096, deadline: Deadline(after: .seconds(30)))
        return result.flatMap { Int64($0.stdoutText.filter(\.isNumber)) }.map { $0 * 1024 }
    }
}
