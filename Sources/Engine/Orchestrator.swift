package import Journal
internal import PlanModel
package import RunCore
package import Steps

/// What operators do with runs: the one door through which the command line, and whatever else may come, uses the engine.
package struct Orchestrator: Sendable {
    package let journal: any JournalStore
    package let kinds: StepRegistry
    package let connector: any HostConnector
    package let adapters: Adapters
    package let redactor: Redactor
    package let identity: OperatorIdentity

    package init(
        journal: any JournalStore, kinds: StepRegistry = .standard, connector: any HostConnector, adapters: Adapters,
        redactor: Redactor, identity: OperatorIdentity = .current
    ) {
        self.journal = journal
        self.kinds = kinds
        self.connector = connector
        self.adapters = adapters
        self.redactor = redactor
        self.identity = identity
    }

    /// Writes a new run into the journal and gives its driver. Nothing has run yet.
    package func accept(
        _ frozen: FrozenRun, as run: RunID, observer: any RunObserver, staysForPeople: Bool
    ) async throws -> RunDriver {
        let (loaded, hold) = try await Engine.accept(frozen, as: run, by: identity, kinds: kinds, into: journal)
        return driver(loaded, hold, observer, staysForPeople)
    }

    /// Takes an existing run in hand and gives its driver; its `drive(words:)` is given what the operator wants to say.
    ///
    /// - Parameter takeOver: why a live holder is replaced; nil to respect it.
    /// - Throws: `HeldByAnother`, `RecordDamaged`, `UnknownEvent`.
    package func open(
        _ run: RunID, takeOver: String? = nil, observer: any RunObserver, staysForPeople: Bool
    ) async throws -> RunDriver {
        // What cannot be read is found before the hold is taken, and so changes nothing.
        _ = try await ResumableRun.load(run, from: journal)
        let hold = try await journal.acquire(run: run, operator: identity, takeOver: takeOver, atLeast: 0)
        do {
            return driver(try await ResumableRun.load(run, from: journal), hold, observer, staysForPeople)
        } catch {
            try? await journal.release(hold)
            throw error
        }
    }

    /// Writes an operator's words into a run that nobody drives, without driving it.
    package func note(_ words: [RunEvent], in run: RunID) async throws -> RunMachine {
        let hold = try await journal.acquire(run: run, operator: identity, takeOver: nil, atLeast: 0)
        do {
            var machine = try await ResumableRun.load(run, from: journal).machine
            var entries: [JournalEntry] = []
            for word in words {
                let clean = try redactor.redact(word)
                _ = try machine.apply(clean)
                entries.append(try EventCodec.entry(clean))
            }
            _ = try await journal.append(entries, hold: hold, label: machine.state.rawValue, snapshot: nil)
            try await journal.release(hold)
            return machine
        } catch {
            try? await journal.release(hold)
            throw error
        }
    }

    private func driver(
        _ loaded: ResumableRun, _ hold: Hold, _ observer: any RunObserver, _ staysForPeople: Bool
    ) -> RunDriver {
        RunDriver(
            loaded: loaded, hold: hold, journal: journal, kinds: kinds,
            hosts: HostPool(inventory: loaded.frozen.inventory, connector: connector), adapters: adapters, redactor: redactor,
            observer: observer, settings: DriverSettings(operatorName: identity.summary, staysForPeople: staysForPeople))
    }
}
