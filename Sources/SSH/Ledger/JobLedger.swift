package import BlockingIO
package import RunCore

/// The durable jobs of one host. It is the host that says what ran; nothing is concluded from this side.
///
/// All methods throw `LedgerError`, or the transport's error (transient where the connection was lost): connect again and ask.
package protocol JobLedger: Sendable {
    /// Tells this conversation with the host from a later one, for as long as somebody holds on to it.
    var conversation: ObjectIdentifier { get }
    /// Makes `ticket` the newest one that the host has seen for its run (compare and swap). Idempotent.
    /// - Returns: the ticket that was newest before.
    /// - Throws: `LedgerError` with code `ledger.fence-stale`, `.fence-held`, `.journal-old` or `.journal-forked`, naming the other.
    @discardableResult
    func announce(_ ticket: FenceTicket) async throws -> FenceTicket?
    /// Starts the job unless it was started before, ever. Returns once the start is durable, or with the verdict on an
    /// earlier submission. Idempotent by id.
    /// - Throws: `LedgerError` as for `announce`; `ledger.spec-differs`, `.no-space`, `.no-user`, `.superseded` (a later attempt of the
    ///   step is there already). Whatever the host itself answers (`isAnswer`), this request has started nothing.
    func submit(_ spec: JobSpec, deadline: Deadline) async throws -> JobVerdict
    func probe(_ id: JobID) async throws -> JobVerdict
    /// Passes the output from the offsets on to `onOutput`, as it comes, until the job has ended. Waits for orphans too.
    /// - Throws: `DeadlineExceeded` at `deadline`; the job goes on.
    func follow(
        _ id: JobID, stdoutOffset: Int, stderrOffset: Int, onOutput: @escaping @Sendable (JobOutput) -> Void, deadline: Deadline?
    ) async throws -> JobVerdict
    /// TERM, then KILL after `grace`, to the job's process group. Returns the verdict once the ledger has it. Idempotent. A job that
    /// the host does not know is put down as cancelled: a request to start it that is still on its way starts nothing any more.
    /// - Throws: `LedgerError` as for `announce`: nothing was ended.
    func cancel(_ id: JobID, ticket: FenceTicket, grace: Duration) async throws -> JobVerdict
    /// The kept output. Empty past its end.
    func output(_ id: JobID, stream: JobStream, offset: Int, limit: Int) async throws -> [UInt8]
    /// Reserves `resource` for a run. Idempotent. At most 120 bytes of any text.
    /// - Throws: `LedgerError` with code `ledger.claimed`, naming the run that has it.
    func claim(resource: String, ticket: FenceTicket) async throws
    /// Gives back what the ticket's run has reserved. Idempotent.
    /// - Returns: whether there was a claim.
    /// - Throws: `LedgerError` as for `announce`, and as for `claim`: the claim stays.
    @discardableResult
    func releaseClaim(resource: String, ticket: FenceTicket) async throws -> Bool
    /// The same on a person's word, for a run that nobody drives any more and for which nobody has a ticket.
    @discardableResult
    func releaseClaim(resource: String, ofLostRun run: RunID) async throws -> Bool
    func claims() async throws -> [Claim]
    func runs() async throws -> [HostRun]
    func jobs(of run: RunID) async throws -> [HostJob]
    func hostFacts() async throws -> HostFacts
    /// Ends the conversation with the host. Jobs go on.
    func close() async
}

/// A refusal of a host's ledger.
package struct LedgerError: RepriseError {
    package let code: String
    package let message: String
    package let hints: [String]
    package let exitStatus: ExitStatus
    package let isTransient: Bool
    /// The host itself refused what it was asked for; false where the conversation with it failed.
    package internal(set) var isAnswer = false
    /// For a refused fence: the one that stands.
    package let standing: FenceTicket?
    /// For a refused claim: the run that has it.
    package let holdingRun: RunID?

    init(
        _ code: String, _ message: String, hints: [String] = [], exitStatus: ExitStatus = .failed, transient: Bool = false,
        standing: FenceTicket? = nil, holdingRun: RunID? = nil
    ) {
        self.code = "ledger.\(code)"
        self.message = message
        self.hints = hints
        self.exitStatus = exitStatus
        isTransient = transient
        self.standing = standing
        self.holdingRun = holdingRun
    }

    /// Another run works on that resource of the host, or has it for when it is retried.
    ///
    /// - Parameter what: what was not done therefore.
    package static func claimed(_ resource: String, by run: String, of person: String, hostName: String, _ what: String) -> LedgerError {
        LedgerError(
            "claimed", "\(what): \(resource) on \(hostName) is claimed by run \(run) of \(person)",
            hints: [
                "see what it does: reprise status \(run)", "where it is to end: reprise cancel \(run) or reprise undo \(run), with the journal that it is in",
                "only where that journal is lost: reprise adopt \(hostName) \(run) --close",
            ], exitStatus: .heldByAnother, holdingRun: RunID(run))
    }
}
