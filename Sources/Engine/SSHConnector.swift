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

    func target(_ host: PlanModel.Host, _ inventory: Inventory) -> SSHTarget {
        let files = knownHosts(host, inventory)
        let user = host.user ?? environment["USER"] ?? environment["LOGNAME"] ?? "root"
        let identities = host.identityFile.map { [expanded($0)] } ?? defaultIdentities
        let jumps = host.jump.map { jump in
            SSHTarget(
                name: jump.description, host: jump.host, port: jump.port ?? 22, user: jump.user ?? user, identityFiles: identities,
                useAgent: environment["SSH_AUTH_SOCK"] != nil, knownHostsFiles: files)
        }
        return SSHTarget(
            name: host.name, host: host.address ?? host.name, port: host.port ?? 22, user: user, identityFiles: identities,
            useAgent: environment["SSH_AUTH_SOCK"] != nil, knownHostsFiles: files, jump: jumps)
    }

    private func knownHosts(_ host: PlanModel.Host, _ inventory: Inventory) -> [String] {
        let named = host.knownHosts.isEmpty ? inventory.knownHosts : host.knownHosts
        return (named.isEmpty ? ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"] : named).map(expanded)
    }

    private var defaultIdentities: [String] {
        ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa"].map(expanded).filter { FileManager.default.fileExists(atPath: $0) }
    }

    private func expanded(_ path: String) -> String {
        path.hasPrefix("~/") ? (environment["HOME"] ?? NSHomeDirectory()) + path.dropFirst(1) : path
    }
}
