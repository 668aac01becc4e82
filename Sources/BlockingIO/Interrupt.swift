internal import Glibc
internal import Synchronization
internal import RunCore

/// Wakes a thread that waits in `poll(2)`; how task cancellation reaches a socket.
///
/// Backed by a pipe that, once fired, stays readable. Safe to fire from any thread and any number of times.
package final class Interrupt: Sendable {
    /// The reading end of the pipe, for `poll(2)`.
    private let descriptor: Int32
    private let writingEnd: Int32
    private let fired = Atomic<Bool>(false)

    package init() {
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "the process has no file descriptors left")
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        (descriptor, writingEnd) = (ends[0], ends[1])
    }

    deinit {
        close(descriptor)
        close(writingEnd)
    }

    package var isFired: Bool { fired.load(ordering: .acquiring) }

    package func fire() {
        fired.store(true, ordering: .releasing)
        // A full pipe is as readable as can be.
        var byte: UInt8 = 1
        _ = write(writingEnd, &byte, 1)
    }

    /// What a wait is for.
    package struct Readiness: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        package static let read = Readiness(rawValue: 1)
        package static let write = Readiness(rawValue: 2)
    }

    /// Blocks until one of `descriptors` is ready, hung up or failed.
    ///
    /// - Returns: the readiness of each descriptor in order; a hang-up or error counts as ready for whatever was asked.
    /// - Throws: `CancellationError` once fired, `DeadlineExceeded` once the deadline has passed.
    package func wait(
        for descriptors: [(descriptor: Int32, readiness: Readiness)], until deadline: Deadline, operation: @autoclosure () -> String
    ) throws -> [Readiness] {
        while true {
            if isFired { throw CancellationError() }
            var entries = descriptors.map { entry in
                var events: Int16 = 0
                if entry.readiness.contains(.read) { events |= Int16(POLLIN) }
                if entry.readiness.contains(.write) { events |= Int16(POLLOUT) }
                return pollfd(fd: entry.descriptor, events: events, revents: 0)
            }
            entries.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
            let count = poll(&entries, nfds_t(entries.count), deadline.remainingMilliseconds)
            if isFired { throw CancellationError() }
            if count < 0, errno != EINTR { throw SystemCallFailed("poll", errno: errno) }
            if count > 0 { return zip(descriptors, entries).map { ready($0.readiness, $1.revents) } }
            if deadline.hasPassed { throw DeadlineExceeded(operation()) }
        }
    }

    private func ready(_ wanted: Readiness, _ events: Int16) -> Readiness {
        if events & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 { return wanted }
        var result: Readiness = []
        if events & Int16(POLLIN) != 0 { result.insert(.read) }
        if events & Int16(POLLOUT) != 0 { result.insert(.write) }
        return result
    }
}

/// Runs `operation` with an interrupt that fires when the task is cancelled.
package func withInterrupt<Value>(
    isolation: isolated (any Actor)? = #isolation, _ operation: (Interrupt) async throws -> Value
) async throws -> Value {
    let interrupt = Interrupt()
    return try await withTaskCancellationHandler {
        try await operation(interrupt)
    } onCancel: {
        interrupt.fire()
    }
}

/// A call to the operating system failed in a way that no caller expects.
package struct SystemCallFailed: RepriseError {
    package let code = "io.system-call-failed"
    package let message: String
    package let number: Int32

    /// - Parameter call: the call and what it was about, for example `open /etc/hosts`.
    package init(_ call: String, errno number: Int32) {
        self.number = number
        message = "\(call) failed: \(String(cString: strerror(number)))"
    }
}
