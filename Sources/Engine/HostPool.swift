internal import BlockingIO
package import ObjectStorage
package import PlanModel
internal import RunCore
package import SSH
internal import Steps

/// A live connection to one host and the job ledger behind it.
package struct HostConnection: Sendable {
    package let remote: (any RemoteHost)?
    package let ledger: any JobLedger
    package let facts: HostFacts
    /// SHA-256 fingerprint of its SSH host key; nil for this machine.
    package let hostKey: String?
    /// Ends the conversation; to be called by whoever connected. Jobs go on.
    package let close: @Sendable () async -> Void
}

/// Keeps one connection to each host and makes it anew where it was lost.
package actor HostPool {
    private nonisolated let inventory: Inventory
    private let connector: any HostConnector
    private var connections: [String: Task<HostConnection, any Error>] = [:]

    package init(inventory: Inventory, connector: any HostConnector) {
        self.inventory = inventory
        self.connector = connector
    }

    /// The connection to `host`; several callers share one.
    /// - Parameters:
    ///   - inventory: what is known of hosts by now, where that is more than in the beginning.
    ///   - admit: is called once for each new connection, before anybody uses it: pins the host and announces the fence.
    func connection(
        _ host: String, in inventory: Inventory? = nil, admit: @escaping @Sendable (HostConnection) async throws -> Void
    ) async throws -> HostConnection {
        if let task = connections[host] { return try await task.value }
        let task = Task { [inventory = inventory ?? self.inventory, connector] in
            let connection = try await connector.connect(host, inventory)
            do {
                try await admit(connection)
            } catch {
                await connection.close()
                throw error
            }
            return connection
        }
        connections[host] = task
        do {
            return try await task.value
        } catch {
            if connections[host] == task { connections[host] = nil }
            throw error
        }
    }

    /// Closes the connection that failed, unless a new one stands in its place: several steps meet the same failure, each in its own
    /// time, and the last must not close what the first has made anew.
    func forget(_ host: String, failed: ObjectIdentifier) async {
        guard let task = connections[host], let connection = try? await task.value, connection.ledger.conversation == failed else { return }
        // Others ran while the task was waited for.
        guard connections[host] == task else { return }
        connections[host] = nil
        await connection.close()
    }

    private func forget(_ host: String) async {
        guard let task = connections.removeValue(forKey: host) else { return }
        if let connection = try? await task.value { await connection.close() }
    }

    package func close() async {
        for host in Array(connections.keys) { await forget(host) }
    }
}

extension HostPool {
    /// A way to the sessions of hosts outside of any run: nothing is announced there, and nothing can be started.
    package nonisolated func reach(_ host: String) -> HostDirectoryStore.Reach {
        HostDirectoryStore.Reach(
            host: host, becomesRoot: inventory.host(host)?.become ?? false,
            connect: {
                guard let remote = try await self.connection(host, admit: { _ in }).remote else {
                    throw StepRefused("store.needs-a-host", "\(host) is this machine: leave `host` out of the store", exitStatus: .usage)
                }
                return remote
            }, lost: { await self.forget(host) })
    }
}

/// How connections are made; the real one speaks SSH.
package protocol HostConnector: Sendable {
    func connect(_ host: String, _ inventory: Inventory) async throws -> HostConnection
}
