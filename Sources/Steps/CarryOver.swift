internal import BlockingIO
internal import Foundation
internal import ObjectStorage
internal import PlanModel
internal import RunCore
internal import SSH

/// Fetches a backup to this machine and carries it to a host, for stores that the host cannot reach or that sign no addresses.
///
/// Everything is resumable: the fetch keeps its finished parts, the upload goes on from the size that the host has, and what
/// arrived is checked by SHA-256 on the host before it is unwrapped and takes its name.
struct CarryOver: Sendable {
    let context: StepContext
    let host: String
    let store: any ObjectStore
    let version: ObjectVersion
    let target: String
    /// What the plan allows to come out of it.
    let mostBytes: Int64

    /// On this machine, of the step's own.
    private var folder: PrivateFolder {
        PrivateFolder(path: FileManager.default.temporaryDirectory.path + "/reprise-\(context.run).\(context.step)")
    }

    /// On the host. Named after its content: what is left of another backup is never gone on with.
    private func upload(_ sha256: String) -> String { uploads + sha256.prefix(16) }
    private var uploads: String { target + ".reprise-upload-" }

    /// - Parameter arrival: makes the job's script of the text that checks and unwraps what arrived.
    func run(part: String, arrival: (String) -> String) async throws -> HostFetchResult {
        // Where the host knows the job of arrival already, everything was carried over; it is only asked for its result.
        let isCarried = try await context.jobExists(on: host, part: part)
        // Outside: a folder that is refused for being somebody else's is not removed either.
        if !isCarried { try folder.make() }
        do {
            let result = try await arrive(isCarried ? "" : try await carry(), part, arrival)
            // Kept until here, so that a killed process finds what it had.
            folder.remove()
            return result
        } catch let error as any RepriseError where !mayGoOtherwise(after: error) {
            folder.remove()
            throw error
        }
    }

    /// Then the copy of the backup that is here stays, and what was read from the store need not be read again.
    private func mayGoOtherwise(after error: any RepriseError) -> Bool {
        switch error {
        case let error as HostFetchFailed: ![.damaged, .quota].contains(error.kind)
        case let error as FileFailure: error.isDiskFull
        case let error as StepRefused: [Self.noRoom, Self.notWritten].contains(error.code)
        default: error.isTransient
        }
    }

    private static let noRoom = "fetch-backup.no-room"
    private static let notWritten = "fetch-backup.not-written"

    private func arrive(_ sha256: String, _ part: String, _ arrival: (String) -> String) async throws -> HostFetchResult {
        let script = CarryArrival.script(
            upload: upload(sha256), target: target, sha256: sha256, quotaBytes: mostBytes)
        let outcome = try await context.run(DurableJob(host: host, part: part, script: .shell(arrival(script))))
        do {
            guard case .fetched(let result) = try HostFetchScript.outcome(
                exitStatus: Int32(outcome.result.exitStatus ?? -1), output: outcome.stdoutText, name: version.key)
            else { throw StepFailed("fetch-backup.not-carried", "carrying \(version.key) to \(host) did not end well") }
            return result
        } catch let error as HostFetchFailed where error.kind == .contentMismatch {
            // The backup itself is as good as it was: this must not make anybody choose an older one.
            throw StepFailed(
                "fetch-backup.changed-on-the-way", "what arrived of \(version.key) on \(host) is not what was sent; it was thrown away",
                hints: ["reprise retry carries it again", "if it happens again, look at the disk and the memory of \(host)"])
        }
    }

    /// - Returns: SHA-256 of the object as it is stored.
    private func carry() async throws -> String {
        let name = version.key.split(separator: "/").last.map(String.init) ?? "backup"
        Failpoint.hit("carry.before-fetch", context.place(version.key))
        let file = try await Fetch(from: store).fetch(version, to: "\(folder.path)/\(name)", options: FetchOptions(keepsRecord: true)) { progress in
            context.services.report(
                StepProgress("fetching \(version.key) to this machine", done: progress.doneBytes, total: progress.totalBytes, unit: .bytes))
        }
        Failpoint.hit("carry.before-send", context.place(version.key))
        try await send(file)
        Failpoint.hit("carry.after-send", context.place(version.key))
        return file.sha256
    }

