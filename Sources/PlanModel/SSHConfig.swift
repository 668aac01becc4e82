/// What a user's `~/.ssh/config` says of hosts, as far as Reprise honours it: Host, HostName, User, Port, IdentityFile,
/// ProxyJump and UserKnownHostsFile, after ssh_config(5): for each setting the first value that matches wins.
package struct SSHConfig: Hashable, Sendable {
    private struct Block: Hashable, Sendable {
        /// Alternatives; nil: before the first `Host` line, so for all.
        var patterns: [String]?
        var settings: [(key: String, value: [String])] = []

        static func == (left: Block, right: Block) -> Bool {
            left.patterns == right.patterns
                && left.settings.elementsEqual(right.settings) { $0.key == $1.key && $0.value == $1.value }
        }
        func hash(into hasher: inout Hasher) {
            hasher.combine(patterns)
            for setting in settings {
                hasher.combine(setting.key)
                hasher.combine(setting.value)
            }
        }
    }

    /// The settings for one host. Paths are as written: `~` and tokens are for the reader to expand.
    package struct Entry: Hashable, Sendable {
        package var hostName: String?
        package var user: String?
        package var port: Int?
        /// All that match, in order, as OpenSSH tries them.
        package var identityFiles: [String] = []
        package var jump: [JumpHost] = []
        package var knownHosts: [String] = []

        package init() {}
    }

    private var blocks: [Block] = []

    package init() {}

    /// Parses the text of a configuration file. Never fails: what is not understood is a warning, and left out.
    package static func parse(_ text: String, file: String) -> (config: SSHConfig, warnings: [Diagnostic]) {
        var parser = Parser(file: file)
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            parser.read(line, number: index + 1)
        }
        return (parser.config, parser.warnings)
    }

    /// What the configuration says of `host`, the name that was asked for.
    package func settings(for host: String) -> Entry {
        var entry = Entry()
        var isJumpKnown = false
        for block in blocks where block.patterns.map({ Self.matches(host, $0) }) ?? true {
            for (key, value) in block.settings {
                switch key {
                case "hostname": entry.hostName = entry.hostName ?? value[0].replacingToken("%h", with: host)
                case "user": entry.user = entry.user ?? value[0]
                case "port": entry.port = entry.port ?? Int(value[0])
                case "identityfile": if !entry.identityFiles.contains(value[0]) { entry.identityFiles.append(value[0]) }
                case "userknownhostsfile": if entry.knownHosts.isEmpty { entry.knownHosts = value }
                case "proxyjump" where !isJumpKnown:
                    isJumpKnown = true
                    if value[0].lowercased() != "none" {
                        entry.jump = value[0].split(separator: ",").compactMap { JumpHost(String($0)) }
                    }
                default: continue
                }
            }
        }
        return entry
    }

    /// True where one pattern matches and no `!pattern` does.
    static func matches(_ host: String, _ patterns: [String]) -> Bool {
        var isMatched = false
        for pattern in patterns {
            if pattern.hasPrefix("!") {
                if wildcard(String(pattern.dropFirst()), matches: host) { return false }
            } else if wildcard(pattern, matches: host) {
                isMatched = true
            }
        }
        return isMatched
    }

    /// `*` and `?` as in a shell, letters in any case. Linear but for backtracking to the last `*`.
    static func wildcard(_ pattern: String, matches text: String) -> Bool {
        let pattern = Array(pattern.lowercased().utf8)
        let text = Array(text.lowercased().utf8)
        var p = 0
        var t = 0
        var star: (pattern: Int, text: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = (p, t)
                p += 1
            } else if p < pattern.count, pattern[p] == text[t] || pattern[p] == UInt8(ascii: "?") {
                p += 1
                t += 1
            } else if let last = star {
                p = last.pattern + 1
                t = last.text + 1
                star = (last.pattern, t)
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
    }

    private struct Parser {
        let file: String
        var config = SSHConfig()
        var warnings: [Diagnostic] = []
        /// True inside a `Match` block, whose condition is not evaluated.
        var isSkipping = false

        private static let single: Set<String> = ["hostname", "user", "port", "identityfile", "proxyjump"]

        init(file: String) {
            self.file = file
            config.blocks = [Block(patterns: nil)]
        }

        private mutating func warn(_ number: Int, _ code: String, _ message: String, _ hints: [String] = []) {
            warnings.append(
                Diagnostic(
                    .warning, at: SourceMark(file: file, line: number, column: 1), code: code, message, hints: hints))
        }

        mutating func read(_ line: Substring, number: Int) {
            let text = line.trimmingSpaces
            guard !text.isEmpty, !text.hasPrefix("#") else { return }
            let key = String(text.prefix { !$0.isWhitespace && $0 != "=" })
            var rest = text.dropFirst(key.count).trimmingSpaces
            if rest.hasPrefix("=") { rest = rest.dropFirst().trimmingSpaces }
            guard let words = Self.words(rest), !words.isEmpty else {
                return warn(
                    number, "ssh-config.malformed",
                    "`\(printable(key, limit: 40))` lacks a value, or a quote is not closed")
            }
            switch key.lowercased() {
            case "host":
                isSkipping = false
                config.blocks.append(Block(patterns: words))
            case "match":
                isSkipping = words.map { $0.lowercased() } != ["all"]
                if isSkipping {
                    warn(
                        number, "ssh-config.match", "`Match` is not evaluated; what follows it is left out",
                        ["use `Host` for the hosts of the inventory"])
                } else {
                    config.blocks.append(Block(patterns: nil))
                }
            case "include":
                warn(number, "ssh-config.include", "`Include` is not followed: \(printable(rest, limit: 80))")
            case "proxycommand":
                if !isSkipping, words != ["none"] {
                    warn(number, "ssh-config.proxy-command", "`ProxyCommand` is not supported", ["use ProxyJump"])
                }
            case "userknownhostsfile": if !isSkipping { add("userknownhostsfile", words) }
            case let name where Self.single.contains(name): if !isSkipping { readSingle(name, words, number) }
            default: return
            }
        }

        private mutating func readSingle(_ name: String, _ words: [String], _ number: Int) {
            let value = words[0]
            let isFine: Bool
            switch name {
            case "port": isFine = Int(value).map { (1...65535).contains($0) } ?? false
            case "user": isFine = Name.isAccount(value)
            case "hostname": isFine = Name.isAddress(value.replacingToken("%h", with: "host"))
            case "proxyjump":
                isFine =
                    value.lowercased() == "none"
                    || value.split(separator: ",").allSatisfy { JumpHost(String($0)) != nil }
            default: isFine = !value.unicodeScalars.contains(where: isControl)
            }
            guard isFine, words.count == 1 else {
                return warn(
                    number, "ssh-config.bad-value",
                    "`\(name)` has a value that is not understood: \(printable(words.joined(separator: " "), limit: 60))"
                )
            }
            add(name, words)
        }

        private mutating func add(_ key: String, _ value: [String]) {
            config.blocks[config.blocks.count - 1].settings.append((key, value))
        }

        /// Words with double quotes; a `#` that begins a word begins a comment. Backslashes are literal.
        private static func words(_ text: String) -> [String]? {
            var words: [String] = []
            var word: String?
            var isQuoted = false
            for character in text {
                if character == "\"" {
                    isQuoted.toggle()
                    word = word ?? ""
                } else if !isQuoted, character.isWhitespace {
                    if let done = word { words.append(done) }
                    word = nil
                } else if !isQuoted, character == "#", word == nil {
                    break
                } else {
                    word = (word ?? "") + String(character)
                }
            }
            if let done = word { words.append(done) }
            return isQuoted ? nil : words
        }
    }
}

