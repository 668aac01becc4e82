internal import RunCore

/// A run that a person ended for good on a host, because nobody has its journal any more.
///
/// It is said with the means that every ledger has, a ticket: it has the next fence, and a place in the journal behind every place
/// that a journal can reach. So whatever process turns up later, with whatever fence and whatever copy of the lost journal, is
/// refused, as stale or as older than what the host has seen.
extension FenceTicket {
    /// 2^53 - 1: behind every event, and still exact as a number of JSON.
    private static let closedSequence: Int64 = 9_007_199_254_740_991
    private static let closedHead = "closed: "

    /// The ticket that ends this one's run.
    ///
    /// - Parameter holder: random, as every process's.
    package func closing(by operator: String, reason: String, holder: String) -> FenceTicket {
        FenceTicket(
            run: run, fence: fence + 1, holder: holder, operator: `operator`, journalSequence: Self.closedSequence,
            journalHead: Self.closedHead + reason)
    }

    /// Why the run was ended for good; nil where it was not.
    package var closedBecause: String? {
        guard journalSequence == Self.closedSequence, journalHead.hasPrefix(Self.closedHead) else { return nil }
        return String(journalHead.dropFirst(Self.closedHead.count))
    }
}

extension LedgerError {
    /// What a host says to whoever still wants to drive a run that was closed there.
    package static func closed(_ standing: FenceTicket?, hostName: String) -> LedgerError? {
        guard let standing, let why = standing.closedBecause else { return nil }
        return LedgerError(
            "run-closed",
            "run \(standing.run) was closed on \(hostName) by \(printable(Array(standing.operator.utf8))): \(printable(Array(why.utf8)))",
            hints: ["it cannot be driven any more, by nobody; a new run can: reprise start PLAN"], standing: standing)
    }
}
