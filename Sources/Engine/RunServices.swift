internal import BlockingIO
internal import Foundation
internal import Journal
internal import ObjectStorage
internal import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH
internal import Steps
internal import Synchronization

/// What one attempt may use of the world.
struct RunServices: StepServices {
    let driver: RunDriver
    let key: RunDriver.AttemptKey

    var ticket: FenceTicket {
        get async { await driver.ticket }
    }

    /// With what is known by now of hosts that the run itself has made.
    private var inventory: Inventory { driver.frozen.inventory(knowing: driver.outputs) }

    func ledger(_ host: String) async throws -> any JobLedger {
        try await connection(host).ledger
    }

    func remote(_ host: String) async throws -> any RemoteHost {
        guard let remote = try await connection(host).remote else {
            throw StepRefused("steps.needs-a-host", "step \(key.step) needs a host and was given this machine")
        }
        return remote
    }

    func forgetConnection(_ host: String, _ failed: any JobLedger) async {
        await driver.hosts.forget(host, failed: failed.conversation)
    }

    private func connection(_ host: String) async throws -> HostConnection {
        try await driver.hosts.connection(host, in: inventory) { connection in
            try await driver.admit(host, connection)
        }
    }

    func store(_ name: String) async throws -> any ObjectStore {
        guard let store = inventory.store(name) else {
            throw StepRefused("steps.unknown-store", "the inventory has no store \(name)")
        }
        return try driver.adapters.makeStore(store) { host in
            // The connection that was used, so that another's newer one is left alone.
            let used = Latest<any JobLedger>()
            return HostDirectoryStore.Reach(
                host: host, becomesRoot: inventory.host(host)?.become ?? false,
                connect: {
                    used.value = try await ledger(host)
                    return try await remote(host)
                }, lost: { if let failed = used.value { await forgetConnection(host, failed) } })
        }
    }

    func connect(_ database: DatabaseRef, name: String) async throws -> PostgresConnection {
        // Also where the server is reached without it: the session is what holds the run's fence on the host.
        let remote = try await remote(database.host)
        let connector = DatabaseConnector(database, inventory, remote, driver.redactor), end = Deadline(after: Self.longestRecovery)
        while true {
            do {
                return try await connector.connect(name, application: "reprise/\(driver.hold.run).\(key.step)")
            } catch let error as PostgresConnectionError where error.code == PostgresConnectionError.starting && !end.hasPassed {
                report(StepProgress("waiting for the server of database \(database.name), which is starting up or recovering"))
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// For a server that replays what it had not written out. The step's own time may be up sooner.
    private static let longestRecovery = Duration.seconds(3600)

    func secret(_ name: String) async throws -> String {
        guard let reference = SecretReference(name) ?? inventory.secret(name) else {
            throw StepRefused("steps.unknown-secret", "the inventory has no secret \(name)")
        }
        let value = try await SecretResolver.resolve(name, reference)
        driver.redactor.register(value)
        return value
    }

    func observed(_ name: String) async -> JSONValue? { await driver.observation(key, name) }

    func observedBefore(_ name: String) async -> JSONValue? { await driver.earlierObservation(key, name) }

    func observe(_ name: String, _ value: JSONValue) async throws {
        let attempt = await driver.attempt(key)
        try await driver.take(
            .observed(Observation(step: key.step, attempt: attempt, isUndo: key.isUndo, key: name, value: value)))
    }

    var patience: Duration { driver.settings.patience }

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
        let known = await machine.pins[host]
        if let known, known != met { throw HostChanged(host: host, known: known, met: met) }
        try await compareWithHost(host, connection, isKnown: known != nil)
        Failpoint.hit("host.before-announce", host)
        try await connection.ledger.announce(await ticket)
        Failpoint.hit("host.after-announce", host)
        for resource in frozen.claims(on: host) {
            try await connection.ledger.claim(resource: resource, ticket: await ticket)
            Failpoint.hit("host.after-claim", "\(host) \(resource)")
        }
        let machine = await machine
        if machine.pins[host] == nil || machine.forgivenLedgers.contains(host) { try await take(.hostPinned(met)) }
    }

    /// Gives back what the run had reserved on its hosts, once it has ended for good. A failed run keeps it: it can be retried.
    func releaseClaims() async {
        switch machine.state {
        case .succeeded, .succeededWithWarnings, .cancelled, .undone: break
        case .accepted, .running, .waiting, .pausing, .paused, .cancelling, .undoing, .failed: return
        }
        for host in machine.pins.keys.sorted() {
            for resource in frozen.claims(on: host) {
                Failpoint.hit("host.before-release", "\(host) \(resource)")
                // A host that cannot be reached now keeps its claim until somebody says: reprise claims release.
                _ = try? await hosts.connection(host, in: frozen.inventory(knowing: outputs)) { try await self.admit(host, $0) }.ledger.releaseClaim(resource: resource, ticket: ticket)
                Failpoint.hit("host.after-release", "\(host) \(resource)")
            }
        }
    }

    /// Holds what the host has seen of the run against the journal, before the host is told anything.
    ///
    /// Whatever a host was told was durable before. So a run that it does not know although it was announced has lost its ledger; and
    /// a record that it was told of and that this journal lacks, or has another in its place, shows that this is an old copy which was
    /// put back. The host's own comparison of numbers is not enough there: each attempt to go on with the copy makes it longer.
    private nonisolated func compareWithHost(_ host: String, _ connection: HostConnection, isKnown: Bool) async throws {
        guard let seen = try await connection.ledger.runs().first(where: { $0.ticket.run == hold.run })?.ticket else {
            guard isKnown else { return }
            // Somebody has to look at that, once.
            guard await !machine.forgivenLedgers.contains(host) else { return }
            throw StepInDoubt(
                "\(host) knows nothing of run \(hold.run) although the run was announced to it: its ledger was deleted",
                evidence: AttemptDoubted.lostLedgerEvidence(host))
        }
        if let closed = LedgerError.closed(seen, hostName: host) { throw closed }
        // One of our own: nobody else has come since.
        if seen.fence == hold.fence, seen.holder == hold.holderNonce { return }
        let told = try await connection.ledger.jobs(of: hold.run).map { ($0.journalSequence, $0.journalHead) }
            + [(seen.journalSequence, seen.journalHead)]
        guard let newest = told.max(by: { $0.0 < $1.0 }), newest.0 > 0 else { return }
        let own = try await journal.records(run: hold.run, after: newest.0 - 1, limit: 1).first
        guard let own, hexadecimal(own.hash) == newest.1 else {
            throw JournalBehindHost(host: host, run: hold.run, sequence: newest.0, operatorName: seen.operator, isMissing: own == nil)
        }
    }
}

/// The host was told of a record that this journal does not hold.
struct JournalBehindHost: RepriseError {
    let host: String
    let run: RunID
    let sequence: Int64
    let operatorName: String
    let isMissing: Bool
    var code: String { isMissing ? "journal.older-than-host" : "journal.forked-from-host" }
    var message: String {
        "this journal is not the one that run \(run) was last driven from: \(host) was told of event \(sequence) by \(operatorName), and here "
            + (isMissing ? "there is no such event" : "another event stands in its place")
    }
    var hints: [String] {
        [
            "use the journal that the run was last driven from; a copy that was put back must not drive it",
            "if that journal is lost, see what the host knows: reprise adopt \(host)",
        ]
    }
    var exitStatus: ExitStatus { .heldByAnother }
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
