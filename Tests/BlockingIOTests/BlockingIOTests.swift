import BlockingIO
import Foundation
import Testing

@Suite struct BlockingIOTests {
    actor Worker {
        let thread = DedicatedThread(name: "test-worker")
        nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }
        func threadIdentity() -> UInt { UInt(pthread_self()) }
    }

    @Test func anActorStaysOnItsOwnThread() async {
        let first = Worker(), second = Worker()
        let seen = await [first.threadIdentity(), first.threadIdentity(), second.threadIdentity()]
        #expect(seen[0] == seen[1])
        #expect(seen[0] != seen[2])
    }

    @Test func aPassedDeadlineEndsTheWait() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        #expect(throws: DeadlineExceeded.self) {
            try Interrupt().wait(for: [(ends[0], .read)], until: Deadline(after: .milliseconds(20)), operation: "a byte")
        }
    }

    @Test func cancellationReachesABlockedThread() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        let readable = ends[0]
        let thread = DedicatedThread(name: "blocked")
        let task = Task {
            try await withInterrupt { interrupt in
                try await thread.run {
                    _ = try interrupt.wait(for: [(readable, .read)], until: Deadline(after: .seconds(60)), operation: "a byte")
                }
            }
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func readinessNamesTheDescriptorThatIsReady() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        let ready = try Interrupt().wait(
            for: [(ends[0], .read), (ends[1], .write)], until: Deadline(after: .seconds(5)), operation: "the pipe")
        #expect(ready == [[], .write])
    }
}
