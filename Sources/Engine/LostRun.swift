package import RunCore
package import SSH

/// A run that a host knows and of which there is no journal any more, and what can be done about it from the host alone.
///
/// The lost journal cannot be replayed from here: the host has the jobs and what became of them, but neither the plan, nor the
/// choices that were made, nor what was done through connections of the orchestrator's own. So a lost run is not gone on with;
/// it is closed, and a new one begins.
package struct LostRun: Sendable {
    package let ledger: any JobLedger
    package let host: String

    package init(_ ledger: any JobLedger, host: String) {
        self.ledger = ledger
        self.host = host
    }

    /// What closing a run on one host has come to.
    package struct Closed: Sendable {
        package let run: RunID
        package let host: String
        /// Whether it had been closed before.
        package let wasClosed: Bool
        /// The claims that were given back.
        package let released: [String]
        package let jobs: [HostJob]
        /// The jobs that were ended for it.
        package let ended: [JobID]
    }

    /// The run of the host that `prefix` names: its whole id or an unambiguous beginning of it.
    package func resolve(_ prefix: String) async throws -> HostRun {
        let runs = try await ledger.runs()
        let fitting = runs.filter { $0.ticket.run.rawValue.hasPrefix(prefix) }
        if let exact = fitting.first(where: { $0.ticket.run.rawValue == prefix }) { return exact }
        guard let only = fitting.first, !prefix.isEmpty else { throw LostRunRefused.unknown(prefix, host, runs.map(\.ticket.run)) }
        guard fitting.count == 1 else { throw LostRunRefused.ambiguous(prefix, host, fitting.map(\.ticket.run)) }
        return only
    }

    /// Ends the run on the host for good: nobody can start anything under its name there any more, and what it had reserved is free.
    /// Idempotent: what was closed in part is closed wholly.
    ///
    /// - Parameters:
    ///   - holder: random, for the ticket.
    ///   - endsJobs: jobs that still run are ended, and count as ended once the host confirms it.
    /// - Throws: where jobs still run and may not be ended; nothing has changed then, unless one began in that very moment.
    package func close(
        _ prefix: String, by operator: String, reason: String, holder: String, endsJobs: Bool
    ) async throws -> Closed {
        let known = try await resolve(prefix).ticket
        let before = try await alive(known.run)
        guard before.isEmpty || endsJobs else { throw LostRunRefused.alive(before, known.run, host, isClosed: false) }
        let wasClosed = known.closedBecause != nil
        let ticket = wasClosed ? known : known.closing(by: `operator`, reason: reason, holder: holder)
        // First the fence: from here on nothing new begins, and what is alive now is all that there is to end.
        if !wasClosed { try await ledger.announce(ticket) }
        let alive = try await alive(ticket.run)
        guard alive.isEmpty || endsJobs else { throw LostRunRefused.alive(alive, ticket.run, host, isClosed: true) }
        for job in alive { _ = try await ledger.cancel(job.id, ticket: ticket, grace: .seconds(10)) }
        let left = try await self.alive(ticket.run)
        guard left.isEmpty else { throw LostRunRefused.alive(left, ticket.run, host, isClosed: true) }
        return Closed(
            run: ticket.run, host: host, wasClosed: wasClosed, released: try await releaseClaims(ticket),
            jobs: try await ledger.jobs(of: ticket.run), ended: alive.map(\.id))
    }

    private func alive(_ run: RunID) async throws -> [HostJob] {
        try await ledger.jobs(of: run).filter { job in
            switch job.verdict {
            case .running, .orphan: true
            case .finished, .neverRan, .absent, .inDoubt: false
            }
        }
    }

    private func releaseClaims(_ ticket: FenceTicket) async throws -> [String] {
        var released: [String] = []
        for claim in try await ledger.claims() where claim.run == ticket.run {
            if try await ledger.releaseClaim(resource: claim.resource, ticket: ticket) { released.append(claim.resource) }
        }
        return released
    }
}

/// Why a lost run cannot be shown or closed.
struct LostRunRefused: RepriseError {
    let code: String
    let message: String
    let hints: [String]
    let exitStatus: ExitStatus

    static func unknown(_ word: String, _ host: String, _ known: [RunID]) -> Self {
        .init(
            code: "adopt.unknown-run", message: "\(host) knows no run \(word)",
            hints: known.isEmpty ? ["\(host) knows no runs at all"] : ["see those that it knows: reprise adopt \(host)"], exitStatus: .usage)
    }

    static func ambiguous(_ word: String, _ host: String, _ fitting: [RunID]) -> Self {
        .init(
            code: "adopt.ambiguous-run", message: "\(host) knows \(fitting.count) runs that begin with \(word)",
            hints: [fitting.map(\.rawValue).joined(separator: " ")], exitStatus: .usage)
    }

    static func alive(_ jobs: [HostJob], _ run: RunID, _ host: String, isClosed: Bool) -> Self {
        let names = jobs.map { "\($0.id)" }.joined(separator: ", ")
        let many = jobs.count > 1
        return .init(
            code: "adopt.jobs-alive",
            message: "\(many ? "jobs" : "a job") of run \(run) still \(many ? "run" : "runs") on \(host): \(names)"
                + (isClosed ? "; nothing new can start, and its claims are kept" : "; nothing was changed"),
            hints: [
                "wait for \(many ? "them" : "it"), and see how far \(many ? "they are" : "it is"): reprise adopt \(host) \(run)",
                "or end \(many ? "them" : "it"): the same command with --end-jobs",
            ], exitStatus: .failed)
    }
}
