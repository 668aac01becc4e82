/// The hosts, databases, stores and secrets that a plan works with.
package struct Inventory: Codable, Hashable, Sendable {
    /// In the order of the file.
    package var hosts: [Host]
    package var groups: [HostGroup]
    package var databases: [DatabaseRef]
    package var stores: [StoreRef]
    package var secrets: [Secret]
    /// Files in the format of OpenSSH's known_hosts; empty: the user's own.
    package var knownHosts: [String]
    /// `system_identifier` of every production cluster: a drill refuses them.
    package var productionSystemIdentifiers: [String]

    package init(
        hosts: [Host] = [], groups: [HostGroup] = [], databases: [DatabaseRef] = [], stores: [StoreRef] = [],
        secrets: [Secret] = [], knownHosts: [String] = [], productionSystemIdentifiers: [String] = []
    ) {
        self.hosts = hosts
        self.groups = groups
        self.databases = databases
        self.stores = stores
        self.secrets = secrets
        self.knownHosts = knownHosts
        self.productionSystemIdentifiers = productionSystemIdentifiers
    }

    /// The name in `on:` for the machine that Reprise itself runs on.
    package static let orchestrator = "orchestrator"

    package func host(_ name: String) -> Host? { hosts.first { $0.name == name } }
    package func group(_ name: String) -> HostGroup? { groups.first { $0.name == name } }
    package func database(_ name: String) -> DatabaseRef? { databases.first { $0.name == name } }
    package func store(_ name: String) -> StoreRef? { stores.first { $0.name == name } }
    package func secret(_ name: String) -> SecretReference? { secrets.first { $0.name == name }?.reference }

    /// The hosts that a name in `on:` stands for, in the file's order; nil where it is neither a host nor a group.
    /// `orchestrator` is no host and gives an empty list.
    package func hosts(on name: String) -> [Host]? {
        if name == Self.orchestrator { return [] }
        if let host = host(name) { return [host] }
        guard let group = group(name) else { return nil }
        let members = Set(group.hosts)
        return hosts.filter { members.contains($0.name) }
    }
}

/// Where a host is that did not exist when the run was started, as the step that made it says.
package struct ProvisionedHost: Codable, Hashable, Sendable {
    /// Its name in the inventory.
    package var host: String
    package var address: String
    package var port: Int?
    package var user: String?
    /// Public host keys, each `TYPE BASE64`; at least one.
    package var hostKeys: [String]

    package init(host: String, address: String, port: Int? = nil, user: String? = nil, hostKeys: [String]) {
        (self.host, self.address, self.port, self.user, self.hostKeys) = (host, address, port, user, hostKeys)
    }
}

extension Inventory {
    /// The inventory with what is known of hosts by now. A name that it does not have is passed over.
    package func knowing(_ hosts: [ProvisionedHost]) -> Inventory {
        var result = self
        for made in hosts {
            guard let index = result.hosts.firstIndex(where: { $0.name == made.host }) else { continue }
            result.hosts[index].address = made.address
            result.hosts[index].port = made.port ?? result.hosts[index].port
            result.hosts[index].user = made.user ?? result.hosts[index].user
            result.hosts[index].hostKeys = made.hostKeys
        }
        return result
    }
}

/// A machine that is reached over SSH.
package struct Host: Codable, Hashable, Sendable {
    package var name: String
    /// `ansible_host`; nil: the name, or what the user's ssh configuration says.
    package var address: String?
    package var port: Int?
    package var user: String?
    package var identityFile: String?
    /// True: commands run as root through `sudo -n`.
    package var become: Bool
    /// In the order in which they are passed.
    package var jump: [JumpHost]
    /// From `UserKnownHostsFile`; empty: the inventory's.
    package var knownHosts: [String]
    /// Public host keys that the step which made the host told, `ssh-ed25519 AAAA…`; no others are then known. nil: files tell. Optional, so
    /// that copies of older versions are read.
    package var hostKeys: [String]?
    /// All groups it belongs to, parents included, in order of precedence.
    package var groups: [String]
    /// Every variable with its inherited ones, ours included, in the order of first definition.
    package var variables: [MapEntry]
    /// Why this host cannot be used: settings that Reprise cannot honour. A plan that uses the host is refused.
    package var obstacles: [Diagnostic]
    @Unhashed package var mark: SourceMark

    package init(
        name: String, address: String? = nil, port: Int? = nil, user: String? = nil, identityFile: String? = nil,
        become: Bool = false, jump: [JumpHost] = [], knownHosts: [String] = [], groups: [String] = [],
        variables: [MapEntry] = [], obstacles: [Diagnostic] = [], mark: SourceMark = .generated
    ) {
        self.name = name
        self.address = address
        self.port = port
        self.user = user
        self.identityFile = identityFile
        self.become = become
        self.jump = jump
        self.knownHosts = knownHosts
        self.groups = groups
        self.variables = variables
        self.obstacles = obstacles
        self.mark = mark
    }

    package func variable(_ name: String) -> PlanValue? { variables.first { $0.key == name }?.value.value }
}

