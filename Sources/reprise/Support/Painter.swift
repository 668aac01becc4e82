internal import Foundation
internal import Reporting
internal import Synchronization

/// Writes what a live view has to show, on a thread of its own: a terminal that is held up holds up nothing else.
final class Painter: Sendable {
    private let view: LiveView
    private let stopped = Mutex(false)
    private let stopping = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)

    init(_ view: LiveView) {
        self.view = view
    }

    func start() {
        let thread = Thread { [self] in
            while !stopped.withLock({ $0 }) {
                Console.write(view.paint(width: Console.width))
                // What is new is shown at the latest after this time; a terminal's wheel turns with it.
                _ = stopping.wait(timeout: .now() + .milliseconds(100))
            }
            Console.write(view.finish())
            ended.signal()
        }
        thread.name = "painter"
        thread.start()
    }

    /// Shows the last lines and takes the bottom ones away. Returns when that is written.
    func stop() async {
        stopped.withLock { $0 = true }
        // Whoever waits for the end of a run does not wait for the next turn of the wheel.
        stopping.signal()
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                self.ended.wait()
                continuation.resume()
            }
        }
    }
}
