package import BlockingIO
package import RunCore
internal import Synchronization

/// Where runs are written down before anything happens. Every store passes the conformance suite in
/// `Tests/JournalTests/Conformance.swift`.
///
/// What a store promises:
/// - A record that was returned by `append` or `create` survives the death of the process and, as far as the disk honours
///   flush, of the machine. One that was refused with an error, or was under way when the process died, may or may not be
///   there; whole calls are there or not, never parts.
/// - Records of a run form a chain (`JournalChain`); a changed record is never returned, it is an error that names it.
/// - A hold whose fence is not the run's newest can append nothing.
/// - Nothing is decided by the wall clock.
/// - Task cancellation does not stop a call that has begun to write.
package protocol JournalStore: Sendable {
    /// Creates `run`, acquires it, and appends `first`, all in one transaction. The hold's fence is at least `atLeast` + 1.
    /// - Throws: `RunExists`; not idempotent.
    func create(run: RunID, first: JournalEntry, operator: OperatorIdentity, label: String, atLeast: Fence) async throws -> Hold

    /// Makes the caller the run's one holder, under a fence above every earlier one and above `atLeast`.
    ///
    /// A run whose holder's process is dead, or which was released, is free. Not idempotent: each call allocates a fence.
    /// - Parameter takeOver: why a live holder is replaced; nil to respect it.
    /// - Parameter atLeast: the highest fence that a host has seen for this run, 0 if none.
    /// - Throws: `HeldByAnother` naming the live holder, `RunNotFound`, `RecordDamaged`.
    func acquire(run: RunID, operator: OperatorIdentity, takeOver: String?, atLeast: Fence) async throws -> Hold

    /// Gives the run up. Idempotent; a hold that was taken over is left alone.
    func release(_ hold: Hold) async throws

    /// Appends `entries` in one transaction and returns them as durable records, in order.
    /// - Parameter label: the run's state from now on, for cheap listing; nil leaves it.
    /// - Parameter snapshot: the caller's state after these entries; replaces the one before. Opaque to the store.
    /// - Throws: `StaleHold`, `EntryRefused`, `JournalDiskFull` (nothing written; try again when there is room),
    ///   `JournalPoisoned` (stop the process).
    func append(_ entries: [JournalEntry], hold: Hold, label: String?, snapshot: [UInt8]?) async throws -> [JournalRecord]

    /// The newest snapshot and all records after it, verified: the chain of the tail up to the run's head, and that the
    /// snapshot belongs to it. The size of the tail is bounded only by how often the caller leaves a snapshot.
    /// - Throws: `RecordDamaged` (a damaged snapshot too: read `records` from 0 then), `RunNotFound`.
    func load(run: RunID) async throws -> LoadedRun

    /// Verified records with a sequence above `after`, in order, at most `limit`; fewer at the end.
    func records(run: RunID, after: Int64, limit: Int) async throws -> [JournalRecord]

    /// The newest runs, newest first.
    func runs(limit: Int) async throws -> [RunSummary]

    /// - Throws: `RunNotFound`.
    func summary(run: RunID) async throws -> RunSummary

    /// The run that `prefix` names: its whole id or an unambiguous beginning of it; nil for the run created last.
    /// - Throws: `RunNotFound`, `RunAmbiguous`.
    func resolve(prefix: String?) async throws -> RunID

    /// Recomputes the chain of one run, or of all runs and the journal's own bookkeeping, in bounded memory.
    /// Damage is reported, not thrown.
    func verify(run: RunID?) async throws -> VerificationReport

    /// Leaves a word for the live holder of `run`, who alone may append to it. Not durable against power loss.
    /// - Returns: the word's name, for `fateOfWord`.
    func leaveWord(run: RunID, kind: String, payload: [UInt8]) async throws -> String

    /// The words that were left for the holder of `run` and are not answered yet, oldest first.
    func leftWords(run: RunID) async throws -> [LeftWord]

    /// Takes a word in hand for an answer: from then on it can be withdrawn no more.
    /// - Returns: false where it was withdrawn.
    func claimWord(run: RunID, name: String) async throws -> Bool

    /// Lays a claimed word back, unanswered.
    func putWordBack(run: RunID, name: String) async throws

    /// Answers a claimed word.
    /// - Parameter refusal: why the word was not taken; nil where it was.
    func answerWord(run: RunID, name: String, refusal: String?) async throws

    /// Takes a word back, so that no holder ever sees it.
    /// - Returns: false where a holder has claimed it, and answers it.
    func withdrawWord(run: RunID, name: String) async throws -> Bool

    /// What became of a word. An answer is told once.
    func fateOfWord(run: RunID, name: String) async throws -> WordFate

    /// The records of `run` above `after`, and then each new one as it becomes durable, whichever process writes it.
    /// The stream ends when its task is cancelled, or throws what `records` throws.
    func changes(run: RunID, after: Int64) -> AsyncThrowingStream<[JournalRecord], any Error>
}

/// A store in this process, whose work is done on one thread that an actor can share. A change of threads costs more than a flush
/// on a busy machine, and an append through `append` takes two.
package protocol LocalJournalStore: JournalStore {
    /// Taken by an actor as its executor, `appendHere` can be called from it.
    var executor: DedicatedThread { get }

    /// As `append`, but blocks the calling actor, whose executor must be `executor`, until the records are durable.
    /// Called from anywhere else it ends the process.
    func appendHere(_ entries: [JournalEntry], hold: Hold, label: String?, snapshot: [UInt8]?) throws -> [JournalRecord]
}

extension JournalStore {
    /// Asks ten times a second, which costs two look-ups; for stores that cannot be told of others' writes. It reads ahead of
    /// its consumer by nothing, so a slow one costs no memory.
    package func changes(run: RunID, after: Int64) -> AsyncThrowingStream<[JournalRecord], any Error> {
        let cursor = Cursor(after)
        return AsyncThrowingStream {
            while !Task.isCancelled {
                let batch = try await records(run: run, after: cursor.sequence.withLock { $0 }, limit: 500)
                if let last = batch.last {
                    cursor.sequence.withLock { $0 = last.sequence }
                    return batch
                }
                do { try await Task.sleep(for: .milliseconds(100)) } catch { return nil }
            }
            return nil
        }
    }
}

/// How far a stream of changes has come.
private final class Cursor: Sendable {
    let sequence: Mutex<Int64>
    init(_ sequence: Int64) { self.sequence = Mutex(sequence) }
}

extension JournalStore {
    package func create(run: RunID, first: JournalEntry, operator identity: OperatorIdentity, label: String) async throws -> Hold
    {
        try await create(run: run, first: first, operator: identity, label: label, atLeast: 0)
    }

    package func acquire(run: RunID, operator identity: OperatorIdentity) async throws -> Hold {
        try await acquire(run: run, operator: identity, takeOver: nil, atLeast: 0)
    }

    package func append(_ entries: [JournalEntry], hold: Hold) async throws -> [JournalRecord] {
        try await append(entries, hold: hold, label: nil, snapshot: nil)
    }
}