/// One hop of `ProxyJump`: `[user@]host[:port]`. The host may be a name of the inventory or of the ssh configuration.
package struct JumpHost: Codable, Hashable, Sendable, CustomStringConvertible {
    package var user: String?
    package var host: String
    package var port: Int?

    package init(user: String? = nil, host: String, port: Int? = nil) {
        self.user = user
        self.host = host
        self.port = port
    }

    /// - Returns: nil where a part is no legal name or number. `ssh://` is understood.
    package init?(_ text: String) {
        var rest = text[...]
        if rest.hasPrefix("ssh://") { rest = rest.dropFirst(6) }
        if let at = rest.lastIndex(of: "@") {
            let user = String(rest[..<at])
            guard Name.isAccount(user) else { return nil }
            self.user = user
            rest = rest[rest.index(after: at)...]
        }
        if rest.hasPrefix("["), let close = rest.firstIndex(of: "]") {
            host = String(rest[rest.index(after: rest.startIndex)..<close])
            rest = rest[rest.index(after: close)...]
        } else {
            host = String(rest.prefix { $0 != ":" })
            rest = rest.dropFirst(host.count)
        }
        guard Name.isAddress(host) else { return nil }
        guard !rest.isEmpty else { return }
        guard rest.first == ":", let port = Int(rest.dropFirst()), (1...65535).contains(port) else { return nil }
        self.port = port
    }

    package var description: String {
        (user.map { "\($0)@" } ?? "") + (host.contains(":") ? "[\(host)]" : host) + (port.map { ":\($0)" } ?? "")
    }
}

package struct HostGroup: Codable, Hashable, Sendable {
    package var name: String
    /// Hosts of the group and of all groups below it, in the file's order.
    package var hosts: [String]
    /// Groups directly below.
    package var children: [String]

    package init(name: String, hosts: [String], children: [String] = []) {
        self.name = name
        self.hosts = hosts
        self.children = children
    }
}

/// A PostgreSQL database and how to reach its server as an administrator.
package struct DatabaseRef: Codable, Hashable, Sendable {
    /// The name that plans use.
    package var name: String
    /// The inventory's name of the host on which the server runs.
    package var host: String
    /// The name on the server, as stored, unquoted.
    package var database: String
    /// The role that administers; on Debian the account of the same name has peer authentication.
    package var superuser: String
    /// The folder of the server's unix socket, on its host.
    package var socketDirectory: String
    package var port: Int
    /// The role that the application uses; owner of the restored objects' database.
    package var applicationRole: String?
    /// Of `superuser`, for servers that are reached by password instead of the socket.
    package var password: SecretReference?
    /// How the orchestrator's own connections reach the server; nil: `bridge`. Optional, so that copies of older versions are read.
    package var via: Via?
    /// Where the server listens: as seen from its host for a tunnel, from the orchestrator for `direct`.
    package var address: String?
    /// The file, on the orchestrator, with the certificate that the server's must be signed by. For `direct` only.
    package var rootCertificate: String?
    @Unhashed package var mark: SourceMark

    /// A way from the orchestrator to the server. Programs that run on the host itself use its unix socket, whatever stands here.
    package enum Via: String, Codable, Hashable, Sendable, CaseIterable {
        /// A small program on the host, run as `superuser` in an SSH channel, that leads to the unix socket: peer authentication.
        case bridge
        /// TCP from the host on, through the SSH session, with a password.
        case tunnel
        /// TCP from the orchestrator, with TLS that verifies the server's certificate and name, and a password.
        case direct
    }

    package init(
        name: String, host: String, database: String, superuser: String = "postgres",
        socketDirectory: String = "/var/run/postgresql", port: Int = 5432, applicationRole: String? = nil,
        password: SecretReference? = nil, via: Via? = nil, address: String? = nil, rootCertificate: String? = nil,
        mark: SourceMark = .generated
    ) {
        self.name = name
        self.host = host
        self.database = database
        self.superuser = superuser
        self.socketDirectory = socketDirectory
        self.port = port
        self.applicationRole = applicationRole
        self.password = password
        self.via = via
        self.address = address
        self.rootCertificate = rootCertificate
        self.mark = mark
    }
}

/// Where backups are kept.
package struct StoreRef: Codable, Hashable, Sendable {
    package enum Kind: Codable, Hashable, Sendable {
        case s3(S3Location)
        /// A folder on the orchestrator or, where `host` is given, on that host.
        case directory(path: String, host: String?)
    }

    package var name: String
    package var kind: Kind
    /// Which keys are database backups, below the prefix: `*`, `?` and the fields `YYYY MM DD HH MI SS` of the snapshot time.
    package var databasePattern: String
    package var filesPattern: String
    @Unhashed package var mark: SourceMark

    package static let defaultDatabasePattern = "database/db_YYYYMMDD_HHMISS.dump.gz"
    package static let defaultFilesPattern = "files/files_YYYYMMDD_HHMISS.tar.gz"

    package init(
        name: String, kind: Kind, databasePattern: String = StoreRef.defaultDatabasePattern,
        filesPattern: String = StoreRef.defaultFilesPattern, mark: SourceMark = .generated
    ) {
        self.name = name
        self.kind = kind
        self.databasePattern = databasePattern
        self.filesPattern = filesPattern
        self.mark = mark
    }
}

/// A bucket and how to reach it. Absent settings come from the usual credential chain.
package struct S3Location: Codable, Hashable, Sendable {
    package var bucket: String
    /// Before every key; empty, or ending in `/`.
    package var prefix: String
    /// nil: the provider's own for the region.
    package var endpoint: String?
    package var region: String
    package var usesPathStyle: Bool
    package var profile: String?
    package var credentialsFile: String?
    package var configFile: String?

    package init(
        bucket: String, prefix: String = "", endpoint: String? = nil, region: String = "us-east-1",
        usesPathStyle: Bool = false, profile: String? = nil, credentialsFile: String? = nil, configFile: String? = nil
    ) {
        self.bucket = bucket
        self.prefix = prefix
        self.endpoint = endpoint
        self.region = region
        self.usesPathStyle = usesPathStyle
        self.profile = profile
        self.credentialsFile = credentialsFile
        self.configFile = configFile
    }
}

/// A secret's name and where it is to be had.
package struct Secret: Codable, Hashable, Sendable {
    package var name: String
    package var reference: SecretReference

    package init(name: String, reference: SecretReference) {
        self.name = name
        self.reference = reference
    }
}
