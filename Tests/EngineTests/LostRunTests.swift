import BlockingIO
import Engine
import Foundation
import RunCore
import SSH
import Testing

/// What can be done about a run from a host alone, with this machine's own ledger.
@Suite struct LostRunTests {
    private let run = RunID("20261123-021407-k3v9")!
    private let other = RunID("20261124-000000-aaaa")!

    private func withLedger(_ body: (any JobLedger) async throws -> Void) async throws {
        let folder = NSTemporaryDirectory() + "reprise-lost-\(UUID().uuidString)"
        let ledger = try await LocalJobLedger.open(options: LedgerOptions(stateDirectory: folder), deadline: Deadline(after: .seconds(30)))
        do {
            try await body(ledger)
        } catch {
            await ledger.close()
            throw error
        }
        await ledger.close()
        try? FileManager.default.removeItem(atPath: folder)
    }

    private func ticket(_ run: RunID, fence: Fence, sequence: Int64, holder: String = "lost") -> FenceTicket {
        FenceTicket(run: run, fence: fence, holder: holder, operator: "mary@laptop", journalSequence: sequence, journalHead: "h\(sequence)")
    }

    private func job(_ script: String, _ ticket: FenceTicket, step: String = "work", attempt: Int = 1) -> JobSpec {
        JobSpec(
            id: JobID(run: ticket.run, step: StepID(step)!, attempt: attempt)!, script: .shell(script), specHash: "hash",
            fence: ticket)
    }

    private func runToEnd(_ spec: JobSpec, _ ledger: any JobLedger) async throws {
        let limit = Deadline(after: .seconds(30))
        _ = try await ledger.submit(spec, deadline: limit)
        _ = try await ledger.follow(spec.id, stdoutOffset: 0, stderrOffset: 0, onOutput: { _ in }, deadline: limit)
    }

    private func close(_ ledger: any JobLedger, endsJobs: Bool = false) async throws -> LostRun.Closed {
        try await LostRun(ledger, host: "db1").close(
            run.rawValue, by: "ann@desk", reason: "the laptop burned", holder: UUID().uuidString, endsJobs: endsJobs)
    }

    @Test func aClosedRunAdmitsNobodyAndItsClaimsAreFree() async throws {
        try await withLedger { ledger in
            let lost = ticket(run, fence: 3, sequence: 40)
            try await ledger.claim(resource: "database:5432:chms", ticket: lost)
            try await runToEnd(job("true", lost), ledger)
            // Before: another run cannot have the database.
            await #expect(throws: LedgerError.self) {
                try await ledger.claim(resource: "database:5432:chms", ticket: ticket(other, fence: 1, sequence: 1))
            }
            let closed = try await close(ledger)
            #expect(!closed.wasClosed && closed.released == ["database:5432:chms"] && closed.jobs.count == 1 && closed.ended.isEmpty)
            try await ledger.claim(resource: "database:5432:chms", ticket: ticket(other, fence: 1, sequence: 1))

            // The lost process itself, one that took over from it with a newer journal, and one far ahead of all.
            for late in [lost, ticket(run, fence: 4, sequence: 50, holder: "new"), ticket(run, fence: 5, sequence: 1_000_000, holder: "newer")] {
                let error = await #expect(throws: LedgerError.self) { _ = try await ledger.submit(job("true", late, attempt: 2), deadline: Deadline(after: .seconds(30))) }
                #expect(error?.code == "ledger.run-closed")
                #expect(error?.message.contains("ann@desk: the laptop burned") == true)
                #expect(await code { try await ledger.announce(late) } == "ledger.run-closed")
                #expect(await code { try await ledger.claim(resource: "x", ticket: late) } == "ledger.run-closed")
            }
            #expect(try await ledger.jobs(of: run).count == 1)
            let known = try await LostRun(ledger, host: "db1").resolve("20261123").ticket
            #expect(known.closedBecause == "the laptop burned")
            #expect(ticket(run, fence: 1, sequence: 1).closedBecause == nil)

            let again = try await close(ledger)
            #expect(again.wasClosed && again.released.isEmpty)
        }
    }

    @Test func closingIsRefusedWhileJobsRunAndEndsThemWhereItMay() async throws {
        try await withLedger { ledger in
            let lost = ticket(run, fence: 1, sequence: 4)
            try await ledger.claim(resource: "database:5432:chms", ticket: lost)
            _ = try await ledger.submit(job("sleep 600", lost), deadline: Deadline(after: .seconds(30)))
            #expect(await code { _ = try await close(ledger) } == "adopt.jobs-alive")
            // Nothing was changed: whoever drives the run can go on with it.
            #expect(try await ledger.claims().count == 1)
            try await runToEnd(job("true", lost, step: "other"), ledger)
            let closed = try await close(ledger, endsJobs: true)
            #expect(closed.ended.map { "\($0)" } == ["\(run).work.1"])
            guard case .finished(let result) = try await ledger.probe(closed.ended[0]) else { return #expect(Bool(false), "it has not ended") }
            #expect(result.cancelled || result.signal != nil)
            #expect(try await ledger.claims().isEmpty)
        }
    }

    @Test func aRunIsNamedByAnUnambiguousBeginning() async throws {
        try await withLedger { ledger in
            let lost = LostRun(ledger, host: "db1")
            #expect(await code { _ = try await lost.resolve("2026") } == "adopt.unknown-run")
            try await ledger.announce(ticket(run, fence: 1, sequence: 1))
            #expect(try await lost.resolve("2026").ticket.run == run)
            try await ledger.announce(ticket(other, fence: 1, sequence: 1))
            #expect(await code { _ = try await lost.resolve("2026") } == "adopt.ambiguous-run")
            #expect(await code { _ = try await lost.resolve("") } == "adopt.unknown-run")
            #expect(try await lost.resolve("20261124").ticket.run == other)
            #expect(try await lost.resolve(run.rawValue).ticket.run == run)
        }
    }

    private func code(_ body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? any RepriseError)?.code ?? "\(error)"
        }
    }
}
