internal import Foundation
internal import Synchronization

/// A thread of its own on which an actor runs, for C libraries whose calls block.
///
/// Blocking calls on Swift's cooperative pool starve everything else (two cores, two threads). An actor that owns a C handle
/// returns this from `unownedExecutor`; all its code then runs on this one thread, which also satisfies libraries whose
/// handles must not be used by two threads at once. The thread ends when `stop()` was called, or the last reference went,
/// and its queue is empty.
package final class DedicatedThread: SerialExecutor {
    private let queue: JobQueue

    /// - Parameter name: shown in debuggers and `ps -L`; at most 15 bytes are kept by the kernel.
    package init(name: String) {
        let queue = JobQueue()
        self.queue = queue
        let thread = Thread {
            while let task = queue.next() { task() }
        }
        thread.name = name
        thread.stackSize = 1 << 20
        thread.start()
    }

    deinit { queue.close() }

    package func enqueue(_ job: consuming ExecutorJob) {
        let unowned = UnownedJob(job)
        // The closure keeps the executor alive until the job has run.
        let accepted = queue.push { [self] in unowned.runSynchronously(on: asUnownedSerialExecutor()) }
        precondition(accepted, "a job was enqueued on a stopped thread")
    }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    /// Runs `body` on the thread and returns what it returns. `body` may block; it must keep its own deadline.
    package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let accepted = queue.push { continuation.resume(with: Result(catching: body)) }
            if !accepted { continuation.resume(throwing: CancellationError()) }
        }
    }
}

/// An unbounded queue with one consumer that blocks.
///
/// `@unchecked Sendable`: `tasks` and `isClosed` are only touched while `condition` is locked.
private final class JobQueue: @unchecked Sendable {
    private let condition = NSCondition()
    private var tasks: [@Sendable () -> Void] = []
    private var head = 0
    private var isClosed = false

    func push(_ task: @escaping @Sendable () -> Void) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        guard !isClosed else { return false }
        tasks.append(task)
        condition.signal()
        return true
    }

    /// The next task, or nil once the queue is closed and empty.
    func next() -> (@Sendable () -> Void)? {
        condition.lock()
        defer { condition.unlock() }
        while head == tasks.count {
            if isClosed { return nil }
            condition.wait()
        }
        let task = tasks[head]
        head += 1
        if head == tasks.count {
            tasks.removeAll(keepingCapacity: true)
            head = 0
        }
        return task
    }

    func close() {
        condition.lock()
        isClosed = true
        condition.signal()
        condition.unlock()
    }
}
