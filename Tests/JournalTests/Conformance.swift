import Journal
import RunCore
import Testing

/// What every `JournalStore` must do. A second store's tests call each of these with a factory of their own.
///
/// A factory opens the same, at first empty, journal at each call of `open`, as another process would.
struct Conformance: Sendable {
    /// Opens the journal once more; everything that a store opened before has made durable is there.
    let open: @Sendable () async throws -> any JournalStore

    static let alice = OperatorIdentity(user: "alice", host: "one", pid: 11, from: "192.0.2.7", processNonce: "nonce-a")
    static let bob = OperatorIdentity(user: "bob", host: "two", pid: 22, from: nil, processNonce: "nonce-b")

    static func entry(_ number: Int, kind: String = "step.outcome", step: String? = "restore", attempt: Int? = 1) -> JournalEntry
    {
        JournalEntry(
            kind: kind, step: step.map { StepID($0)! }, attempt: attempt, payload: Array(#"{"number":\#(number)}"#.utf8))
    }

    static func run(_ name: String) -> RunID { RunID(name)! }

    func all() async throws {
        try await recordsAreChainedAndDurable()
        try await appendsAreWholeOrNothing()
        try await aSecondHolderIsRefusedByName()
        try await aTakeOverMakesTheFirstHolderStale()
        try await fencesOnlyGrow()
        try await aReleaseIsIdempotentAndLeavesASuccessorAlone()
        try await aSnapshotShortensTheTail()
        try await pagesAreContiguous()
        try await prefixesResolve()
        try await boundsAreKept()
        try await cancellationDoesNotLoseAnAppend()
        try await concurrentAppendsStayInOneChain()
        try await changesArriveAcrossStores()
        try await labelsAreListed()
        try await aWordHasOneEnd()
    }

    func recordsAreChainedAndDurable() async throws {
        let store = try await open()
        let id = Self.run("chained-1")
        let hold = try await store.create(
            run: id, first: Self.entry(1, kind: "run.accepted", step: nil, attempt: nil), operator: Self.alice, label: "ACCEPTED")
        let appended = try await store.append([Self.entry(2), Self.entry(3)], hold: hold)
        let loaded = try await open().load(run: id)
        #expect(loaded.tail.map(\.sequence) == [1, 2, 3])
        #expect(Array(loaded.tail.dropFirst()) == appended)
        #expect(loaded.tail[0].previousHash == JournalChain.origin(of: id))
        #expect(loaded.tail[0].step == nil && loaded.tail[0].attempt == nil)
        #expect(zip(loaded.tail, loaded.tail.dropFirst()).allSatisfy { pair in pair.0.hash == pair.1.previousHash })
        #expect(loaded.tail.allSatisfy { $0.isIntact && $0.fence == hold.fence })
        #expect(loaded.head == RunHead(sequence: 3, hash: appended[1].hash))
        #expect(loaded.snapshot == nil)
        let report = try await store.verify(run: nil)
        #expect(report.isIntact && report.recordsChecked >= 3 && report.head != nil)
        await #expect(throws: RunExists.self) {
            _ = try await store.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        }
    }

    func appendsAreWholeOrNothing() async throws {
        let store = try await open()
        let id = Self.run("whole-1")
        let hold = try await store.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        let tooLong = JournalEntry(kind: "x", payload: [UInt8](repeating: 0, count: JournalLimits.payloadBytes + 1))
        await #expect(throws: EntryRefused.self) { _ = try await store.append([Self.entry(2), tooLong], hold: hold) }
        #expect(try await store.load(run: id).head.sequence == 1)
    }

    func aSecondHolderIsRefusedByName() async throws {
        let first = try await open()
        let second = try await open()
        let id = Self.run("held-1")
        let hold = try await first.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        let refusal = await #expect(throws: HeldByAnother.self) { _ = try await second.acquire(run: id, operator: Self.bob) }
        #expect(refusal?.holder.identity == Self.alice && refusal?.holder.fence == hold.fence && refusal?.holder.isAlive == true)
        #expect(refusal?.exitStatus == .heldByAnother)
        #expect(try await second.summary(run: id).holder?.identity == Self.alice)
        try await first.release(hold)
        #expect(try await second.summary(run: id).holder == nil)
        let next = try await second.acquire(run: id, operator: Self.bob)
        #expect(next.fence > hold.fence && next.replaced == nil)
    }

    func aTakeOverMakesTheFirstHolderStale() async throws {
        let first = try await open()
        let second = try await open()
        let id = Self.run("taken-1")
        let stale = try await first.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        let fresh = try await second.acquire(run: id, operator: Self.bob, takeOver: "alice is out", atLeast: 0)
        #expect(fresh.fence > stale.fence && fresh.replaced == Self.alice)
        let refusal = await #expect(throws: StaleHold.self) { _ = try await first.append([Self.entry(2)], hold: stale) }
        #expect(refusal?.newest == fresh.fence && refusal?.holder?.identity == Self.bob)
        #expect(refusal?.exitStatus == .heldByAnother)
        let records = try await second.append([Self.entry(3)], hold: fresh)
        #expect(records[0].sequence == 2 && records[0].fence == fresh.fence)
    }

    func fencesOnlyGrow() async throws {
        let store = try await open()
        let id = Self.run("fences-1")
        var hold = try await store.create(run: id, first: Self.entry(1), operator: Self.alice, label: "", atLeast: 6)
        #expect(hold.fence == 7)
        for atLeast: Fence in [0, 7, 41, 3] {
            try await store.release(hold)
            let next = try await store.acquire(run: id, operator: Self.alice, takeOver: nil, atLeast: atLeast)
            #expect(next.fence == max(hold.fence, atLeast) + 1)
            hold = next
        }
        try await store.release(hold)
        await #expect(throws: EntryRefused.self) {
            _ = try await store.acquire(run: id, operator: Self.alice, takeOver: nil, atLeast: .max)
        }
    }

