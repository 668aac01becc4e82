internal import Crypto
internal import Foundation
internal import RunCore

/// The entries of known_hosts files, read the way `sshd(8)` describes under SSH_KNOWN_HOSTS FILE FORMAT.
///
/// libssh2's own reader ignores `@revoked` and `@cert-authority`, and cannot say which key types are known for a host.
struct KnownHosts {
    enum Marker { case none, revoked, certificateAuthority }

    struct Entry {
        let marker: Marker
        let patterns: [String]
        let keyType: String
        let key: [UInt8]
        let file: String
        let line: Int
    }

    enum Verdict {
        case known
        /// The very key is marked `@revoked`.
        case revoked(Entry)
        /// Other keys are known for the host, this one is not.
        case changed([Entry])
        /// Only a certificate authority is known for the host, which cannot be honoured.
        case certificateAuthorityOnly(Entry)
        case unknown
    }

    private(set) var entries: [Entry] = []

    init() {}

    /// What is known of a host: from its files, or the keys that it was made with and nothing else.
    init(of target: SSHTarget) throws {
        try self.init(files: target.hostKeys == nil ? target.knownHostsFiles : [])
        guard let keys = target.hostKeys else { return }
        let place = Self.name(host: target.host, port: target.port)
        add(text: keys.map { "\(place) \($0)\n" }.joined(), file: "the keys that \(target.name) was made with")
    }

    /// Reads the files in order. One that does not exist is skipped; one that cannot be read is an error.
    init(files: [String]) throws {
        for file in files {
            guard FileManager.default.fileExists(atPath: file) else { continue }
            guard let handle = FileHandle(forReadingAtPath: file), let data = try? handle.readToEnd() ?? Data() else {
                throw SSHError(
                    "known-hosts-unreadable", "\(file) cannot be read", hints: ["check its permissions"], exitStatus: .usage)
            }
            add(text: String(decoding: data, as: UTF8.self), file: file)
        }
    }

    mutating func add(text: String, file: String) {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if let entry = Self.parse(line, file: file, line: index + 1) { entries.append(entry) }
        }
    }

    private static func parse(_ line: Substring, file: String, line number: Int) -> Entry? {
        var words = line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\r" }).map(String.init)
        guard let first = words.first, !first.hasPrefix("#") else { return nil }
        var marker = Marker.none
        if first.hasPrefix("@") {
            switch first {
            case "@revoked": marker = .revoked
            case "@cert-authority": marker = .certificateAuthority
            default: return nil
            }
            words.removeFirst()
        }
        guard words.count >= 3, let key = Data(base64Encoded: words[2]) else { return nil }
        return Entry(
            marker: marker, patterns: words[0].split(separator: ",").map(String.init), keyType: words[1], key: Array(key),
            file: file, line: number)
    }

    /// The name under which OpenSSH files a host: `[host]:port` unless the port is 22.
    static func name(host: String, port: Int) -> String {
        port == 22 ? host.lowercased() : "[\(host.lowercased())]:\(port)"
    }

    private func matching(host: String, port: Int) -> [Entry] {
        let name = Self.name(host: host, port: port)
        return entries.filter { Self.matches($0.patterns, name: name) }
    }

    static func matches(_ patterns: [String], name: String) -> Bool {
        var found = false
        for pattern in patterns {
            if pattern.hasPrefix("|1|") {
                if matchesHash(pattern, name: name) { found = true }
            } else if pattern.hasPrefix("!") {
                if glob(Array(pattern.dropFirst().lowercased().utf8), Array(name.utf8)) { return false }
            } else if glob(Array(pattern.lowercased().utf8), Array(name.utf8)) {
                found = true
            }
        }
        return found
    }

    /// `|1|base64(salt)|base64(HMAC-SHA1(salt, name))`
    private static func matchesHash(_ pattern: String, name: String) -> Bool {
        let parts = pattern.split(separator: "|")
        guard parts.count == 3, let salt = Data(base64Encoded: String(parts[1])), let hash = Data(base64Encoded: String(parts[2]))
        else { return false }
        return HMAC<Insecure.SHA1>.isValidAuthenticationCode(hash, authenticating: Data(name.utf8), using: SymmetricKey(data: salt))
    }

    /// `*` and `?`, iteratively: the last star is the only point of return.
    private static func glob(_ pattern: [UInt8], _ text: [UInt8]) -> Bool {
        var p = 0, t = 0, star = -1, mark = 0
        while t < text.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                (star, mark, p) = (p, t, p + 1)
            } else if p < pattern.count, pattern[p] == UInt8(ascii: "?") || pattern[p] == text[t] {
                p += 1
                t += 1
            } else if star >= 0 {
                mark += 1
                (p, t) = (star + 1, mark)
            } else {
                return false
            }
        }
        while p < pattern.count, pattern[p] == UInt8(ascii: "*") { p += 1 }
        return p == pattern.count
    }

    func verdict(host: String, port: Int, key: [UInt8]) -> Verdict {
        let candidates = matching(host: host, port: port)
        if let entry = candidates.first(where: { $0.marker == .revoked && $0.key == key }) { return .revoked(entry) }
        let plain = candidates.filter { $0.marker == .none }
        if plain.contains(where: { $0.key == key }) { return .known }
        if !plain.isEmpty { return .changed(plain) }
        if let authority = candidates.first(where: { $0.marker == .certificateAuthority }) {
            return .certificateAuthorityOnly(authority)
        }
        return .unknown
    }

    /// Host-key algorithms with those that are known for the host first: libssh2 would otherwise negotiate ECDSA with a host
    /// whose Ed25519 key is known, which looks like a changed key.
    func preferredAlgorithms(host: String, port: Int, supported: [String]) -> [String] {
        let known = Set(matching(host: host, port: port).filter { $0.marker == .none }.map(\.keyType))
        func isKnown(_ algorithm: String) -> Bool {
            known.contains(algorithm) || (algorithm.hasPrefix("rsa-sha2-") && known.contains("ssh-rsa"))
        }
        return supported.filter(isKnown) + supported.filter { !isKnown($0) }
    }

    func knownTypes(host: String, port: Int) -> [String] {
        Set(matching(host: host, port: port).filter { $0.marker == .none }.map(\.keyType)).sorted()
    }
}

/// A host key as the server sends it: its type and OpenSSH's fingerprint.
struct HostKey {
    let blob: [UInt8]

    /// The first string of the blob (RFC 4253, section 6.6), such as `ssh-ed25519`.
    var type: String {
        guard blob.count > 4 else { return "unknown" }
        let length = blob.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard length <= 64, blob.count >= 4 + length else { return "unknown" }
        return String(decoding: blob[4..<(4 + length)], as: UTF8.self)
    }

    /// `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it.
    var fingerprint: String { Self.fingerprint(of: blob) }

    static func fingerprint(of blob: [UInt8]) -> String {
        let digest = Data(SHA256.hash(data: blob)).base64EncodedString()
        return "SHA256:" + digest.prefix { $0 != "=" }
    }
}

func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
