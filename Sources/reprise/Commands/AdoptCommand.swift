import ArgumentParser
internal import Engine
internal import Foundation
internal import PlanModel
internal import Reporting
internal import RunCore
internal import SSH

struct AdoptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt", abstract: "The runs that hosts know, and closing them: for the day on which the journal is lost.",
        discussion: help(
            """
            With a host only: the runs that it knows. With a run: its jobs there and what became of each. Both change nothing.

            --close ends the run on the host for good. Whoever still has its journal, or finds it again, can start nothing more \
            there; what the run had reserved is free, so that a new run can begin. It is refused while jobs of the run still run, \
            unless --end-jobs says to end them. What the run has done stays as it is: look at its jobs first, and at what `reprise \
            plan show PLAN --runbook` says that each step does. A run worked on several hosts: close it on each of them.
            """))
    @Argument(help: "The host, or a group of hosts.") var host: String
    @Argument(help: ArgumentHelp("A run that it knows, by its id or an unambiguous beginning of it.", valueName: "run")) var run_: String?
    @Flag(help: "Ends the run on the host for good.") var close = false
    @Option(help: "Why it is closed; the host keeps it.") var reason: String?
    @Flag(help: "With --close: ends the jobs that still run.") var endJobs = false
    @Flag(help: "With --close: stands for typing the run's id.") var yes = false
    @OptionGroup var options: GlobalOptions

    func validate() throws {
        guard close else {
            guard reason == nil, !endJobs, !yes else { throw ValidationError("--reason, --end-jobs and --yes belong to --close.") }
            return
        }
        guard run_ != nil else { throw ValidationError("--close needs the run: reprise adopt HOST RUN --close --reason …") }
        guard !(reason ?? "").isEmpty else { throw ValidationError("--close needs --reason.") }
    }

    func run() async throws {
        let reach = try Hosts(options)
        let names = try reach.named([host])
        guard let run_ else { return try await list(names, reach) }
        guard close, let reason else { return try await showJobs(of: run_, names, reach) }
        try await closeRun(run_, names, reach, reason)
    }

    // MARK: The runs

    private struct Known: Encodable {
        let host: String
        let run: String
        let fence: Int64
        let by: String
        let announcedAt: String
        let jobs: Int
        let journalSequence: Int64
        let closed: String?
    }

    private func list(_ names: [String], _ reach: Hosts) async throws {
        var runs: [Known] = []
        for name in names {
            runs += try await reach.withLedger(of: name) { try await $0.runs() }.map {
                Known(
                    host: name, run: $0.ticket.run.rawValue, fence: $0.ticket.fence, by: $0.ticket.operator,
                    announcedAt: timestamp($0.announcedAtMilliseconds), jobs: $0.jobCount, journalSequence: $0.ticket.journalSequence,
                    closed: $0.ticket.closedBecause)
            }
        }
        let table = Document.Table(
            [.init("HOST"), .init("RUN"), .init("FENCE", isNumber: true), .init("JOBS", isNumber: true), .init("LAST SEEN"), .init("BY"), .init("")],
            runs.map { .init([$0.host, $0.run, "\($0.fence)", "\($0.jobs)", $0.announcedAt, $0.by, $0.closed.map { "closed: \($0)" } ?? ""]) })
        let none = "\(names.joined(separator: ", ")): no runs are known there\n"
        try options.show(runs, runs.isEmpty ? none : tableText(table, style: options.style))
    }

    // MARK: The jobs of one

    private struct Job: Encodable {
        let host: String
        let job: String
        let verdict: String
        let submittedAt: String
        let fence: Int64
        let specHash: String
    }

    private func showJobs(of word: String, _ names: [String], _ reach: Hosts) async throws {
        var jobs: [Job] = []
        for name in names {
            jobs += try await reach.withLedger(of: name) { ledger in
                let run = try await LostRun(ledger, host: name).resolve(word).ticket.run
                return try await ledger.jobs(of: run)
            }.map {
                Job(
                    host: name, job: "\($0.id)", verdict: Self.text($0.verdict), submittedAt: timestamp($0.submittedAtMilliseconds),
                    fence: $0.fence, specHash: $0.specHash)
            }
        }
        let table = Document.Table(
            [.init("HOST"), .init("JOB"), .init("SUBMITTED"), .init("VERDICT")],
            jobs.map { .init([$0.host, $0.job, $0.submittedAt, $0.verdict]) })
        try options.show(jobs, jobs.isEmpty ? "no jobs\n" : tableText(table, style: options.style))
    }

    private static func text(_ verdict: JobVerdict) -> String {
        switch verdict {
        case .finished(let result):
            result.exitStatus.map { "ended with status \($0)" } ?? result.signal.map { "ended by signal \($0)" } ?? "cancelled before it started"
        case .running: "running"
        case .orphan(let holders): "its supervisor is gone, still running: \(holders.joined(separator: ", "))"
        case .neverRan, .absent: "never ran"
        case .inDoubt: "in doubt"
        }
    }

    // MARK: Closing

    private struct Closing: Encodable {
        let host: String
        let run: String
        let wasClosed: Bool
        let released: [String]
        let endedJobs: [String]
        let jobsInDoubt: [String]
        let jobs: Int
    }

    private func closeRun(_ word: String, _ names: [String], _ reach: Hosts, _ reason: String) async throws {
        // Typed as the id that stands there, which the beginning of one may not be what its writer thought of.
        let first = names[0]
        let run = try await reach.withLedger(of: first) { try await LostRun($0, host: first).resolve(word).ticket.run }
        try await Confirmation.require(
            [run.rawValue], isGiven: yes, what: "closing run \(run) on \(names.joined(separator: ", "))",
            does: "ends it there for good: its journal, should it be found again, can drive it no more",
            hints: ["look first: reprise adopt \(host) \(run)"])
        var closings: [Closing] = []
        for name in names {
            let closed = try await reach.withLedger(of: name) {
                try await LostRun($0, host: name).close(
                    run.rawValue, by: operatorName, reason: reason, holder: UUID().uuidString.lowercased(), endsJobs: endJobs)
            }
            closings.append(
                Closing(
                    host: name, run: run.rawValue, wasClosed: closed.wasClosed, released: closed.released, endedJobs: closed.ended.map { "\($0)" },
                    jobsInDoubt: closed.jobs.filter { if case .inDoubt = $0.verdict { true } else { false } }.map { "\($0.id)" },
                    jobs: closed.jobs.count))
        }
        try options.show(closings, closings.map(Self.text).joined() + Self.advice(run, closings))
    }

    private static func text(_ closing: Closing) -> String {
        var lines = ["run \(closing.run) is closed on \(closing.host): nobody can start anything under its name there any more"]
        if closing.wasClosed { lines.append("it had been closed before") }
        if !closing.endedJobs.isEmpty { lines.append("ended: \(closing.endedJobs.joined(separator: ", "))") }
        if !closing.jobsInDoubt.isEmpty {
            lines.append("in doubt, and so to be looked at by you: \(closing.jobsInDoubt.joined(separator: ", "))")
        }
        lines.append(closing.released.isEmpty ? "it had reserved nothing" : "free again: \(closing.released.joined(separator: ", "))")
        return lines.map { oneLine($0) + "\n" }.joined()
    }

    private static func advice(_ run: RunID, _ closings: [Closing]) -> String {
        """
        HINT: what the run did stays done; its jobs and their end: reprise adopt \(closings[0].host) \(run)
        HINT: close it on every host that it worked on, then begin anew: reprise check PLAN; reprise start PLAN
        HINT: the plan as commands for hands, should you stay without the tool: reprise plan show PLAN --runbook

        """
    }
}
