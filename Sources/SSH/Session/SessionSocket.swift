internal import CLibSSH2
internal import Glibc

/// The socket of one session, with buffers of our own between it and libssh2.
///
/// libssh2 keeps a packet that the kernel took only in part, and until it is gone refuses every other call that sends, with
/// an error that breaks the session; with several channels that trap is everywhere. So outgoing bytes are always accepted
/// here and flushed when the socket takes them, and libssh2 only ever waits for input. Reads are large, so that a stream
/// does not cost a system call for every packet. Only touched on the session's thread.
final class SessionSocket {
    let descriptor: Int32
    private var outgoing: [UInt8] = []
    private var sent = 0
    private let incoming = ByteQueue(capacity: 512 * 1024)
    /// False from the moment at which the kernel had nothing more until `poll` says otherwise.
    private(set) var mayHaveInput = true
    private(set) var lastHeard = ContinuousClock.now
    private(set) var ended = false
    private(set) var failure: Int32 = 0

    /// Takes over `descriptor`, which must be non-blocking, and closes it.
    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    var unsentBytes: Int { outgoing.count - sent }
    /// Why the connection is gone, in words.
    var failureText: String {
        failure != 0 ? String(cString: strerror(failure)) : "the other side closed the connection"
    }

    func inputIsReady() { mayHaveInput = true }

    /// Takes in what has arrived although nobody reads just now: a keepalive's answer is a sign of life, and input that is
    /// left in the kernel would end every `poll` at once.
    /// - Returns: whether there is something new.
    func takeIn() -> Bool {
        let before = incoming.count
        if mayHaveInput, incoming.room > 0 { receive() }
        return incoming.count > before
    }

    /// Whether `poll` is to watch for input.
    var wantsInput: Bool { !ended && incoming.room > 0 }

    /// From now on libssh2 sees a closed connection; for freeing a session without waiting.
    func abandon() {
        ended = true
        outgoing = []
        sent = 0
        _ = shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Hands the kernel what it takes.
    func flush() {
        while sent < outgoing.count, !ended {
            let count = outgoing.withUnsafeBytes { send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL)) }
            if count < 0 {
                if errno == EINTR { continue }
                if errno != EAGAIN { fail(errno) }
                return
            }
            sent += count
        }
        if sent == outgoing.count {
            outgoing.removeAll(keepingCapacity: outgoing.capacity < 4 << 20)
            sent = 0
        }
    }

    private func fail(_ number: Int32) {
        failure = number
        ended = true
    }

    fileprivate func accept(_ bytes: UnsafeRawBufferPointer) -> Int {
        if ended { return failure == 0 ? bytes.count : Int(-failure) }
        // A large packet that nothing waits before needs no copy.
        let handed = unsentBytes == 0 && bytes.count >= 16 << 10 ? max(0, send(descriptor, bytes.baseAddress!, bytes.count, Int32(MSG_NOSIGNAL))) : 0
        if sent > 1 << 20 {
            outgoing.removeFirst(sent)
            sent = 0
        }
        outgoing.append(contentsOf: bytes[handed...])
        return bytes.count
    }

    fileprivate func provide(_ target: UnsafeMutableRawBufferPointer) -> Int {
        if incoming.isEmpty { receive() }
        if incoming.isEmpty {
            if failure != 0 { return Int(-failure) }
            return ended ? 0 : Int(-EAGAIN)
        }
        return incoming.drain { bytes in
            let count = min(bytes.count, target.count)
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
            return count
        }
    }

    private func receive() {
        guard mayHaveInput, !ended else { return }
        let count = incoming.fill { free in
            while true {
                let count = recv(descriptor, free.baseAddress!, free.count, 0)
                if count < 0 {
                    if errno == EINTR { continue }
                    if errno == EAGAIN { mayHaveInput = false } else { fail(errno) }
                }
                if count == 0 { ended = true }
                return count
            }
        }
        if count > 0 { lastHeard = .now }
    }

    /// Makes `session`, whose abstract pointer must be this object, use the buffers.
    func attach(to session: OpaquePointer) {
        let send: SendCallback = { descriptor, bytes, count, _, abstract in
            sendFromLibrary(descriptor, bytes, count, abstract)
        }
        let receive: ReceiveCallback = { descriptor, bytes, count, _, abstract in
            receiveForLibrary(descriptor, bytes, count, abstract)
        }
        libssh2_session_callback_set(session, LIBSSH2_CALLBACK_SEND, unsafeBitCast(send, to: UnsafeMutableRawPointer.self))
        libssh2_session_callback_set(session, LIBSSH2_CALLBACK_RECV, unsafeBitCast(receive, to: UnsafeMutableRawPointer.self))
    }
}

private typealias Abstract = UnsafeMutablePointer<UnsafeMutableRawPointer?>?
private typealias SendCallback = @convention(c) (Int32, UnsafeRawPointer?, Int, Int32, Abstract) -> Int
private typealias ReceiveCallback = @convention(c) (Int32, UnsafeMutableRawPointer?, Int, Int32, Abstract) -> Int

private func socket(of abstract: Abstract) -> SessionSocket? {
    guard let pointer = abstract?.pointee else { return nil }
    return Unmanaged<SessionSocket>.fromOpaque(pointer).takeUnretainedValue()
}

private func sendFromLibrary(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ abstract: Abstract) -> Int {
    if let owner = socket(of: abstract), owner.descriptor == descriptor {
        return owner.accept(UnsafeRawBufferPointer(start: bytes, count: count))
    }
    // The agent's socket goes through the session's callbacks as well.
    guard agentIsReady(descriptor, Int16(POLLOUT)) else { return Int(-ETIMEDOUT) }
    let result = send(descriptor, bytes, count, Int32(MSG_NOSIGNAL))
    return result < 0 ? Int(-errno) : result
}

private func receiveForLibrary(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ abstract: Abstract) -> Int {
    if let owner = socket(of: abstract), owner.descriptor == descriptor {
        return owner.provide(UnsafeMutableRawBufferPointer(start: bytes, count: count))
    }
    guard agentIsReady(descriptor, Int16(POLLIN)) else { return Int(-ETIMEDOUT) }
    let result = recv(descriptor, bytes, count, 0)
    return result < 0 ? Int(-errno) : result
}

/// An agent that asks a person for confirmation must not hold the session for ever.
private func agentIsReady(_ descriptor: Int32, _ events: Int16) -> Bool {
    var entry = pollfd(fd: descriptor, events: events, revents: 0)
    return poll(&entry, 1, 10_000) > 0
}
