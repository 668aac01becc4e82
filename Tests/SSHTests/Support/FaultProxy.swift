import Foundation
import Glibc
import LoopbackSSH
import Synchronization

/// A TCP proxy on loopback that can cut, stall and swallow connections. Every connection has two threads that copy.
final class FaultProxy: Sendable {
    let port: Int
    private let listener: Int32
    private let destination: Int
    private struct State {
        var isStalled = false
        var isClosed = false
        var sockets: [Int32] = []
        var accepted = 0
    }
    private let state = Mutex(State())

    init(to destination: Int) throws {
        self.destination = destination
        (listener, port) = try listenOnLoopback()
        Thread.detachNewThread { [self] in acceptAll() }
    }

    var acceptedConnections: Int { state.withLock { $0.accepted } }

    /// From now on nothing is forwarded, and nothing is closed: a black hole.
    func stall() { state.withLock { $0.isStalled = true } }
    func unstall() { state.withLock { $0.isStalled = false } }

    /// Ends all connections with RST on both sides.
    func reset() {
        state.withLock { state in
            for descriptor in state.sockets {
                var option = linger(l_onoff: 1, l_linger: 0)
                setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
                // Closing under the copying thread's hands would reuse the number: an RST is sent by shutdown and the last close.
                shutdown(descriptor, Int32(SHUT_RDWR))
            }
            state.sockets = []
        }
    }

    func close() {
        state.withLock { $0.isClosed = true }
        shutdown(listener, Int32(SHUT_RDWR))
        reset()
    }

    private func acceptAll() {
        while true {
            let inner = accept(listener, nil, nil)
            guard inner >= 0, !state.withLock({ $0.isClosed }) else { break }
            let outer = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard withLoopback(destination, { connect(outer, $0, $1) }) == 0 else {
                Glibc.close(inner)
                Glibc.close(outer)
                continue
            }
            state.withLock { state in
                state.sockets += [inner, outer]
                state.accepted += 1
            }
            let shared = Shared(inner: inner, outer: outer)
            Thread.detachNewThread { [self] in copy(inner, outer, shared) }
            Thread.detachNewThread { [self] in copy(outer, inner, shared) }
        }
        Glibc.close(listener)
    }

    private final class Shared: Sendable {
        let inner: Int32
        let outer: Int32
        let open = Mutex(2)
        init(inner: Int32, outer: Int32) { (self.inner, self.outer) = (inner, outer) }
    }

    private func copy(_ from: Int32, _ to: Int32, _ shared: Shared) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        copying: while true {
            let count = recv(from, &buffer, buffer.count, 0)
            while state.withLock({ $0.isStalled && !$0.isClosed }) { usleep(1000) }
            guard count > 0 else { break }
            var sent = 0
            while sent < count {
                let part = buffer.withUnsafeBytes { send(to, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL)) }
                guard part > 0 else { break copying }
                sent += part
            }
        }
        shutdown(to, Int32(SHUT_WR))
        let isLast = shared.open.withLock { open in
            open -= 1
            return open == 0
        }
        guard isLast else { return }
        state.withLock { $0.sockets.removeAll { $0 == shared.inner || $0 == shared.outer } }
        Glibc.close(shared.inner)
        Glibc.close(shared.outer)
    }
}
