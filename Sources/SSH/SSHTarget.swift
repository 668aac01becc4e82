/// Where a host is and how to log in to it.
package struct SSHTarget: Hashable, Sendable {
    /// The host's name in the inventory; errors name it.
    package var name: String
    /// Host name or address to dial.
    package var host: String
    package var port: Int
    package var user: String
    /// Private key files, tried in order before the ssh agent's keys.
    package var identityFiles: [String]
    /// Whether the agent's keys are tried. The agent is never forwarded.
    package var useAgent: Bool
    /// The agent's socket; nil for the one that `SSH_AUTH_SOCK` names.
    package var agentSocket: String?
    /// Read in order; a file that does not exist is skipped.
    package var knownHostsFiles: [String]
    /// The host's public keys, `TYPE BASE64`, where they are known by other means; the files then say nothing of it. nil: they do.
    package var hostKeys: [String]?
    /// Hosts to pass through, the first one dialled first.
    package var jump: [SSHTarget]
    /// Limit for TCP connect, key exchange and authentication together.
    package var connectTimeout: Duration
    /// How often a sign of life is asked of a silent peer.
    package var keepaliveInterval: Duration
    /// A peer from which nothing was heard for this long is given up.
    package var deadPeerTimeout: Duration

    package init(
        name: String, host: String, port: Int = 22, user: String, identityFiles: [String] = [], useAgent: Bool = true,
        agentSocket: String? = nil, knownHostsFiles: [String], hostKeys: [String]? = nil, jump: [SSHTarget] = [], connectTimeout: Duration = .seconds(15),
        keepaliveInterval: Duration = .seconds(5), deadPeerTimeout: Duration = .seconds(20)
    ) {
        self.name = name
        self.host = host
        self.port = port
        self.user = user
        self.identityFiles = identityFiles
        self.useAgent = useAgent
        self.agentSocket = agentSocket
        self.knownHostsFiles = knownHostsFiles
        self.hostKeys = hostKeys
        self.jump = jump
        self.connectTimeout = connectTimeout
        self.keepaliveInterval = keepaliveInterval
        self.deadPeerTimeout = deadPeerTimeout
    }

    /// `user@host:port`, for messages.
    var address: String { "\(user)@\(host):\(port)" }
}
