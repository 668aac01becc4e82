internal import BlockingIO
internal import CLibSSH2
internal import Foundation
internal import RunCore

/// Public-key authentication with files, then with the agent's keys. Every key that was tried, and why it was of no use,
/// ends up in the error.
struct Authentication {
    let handshake: Handshake
    private var target: SSHTarget { handshake.target }
    private var session: OpaquePointer { handshake.session }

    init(handshake: Handshake) {
        self.handshake = handshake
    }

    func run() throws {
        if try methods() == nil { return }
        var attempts: [String] = []
        var hints: [String] = []
        var code = "auth-refused"
        for path in target.identityFiles {
            if try tryFile(path, &attempts, &hints, &code) { return }
        }
        if target.useAgent, try tryAgent(&attempts) { return }
        if attempts.isEmpty {
            attempts = ["no key: name one as ansible_ssh_private_key_file" + (target.useAgent ? "" : ", or allow the agent")]
        }
        if code == "auth-refused" {
            hints.append("check that the user is \(target.user), and that the public key is in that user's authorized_keys on \(target.name)")
        }
        throw SSHError(
            code, "\(target.name) (\(target.address)) refused the login as \(target.user); tried: \(attempts.joined(separator: "; "))", hints: hints)
    }

    /// The server's list of methods; nil where it wants none.
    private func methods() throws -> String? {
        var list: String?
        _ = try handshake.drive("authentication") {
            if let text = libssh2_userauth_list(session, target.user, UInt32(target.user.utf8.count)) {
                list = String(cString: text)
                return 0
            }
            return libssh2_session_last_errno(session)
        }
        if let list {
            guard list.contains("publickey") else {
                throw SSHError(
                    "auth-method-missing", "\(target.name) (\(target.address)) does not accept public keys for \(target.user), only: \(printable(list.utf8))",
                    hints: ["allow PubkeyAuthentication in the host's sshd_config"])
            }
            return list
        }
        if libssh2_userauth_authenticated(session) != 0 { return nil }
        throw SSHError(
            "connection-closed", "\(target.name) (\(target.address)) ended the connection before authentication: \(handshake.socket.ended ? handshake.socket.failureText : handshake.lastError())",
            hints: ["see the host's sshd log; AllowUsers, DenyUsers and MaxStartups end connections like this"], transient: true)
    }

    private func tryFile(_ path: String, _ attempts: inout [String], _ hints: inout [String], _ code: inout String) throws -> Bool {
        let file = IdentityFile(path: path)
        func skip(_ reason: String, _ newCode: String, _ hint: String) -> Bool {
            attempts.append("\(path): \(reason)")
            hints.append(hint)
            code = newCode
            return false
        }
        switch file.problem {
        case .missing: return skip("no such file", "key-missing", "check ansible_ssh_private_key_file")
        case .unreadable: return skip("not readable", "key-unreadable", "check who owns \(path)")
        case .notAKey: return skip("not a private key", "key-invalid", "name the private key file, not the .pub one")
        case .openToOthers(let mode):
            return skip(
                "readable by others (mode 0\(String(mode, radix: 8)))", "key-permissions", "chmod 600 \(shellQuoted(path))")
        case .encrypted:
            return skip(
                "protected by a passphrase", "key-encrypted", "add it to the agent first: ssh-add \(shellQuoted(path))")
        case nil: break
        }
        let result = try handshake.drive("authentication with \(path)") {
            libssh2_userauth_publickey_fromfile_ex(session, target.user, UInt32(target.user.utf8.count), nil, path, nil)
        }
        if result == 0 { return true }
        try stopIfCut()
        if file.keyType == "ssh-rsa", !librarySignsRSAWithSHA2 {
            return skip(
                "RSA key not accepted; libssh2 \(libraryVersion) signs RSA only with SHA-1", "key-rsa-unusable",
                "use an Ed25519 key (ssh-keygen -t ed25519), or libssh2 1.11 or later: OpenSSH 8.8 and later refuse RSA with SHA-1")
        }
        attempts.append("\(path) (\(file.keyType)): \(result == LIBSSH2_ERROR_FILE ? "cannot be used: \(handshake.lastError())" : "not accepted")")
        return false
    }

    /// After too many keys the server hangs up, which must not read as a lost network.
    private func stopIfCut() throws {
        guard handshake.socket.ended else { return }
        throw SSHError(
            "auth-cut", "\(target.name) (\(target.address)) ended the connection during authentication as \(target.user): \(handshake.socket.failureText)",
            hints: ["the server may limit the number of keys tried (MaxAuthTries): name the one key in the inventory"])
    }

    private func tryAgent(_ attempts: inout [String]) throws -> Bool {
        guard let path = target.agentSocket ?? ProcessInfo.processInfo.environment["SSH_AUTH_SOCK"], !path.isEmpty else {
            attempts.append("no agent (SSH_AUTH_SOCK is not set)")
            return false
        }
        guard let agent = libssh2_agent_init(session) else { return false }
        defer { libssh2_agent_free(agent) }
        libssh2_agent_set_identity_path(agent, path)
        guard libssh2_agent_connect(agent) == 0, libssh2_agent_list_identities(agent) == 0 else {
            attempts.append("the agent at \(path) does not answer")
            return false
        }
        defer { libssh2_agent_disconnect(agent) }
        var previous: UnsafeMutablePointer<libssh2_agent_publickey>?
        var current: UnsafeMutablePointer<libssh2_agent_publickey>?
        var count = 0
        while libssh2_agent_get_identity(agent, &current, previous) == 0, let identity = current {
            previous = identity
            count += 1
            let blob = Array(UnsafeBufferPointer(start: identity.pointee.blob, count: identity.pointee.blob_len))
            let result = try handshake.drive("authentication with the agent") {
                libssh2_agent_userauth(agent, target.user, identity)
            }
            if result == 0 { return true }
            try stopIfCut()
            attempts.append("agent key \(HostKey(blob: blob).fingerprint) (\(HostKey(blob: blob).type)): not accepted")
        }
        if count == 0 { attempts.append("the agent holds no keys") }
        return false
    }
}
