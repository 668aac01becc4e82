import Foundation
import Glibc
import LoopbackSSH
import Synchronization

/// Sends a pattern through a unix socket from one thread and reads it back on this one. Blocks.
func echoThrough(_ path: String, byteCount: Int) throws -> (count: Int, isSame: Bool) {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard withUnixAddress(path, { connect(descriptor, $0, $1) }) == 0 else { throw TestFailure("cannot connect to \(path)") }
    defer { close(descriptor) }
    let block = (0..<65536).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
    // A number of its own: the other one may be closed, and used again, while this thread still sends.
    let sending = dup(descriptor)
    Thread.detachNewThread {
        defer { close(sending) }
        var left = byteCount
        while left > 0 {
            // The pattern restarts with each block, however the kernel cuts it.
            let offset = (byteCount - left) % block.count
            let count = block.withUnsafeBytes { send(sending, $0.baseAddress! + offset, min(left, $0.count - offset), Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            left -= count
        }
        shutdown(sending, Int32(SHUT_WR))
    }
    var received = 0
    var same = true
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let offset = received % block.count
        let count = recv(descriptor, &buffer, block.count - offset, 0)
        guard count > 0 else { break }
        same = same && buffer.withUnsafeBytes { buffer in block.withUnsafeBytes { memcmp(buffer.baseAddress!, $0.baseAddress! + offset, count) == 0 } }
        received += count
    }
    return (received, same && received == byteCount)
}

func withUnixAddress<Result>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
}

/// Sends back what it gets, on a unix socket and a TCP port.
final class EchoServer: Sendable {
    private let listeners: [Int32]

    /// Takes over `tcp`, which listens already.
    init(unixPath: String, tcp: Int32) throws {
        let unix = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard withUnixAddress(unixPath, { bind(unix, $0, $1) }) == 0, listen(unix, 64) == 0 else { throw TestFailure("cannot listen on \(unixPath)") }
        listeners = [unix, tcp]
        for listener in listeners {
            Thread.detachNewThread {
                while case let connection = accept(listener, nil, nil), connection >= 0 {
                    Thread.detachNewThread {
                        var buffer = [UInt8](repeating: 0, count: 65536)
                        while case let count = recv(connection, &buffer, buffer.count, 0), count > 0 {
                            var sent = 0
                            while sent < count {
                                let part = buffer.withUnsafeBytes { send(connection, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL)) }
                                guard part > 0 else { break }
                                sent += part
                            }
                        }
                        Glibc.close(connection)
                    }
                }
                Glibc.close(listener)
            }
        }
    }

    func close() { for listener in listeners { shutdown(listener, Int32(SHUT_RDWR)) } }
}

/// How many bytes a unix socket gives until its end. Blocks.
func countFrom(_ path: String) throws -> Int {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard withUnixAddress(path, { connect(descriptor, $0, $1) }) == 0 else { throw TestFailure("cannot connect to \(path)") }
    defer { close(descriptor) }
    var total = 0
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    while case let count = recv(descriptor, &buffer, buffer.count, 0), count > 0 { total += count }
    return total
}
