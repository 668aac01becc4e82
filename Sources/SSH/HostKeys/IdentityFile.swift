internal import Foundation

/// What can be told of a private key file without its passphrase.
struct IdentityFile {
    enum Problem: Equatable {
        case missing
        case unreadable
        /// Others can read it.
        case openToOthers(mode: Int)
        case encrypted
        case notAKey
    }

    let path: String
    private(set) var keyType = "unknown"
    private(set) var problem: Problem?

    init(path: String) {
        self.path = path
        var status = stat()
        guard stat(path, &status) == 0 else {
            problem = .missing
            return
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            problem = .unreadable
            return
        }
        let mode = Int(status.st_mode) & 0o777
        (keyType, problem) = Self.examine(String(decoding: data, as: UTF8.self))
        // As OpenSSH: it is the owner's own file that must be closed to others.
        if status.st_uid == getuid(), mode & 0o077 != 0 { problem = .openToOthers(mode: mode) }
    }

    static func examine(_ text: String) -> (String, Problem?) {
        let lines = text.split(whereSeparator: \.isNewline)
        guard let begin = lines.firstIndex(where: { $0.hasPrefix("-----BEGIN ") && $0.contains("PRIVATE KEY-----") }) else {
            return ("unknown", .notAKey)
        }
        if lines[begin].contains("OPENSSH") {
            let body = lines[(begin + 1)...].prefix { !$0.hasPrefix("-----END") }.joined()
            guard let data = Data(base64Encoded: body) else { return ("unknown", .notAKey) }
            return examineOpenSSH(Array(data))
        }
        let type = lines[begin].contains("RSA") ? "ssh-rsa" : lines[begin].contains("EC ") ? "ecdsa" : "unknown"
        let isEncrypted = lines[begin].contains("ENCRYPTED") || lines.contains { $0.hasPrefix("Proc-Type:") && $0.contains("ENCRYPTED") }
        return (type, isEncrypted ? .encrypted : nil)
    }

    /// The header of the format described in OpenSSH's PROTOCOL.key: magic, cipher, kdf, options, count, public key.
    private static func examineOpenSSH(_ bytes: [UInt8]) -> (String, Problem?) {
        let magic = Array("openssh-key-v1".utf8) + [0]
        guard bytes.starts(with: magic) else { return ("unknown", .notAKey) }
        var position = magic.count
        func string() -> [UInt8]? {
            guard bytes.count >= position + 4 else { return nil }
            let length = bytes[position..<(position + 4)].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - position - 4 else { return nil }
            defer { position += 4 + length }
            return Array(bytes[(position + 4)..<(position + 4 + length)])
        }
        guard let cipher = string(), string() != nil, string() != nil else { return ("unknown", .notAKey) }
        position += 4
        guard let publicKey = string() else { return ("unknown", .notAKey) }
        return (HostKey(blob: publicKey).type, cipher == Array("none".utf8) ? nil : .encrypted)
    }
}
