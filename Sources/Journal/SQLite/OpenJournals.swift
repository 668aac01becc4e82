internal import Synchronization

/// Counts the stores of this process that have one journal file open, from `init` to the last reference.
///
/// Opening and closing a file behind SQLite's back drops the locks that this process has on it (fcntl(2)). So the first
/// bytes of a journal are only read while no store of this process has it open.
final class OpenJournal: Sendable {
    private static let counts = Mutex<[JournalFiles.FileIdentity: Int]>([:])
    private let identity: JournalFiles.FileIdentity

    /// - Parameter checkFirst: called, with all other openings of this process waiting, if no store has the file open.
    init(_ identity: JournalFiles.FileIdentity, checkFirst: () throws -> Void) throws {
        try Self.counts.withLock { counts in
            if counts[identity, default: 0] == 0 { try checkFirst() }
            counts[identity, default: 0] += 1
        }
        self.identity = identity
    }

    deinit {
        Self.counts.withLock { counts in
            let left = counts[identity, default: 1] - 1
            counts[identity] = left > 0 ? left : nil
        }
    }
}
