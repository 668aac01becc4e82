internal import BlockingIO
internal import Foundation
internal import ObjectStorage
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

    private var upload: String { target + ".reprise-upload" }

    /// - Parameter arrival: makes the job's script of the text that checks and unwraps what arrived.
    func run(part: String, arrival: (String) -> String) async throws -> HostFetchResult {
        // Where the host knows the job of arrival already, everything was carried over; it is only asked for its result.
        let sha256 = try await context.jobExists(on: host, part: part) ? "" : try await carry()
        let job = DurableJob(host: host, part: part, script: .shell(arrival(script(sha256))))
        let outcome = try await context.run(job)
        guard case .fetched(let result) = try HostFetchScript.outcome(
            exitStatus: Int32(outcome.result.exitStatus ?? -1), output: outcome.stdoutText, name: version.key)
        else { throw StepFailed("fetch-backup.not-carried", "carrying \(version.key) to \(host) did not end well") }
        return result
    }

    /// - Returns: SHA-256 of the object as it is stored.
    private func carry() async throws -> String {
        let folder = FileManager.default.temporaryDirectory.path + "/reprise-\(context.run)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let name = version.key.split(separator: "/").last.map(String.init) ?? "backup"
        Failpoint.hit("carry.before-fetch", context.place(version.key))
        let file = try await Fetch(from: store).fetch(version, to: "\(folder)/\(name)") { progress in
            context.services.report(
                StepProgress("fetching \(version.key) to this machine", done: progress.doneBytes, total: progress.totalBytes, unit: .bytes))
        }
        Failpoint.hit("carry.before-send", context.place(version.key))
        try await send(file)
        Failpoint.hit("carry.after-send", context.place(version.key))
        // Kept until here, so that a killed process finds what it had.
        try? FileManager.default.removeItem(atPath: folder)
        return file.sha256
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
        let folder = "/" + target.split(separator: "/").dropLast().joined(separator: "/")
        let prepare = "install -d -m 0711 -- \(shellQuoted(folder)) && stat -c %s -- \(shellQuoted(upload)) 2>/dev/null || echo 0"
        let answer = try await remote.run(prepare, stdin: [], outputLimit: 4096, deadline: Deadline(after: .seconds(30)))
        let there = Int64(answer.stdoutText.trimmed) ?? 0
        let start = there <= file.sizeBytes ? there : 0
        guard start < file.sizeBytes else { return }
        let channel = try await remote.openChannel(
            command: "umask 077; exec cat \(start == 0 ? ">" : ">>") \(shellQuoted(upload))", deadline: Deadline(after: .seconds(30)))
        let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: file.path))
        defer { try? handle.close() }
        try handle.seek(toOffset: UInt64(start))
        var sent = start
        while let chunk = try handle.read(upToCount: Self.chunkBytes), !chunk.isEmpty {
            try await channel.write(Array(chunk), deadline: Deadline(after: .seconds(60)))
            sent += Int64(chunk.count)
            context.services.report(StepProgress("carrying \(version.key) to \(host)", done: sent, total: file.sizeBytes, unit: .bytes))
        }
        await channel.closeWriting()
        // The end of the stream says that cat has written everything.
        while try await !channel.read(upTo: 4096, deadline: Deadline(after: .seconds(60))).isEmpty {}
        await channel.close()
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
          mv -f -- "$upload" "$target" || fail 73 disk-full "cannot rename"
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