    func aReleaseIsIdempotentAndLeavesASuccessorAlone() async throws {
        let first = try await open()
        let second = try await open()
        let id = Self.run("released-1")
        let old = try await first.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        let new = try await second.acquire(run: id, operator: Self.bob, takeOver: "test", atLeast: 0)
        try await first.release(old)
        try await first.release(old)
        #expect(try await first.summary(run: id).holder?.identity == Self.bob)
        _ = try await second.append([Self.entry(2)], hold: new)
        try await second.release(new)
        await #expect(throws: StaleHold.self) { _ = try await second.append([Self.entry(3)], hold: new) }
    }

    func aSnapshotShortensTheTail() async throws {
        let store = try await open()
        let id = Self.run("snapshot-1")
        let hold = try await store.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        for number in 2...5 {
            _ = try await store.append([Self.entry(number)], hold: hold, label: nil, snapshot: number < 5 ? [UInt8(number)] : nil)
        }
        let loaded = try await open().load(run: id)
        #expect(loaded.snapshot == LoadedRun.Snapshot(state: [4], atSequence: 4))
        #expect(loaded.tail.map(\.sequence) == [5])
        _ = try await store.append([Self.entry(6)], hold: hold, label: nil, snapshot: [])
        let whole = try await open().load(run: id)
        #expect(whole.snapshot == LoadedRun.Snapshot(state: [], atSequence: 6) && whole.tail.isEmpty && whole.head.sequence == 6)
    }

    func pagesAreContiguous() async throws {
        let store = try await open()
        let id = Self.run("pages-1")
        let hold = try await store.create(run: id, first: Self.entry(1), operator: Self.alice, label: "")
        _ = try await store.append((2...25).map { Self.entry($0) }, hold: hold)
        var seen: [Int64] = []
        while true {
            let page = try await store.records(run: id, after: seen.last ?? 0, limit: 10)
            if page.isEmpty { break }
            seen += page.map(\.sequence)
        }
        #expect(seen == Array(1...25))
        #expect(try await store.records(run: id, after: 0, limit: 0).isEmpty)
        #expect(try await store.records(run: id, after: 99, limit: 5).isEmpty)
        await #expect(throws: RunNotFound.self) { _ = try await store.records(run: Self.run("nobody"), after: 0, limit: 1) }
    }
}
