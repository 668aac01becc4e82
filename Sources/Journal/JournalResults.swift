package import RunCore

/// The end of one run's chain.
package struct RunHead: Codable, Hashable, Sendable {
    /// Sequence of the last record.
    package let sequence: Int64
    /// Hash of the last record, 32 bytes.
    package let hash: [UInt8]

    package init(sequence: Int64, hash: [UInt8]) {
        self.sequence = sequence
        self.hash = hash
    }
}

/// What it takes to go on with a run.
package struct LoadedRun: Hashable, Sendable {
    package struct Snapshot: Hashable, Sendable {
        /// The caller's state after the record `atSequence`.
        package let state: [UInt8]
        package let atSequence: Int64

        package init(state: [UInt8], atSequence: Int64) {
            self.state = state
            self.atSequence = atSequence
        }
    }

    package let run: RunID
    package let snapshot: Snapshot?
    /// The records after the snapshot, or all of them.
    package let tail: [JournalRecord]
    package let head: RunHead
    /// The newest fence that this journal gave out for the run.
    package let fence: Fence
    package let label: String

    package init(run: RunID, snapshot: Snapshot?, tail: [JournalRecord], head: RunHead, fence: Fence, label: String) {
        self.run = run
        self.snapshot = snapshot
        self.tail = tail
        self.head = head
        self.fence = fence
        self.label = label
    }
}

/// One line of a listing.
package struct RunSummary: Codable, Hashable, Sendable {
    package let run: RunID
    /// Wall clock, milliseconds since 1970 UTC.
    package let createdMilliseconds: Int64
    package let lastEventMilliseconds: Int64
    package let head: RunHead
    /// The newest fence that this journal gave out for the run.
    package let fence: Fence
    /// The caller's name for the run's state.
    package let label: String
    /// Nil once released.
    package let holder: Holder?

    package init(
        run: RunID, createdMilliseconds: Int64, lastEventMilliseconds: Int64, head: RunHead, fence: Fence, label: String,
        holder: Holder?
    ) {
        self.run = run
        self.createdMilliseconds = createdMilliseconds
        self.lastEventMilliseconds = lastEventMilliseconds
        self.head = head
        self.fence = fence
        self.label = label
        self.holder = holder
    }
}

/// Something in a journal that is not as it was written.
package struct JournalDamage: Codable, Hashable, Sendable {
    /// Nil where the journal itself is damaged, not one run.
    package let run: RunID?
    /// The first bad record, where it is a record.
    package let sequence: Int64?
    package let finding: String

    package init(run: RunID?, sequence: Int64?, finding: String) {
        self.run = run
        self.sequence = sequence
        self.finding = finding
    }

    /// `record 17 of run 20261123-021407-k3f9: its hash does not fit its content`.
    package var summary: String {
        switch (run, sequence) {
        case (let run?, let sequence?): "record \(sequence) of run \(run): \(finding)"
        case (let run?, nil): "run \(run): \(finding)"
        case (nil, _): "the journal: \(finding)"
        }
    }
}

/// What `verify` found.
package struct VerificationReport: Codable, Hashable, Sendable {
    package let runsChecked: Int
    package let recordsChecked: Int64
    /// The first damage of each damaged run, then that of the journal itself; at most 100.
    package let damage: [JournalDamage]
    /// The journal's last record, to be kept elsewhere by who wants to notice an old copy later. Nil when empty.
    package let head: JournalHead?

    package init(runsChecked: Int, recordsChecked: Int64, damage: [JournalDamage], head: JournalHead?) {
        self.runsChecked = runsChecked
        self.recordsChecked = recordsChecked
        self.damage = damage
        self.head = head
    }

    package var isIntact: Bool { damage.isEmpty }
    package var firstBad: JournalDamage? { damage.first }
}

/// The last record of a whole journal.
package struct JournalHead: Codable, Hashable, Sendable {
    /// Journal-wide number of the record, from 1, without gaps.
    package let position: Int64
    package let hash: [UInt8]

    package init(position: Int64, hash: [UInt8]) {
        self.position = position
        self.hash = hash
    }
}

/// Something that a person should know although the journal could be opened.
package enum JournalNotice: Hashable, Sendable {
    /// The last process died while it wrote. What it had not finished was cut off; nothing acknowledged was lost.
    case tornTail(bytes: Int)
    /// The head file was behind by this many records, as after a kill or a power loss. It was brought up to date.
    case headFileBehind(records: Int64)
    /// The caller accepted that these acknowledged records are gone.
    case acceptedLoss(records: Int64)
    /// The head file was missing or unreadable, and was made anew at the caller's word.
    case headFileRemade

    package var summary: String {
        switch self {
        case .tornTail(let bytes): "cut off \(bytes) bytes of a transaction that was never finished"
        case .headFileBehind(let records): "the head file was \(counted(records, "record")) behind and is now up to date"
        case .acceptedLoss(let records): "went on without \(records) acknowledged records that are missing"
        case .headFileRemade: "made the head file anew"
        }
    }
}
