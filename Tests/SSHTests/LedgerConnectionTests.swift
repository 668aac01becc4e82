import BlockingIO
import RunCore
import Synchronization
import Testing

@testable import SSH

/// What a connection to a ledger does by itself, whatever the ledger answers.
@Suite struct LedgerConnectionTests {
    /// A cancellation that went before the submission would cancel nothing.
    @Test func framesGoOutInTheOrderInWhichTheyWereAskedFor() async throws {
        let program = LedgerProgram(options: LedgerOptions())
        let channel = ListeningChannel(program)
        let connection = try await LedgerConnection.open(
            channel: channel, hostName: "h", program: program, deadline: Deadline(after: .seconds(30)))
        let order = Array(1...500)
        for number in order { connection.drop(number) }
        let seen = try await channel.frames(order.count)
        #expect(seen.map { $0.integer("sid") ?? 0 } == order)
        await connection.close()
    }
}

/// A host that has started the ledger's program, and from then on listens and never answers.
private final class ListeningChannel: ByteChannel {
    private let greeting: Mutex<[UInt8]>
    private let isClosed = AsyncStream<Void>.makeStream()
    private let heard = AsyncStream<[UInt8]>.makeStream()
    private let hasProgram = Mutex(false)
    private let writes = Mutex(0)

    init(_ program: LedgerProgram) {
        var ready = LedgerFrame()
        ready.add("id", 0)
        ready.add("ok", 1)
        greeting = Mutex(LedgerWire.binary.marker(program.nonce) + ready.encoded)
    }

    func read(upTo limit: Int, deadline: Deadline?) async throws -> [UInt8] {
        let bytes = greeting.withLock { greeting in
            defer { greeting = [] }
            return greeting
        }
        if bytes.isEmpty { for await _ in isClosed.stream {} }
        return bytes
    }

    func write(_ bytes: [UInt8], deadline: Deadline?) async throws {
        let isProgram = hasProgram.withLock { hasProgram in
            defer { hasProgram = true }
            return !hasProgram
        }
        guard !isProgram else { return }
        // Every other frame takes its time.
        if writes.withLock({ writes in
            writes += 1
            return writes % 2 == 1
        }) {
            for _ in 0..<10 { await Task.yield() }
        }
        heard.continuation.yield(bytes)
    }

    func closeWriting() async {}
    func close() async { isClosed.continuation.finish() }
    func diagnostics() async -> String { "" }

    /// The next frames that were written, each with its length in front.
    func frames(_ count: Int) async throws -> [LedgerFrame] {
        var frames: [LedgerFrame] = []
        for await bytes in heard.stream {
            frames.append(try #require(LedgerFrame(body: bytes.dropFirst(4))))
            if frames.count == count { break }
        }
        return frames
    }
}