/// How to reach one host: the inventory's word, then the ssh configuration's, then the defaults.
package struct HostEndpoint: Hashable, Sendable {
    package var address: String
    package var port: Int
    /// nil: the name of the user who runs Reprise.
    package var user: String?
    /// In the order in which to try them; empty: the user's default keys.
    package var identityFiles: [String]
    package var jump: [JumpHost]
    /// Empty: the user's own.
    package var knownHosts: [String]
    /// The host's public keys, where the run knows them by itself; nil: `knownHosts` tell.
    package var hostKeys: [String]?

    package init(
        address: String, port: Int = 22, user: String? = nil, identityFiles: [String] = [], jump: [JumpHost] = [],
        knownHosts: [String] = [], hostKeys: [String]? = nil
    ) {
        self.address = address
        self.port = port
        self.user = user
        self.identityFiles = identityFiles
        self.jump = jump
        self.knownHosts = knownHosts
        self.hostKeys = hostKeys
    }
}

extension Inventory {
    /// The endpoint of a host of this inventory. Jump hosts are names: resolve each with `endpoint(ofJump:config:)`.
    package func endpoint(of host: Host, config: SSHConfig = SSHConfig()) -> HostEndpoint {
        // OpenSSH looks the configuration up by the name on its command line; Ansible passes `ansible_host` there.
        let settings = config.settings(for: host.address ?? host.name)
        return HostEndpoint(
            address: settings.hostName ?? host.address ?? host.name, port: host.port ?? settings.port ?? 22,
            user: host.user ?? settings.user, identityFiles: host.identityFile.map { [$0] } ?? settings.identityFiles,
            jump: host.jump.isEmpty ? settings.jump : host.jump,
            knownHosts: !host.knownHosts.isEmpty
                ? host.knownHosts : !knownHosts.isEmpty ? knownHosts : settings.knownHosts,
            hostKeys: host.hostKeys)
    }

    /// The endpoint of one hop: a host of the inventory where it is one, else what the ssh configuration says.
    package func endpoint(ofJump hop: JumpHost, config: SSHConfig = SSHConfig()) -> HostEndpoint {
        var result = endpoint(of: host(hop.host) ?? Host(name: hop.host), config: config)
        result.user = hop.user ?? result.user
        result.port = hop.port ?? result.port
        return result
    }
}

extension String {
    fileprivate func replacingToken(_ token: String, with value: String) -> String {
        var result = ""
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasPrefix("%%") {
                result += "%"
                rest = rest.dropFirst(2)
            } else if rest.hasPrefix(token) {
                result += value
                rest = rest.dropFirst(token.count)
            } else {
                result.append(rest.removeFirst())
            }
        }
        return result
    }
}
