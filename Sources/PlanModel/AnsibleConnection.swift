/// Reads Ansible's connection variables of one host into what Reprise's own SSH does, and names what it cannot honour.
struct AnsibleConnection {
    private(set) var warnings: [Diagnostic] = []
    private var obstacles: [Diagnostic] = []

    private static let secrets: Set<String> = [
        "ansible_password", "ansible_pass", "ansible_ssh_pass", "ansible_ssh_password", "ansible_sshpass",
        "ansible_become_pass",
        "ansible_become_password", "ansible_sudo_pass", "ansible_su_pass", "ansible_ssh_private_key_passphrase",
        "ansible_private_key_passphrase",
    ]
    /// They tune how Ansible's own client works and change nothing here.
    private static let harmless: Set<String> = [
        "ansible_group_priority", "ansible_python_interpreter", "ansible_ssh_pipelining", "ansible_pipelining",
        "ansible_remote_tmp",
        "ansible_ssh_retries", "ansible_ssh_timeout", "ansible_timeout", "ansible_connect_timeout",
        "ansible_command_timeout",
        "ansible_ssh_transfer_method", "ansible_scp_if_ssh", "ansible_sftp_batch_mode", "ansible_ssh_control_path",
        "ansible_control_path", "ansible_control_path_dir", "ansible_facts",
    ]
    private static let honoured: Set<String> = [
        "ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port", "ansible_user", "ansible_ssh_user",
        "ansible_ssh_private_key_file", "ansible_private_key_file", "ansible_become", "ansible_become_user",
        "ansible_become_method", "ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args",
        "ansible_connection",
    ]
    private static let named: Set<String> = [
        "ansible_shell_type", "ansible_shell_executable", "ansible_become_exe", "ansible_become_flags",
        "ansible_ssh_executable",
        "ansible_scp_extra_args", "ansible_sftp_extra_args", "ansible_host_key_checking",
        "ansible_ssh_host_key_checking",
    ]

    static func isConnectionKey(_ key: String) -> Bool {
        secrets.contains(key) || honoured.contains(key) || named.contains(key) || harmless.contains(key)
    }

    /// "a template", "a !vault value" where a value is only readable by Ansible; nil where it is plain.
    static func unreadable(_ located: Located) -> String? {
        switch located.value {
        case .string(let text): text.contains("{{") || text.contains("{%") ? "a template" : nil
        case .opaque(let tag): "a \(printable(tag, limit: 40)) value"
        case .list(let items): items.lazy.compactMap { unreadable($0) }.first
        case .map(let entries): entries.lazy.compactMap { unreadable($0.value) }.first
        case .integer, .double, .boolean, .null: nil
        }
    }

    mutating func apply(to host: inout Host) {
        for entry in host.variables where Self.isConnectionKey(entry.key) && !Self.harmless.contains(entry.key) {
            if Self.secrets.contains(entry.key) {
                refuseSecret(entry)
            } else if let reason = Self.unreadable(entry.value) {
                obstacle(entry, "`\(entry.key)` holds \(reason)", ["write the value itself"])
            } else if Self.named.contains(entry.key) {
                nameUnhonoured(entry)
            } else {
                honour(entry, &host)
            }
        }
        host.obstacles = obstacles
    }

    private mutating func obstacle(
        _ entry: MapEntry, _ message: String, _ hints: [String] = [], hidesSource: Bool = false
    ) {
        obstacles.append(
            Diagnostic(
                .warning, at: entry.value.mark, code: "inventory.unusable-host", message, hints: hints,
                hidesSource: hidesSource))
    }

    private mutating func warn(_ entry: MapEntry, _ message: String, _ hints: [String] = []) {
        warnings.append(
            Diagnostic(.warning, at: entry.value.mark, code: "inventory.not-honoured", message, hints: hints))
    }

    private mutating func refuseSecret(_ entry: MapEntry) {
        let isSudo = entry.key.contains("become") || entry.key.contains("su")
        obstacle(
            entry, "`\(entry.key)`: Reprise uses no passwords \(isSudo ? "for sudo" : "for SSH")",
            isSudo
                ? ["let the login use `sudo -n` without a password, and remove the variable"]
                : ["use a key (`ansible_ssh_private_key_file`), and remove the variable"],
            hidesSource: true)
    }

