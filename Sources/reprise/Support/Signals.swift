internal import Dispatch
internal import Glibc
internal import Synchronization

/// Ctrl-C and SIGTERM: the first lets go of the run, the second ends the process at once.
final class Signals: Sendable {
    private let handler = Mutex<(@Sendable () -> Void)?>(nil)
    private let count = Mutex(0)
    /// Only keeps them alive: set once in `init`, never read.
    private nonisolated(unsafe) var sources: [any DispatchSourceSignal] = []

    /// Takes the signals over for the rest of the process's life.
    static let shared = Signals()

    private init() {
        let queue = DispatchQueue(label: "signals")
        for number in [SIGINT, SIGTERM, SIGHUP] {
            // The source sees a signal only where its default action is out of the way.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { [weak self] in self?.received() }
            source.resume()
            sources.append(source)
        }
    }

    /// What the next first signal does; nil: it ends the process.
    func onSignal(_ body: (@Sendable () -> Void)?) {
        handler.withLock { $0 = body }
    }

    private func received() {
        let isFirst = count.withLock { count in
            count += 1
            return count == 1
        }
        guard isFirst, let body = handler.withLock({ $0 }) else { _exit(130) }
        body()
    }
}
