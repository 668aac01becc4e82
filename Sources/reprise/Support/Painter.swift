internal import Foundation
internal import Reporting
internal import Synchronization

/// Writes what a live view has to show, on a thread of its own: a terminal that is held up holds up nothing else.
final class Painter: Sendable {
    private let view: LiveView
    private let stopped = Mutex(false)
    private let ended = DispatchSemaphore(value: 0)

    init(_ view: LiveView) {
        self.view = view
    }

    func start() {
        let thread = Thread { [self] in
            while !stopped.withLock({ $0 }) {
                Console.write(view.paint(width: Console.width))
                // What is new is shown at the latest after this time; a terminal's wheel turns with it.
                Thread.sleep(forTimeInterval: 0.1)
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
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                self.ended.wait()
                continuation.resume()
            }
        }
    }
}