    private mutating func nameUnhonoured(_ entry: MapEntry) {
        switch (entry.key, entry.value.value) {
        case ("ansible_shell_type", .string("sh")), ("ansible_shell_executable", .string("/bin/sh")),
            ("ansible_become_flags", .string("")), ("ansible_become_exe", .string("sudo")):
            return
        case ("ansible_shell_type", _): obstacle(entry, "`ansible_shell_type`: only POSIX shells are supported")
        case ("ansible_host_key_checking", _), ("ansible_ssh_host_key_checking", _):
            if Self.isTrue(entry.value.value) != true { warn(entry, "`\(entry.key)`: host keys are always checked") }
        default: warn(entry, "`\(entry.key)` is not honoured")
        }
    }

    private mutating func honour(_ entry: MapEntry, _ host: inout Host) {
        let text = entry.value.value.string
        switch entry.key {
        case "ansible_host", "ansible_ssh_host":
            if let text, Name.isAddress(text) { host.address = text } else { wrong(entry, "a host name or address") }
        case "ansible_port", "ansible_ssh_port":
            let port = entry.value.value.integer ?? text.flatMap { Int($0) }
            if let port, (1...65535).contains(port) { host.port = port } else { wrong(entry, "a port number") }
        case "ansible_user", "ansible_ssh_user":
            if let text, Name.isAccount(text) { host.user = text } else { wrong(entry, "a login name") }
        case "ansible_ssh_private_key_file", "ansible_private_key_file":
            if let text, Name.isPath(text) {
                host.identityFile = text
            } else {
                wrong(entry, "an absolute path, or one under ~/")
            }
        case "ansible_become":
            if let flag = Self.isTrue(entry.value.value) { host.become = flag } else { wrong(entry, "true or false") }
        case "ansible_become_user":
            if text != "root" {
                obstacle(
                    entry, "`ansible_become_user`: Reprise becomes root only", ["a step's own `as:` names another user"]
                )
            }
        case "ansible_become_method":
            if text != "sudo" { obstacle(entry, "`ansible_become_method`: only sudo is supported") }
        case "ansible_connection":
            if !["ssh", "smart", "paramiko", "paramiko_ssh", "libssh", "ansible.builtin.ssh"].contains(text) {
                obstacle(
                    entry, "`ansible_connection`: Reprise reaches hosts over SSH only, found \(found(entry.value))")
            }
        default: readArguments(entry, &host)
        }
    }

    private mutating func wrong(_ entry: MapEntry, _ expected: String) {
        obstacle(entry, "`\(entry.key)`: expected \(expected), found \(found(entry.value))")
    }

    /// What Ansible takes for true and false.
    private static func isTrue(_ value: PlanValue) -> Bool? {
        switch value {
        case .boolean(let flag): flag
        case .integer(1): true
        case .integer(0): false
        case .string(let text):
            switch text.lowercased() {
            case "true", "yes", "on", "y", "t", "1": true
            case "false", "no", "off", "n", "f", "0": false
            default: nil
            }
        default: nil
        }
    }

    // MARK: - Arguments of ssh

    private mutating func readArguments(_ entry: MapEntry, _ host: inout Host) {
        guard let text = entry.value.value.string else { return wrong(entry, "arguments of ssh") }
        guard let words = shellWords(text) else { return obstacle(entry, "`\(entry.key)`: a quote is not closed") }
        var rest = words[...]
        while let word = rest.popFirst() {
            let flag = String(word.prefix(2))
            guard word.hasPrefix("-"), word.count >= 2 else {
                warn(entry, "`\(entry.key)`: `\(printable(word, limit: 60))` is not honoured")
                continue
            }
            guard "oJpilFEbcDIeLmQRSwW".contains(flag.last!) else {
                if !["-C", "-q", "-4", "-6", "-T", "-n", "-x", "-a", "-k"].contains(word) {
                    warn(entry, "`\(entry.key)`: `\(printable(word, limit: 20))` is not honoured")
                }
                continue
            }
            guard let value = word.count > 2 ? String(word.dropFirst(2)) : rest.popFirst() else {
                obstacle(entry, "`\(entry.key)`: `\(flag)` lacks its value")
                continue
            }
            switch flag {
            case "-o":
                let parts = value.split(maxSplits: 1, omittingEmptySubsequences: true) { $0 == "=" || $0 == " " }.map(
                    String.init)
                if parts.count == 2 { option(parts[0], parts[1], entry, &host) }
            case "-J": option("ProxyJump", value, entry, &host)
            case "-p": option("Port", value, entry, &host)
            case "-i": option("IdentityFile", value, entry, &host)
            case "-l": option("User", value, entry, &host)
            default: warn(entry, "`\(entry.key)`: `\(flag)` is not honoured")
            }
        }
    }

