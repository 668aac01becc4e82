internal import BlockingIO
internal import CLibSSH2
internal import Glibc
internal import RunCore

/// `libssh2_init` is not thread-safe; a global's initializer runs once.
let libraryIsReady: Bool = {
    _ = signal(SIGPIPE, SIG_IGN)
    keepCryptographyUntilTheEnd()
    return libssh2_init(0) == 0
}()

/// Call this first in `main`, before anything else that uses OpenSSL. Idempotent; `SSHSession.connect` does it otherwise.
package func prepareSSH() { _ = libraryIsReady }

/// OpenSSL frees its locks when the process exits, under the hands of session threads that still run. What initializes it first
/// decides; the symbol is looked up because libssh2 may be built on another library.
private func keepCryptographyUntilTheEnd() {
    typealias Initialize = @convention(c) (UInt64, OpaquePointer?) -> Int32
    guard let symbol = dlsym(nil, "OPENSSL_init_crypto") else { return }
    let withoutExitHandler: UInt64 = 0x0008_0000
    _ = unsafeBitCast(symbol, to: Initialize.self)(withoutExitHandler, nil)
}

/// The first steps of a session: key exchange, host key, authentication. Blocks; runs on the session's thread.
struct Handshake {
    let target: SSHTarget
    let session: OpaquePointer
    let socket: SessionSocket
    let deadline: Deadline
    let interrupt: Interrupt

    /// Makes the session; the caller owns it, and frees it also where a later step fails.
    static func makeSession(_ socket: SessionSocket) throws -> OpaquePointer {
        guard libraryIsReady,
            let session = libssh2_session_init_ex(nil, nil, nil, Unmanaged.passUnretained(socket).toOpaque())
        else { throw SSHError("library", "libssh2 cannot be initialized", exitStatus: .failed) }
        libssh2_session_set_blocking(session, 0)
        socket.attach(to: session)
        return session
    }

    /// Repeats `call` until it is done. Input is waited for as libssh2 asks; output is flushed from our own buffer.
    func drive(_ what: String, _ call: () -> Int32) throws -> Int32 {
        while true {
            let result = call()
            socket.flush()
            guard result == LIBSSH2_ERROR_EAGAIN else { return result }
            do {
                let wanted: Interrupt.Readiness = socket.unsentBytes > 0 ? [.read, .write] : .read
                let ready = try interrupt.wait(for: [(socket.descriptor, wanted)], until: deadline, operation: what)
                if ready[0].contains(.read) { socket.inputIsReady() }
            } catch is DeadlineExceeded {
                throw SSHError(
                    "handshake-timeout", "\(target.name) (\(target.address)) accepted the connection and then fell silent during \(what)",
                    hints: ["check that the port belongs to sshd, and that the host is not out of memory or processes"], transient: true)
            }
        }
    }

    /// - Returns: the host's key, which was found in known_hosts.
    func run(knownHosts: KnownHosts) throws -> HostKey {
        try prefer(knownHosts)
        let result = try drive("the key exchange") { libssh2_session_handshake(session, socket.descriptor) }
        guard result == 0 else { throw exchangeFailure(result, knownHosts) }
        var length = 0
        var type: Int32 = 0
        guard let pointer = libssh2_session_hostkey(session, &length, &type) else {
            throw SSHError("host-key-missing", "\(target.name) (\(target.address)) sent no host key")
        }
        let key = HostKey(blob: pointer.withMemoryRebound(to: UInt8.self, capacity: length) {
            Array(UnsafeBufferPointer(start: $0, count: length))
        })
        try checkHostKey(key, target: target, knownHosts: knownHosts)
        try Authentication(handshake: self).run()
        return key
    }

    private func supported(_ method: Int32) -> [String] {
        var names: UnsafeMutablePointer<UnsafePointer<CChar>?>?
        let count = libssh2_session_supported_algs(session, method, &names)
        guard count > 0, let names else { return [] }
        defer { libssh2_free(session, names) }
        return (0..<Int(count)).compactMap { names[$0].map { String(cString: $0) } }
    }

    private func prefer(_ knownHosts: KnownHosts) throws {
        let keys = knownHosts.preferredAlgorithms(
            host: target.host, port: target.port, supported: supported(LIBSSH2_METHOD_HOSTKEY))
        libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, keys.joined(separator: ","))
        // Counter mode with AES in hardware is the fastest that 1.10 has; the rest stays as a fallback.
        for method in [LIBSSH2_METHOD_CRYPT_CS, LIBSSH2_METHOD_CRYPT_SC] {
            let ciphers = supported(method)
            let first = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr"]
                .filter(ciphers.contains)
            // CBC modes and older ciphers are not offered at all.
            if !first.isEmpty { libssh2_session_method_pref(session, method, first.joined(separator: ",")) }
        }
        for method in [LIBSSH2_METHOD_MAC_CS, LIBSSH2_METHOD_MAC_SC] {
            let codes = supported(method).filter { $0.hasPrefix("hmac-sha2-") }
            if !codes.isEmpty { libssh2_session_method_pref(session, method, codes.joined(separator: ",")) }
        }
    }

    private func exchangeFailure(_ result: Int32, _ knownHosts: KnownHosts) -> SSHError {
        if socket.ended {
            return SSHError(
                "connection-closed", "\(target.name) (\(target.address)) closed the connection during the key exchange: \(socket.failureText)",
                hints: ["see the host's sshd log; MaxStartups, tcp wrappers and an exhausted host close connections like this"], transient: true)
        }
        let banner = libssh2_session_banner_get(session).map { " (server: \(printable(String(cString: $0).utf8, limit: 80)))" } ?? ""
        if [LIBSSH2_ERROR_KEX_FAILURE, LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE, LIBSSH2_ERROR_METHOD_NONE].contains(result) {
            let known = knownHosts.knownTypes(host: target.host, port: target.port)
            return SSHError(
                "no-common-algorithm", "no common algorithm with \(target.name) (\(target.address))\(banner): \(lastError())",
                hints: [
                    "this libssh2 (\(libraryVersion)) offers: host keys \(supported(LIBSSH2_METHOD_HOSTKEY).joined(separator: " ")); key exchange \(supported(LIBSSH2_METHOD_KEX).joined(separator: " ")); MACs \(supported(LIBSSH2_METHOD_MAC_CS).joined(separator: " "))",
                    known == ["ssh-rsa"]
                        ? "only an RSA key is known for the host: add its Ed25519 key (ssh-keyscan -t ed25519 -p \(target.port) \(shellQuoted(target.host)), compared with the host's console)"
                        : "give the host an Ed25519 or ECDSA key and allow aes128-ctr with hmac-sha2-256 in its sshd_config",
                ])
        }
        return SSHError(
            "handshake-failed", "the key exchange with \(target.name) (\(target.address)) failed: \(lastError())\(banner)",
            hints: ["check that the port belongs to an SSH server"])
    }

    func lastError() -> String {
        var text: UnsafeMutablePointer<CChar>?
        var length: Int32 = 0
        libssh2_session_last_error(session, &text, &length, 0)
        guard let text, length > 0 else { return "no reason given" }
        return printable(UnsafeRawBufferPointer(start: text, count: Int(length)))
    }
}

var libraryVersion: String { libssh2_version(0).map { String(cString: $0) } ?? "unknown" }

/// libssh2 signs with RSA keys by SHA-2 since 1.11; servers since OpenSSH 8.8 accept nothing older.
var librarySignsRSAWithSHA2: Bool { libssh2_version(0x01_0b_00) != nil }
