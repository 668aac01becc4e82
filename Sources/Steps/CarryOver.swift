internal import BlockingIO
internal import Foundation
internal import Glibc
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

    /// On this machine, of the step's own.
    private var folder: String { FileManager.default.temporaryDirectory.path + "/reprise-\(context.run).\(context.step)" }
    private var upload: String { target + ".reprise-upload" }

    /// - Parameter arrival: makes the job's script of the text that checks and unwraps what arrived.
    func run(part: String, arrival: (String) -> String) async throws -> HostFetchResult {
        // Where the host knows the job of arrival already, everything was carried over; it is only asked for its result.
        let sha256 = try await context.jobExists(on: host, part: part) ? "" : try await carryOrForget()
        let job = DurableJob(host: host, part: part, script: .shell(arrival(script(sha256))))
        let outcome = try await context.run(job)
        do {
            guard case .fetched(let result) = try HostFetchScript.outcome(
                exitStatus: Int32(outcome.result.exitStatus ?? -1), output: outcome.stdoutText, name: version.key)
            else { throw StepFailed("fetch-backup.not-carried", "carrying \(version.key) to \(host) did not end well") }
            // Kept until here, so that a killed process finds what it had.
            try? FileManager.default.removeItem(atPath: folder)
            return result
        } catch let error as HostFetchFailed where error.code == "host-fetch.content-mismatch" {
            // The backup itself is as good as it was: this must not make anybody choose an older one.
            throw StepFailed(
                "fetch-backup.changed-on-the-way", "what arrived of \(version.key) on \(host) is not what was sent; it was thrown away",
                hints: ["reprise retry carries it again", "if it happens again, look at the disk and the memory of \(host)"])
        }
    }

    /// What cannot go otherwise next time leaves no copy of the backup here.
    private func carryOrForget() async throws -> String {
        // Outside: a folder that is refused for being somebody else's is not removed either.
        try makePrivateFolder()
        do {
            return try await carry()
        } catch let error as any RepriseError where !error.isTransient {
            try? FileManager.default.removeItem(atPath: folder)
            throw error
        }
    }

    /// - Returns: SHA-256 of the object as it is stored.
    private func carry() async throws -> String {
        let name = version.key.split(separator: "/").last.map(String.init) ?? "backup"
        Failpoint.hit("carry.before-fetch", context.place(version.key))
        let file = try await Fetch(from: store).fetch(version, to: "\(folder)/\(name)", options: FetchOptions(keepsRecord: true)) { progress in
            context.services.report(
                StepProgress("fetching \(version.key) to this machine", done: progress.doneBytes, total: progress.totalBytes, unit: .bytes))
        }
        Failpoint.hit("carry.before-send", context.place(version.key))
        try await send(file)
        Failpoint.hit("carry.after-send", context.place(version.key))
        return file.sha256
    }

    /// A resumed process finds it again. Its name can be guessed, so one that is not ours is refused.
    private func makePrivateFolder() throws {
        if mkdir(folder, 0o700) != 0, errno != EEXIST {
            let why = String(cString: strerror(errno)).lowercased()
            throw StepRefused("fetch-backup.no-folder", "cannot make \(folder) on this machine: \(why)", hints: ["TMPDIR names another place"])
        }
        var status = stat()
        guard lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw StepRefused(
                "fetch-backup.foreign-folder", "\(folder) on this machine is somebody else's, or can be entered by others",
                hints: ["remove it after a look at who made it, or name another place by TMPDIR"])
        }
    }

    // MARK: Sending

    private static let chunkBytes = 256 << 10

    private func send(_ file: FetchedFile) async throws {
        var delay = Duration.milliseconds(200)
        let patience = Deadline(after: .seconds(600))
        while true {
            var used: (any JobLedger)?
            do {
                used = try await context.services.ledger(host)
                return try await sendRest(file)
            } catch let error as any RepriseError where error.isTransient && !patience.hasPassed {
                if let used { await context.services.forgetConnection(host, used) }
                try await Task.sleep(for: delay)
                delay = min(delay * 2, .seconds(10))
            }
        }
    }

    /// What the host does not have yet.
    private func sendRest(_ file: FetchedFile) async throws {
        let remote = try await context.services.remote(host)
        let start = try await prepared(remote, file.sizeBytes)
        guard start < file.sizeBytes else { return }
        // Written at its offset, and not at the end: the last bytes of a connection that was lost may still be on their way
        // into the same file, and the same bytes at the same place do no harm.
        let done = "reprise-\(UUID().uuidString)"
        let write = "dd of=\(shellQuoted(upload)) bs=262144 seek=\(start) oflag=seek_bytes conv=notrunc status=none && echo \(done)"
        let channel = try await remote.openChannel(command: raised(write), deadline: Deadline(after: .seconds(30)))
        do {
            try await pour(file, from: start, into: channel)
            await channel.closeWriting()
            var said = ""
            while case let bytes = try await channel.read(upTo: 4096, deadline: Deadline(after: .seconds(60))), !bytes.isEmpty {
                said += String(decoding: bytes, as: UTF8.self)
            }
            guard said.contains(done) else { throw await notWritten(channel) }
            await channel.close()
        } catch {
            await channel.close()
            throw error
        }
    }

    /// Makes the folder on the host, and shortens what is longer than it can be.
    /// - Returns: how much of the file is there.
    private func prepared(_ remote: any RemoteHost, _ size: Int64) async throws -> Int64 {
        let folder = "/" + target.split(separator: "/").dropLast().joined(separator: "/")
        let file = shellQuoted(upload)
        let script = """
            umask 077; install -d -m 0711 -- \(shellQuoted(folder)) || exit 1
            there=$(stat -c %s -- \(file) 2>/dev/null) || there=0
            [ "$there" -le \(size) ] || { rm -f -- \(file) || exit 1; there=0; }
            echo "$there"
            """
        let answer = try await remote.run(raised(script), stdin: [], outputLimit: 4096, deadline: Deadline(after: .seconds(30)))
        guard answer.status == 0, let there = Int64(answer.stdoutText.trimmed) else {
            throw StepRefused(
                "fetch-backup.cannot-write", "cannot write into \(folder) on \(host): \(answer.stderrText.trimmed)",
                hints: ["the login on \(host) must be root, or ansible_become must be set for it"])
        }
        return there
    }

    private func pour(_ file: FetchedFile, from start: Int64, into channel: any ByteChannel) async throws {
        let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: file.path))
        defer { try? handle.close() }
        try handle.seek(toOffset: UInt64(start))
        var sent = start
        while let chunk = try handle.read(upToCount: Self.chunkBytes), !chunk.isEmpty {
            try await channel.write(Array(chunk), deadline: Deadline(after: .seconds(60)))
            Failpoint.hit("carry.chunk")
            sent += Int64(chunk.count)
            context.services.report(StepProgress("carrying \(version.key) to \(host)", done: sent, total: file.sizeBytes, unit: .bytes))
        }
    }

    private func notWritten(_ channel: any ByteChannel) async -> StepRefused {
        let why = await channel.diagnostics().trimmed
        return StepRefused(
            "fetch-backup.not-written", "\(host) did not write all of \(version.key)" + (why.isEmpty ? "" : ": \(why)"),
            hints: ["see that there is room: df \(shellQuoted(target))"])
    }

    /// `script` with the rights that the host's jobs have.
    private func raised(_ script: String) -> String {
        asLedgerUser(script, become: context.inventory.host(host)?.become == true)
    }

    // MARK: Arriving

    /// Prints what a fetch on the host itself prints, so that both are read by the same code.
    private func script(_ sha256: String) -> String {
        """
        set -u
        upload=\(shellQuoted(upload)); target=\(shellQuoted(target)); expected=\(sha256)
        fail() { printf '{"error":"%s","detail":"%s"}\\n' "$2" "$3"; exit "$1"; }
        found=$(sha256sum < "$upload" | cut -d ' ' -f 1)
        [ "$found" = "$expected" ] || { rm -f -- "$upload"; fail 65 content-mismatch "$found arrived"; }
        case $(head -c 6 -- "$upload" | od -An -tx1 | tr -d ' \\n') in
          1f8b*) wrapper=gzip ;; 28b52ffd*) wrapper=zstd ;; fd377a585a00) wrapper=xz ;; *) wrapper=none ;;
        esac
        bytes=$(stat -c %s -- "$upload")
        if [ "$wrapper" = none ]; then
          sync -- "$upload" && mv -f -- "$upload" "$target" || fail 73 disk-full "cannot rename"
        else
          command -v "$wrapper" >/dev/null || fail 72 no-program "$wrapper"
          "$wrapper" -dc < "$upload" > "$target.reprise-unwrapping" || fail 74 damaged "$wrapper cannot unwrap it"
          sync -- "$target.reprise-unwrapping" && mv -f -- "$target.reprise-unwrapping" "$target" || fail 73 disk-full "cannot write"
          rm -f -- "$upload"
        fi
        printf '{"bytes":%s,"sha256":"%s","unwrappedBytes":%s,"unwrappedSHA256":"%s","wrapper":"%s"}\\n' "$bytes" "$expected" \\
          "$(stat -c %s -- "$target")" "$(sha256sum < "$target" | cut -d ' ' -f 1)" "$wrapper"
        """
    }
}
