import BlockingIO
import Foundation
import Glibc
import LoopbackSSH
import SSH
import TestSupport
import Testing

@testable import Steps

/// Files poured into a real server on this machine.
@Suite(.serialized, .enabled(if: LoopbackServer.isAvailable)) final class HostCopyTests {
    private let folder = NSTemporaryDirectory() + "reprise-copy-\(UUID().uuidString)"
    private var source: String { folder + "/it's the source" }
    private var target: String { folder + "/it's the target" }

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// Not one block like another.
    private func write(_ bytes: Int) throws {
        var generator = SeededGenerator(UInt64(bytes))
        var data = Data(capacity: bytes)
        while data.count < bytes { withUnsafeBytes(of: generator.next()) { data.append(contentsOf: $0) } }
        try data.prefix(bytes).write(to: URL(fileURLWithPath: source))
    }

    private func connect(_ server: LoopbackServer) async throws -> SSHSession {
        try await SSHSession.connect(to: server.target(), deadline: Deadline(after: .seconds(120)))
    }

    private func logins(_ server: LoopbackServer) -> Int { server.log.components(separatedBy: "Accepted publickey").count - 1 }

    private func expectTheSame() throws {
        let isSame = try Data(contentsOf: URL(fileURLWithPath: target)) == Data(contentsOf: URL(fileURLWithPath: source))
        #expect(isSame)
    }

    private var sizeOfTarget: Int64 {
        var status = stat()
        return stat(target, &status) == 0 ? Int64(status.st_size) : 0
    }

    @Test(arguments: [(0, 1), (1, 1), (4 << 20, 1), (30_000_001, 1), (90_000_001, 3)])
    func aLargeFileGoesOverSeveralSessionsAndASmallOneOverOne(_ bytes: Int, _ sessions: Int) async throws {
        try write(bytes)
        let server = try LoopbackServer()
        let session = try await connect(server)
        let sent = Latest<Int64>(), written = Latest<Int64>()
        try await HostCopy(to: target, on: session, become: false).pour(source, from: 0, written: written) { sent.value = max($0, sent.value ?? 0) }
        await session.close()
        #expect(logins(server) == sessions)
        guard bytes > 0 else { return }
        try expectTheSame()
        #expect(sent.value == Int64(bytes) && written.value == Int64(bytes))
        var status = stat()
        #expect(stat(target, &status) == 0 && status.st_mode & 0o777 == 0o600, "nobody else reads it")
    }

    @Test func aHostThatAdmitsNoFurtherSessionIsCopiedToByTheFirst() async throws {
        try write(60_000_000)
        let server = try LoopbackServer()
        let session = try await connect(server)
        try Data().write(to: URL(fileURLWithPath: server.folder + "/authorized_keys"))
        try await HostCopy(to: target, on: session, become: false).pour(source, from: 0) { _ in }
        await session.close()
        #expect(logins(server) == 1)
        try expectTheSame()
    }

    /// Cut off at a place of its own each time, it goes on from what the file's size tells, or from what the host had said.
    @Test func whateverABrokenCopyLeftIsGoneOnWith() async throws {
        try write(90_000_000)
        let original = try Data(contentsOf: URL(fileURLWithPath: source))
        let server = try LoopbackServer()
        let seed = UInt64.random(in: 0..<1 << 32)
        print("HostCopyTests: seed \(seed)")
        var generator = SeededGenerator(seed)
        for round in 0..<6 {
            unlink(target)
            let end = Int64(generator.below(85_000_000)) + 1
            let session = try await connect(server)
            let written = Latest<Int64>()
            let copying = Task { [source, target] in
                let reached = Latest<Bool>()
                try await HostCopy(to: target, on: session, become: false).pour(source, from: 0, written: written) { sent in
                    if sent >= end, reached.value == nil {
                        reached.value = true
                        withUnsafeCurrentTask { $0?.cancel() }
                    }
                }
            }
            await #expect(throws: (any Error).self) { try await copying.value }
            await session.close()

            let size = sizeOfTarget, known = written.value ?? 0
            let start = round % 2 == 0 ? HostCopy.start(after: size) : known
            #expect(start <= size && known <= size && HostCopy.start(after: size) <= end)
            let there = size == 0 ? Data() : try Data(contentsOf: URL(fileURLWithPath: target))
            // Said as a truth: a failure would otherwise print the data.
            let hasNoHole = there.prefix(Int(start)) == original.prefix(Int(start))
            #expect(hasNoHole, "seed \(seed), cut at \(end): a hole before \(start) of \(size)")

            let again = try await connect(server)
            try await HostCopy(to: target, on: again, become: false).pour(source, from: start) { _ in }
            await again.close()
            let isWhole = try Data(contentsOf: URL(fileURLWithPath: target)) == original
            #expect(isWhole, "seed \(seed), cut at \(end), gone on from \(start)")
        }
    }

    /// A full disk, or no folder: what the host does not take is read all the same, and its words are told.
    @Test(arguments: [("/nowhere/target", "No such file or directory"), ("/dev/full", "No space left on device")])
    func aHostThatCannotWriteSaysWhyInItsOwnWords(_ target: String, _ words: String) async throws {
        try write(60_000_000)
        let server = try LoopbackServer()
        let session = try await connect(server)
        let copy = HostCopy(to: target, on: session, become: false), source = source
        let error = await #expect(throws: HostCopy.NotWritten.self) { try await copy.pour(source, from: 0) { _ in } }
        #expect(error?.why.contains(words) == true, "\(error?.why ?? "nothing")")
        await session.close()
    }

    /// Such as by a host that runs out of memory: nothing is said, and the others do not wait for it.
    @Test(.timeLimit(.minutes(2)), arguments: [1_000_000, 60_000_000])
    func aHostWhoseShellIsKilledHasNotWrittenIt(_ bytes: Int) async throws {
        try write(bytes)
        let programs = folder + "/programs"
        try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: false)
        try Data("#!/bin/sh\nkill -9 $PPID\n".utf8).write(to: URL(fileURLWithPath: programs + "/dd"))
        chmod(programs + "/dd", 0o755)
        let server = try LoopbackServer(lines: ["SetEnv PATH=\(programs):/usr/bin:/bin"])
        let session = try await connect(server)
        let copy = HostCopy(to: target, on: session, become: false), source = source
        await #expect(throws: (any Error).self) { try await copy.pour(source, from: 0) { _ in } }
        await session.close()
    }
}

