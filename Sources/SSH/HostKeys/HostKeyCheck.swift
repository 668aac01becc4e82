internal import RunCore

/// Turns the verdict on a host key into the error that a person reads, or nothing.
func checkHostKey(_ key: HostKey, target: SSHTarget, knownHosts: KnownHosts) throws {
    let place = KnownHosts.name(host: target.host, port: target.port)
    let file = target.knownHostsFiles.first ?? "~/.ssh/known_hosts"
    switch knownHosts.verdict(host: target.host, port: target.port, key: key.blob) {
    case .known:
        return
    case .revoked(let entry):
        throw SSHError(
            "host-key-revoked",
            "\(target.name) (\(place)) presented the \(key.type) key \(key.fingerprint), which \(entry.file):\(entry.line) marks as revoked",
            hints: ["do not connect: whoever answers holds a key that was withdrawn", "find out who runs this address now"])
    case .changed(let entries):
        let known = entries.map { "\($0.keyType) \(HostKey.fingerprint(of: $0.key)) (\($0.file):\($0.line))" }
        throw SSHError(
            "host-key-changed",
            "the host key of \(target.name) (\(place)) is not the known one: known \(known.joined(separator: ", ")); presented \(key.type) \(key.fingerprint)",
            hints: [
                "somebody may be in the middle: compare the presented fingerprint with the host's console (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub)",
                target.hostKeys == nil
                    ? "if the host was rebuilt: ssh-keygen -R \(shellQuoted(place)) -f \(shellQuoted(file)), then add the new key"
                    : "if the host was rebuilt since this run made it, start a new run",
            ])
    case .certificateAuthorityOnly(let entry):
        throw SSHError(
            "host-certificate-unsupported",
            "\(target.name) (\(place)) is known only through @cert-authority (\(entry.file):\(entry.line)), and host certificates are not supported",
            hints: [
                "add the host's own key, presented as \(key.type) \(key.fingerprint), after comparing it: \(addCommand(target, key, file))"
            ])
    case .unknown:
        throw SSHError(
            "host-key-unknown",
            "the host key of \(target.name) (\(place)) is not known: presented \(key.type) \(key.fingerprint)",
            hints: [
                "compare the fingerprint with the host's console (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub)",
                "then add it: \(addCommand(target, key, file))",
            ])
    }
}

/// The exact line for known_hosts, so that what is added is what was compared, not what answers next time.
private func addCommand(_ target: SSHTarget, _ key: HostKey, _ file: String) -> String {
    let line = "\(KnownHosts.name(host: target.host, port: target.port)) \(key.type) \(base64(key.blob))"
    return "echo \(shellQuoted(line)) >> \(shellQuoted(file))"
}