    // MARK: Sending

    private func send(_ file: FetchedFile) async throws {
        var delay = Duration.milliseconds(200)
        let patience = Deadline(after: .seconds(600))
        let written = Latest<Int64>()
        while true {
            var used: (any JobLedger)?
            do {
                used = try await context.services.ledger(host)
                return try await sendRest(file, written)
            } catch let error as any RepriseError where error.isTransient && !patience.hasPassed {
                if let used { await context.services.forgetConnection(host, used) }
                try await Task.sleep(for: delay)
                delay = min(delay * 2, .seconds(10))
            }
        }
    }

    /// What the host does not have yet.
    ///
    /// - Parameter written: what is known of it from the connection before.
    private func sendRest(_ file: FetchedFile, _ written: Latest<Int64>) async throws {
        let remote = try await context.services.remote(host)
        let size = try await prepared(remote, file)
        // Where less is there than was, the host itself went down, and only its file system can be asked.
        let known = written.value.flatMap { $0 <= size ? $0 : nil } ?? 0
        let copy = HostCopy(to: upload(file.sha256), on: remote, become: becomes)
        do {
            try await copy.pour(file.path, from: max(known, HostCopy.start(after: size)), written: written) { sent in
                context.services.report(StepProgress("carrying \(version.key) to \(host)", done: sent, total: file.sizeBytes, unit: .bytes))
            }
        } catch let error as HostCopy.NotWritten {
            throw notWritten(error.why)
        }
    }

    /// Makes the folder on the host, and clears away what is longer than it can be or belongs to another backup.
    /// - Returns: the size of what is there.
    private func prepared(_ remote: any RemoteHost, _ sent: FetchedFile) async throws -> Int64 {
        let folder = FetchBackupStep.folder(to: target)
        let file = shellQuoted(upload(sent.sha256))
        let script = """
            umask 077; \(FetchBackupStep.making(folder)) || exit 1
            for other in \(shellQuoted(uploads))*; do [ "$other" = \(file) ] || rm -f -- "$other" || exit 1; done
            rm -f -- \(shellQuoted(target)).reprise-unwrapping || exit 1
            there=$(stat -c %s -- \(file) 2>/dev/null) || there=0
            [ "$there" -le \(sent.sizeBytes) ] || { rm -f -- \(file) || exit 1; there=0; }
            echo "$there $(df --output=avail -B1 -- \(shellQuoted(folder)) | tail -n 1)"
            """
        let answer = try await remote.run(raised(script), stdin: [], outputLimit: 4096, deadline: Deadline(after: .seconds(30)))
        let numbers = answer.stdoutText.split(whereSeparator: \.isWhitespace).compactMap { Int64($0) }
        guard answer.status == 0, numbers.count == 2 else {
            throw StepRefused(
                "fetch-backup.cannot-write", "cannot write into \(folder) on \(host): \(answer.stderrText.trimmed)",
                hints: ["the login on \(host) must be root, or ansible_become must be set for it"])
        }
        let needed = sent.sizeBytes - numbers[0]
        guard needed <= numbers[1] else {
            throw StepRefused(
                Self.noRoom, "there is no room for \(version.key) in \(folder) on \(host): \(needed) bytes are needed, \(numbers[1]) are free",
                hints: ["make room on that disk, then: reprise retry \(context.step); what was fetched is kept"])
        }
        return numbers[0]
    }

    private func notWritten(_ why: String) -> StepRefused {
        StepRefused(
            Self.notWritten, "\(host) did not write all of \(version.key)" + (why.isEmpty ? "" : ": \(why)"),
            hints: ["see that there is room: df \(shellQuoted(target))", "then: reprise retry \(context.step); what was written is kept"])
    }

    /// Whether the host's jobs become root.
    private var becomes: Bool { context.inventory.host(host)?.become == true }

    /// `script` with the rights that the host's jobs have.
    private func raised(_ script: String) -> String {
        asLedgerUser(script, become: becomes)
    }
}
