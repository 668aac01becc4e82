package import Journal
internal import PlanModel
package import RunCore
package import Steps

/// A run as the journal holds it, ready to be driven.
package struct ResumableRun: Sendable {
    package let machine: RunMachine
    package let frozen: FrozenRun
    package let head: RunHead

    package init(machine: RunMachine, frozen: FrozenRun, head: RunHead) {
        self.machine = machine
        self.frozen = frozen
        self.head = head
    }

    /// Folds the run's journal into its state: the newest snapshot and what came after it, or everything where there is none.
    ///
    /// - Throws: what the journal throws where a record is damaged; `UnknownEvent` for a newer version's journal.
    package static func load(_ run: RunID, from journal: any JournalStore) async throws -> ResumableRun {
        guard let first = try await journal.records(run: run, after: 0, limit: 1).first,
            case .accepted(let accepted) = try EventCodec.event(first)
        else { throw RunNotFound(wanted: run.rawValue) }
        let frozen = try FrozenRun.read(accepted)
        let loaded = try await journal.load(run: run)
        if let snapshot = loaded.snapshot, let machine = try? EventCodec.decode(RunMachine.self, snapshot.state) {
            return ResumableRun(machine: try fold(loaded.tail, into: machine), frozen: frozen, head: loaded.head)
        }
        var machine = try RunMachine(accepted)
        guard loaded.snapshot != nil else {
            return ResumableRun(machine: try fold(loaded.tail, into: machine), frozen: frozen, head: loaded.head)
        }
        // A snapshot of another version says nothing here; the events say everything.
        var sequence: Int64 = 0
        while true {
            let records = try await journal.records(run: run, after: sequence, limit: 10_000)
            guard let last = records.last else { break }
            machine = try fold(records, into: machine)
            sequence = last.sequence
        }
        return ResumableRun(machine: machine, frozen: frozen, head: loaded.head)
    }

    private static func fold(_ records: [JournalRecord], into start: RunMachine) throws -> RunMachine {
        var machine = start
        for record in records {
            let event = try EventCodec.event(record)
            if case .accepted = event { continue }
            _ = try machine.apply(event)
        }
        return machine
    }
}

/// A run whose frozen copy this version cannot read: it was started by another one.
struct IncompatibleRun: RepriseError {
    let code = "run.incompatible"
    let plan: String
    var message: String { "the run's own copy of plan \(plan) was written by another version of reprise and cannot be read by this one" }
    var hints: [String] { ["go on with the version that started the run", "what ran on a host can be read from the host itself: reprise adopt HOST"] }
    var exitStatus: ExitStatus { .usage }
}

/// Writes a new run into the journal: nothing has run when it returns.
package func accept(
    _ frozen: FrozenRun, as run: RunID, by identity: OperatorIdentity, kinds: StepRegistry, into journal: any JournalStore
) async throws -> (ResumableRun, Hold) {
    let accepted = try frozen.accepted(startedBy: identity.summary, kinds: kinds)
    let machine = try RunMachine(accepted)
    let hold = try await journal.create(
        run: run, first: EventCodec.entry(.accepted(accepted)), operator: identity, label: machine.state.rawValue)
    let head = try await journal.load(run: run).head
    return (ResumableRun(machine: machine, frozen: frozen, head: head), hold)
}

/// The id of a run that starts at `time` (seconds since 1970, UTC): sortable, and unlike any other by four random characters.
package func makeRunID(secondsSince1970 time: Int64, suffix: UInt32) -> RunID {
    let days = time / 86_400, seconds = time % 86_400
    let (year, month, day) = civilDate(daysSince1970: days)
    func padded(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    let alphabet = Array("abcdefghjkmnpqrstuvwxyz23456789")
    var rest = suffix
    let letters = (0..<4).map { _ in
        defer { rest /= UInt32(alphabet.count) }
        return alphabet[Int(rest % UInt32(alphabet.count))]
    }
    let text = padded(year, 4) + padded(month, 2) + padded(day, 2) + "-" + padded(seconds / 3600, 2)
        + padded(seconds / 60 % 60, 2) + padded(seconds % 60, 2) + "-" + String(letters)
    guard let id = RunID(text) else { preconditionFailure("a run id is plain by construction") }
    return id
}

/// The proleptic Gregorian date of a day, after Howard Hinnant's `civil_from_days`.
private func civilDate(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = daysSince1970 + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
}
