internal import BlockingIO
internal import Foundation
internal import ObjectStorage
internal import RunCore
package import SSH

/// Pours a file of this machine into a file on a host, over the session that is open to it anyway.
///
/// Going on is left to the caller: the file on the host holds the first bytes, and the rest is written at its offset, and not at the end.
/// The last bytes of a connection that was lost may still be on their way into the same file, and the same bytes at the same place do no
/// harm.
package struct HostCopy: Sendable {
    private let remote: any RemoteHost
    private let become: Bool
    private let target: String

    /// - Parameters:
    ///   - become: whether the login becomes root for it, as the host's jobs do.
    ///   - target: the file on the host; its folder is there.
    package init(to target: String, on remote: any RemoteHost, become: Bool) {
        (self.remote, self.become, self.target) = (remote, become, target)
    }

    /// The host took the bytes and did not write all of them.
    package struct NotWritten: Error {
        /// Its own words; empty where it said nothing.
        package let why: String
    }

    private static let chunkBytes = 256 << 10

    /// Sends what follows the first `start` bytes of `file`, and returns once the host has written it. Not flushed to the host's disk.
    ///
    /// - Parameter progress: called after each piece with the bytes of the file that are sent.
    /// - Throws: `NotWritten`, an error of the connection, of the file, `DeadlineExceeded`.
    package func pour(_ file: String, from start: Int64, progress: @Sendable (Int64) -> Void) async throws {
        let done = "reprise-\(UUID().uuidString)"
        // What dd does not take on a full disk is read all the same, or its sender would wait for a window that never opens.
        let write = """
            dd of=\(shellQuoted(target)) bs=262144 seek=\(start) oflag=seek_bytes conv=notrunc status=none && echo \(done) \
              || cat >/dev/null
            """
        let channel = try await remote.openChannel(command: asLedgerUser(write, become: become), deadline: Deadline(after: .seconds(30)))
        do {
            try await send(file, from: start, into: channel, progress)
            await channel.closeWriting()
            var said = ""
            while case let bytes = try await channel.read(upTo: 4096, deadline: Deadline(after: .seconds(60))), !bytes.isEmpty {
                said += String(decoding: bytes, as: UTF8.self)
            }
            guard said.contains(done) else { throw NotWritten(why: await channel.diagnostics().trimmed) }
            await channel.close()
        } catch {
            await channel.close()
            throw error
        }
    }

    /// The next piece is read while this one is on its way.
    private func send(_ path: String, from start: Int64, into channel: any ByteChannel, _ progress: @Sendable (Int64) -> Void) async throws {
        let file = try FileBytes(of: path)
        var sent = start
        var next = try file.bytes(at: sent, upTo: Self.chunkBytes)
        while !next.isEmpty {
            let chunk = next
            async let written: Void = channel.write(chunk, deadline: Deadline(after: .seconds(60)))
            next = try file.bytes(at: sent + Int64(chunk.count), upTo: Self.chunkBytes)
            try await written
            Failpoint.hit("carry.chunk")
            sent += Int64(chunk.count)
            progress(sent)
        }
    }
}
