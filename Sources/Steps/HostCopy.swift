package import BlockingIO
internal import Foundation
internal import ObjectStorage
internal import RunCore
package import SSH

/// Pours a file of this machine into a file on a host, over the session that is open to it anyway and, where there is much, over others
/// beside it: one session encrypts on one thread, and that is what holds a copy back.
///
/// The file goes in blocks, each written at its offset and answered by the host once it is (`CopyBlocks` hands them out). Going on is left
/// to the caller: what a broken copy left is known by the file's size alone, `start(after:)`. The last bytes of a connection that was lost
/// may still be on their way into the same file, and the same bytes at the same place do no harm.
package struct HostCopy: Sendable {
    private let remote: any RemoteHost
    private let become: Bool
    private let target: String

    /// - Parameters:
    ///   - become: whether the login becomes root for it, as the host's jobs do.
    ///   - target: the file on the host, made for its user alone; its folder is there.
    package init(to target: String, on remote: any RemoteHost, become: Bool) {
        (self.remote, self.become, self.target) = (remote, become, target)
    }

    /// The host took the bytes and did not write all of them.
    package struct NotWritten: Error {
        /// Its own words; empty where it said nothing.
        package let why: String
    }

    /// How many of the first bytes are certainly there in a file of `size` bytes that a broken copy left.
    package static func start(after size: Int64) -> Int64 { max(0, size - CopyBlocks.windowBytes) }

    /// Two fill two cores, here or on the host, and a third what the two leave while they wait for one another.
    private static let mostLanes: Int64 = 3
    private static let chunkBytes: Int64 = 256 << 10
    /// Less than this is sent before another session is open.
    private static let bytesForEachLane: Int64 = 24 << 20

    /// Sends what follows the first `start` bytes of `file`, and returns once the host has written it. Not flushed to the host's disk.
    ///
    /// - Parameters:
    ///   - written: is given how many of the first bytes the host has certainly written, whenever that grows.
    ///   - progress: called after each piece with the bytes of the file that are sent, from several threads.
    /// - Throws: `NotWritten`, an error of the connection, of the file, `DeadlineExceeded`.
    package func pour(
        _ file: String, from start: Int64, written: Latest<Int64> = Latest(), progress: @escaping @Sendable (Int64) -> Void
    ) async throws {
        let source = try FileBytes(of: file)
        let blocks = CopyBlocks(from: start, to: try source.size(), written: written)
        let lanes = min(Self.mostLanes, max(1, blocks.count / Self.bytesForEachLane))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await pour(source, blocks, into: openLane(over: remote), progress) }
            for _ in 1..<lanes { group.addTask { try await pourBeside(source, blocks, progress) } }
            // A session that is still being opened when everything is there is not waited for.
            while try await group.next() != nil, await !blocks.areWritten {}
            group.cancelAll()
        }
        guard await blocks.areWritten else { throw NotWritten(why: "") }
    }

    /// Over a session of its own. A host that admits no further one is copied to by the first alone.
    private func pourBeside(_ file: FileBytes, _ blocks: CopyBlocks, _ progress: @escaping @Sendable (Int64) -> Void) async throws {
        guard let other = try? await remote.another(deadline: Deadline(after: .seconds(20))) else { return }
        do {
            if let lane = try? await openLane(over: other) { try await pour(file, blocks, into: lane, progress) }
            await other.close()
        } catch {
            await other.close()
            throw error
        }
    }

    /// A shell on the host that writes blocks.
    private struct Lane {
        let channel: any ByteChannel
        /// Tells its answers from whatever else the login says.
        let mark: String
    }

    private func openLane(over session: any RemoteHost) async throws -> Lane {
        let mark = "reprise-\(UUID().uuidString)"
        let command = asLedgerUser(Self.writing(target, mark), become: become)
        return Lane(channel: try await session.openChannel(command: command, deadline: Deadline(after: .seconds(30))), mark: mark)
    }

    private func pour(
        _ file: FileBytes, _ blocks: CopyBlocks, into lane: Lane, _ progress: @escaping @Sendable (Int64) -> Void
    ) async throws {
        let channel = lane.channel, mark = lane.mark
        let sent = Latest<Int>()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                sent.value = try await send(file, blocks, into: channel, progress)
                await channel.closeWriting()
            }
            group.addTask {
                // A shell that was killed says nothing, and was not there for what is under way.
                guard try await hear(channel, mark, blocks) == sent.value else { throw NotWritten(why: await channel.diagnostics().trimmed) }
            }
            do {
                // What goes wrong first is the cause.
                while try await group.next() != nil {}
                await channel.close()
            } catch {
                await blocks.stop()
                await channel.close()
                throw error
            }
        }
    }

    /// Reads blocks, each behind a line with its offset and its length, and answers each with its offset.
    ///
    /// What dd does not take on a full disk is read all the same, or its sender would wait for a window that never opens.
    private static func writing(_ target: String, _ mark: String) -> String {
        """
        umask 077
        while read -r at length; do
          why=$(dd of=\(shellQuoted(target)) bs=262144 count="$length" iflag=fullblock,count_bytes seek="$at" oflag=seek_bytes \
            conv=notrunc status=none 2>&1) || { printf '\(mark) failed %s\\n' "$why"; cat >/dev/null; exit; }
          printf '\(mark) %s\\n' "$at"
        done
        """
    }

    /// Until the other side has nothing more to say, after which nobody is to wait for its answers.
    ///
    /// - Returns: how many blocks it has written.
    private func hear(_ channel: any ByteChannel, _ mark: String, _ blocks: CopyBlocks) async throws -> Int {
        var lines = "", written = 0
        while case let bytes = try await channel.read(upTo: 4096, deadline: Deadline(after: .seconds(600))), !bytes.isEmpty {
            lines += String(decoding: bytes, as: UTF8.self)
            while let end = lines.firstIndex(of: "\n") {
                written += try await take(lines[..<end], mark, blocks) ? 1 : 0
                lines = String(lines[lines.index(after: end)...])
            }
        }
        await blocks.stop()
        return written
    }

    /// - Returns: false for a line that does not bear the mark: it comes from the login's start-up files.
    private func take(_ line: Substring, _ mark: String, _ blocks: CopyBlocks) async throws -> Bool {
        guard let place = line.range(of: mark + " ") else { return false }
        let answer = line[place.upperBound...]
        guard let offset = Int64(answer) else { throw NotWritten(why: String(answer.dropFirst("failed ".count)).trimmed) }
        await blocks.isWritten(at: offset)
        return true
    }

    /// - Returns: how many blocks.
    private func send(
        _ file: FileBytes, _ blocks: CopyBlocks, into channel: any ByteChannel, _ progress: @Sendable (Int64) -> Void
    ) async throws -> Int {
        var count = 0
        while let block = await blocks.take() {
            try await channel.write(Array("\(block.lowerBound) \(block.count)\n".utf8), deadline: Deadline(after: .seconds(60)))
            var at = block.lowerBound
            var next = try chunk(of: file, at, in: block)
            // The next is read while this one is on its way.
            while at < block.upperBound {
                let current = next
                async let sent: Void = channel.write(current, deadline: Deadline(after: .seconds(60)))
                at += Int64(current.count)
                next = try chunk(of: file, at, in: block)
                try await sent
                Failpoint.hit("carry.chunk")
                progress(await blocks.areSent(current.count))
            }
            count += 1
        }
        return count
    }

    private func chunk(of file: FileBytes, _ at: Int64, in block: Range<Int64>) throws -> [UInt8] {
        let chunk = try file.bytes(at: at, upTo: Int(min(Self.chunkBytes, block.upperBound - at)))
        guard !chunk.isEmpty || at == block.upperBound else { throw NotWritten(why: "the file on this machine became shorter") }
        return chunk
    }
}
