internal import BlockingIO
internal import Glibc
internal import RunCore

/// Dials each address of a host in turn. Blocks; for a thread of its own.
func connectTCP(to target: SSHTarget, deadline: Deadline, interrupt: Interrupt) throws -> Int32 {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_ADDRCONFIG
    var list: UnsafeMutablePointer<addrinfo>?
    var status = getaddrinfo(target.host, String(target.port), &hints, &list)
    if status != 0 {
        // Loopback addresses do not count as configured ones.
        hints.ai_flags = 0
        status = getaddrinfo(target.host, String(target.port), &hints, &list)
    }
    guard status == 0, let list else {
        throw SSHError(
            "name-not-resolved", "the address \(target.host) of \(target.name) does not resolve: \(String(cString: gai_strerror(status)))",
            hints: ["check ansible_host in the inventory and the resolver of this machine"], transient: status == EAI_AGAIN)
    }
    defer { freeaddrinfo(list) }
    var failures: [any Error] = []
    for address in sequence(first: list, next: { $0.pointee.ai_next }) {
        do {
            return try dial(address.pointee, target, deadline, interrupt)
        } catch let error as CancellationError {
            throw error
        } catch {
            failures.append(error)
        }
    }
    throw failures.first ?? SSHError("unreachable", "\(target.name) (\(target.address)) has no address")
}

private func dial(_ address: addrinfo, _ target: SSHTarget, _ deadline: Deadline, _ interrupt: Interrupt) throws -> Int32 {
    let descriptor = socket(address.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw SystemCallFailed("socket", errno: errno) }
    var succeeded = false
    defer { if !succeeded { close(descriptor) } }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    if connect(descriptor, address.ai_addr, address.ai_addrlen) != 0 {
        guard errno == EINPROGRESS else { throw refusal(errno, target) }
        do {
            _ = try interrupt.wait(for: [(descriptor, .write)], until: deadline, operation: "TCP")
        } catch is DeadlineExceeded {
            throw SSHError(
                "connect-timeout", "\(target.name) (\(target.address)) did not answer: no reply to the TCP connect",
                hints: ["check that the host is up, its address, and firewalls that drop packets"], transient: true)
        }
        var failure: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size)
        if failure != 0 { throw refusal(failure, target) }
    }
    succeeded = true
    return descriptor
}

private func refusal(_ number: Int32, _ target: SSHTarget) -> any Error {
    switch number {
    case ECONNREFUSED:
        SSHError(
            "connection-refused", "\(target.name) (\(target.address)) refused the connection: nothing listens there",
            hints: ["check the port, and that sshd runs on the host"], transient: true)
    default:
        SSHError(
            "unreachable", "\(target.name) (\(target.address)) cannot be reached: \(String(cString: strerror(number)))",
            hints: ["check the route and the firewall between here and the host"], transient: true)
    }
}