    private mutating func option(_ name: String, _ value: String, _ entry: MapEntry, _ host: inout Host) {
        switch name.lowercased() {
        case "proxyjump":
            if value.lowercased() == "none" {
                host.jump = []
                return
            }
            let hops = value.split(separator: ",").map { JumpHost(String($0)) }
            if hops.isEmpty || hops.contains(nil) {
                obstacle(entry, "`\(entry.key)`: `\(printable(value, limit: 80))` is no jump host")
            } else {
                host.jump = hops.compactMap { $0 }
            }
        case "port": if host.port == nil { host.port = Int(value).flatMap { (1...65535).contains($0) ? $0 : nil } }
        case "user": if host.user == nil, Name.isAccount(value) { host.user = value }
        case "identityfile": if host.identityFile == nil, Name.isPath(value) { host.identityFile = value }
        case "userknownhostsfile":
            if value == "/dev/null" {
                return warn(
                    entry,
                    "`\(entry.key)`: host keys are always checked, so `UserKnownHostsFile=/dev/null` is not honoured")
            }
            let paths = value.split(separator: " ").map(String.init)
            if paths.allSatisfy(Name.isPath) {
                host.knownHosts = paths
            } else {
                warn(entry, "`\(entry.key)`: `UserKnownHostsFile` takes absolute paths")
            }
        case "proxycommand":
            obstacle(entry, "`\(entry.key)`: `ProxyCommand` is not supported", ["use ProxyJump"])
        case "stricthostkeychecking", "checkhostip":
            if !["yes", "true"].contains(value.lowercased()) {
                warn(
                    entry,
                    "`\(entry.key)`: host keys are always checked, so `\(name)=\(printable(value, limit: 20))` is not honoured"
                )
            }
        case "forwardagent":
            if value.lowercased() != "no" { warn(entry, "`\(entry.key)`: the agent is never forwarded") }
        case "controlmaster", "controlpersist", "controlpath", "serveraliveinterval", "serveralivecountmax",
            "connecttimeout", "tcpkeepalive",
            "identitiesonly", "preferredauthentications", "compression", "loglevel", "batchmode", "connectionattempts",
            "passwordauthentication",
            "kbdinteractiveauthentication", "pubkeyauthentication", "requesttty", "addressfamily",
            "gssapiauthentication", "visualhostkey":
            return
        default: warn(entry, "`\(entry.key)`: the option `\(printable(name, limit: 40))` is not honoured")
        }
    }
}

/// Splits as a shell would, quotes and backslashes understood, nothing expanded; nil where a quote is not closed.
func shellWords(_ text: String) -> [String]? {
    var words: [String] = []
    var word: String?
    var quote: Character?
    var isEscaped = false
    for character in text {
        if isEscaped {
            word = (word ?? "") + String(character)
            isEscaped = false
        } else if let open = quote {
            if character == open {
                quote = nil
            } else if character == "\\", open == "\"" {
                isEscaped = true
            } else {
                word = (word ?? "") + String(character)
            }
        } else if character == "\\" {
            isEscaped = true
        } else if character == "'" || character == "\"" {
            quote = character
            word = word ?? ""
        } else if character.isWhitespace {
            if let done = word { words.append(done) }
            word = nil
        } else {
            word = (word ?? "") + String(character)
        }
    }
    guard quote == nil, !isEscaped else { return nil }
    if let done = word { words.append(done) }
    return words
}
