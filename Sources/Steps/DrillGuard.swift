package import PlanModel
package import PostgreSQL
internal import RunCore

/// Keeps drills away from the cluster that production runs on: restoring there takes its disk, its memory and its locks, and what a
/// restored copy reaches for (subscriptions, foreign servers) is production's own.
package struct DrillGuard: Sendable {
    /// PostgreSQL's system identifiers of production's clusters and their standbys.
    package let production: Set<String>
    /// The plan says `allow: [same-cluster]`.
    package let allowsSameCluster: Bool

    package init(production: [String], allowsSameCluster: Bool) {
        self.production = Set(production)
        self.allowsSameCluster = allowsSameCluster
    }

    /// - Parameter identifier: the cluster's own, nil where it does not tell.
    /// - Throws: `StepRefused` where the cluster is production's, or may be because it does not tell which one it is.
    package func require(_ identifier: String?, of database: DatabaseRef) throws {
        guard !allowsSameCluster, !production.isEmpty else { return }
        guard let identifier else {
            throw refusal("the server of database \(database.name) on \(database.host) does not tell its system identifier: it may be production's")
        }
        guard production.contains(identifier) else { return }
        throw refusal("the server of database \(database.name) on \(database.host) is production's (system identifier \(identifier)): a drill does not run there")
    }

    private func refusal(_ message: String) -> StepRefused {
        StepRefused(
            "drill.production-cluster", message,
            hints: [
                "drill on another server: an inventory of its own with --inventory",
                "or say in the plan that production's cluster may be used: allow: [same-cluster]",
            ], exitStatus: .usage)
    }

    /// Asks the connected server.
    package func require(_ connection: PostgresConnection, of database: DatabaseRef) async throws {
        try require(await Catalog(connection).server().systemIdentifier, of: database)
    }
}

extension StepContext {
    /// In a drill, whether the server may be used at all; elsewhere nothing.
    func requireDrillable(_ connection: PostgresConnection, _ database: DatabaseRef) async throws {
        guard isDrill else { return }
        try await DrillGuard(production: inventory.productionSystemIdentifiers, allowsSameCluster: allowsSameCluster).require(connection, of: database)
    }
}
