import Journal
import Testing

@Suite struct SQLiteConformanceTests {
    private let scratch = Scratch()
    private var suite: Conformance {
        let scratch = scratch
        return Conformance { try await scratch.open() }
    }

    @Test func recordsAreChainedAndDurable() async throws { try await suite.recordsAreChainedAndDurable() }
    @Test func appendsAreWholeOrNothing() async throws { try await suite.appendsAreWholeOrNothing() }
    @Test func aSecondHolderIsRefusedByName() async throws { try await suite.aSecondHolderIsRefusedByName() }
    @Test func aTakeOverMakesTheFirstHolderStale() async throws { try await suite.aTakeOverMakesTheFirstHolderStale() }
    @Test func fencesOnlyGrow() async throws { try await suite.fencesOnlyGrow() }
    @Test func aReleaseIsIdempotentAndLeavesASuccessorAlone() async throws {
        try await suite.aReleaseIsIdempotentAndLeavesASuccessorAlone()
    }
    @Test func aSnapshotShortensTheTail() async throws { try await suite.aSnapshotShortensTheTail() }
    @Test func pagesAreContiguous() async throws { try await suite.pagesAreContiguous() }
    @Test func prefixesResolve() async throws { try await suite.prefixesResolve() }
    @Test func boundsAreKept() async throws { try await suite.boundsAreKept() }
    @Test func cancellationDoesNotLoseAnAppend() async throws { try await suite.cancellationDoesNotLoseAnAppend() }
    @Test func concurrentAppendsStayInOneChain() async throws { try await suite.concurrentAppendsStayInOneChain() }
    @Test func changesArriveAcrossStores() async throws { try await suite.changesArriveAcrossStores() }
    @Test func labelsAreListed() async throws { try await suite.labelsAreListed() }
    @Test func aWordHasOneEnd() async throws { try await suite.aWordHasOneEnd() }

    /// One journal for everything, as a store sees it that shares its server with others.
    @Test func allAtOnceInOneJournal() async throws { try await suite.all() }
}
