internal import BlockingIO
internal import Foundation
internal import Journal
internal import ObjectStorage
internal import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH
internal import Steps

/// What one attempt may use of the world.
struct RunServices: StepServices {
    let driver: RunDriver
    let key: RunDriver.AttemptKey

    var ticket: FenceTicket {
        get async { await driver.ticket }
    }

    func ledger(_ host: String) async throws -> any JobLedger {
        try await connection(host).ledger
    }

    func remote(_ host: String) async throws -> any RemoteHost {
        guard let remote = try await connection(host).remote else {
            throw StepRefused("steps.needs-a-host", "step \(key.step) needs a host and was given this machine")
        }
        return remote
    }

    func forgetConnection(_ host: String) async { await driver.hosts.forget(host) }

    private func connection(_ host: String) async throws -> HostConnection {
        try await driver.hosts.connection(host) { connection in
            try await driver.admit(host, connection)
        }
    }

    func store(_ name: String) async throws -> any ObjectStore {
        guard let store = driver.frozen.inventory.store(name) else {
            throw StepRefused("steps.unknown-store", "the inventory has no store \(name)")
        }
        return try driver.adapters.makeStore(store) { host in
            HostDirectoryStore.Reach(
                host: host, becomesRoot: driver.frozen.inventory.host(host)?.become ?? false, connect: { try await remote(host) },
                lost: { await forgetConnection(host) })
        }
    }

    func connect(_ database: DatabaseRef, name: String) async throws -> PostgresConnection {
        // Also where the server is reached without it: the session is what holds the run's fence on the host.
        let remote = try await remote(database.host)
        let address = driver.frozen.inventory.host(database.host)?.address ?? database.host
        return try await DatabaseConnector(database: database, hostAddress: address, remote: remote) { reference in
            let value = try await SecretResolver.resolve("password of database \(database.name)", reference)
            driver.redactor.register(value)
            return value
        }.connect(name, application: "reprise/\(driver.hold.run).\(key.step)")
    }

    func secret(_ name: String) async throws -> String {
        guard let reference = SecretReference(name) ?? driver.frozen.inventory.secret(name) else {
            throw StepRefused("steps.unknown-secret", "the inventory has no secret \(name)")
        }
        let value = try await SecretResolver.resolve(name, reference)
        driver.redactor.register(value)
        return value
    }

    func observed(_ name: String) async -> JSONValue? { await driver.observation(key, name) }

    func observe(_ name: String, _ value: JSONValue) async throws {
        let attempt = await driver.attempt(key)
        try await driver.take(
            .observed(Observation(step: key.step, attempt: attempt, isUndo: key.isUndo, key: name, value: value)))
    }

    var ending: StepEnded.Cause? {
        get async { await driver.ending(key) }
    }

    func report(_ progress: StepProgress) { driver.observer.progressed(key.step, progress) }

    func output(host: String, part: String?, _ output: JobOutput) {
        driver.observer.wrote(key.step, isUndo: key.isUndo, host: host, part: part, output)
    }
}

extension RunDriver {
    /// What every job of this run on a host carries.
    var ticket: FenceTicket {
        FenceTicket(
            run: hold.run, fence: hold.fence, holder: hold.holderNonce, operator: settings.operatorName,
            journalSequence: head.sequence, journalHead: hexadecimal(head.hash))
    }

    func attempt(_ key: AttemptKey) -> AttemptNumber {
        guard let record = machine[key.step] else { return 0 }
        return key.isUndo ? record.undo.attempt : record.attempt
    }

    /// Lets a new connection into the run: it must lead to the machine that it led to before, and the host must accept the fence.
    nonisolated func admit(_ host: String, _ connection: HostConnection) async throws {
        let met = HostPinned(host: host, machineID: connection.facts.machineID, hostKey: connection.hostKey)
        if let known = await machine.pins[host] {
            guard known == met else { throw HostChanged(host: host, known: known, met: met) }
            try await refuseIfLedgerLost(host, connection)
        }
        try await connection.ledger.announce(await ticket)
        for resource in frozen.claims(on: host) { try await connection.ledger.claim(resource: resource, ticket: await ticket) }
        if await machine.pins[host] == nil { try await take(.hostPinned(met)) }
    }

    /// Gives back what the run had reserved on its hosts, once it has ended for good. A failed run keeps it: it can be retried.
    func releaseClaims() async {
        switch machine.state {
        case .succeeded, .succeededWithWarnings, .cancelled, .undone: break
        case .accepted, .running, .waiting, .pausing, .paused, .cancelling, .undoing, .failed: return
        }
        for host in machine.pins.keys.sorted() {
            for resource in frozen.claims(on: host) {
                // A host that cannot be reached now keeps its claim until somebody says: reprise claims release.
                _ = try? await hosts.connection(host) { try await self.admit(host, $0) }.ledger.releaseClaim(
                    resource: resource, run: hold.run, force: false)
            }
        }
    }

    /// A run that was announced to a host and is unknown there means that the ledger was deleted, and what it knew of jobs with it.
    private nonisolated func refuseIfLedgerLost(_ host: String, _ connection: HostConnection) async throws {
        guard try await !connection.ledger.runs().contains(where: { $0.ticket.run == hold.run }) else { return }
        throw StepInDoubt(
            "\(host) knows nothing of run \(hold.run) although the run was announced to it: its ledger was deleted",
            evidence: ["host": .string(host), "ledger": "absent"])
    }
}

/// A host of the run is another machine than it was.
struct HostChanged: RepriseError {
    let code = "host.changed"
    let host: String
    let known: HostPinned
    let met: HostPinned
    var message: String {
        known.machineID == met.machineID
            ? "host \(host) shows another SSH host key (\(met.hostKey ?? "none")) than when this run first met it (\(known.hostKey ?? "none"))"
            : "host \(host) is another machine (machine id \(met.machineID)) than when this run first met it (\(known.machineID))"
    }
    var hints: [String] {
        ["if the host was rebuilt on purpose, start a new run", "otherwise find out who answers at its address before anything else"]
    }
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}