/// Who carries blocks, and who answers, in whatever order.
@Suite struct CopyBlocksTests {
    @Test func nothingIsHandedOutTooFarAheadOfWhatIsWritten() async throws {
        for _ in 0..<40 {
            let seed = UInt64.random(in: 0..<1 << 32)
            var generator = SeededGenerator(seed)
            let start = Int64(generator.below(1 << 30)), end = start + Int64(generator.below(300 << 20))
            let blocks = CopyBlocks(from: start, to: end)
            var open: [Range<Int64>] = [], covered = start
            while await !blocks.areWritten {
                // Only as many are asked for as are handed out at once: who waits would wait for this very loop.
                let furthest = min(covered + CopyBlocks.blockBytes, end), first = open.map(\.lowerBound).min() ?? covered
                if covered < end, furthest - first <= CopyBlocks.windowBytes, open.isEmpty || generator.chance(60) {
                    let block = try #require(await blocks.take(), "seed \(seed)")
                    #expect(block.lowerBound == covered && block.upperBound <= end && !block.isEmpty, "seed \(seed)")
                    covered = block.upperBound
                    open.append(block)
                } else {
                    let block = open.remove(at: generator.below(open.count))
                    await blocks.isWritten(at: block.lowerBound)
                }
                let hole = open.map(\.lowerBound).min() ?? covered
                #expect(covered - hole <= CopyBlocks.windowBytes, "seed \(seed)")
                #expect(HostCopy.start(after: covered) <= hole, "seed \(seed)")
                #expect(await blocks.writtenUpTo == hole, "seed \(seed)")
            }
            #expect(covered == end && open.isEmpty, "seed \(seed)")
            #expect(await blocks.take() == nil)
        }
    }

    @Test(.timeLimit(.minutes(1))) func whoWaitsForTheWindowIsLetGoByAnAnswerAndByAStop() async {
        let blocks = CopyBlocks(from: 0, to: 1 << 30)
        var first: Range<Int64>?
        for _ in 0..<CopyBlocks.windowBytes / CopyBlocks.blockBytes {
            let block = await blocks.take()
            first = first ?? block
        }
        async let next = blocks.take()
        try? await Task.sleep(for: .milliseconds(50))
        await blocks.isWritten(at: first?.lowerBound ?? -1)
        #expect(await next?.lowerBound == CopyBlocks.windowBytes)
        async let last = blocks.take()
        try? await Task.sleep(for: .milliseconds(50))
        await blocks.stop()
        #expect(await last == nil)
    }
}
