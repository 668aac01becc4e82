internal import BlockingIO
internal import Foundation
internal import RunCore
internal import SSH

/// One ranged read of a file on a host, as a stream of a channel.
///
/// A channel has no exit status that could be trusted, so what the host has to say stands in the stream itself, behind a marker
/// that nobody can guess: the file is the version that was asked for, then its bytes, and then that it still is.
struct HostFolderRead: Sendable {
    let version: ObjectVersion
    let range: Range<Int64>
    /// For messages.
    let name: String
    let limits: ReadLimits
    private let marker = "\u{1}reprise-\(UUID().uuidString)"

    init(version: ObjectVersion, range: Range<Int64>, name: String, limits: ReadLimits) {
        self.version = version
        self.range = range
        self.name = name
        self.limits = limits
    }

    func script(root: String) -> String {
        let wanted = version.etag.filter { $0 != "\"" }
        return """
            say() { printf '\(marker) %3d\\n' "$1"; }
            (
            \(HostFolderScript.locate(root: root, key: version.key))
            exec 3< "$t" || exit \(HostFolderScript.Failure.notAllowed.rawValue)
            same() { [ "$(stat -L --printf '\(HostFolderScript.identity)' -- /proc/self/fd/3)" = \(shellQuoted(wanted)) ]; }
            same || exit \(HostFolderScript.Failure.changed.rawValue)
            say 0
            dd bs=1048576 iflag=skip_bytes,count_bytes,fullblock skip=\(range.lowerBound) count=\(range.count) status=none <&3 || exit 1
            same || exit \(HostFolderScript.Failure.changed.rawValue)
            )
            say $?
            """
    }

    /// Bytes of noise that a shell's start-up files may print before the marker.
    private static let noiseLimit = 65_536
    private static let chunkBytes = 1 << 20

    func run(_ command: String, on remote: any RemoteHost, into sink: @escaping ByteSink) async throws {
        let channel = try await remote.openChannel(command: command, deadline: patience)
        do {
            var pending = try await begin(channel)
            pending = try await pass(pending, channel, sink)
            let end = try await line(pending, channel)
            try check(end)
            await channel.close()
        } catch {
            await channel.close()
            throw error
        }
    }

    /// The wait for the next bytes: whatever is slower than `limits` is given up.
    private var patience: Deadline { Deadline(after: .seconds(limits.stallSeconds)) }

    private var lineBytes: Int { marker.utf8.count + 5 }

    /// - Returns: what came behind the first marker.
    private func begin(_ channel: any ByteChannel) async throws -> [UInt8] {
        var pending: [UInt8] = []
        let wanted = Array(marker.utf8)
        while true {
            if let start = pending.firstRange(of: wanted)?.lowerBound, pending.count >= start + lineBytes {
                let (first, rest) = (Array(pending[start..<start + lineBytes]), Array(pending[(start + lineBytes)...]))
                try check(first)
                return rest
            }
            guard pending.count < Self.noiseLimit else { throw broken("it printed something else than the file") }
            pending += try await more(channel)
        }
    }

    /// Gives the range to `sink`, on a thread of its own since a sink may block, and returns what came behind it.
    private func pass(_ first: [UInt8], _ channel: any ByteChannel, _ sink: @escaping ByteSink) async throws -> [UInt8] {
        let thread = DedicatedThread(name: "reprise-folder")
        var pending = first
        var left = range.count
        while true {
            // The last bytes that came may be the host's word: that stands at the end, or where a file became shorter.
            let chunk = Array(pending.prefix(min(left, max(0, pending.count - lineBytes))))
            if !chunk.isEmpty { try await thread.run { try chunk.withUnsafeBytes(sink) } }
            left -= chunk.count
            pending.removeFirst(chunk.count)
            guard left > 0 else { return pending }
            do {
                pending += try await more(channel)
            } catch let error as ObjectStorageError {
                let word = Array(pending.suffix(lineBytes))
                if word.starts(with: Array(marker.utf8)) { try check(word) }
                throw error
            }
        }
    }

    private func line(_ first: [UInt8], _ channel: any ByteChannel) async throws -> [UInt8] {
        var pending = first
        while pending.count < lineBytes { pending += try await more(channel) }
        return pending
    }

    private func more(_ channel: any ByteChannel) async throws -> [UInt8] {
        let bytes = try await channel.read(upTo: Self.chunkBytes, deadline: patience)
        try Task.checkCancellation()
        guard bytes.isEmpty else { return bytes }
        throw broken(await channel.diagnostics())
    }

    private func broken(_ said: String) -> ObjectStorageError {
        ObjectStorageError(.truncated, "reading \(name) broke off" + (said.isEmpty ? "" : ": \(said)"))
    }

    private func check(_ line: [UInt8]) throws {
        let text = String(decoding: line, as: UTF8.self)
        guard text.hasPrefix(marker), let status = Int(text.dropFirst(marker.count).drop { $0 == " " }.prefix { $0.isNumber }) else {
            throw broken("its end is missing")
        }
        guard status != 0 else { return }
        switch HostFolderScript.Failure(rawValue: status) {
        case .changed: throw ObjectChanged(name, detail: "the file was written to or replaced")
        case .noFile, .noFolder: throw ObjectChanged(name, detail: "it is no longer there")
        case .notAllowed: throw ObjectStorageError(.accessDenied, "may not read \(name)", hints: ["check owner and mode of the file"])
        case nil: throw broken("the host reports status \(status)")
        }
    }
}
