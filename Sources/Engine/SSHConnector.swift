internal import BlockingIO
internal import Foundation
package import PlanModel
internal import RunCore
internal import SSH
internal import Steps

/// Connects to the inventory's hosts by SSH, and to this machine's own ledger for the orchestrator.
package struct SSHConnector: HostConnector {
    private let environment: [String: String]
    private let localState: String?

    /// - Parameter localState: where this machine's ledger is kept; nil for the usual place.
    package init(environment: [String: String], localState: String? = nil) {
        self.environment = environment
        self.localState = localState
    }

    package func connect(_ name: String, _ inventory: Inventory) async throws -> HostConnection {
        let deadline = Deadline(after: .seconds(30))
        guard name != Inventory.orchestrator else { return try await local(deadline) }
        guard let host = inventory.host(name) else {
            throw StepRefused("host.unknown", "the run's inventory has no host \(name)", exitStatus: .usage)
        }
        if let obstacle = host.obstacles.first {
            throw StepRefused("host.unusable", "host \(name) cannot be reached as the inventory says: \(obstacle.message)", hints: obstacle.hints, exitStatus: .usage)
        }
        let session = try await SSHSession.connect(to: target(host, inventory), deadline: deadline)
        do {
            let ledger = try await RemoteJobLedger.open(on: session, options: LedgerOptions(become: host.become), deadline: deadline)
            return HostConnection(
                remote: session, ledger: ledger, facts: try await ledger.hostFacts(), hostKey: session.hostKeyFingerprint,
                close: {
                    await ledger.close()
                    await session.close()
                })
        } catch {
            await session.close()
            throw error
        }
    }

    private func local(_ deadline: Deadline) async throws -> HostConnection {
        let ledger = try await LocalJobLedger.open(options: LedgerOptions(stateDirectory: localState), deadline: deadline)
        return HostConnection(remote: nil, ledger: ledger, facts: try await ledger.hostFacts(), hostKey: nil, close: { await ledger.close() })
    }

    /// Where and how to log in: the inventory first, then the user's ssh configuration, then the usual defaults.
    func target(_ host: PlanModel.Host, _ inventory: Inventory) -> SSHTarget {
        let config = sshConfiguration
        let endpoint = inventory.endpoint(of: host, config: config)
        var target = target(endpoint, name: host.name)
        target.jump = endpoint.jump.map { hop in
            var through = self.target(inventory.endpoint(ofJump: hop, config: config), name: hop.description)
            // A hop that says nothing of its own is entered like the host behind it.
            if hop.user == nil, inventory.host(hop.host)?.user == nil, config.settings(for: hop.host).user == nil { through.user = target.user }
            if inventory.host(hop.host)?.identityFile == nil, config.settings(for: hop.host).identityFiles.isEmpty {
                through.identityFiles = target.identityFiles
            }
            through.knownHostsFiles = target.knownHostsFiles
            return through
        }
        return target
    }

    private func target(_ endpoint: HostEndpoint, name: String) -> SSHTarget {
        let files = endpoint.knownHosts.isEmpty ? ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"] : endpoint.knownHosts
        return SSHTarget(
            name: name, host: endpoint.address, port: endpoint.port,
            user: endpoint.user ?? environment["USER"] ?? environment["LOGNAME"] ?? "root",
            identityFiles: endpoint.identityFiles.isEmpty ? defaultIdentities : endpoint.identityFiles.map(expanded),
            useAgent: environment["SSH_AUTH_SOCK"] != nil, knownHostsFiles: files.map(expanded), hostKeys: endpoint.hostKeys)
    }

    /// The user's own configuration; one that is not there says nothing.
    private var sshConfiguration: SSHConfig {
        let path = expanded("~/.ssh/config")
        guard let data = FileManager.default.contents(atPath: path), data.count <= 1 << 20 else { return SSHConfig() }
        return SSHConfig.parse(String(decoding: data, as: UTF8.self), file: path).config
    }

    private var defaultIdentities: [String] {
        ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa"].map(expanded).filter { FileManager.default.fileExists(atPath: $0) }
    }

    private func expanded(_ path: String) -> String {
        path.hasPrefix("~/") ? (environment["HOME"] ?? NSHomeDirectory()) + path.dropFirst(1) : path
    }
}
