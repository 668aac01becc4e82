package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH
package import Steps

extension FrozenRun {
    /// The databases of the inventory that the run's steps name, in the inventory's order.
    package var databases: [DatabaseRef] {
        let named = Set(steps.compactMap { $0.step.with["database"]?.value.string })
        return inventory.databases.filter { named.contains($0.name) }
    }

    /// What a drill may not touch; nil for a run that is no drill, or whose plan may use production's cluster.
    package var drillGuard: DrillGuard? {
        guard isDrill, !plan.allow.contains(.sameCluster) else { return nil }
        return DrillGuard(production: inventory.productionSystemIdentifiers, allowsSameCluster: false)
    }
}

extension Orchestrator {
    /// Asks the hosts of all databases that a run will work on whether another run does, before anything is journaled or run. One that cannot
    /// be reached is left to the run, as one that a step makes first.
    ///
    /// - Parameter look: what else is to be seen on each.
    /// - Throws: `LedgerError` with that run, and whatever `look` throws.
    package func refuseHeldDatabases(_ frozen: FrozenRun, alsoLooking look: @Sendable (String, HostConnection) async throws -> Void) async throws {
        for name in Set(frozen.databases.map(\.host)).sorted() {
            guard let host = try? await connector.connect(name, frozen.inventory) else { continue }
            do {
                let wanted = frozen.claims(on: name)
                if let held = (try? await host.ledger.claims())?.first(where: { wanted.contains($0.resource) }) {
                    throw LedgerError.claimed(held.resource, by: held.run.rawValue, of: held.operator, hostName: name, "nothing was started")
                }
                try await look(name, host)
            } catch {
                await host.close()
                throw error
            }
            await host.close()
        }
    }

    /// Asks the server of every database that a drill names which cluster it is, before anything is journaled or run.
    ///
    /// - Throws: `StepRefused` (`drill.production-cluster`) for one of production's; whatever connecting throws.
    package func refuseDrillOnProduction(_ frozen: FrozenRun) async throws {
        guard let drillGuard = frozen.drillGuard, !drillGuard.production.isEmpty else { return }
        for database in frozen.databases {
            let host = try await connector.connect(database.host, frozen.inventory)
            do {
                guard let remote = host.remote else { throw StepRefused("steps.needs-a-host", "database \(database.name) is on no host") }
                let connection = try await DatabaseConnector(database, frozen.inventory, remote, redactor).connect("postgres", application: "reprise/drill")
                try await drillGuard.require(connection, of: database)
                await connection.close()
            } catch {
                await host.close()
                throw error
            }
            await host.close()
        }
    }
}
