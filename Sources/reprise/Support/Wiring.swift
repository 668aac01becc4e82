internal import Engine
internal import Foundation
internal import Journal
internal import ObjectStorage
internal import PlanModel
internal import RunCore

/// Puts the real parts together.
enum Wiring {
    static func orchestrator(_ journal: any JournalStore, redactor: Redactor = Redactor()) -> Orchestrator {
        Orchestrator(journal: journal, connector: connector(), adapters: adapters(), redactor: redactor)
    }

    static func adapters() -> Adapters { Adapters(environment: ProcessInfo.processInfo.environment) }

    /// A store of the inventory, for looking at it outside of any run. A folder on a host is reached when it is first asked for.
    static func store(_ store: StoreRef, _ inventory: Inventory) throws -> any ObjectStore {
        let pool = HostPool(inventory: inventory, connector: connector())
        return try adapters().makeStore(store, reach: pool.reach)
    }

    /// `REPRISE_LOCAL_STATE` names the folder of this machine's own job ledger, for steps `on: orchestrator`.
    static func connector() -> any HostConnector {
        SSHConnector(environment: ProcessInfo.processInfo.environment, localState: Console.environment("REPRISE_LOCAL_STATE"))
    }
}

/// The operator as words of his are journaled.
let operatorName = OperatorIdentity.current.summary
