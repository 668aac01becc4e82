internal import Crypto
package import RunCore

/// What a caller asks to have written. It becomes a `JournalRecord` once it is durable.
package struct JournalEntry: Hashable, Sendable {
    /// 1 to 64 printable ASCII characters, for example `step.attempt-started`.
    package let kind: String
    package let step: StepID?
    package let attempt: AttemptNumber?
    /// Canonical JSON made by the caller, secrets already redacted. At most `JournalLimits.payloadBytes`.
    package let payload: [UInt8]

    package init(kind: String, step: StepID? = nil, attempt: AttemptNumber? = nil, payload: [UInt8]) {
        self.kind = kind
        self.step = step
        self.attempt = attempt
        self.payload = payload
    }
}

/// Bounds on everything that a journal stores, so that no reader has to trust a length.
package enum JournalLimits {
    package static let kindBytes = 64
    package static let payloadBytes = 16 << 20
    package static let snapshotBytes = 64 << 20
    package static let labelBytes = 64
    package static let entriesPerAppend = 10_000
    /// Bytes of a SHA-256 hash.
    package static let hashBytes = 32
}

/// One durable event of one run, chained to the one before it.
package struct JournalRecord: Hashable, Sendable {
    package let run: RunID
    /// Per run, from 1, without gaps.
    package let sequence: Int64
    /// Wall clock of the writer, milliseconds since 1970 UTC. For people: nothing is decided by it.
    package let timeMilliseconds: Int64
    package let fence: Fence
    package let kind: String
    package let step: StepID?
    package let attempt: AttemptNumber?
    package let payload: [UInt8]
    /// SHA-256, 32 bytes: the hash of the record before, or `JournalChain.origin` for the first one.
    package let previousHash: [UInt8]
    /// SHA-256, 32 bytes, over all the other fields.
    package let hash: [UInt8]

    /// A record as a store reads it back; see `isIntact`.
    package init(
        run: RunID, sequence: Int64, timeMilliseconds: Int64, fence: Fence, kind: String, step: StepID?, attempt: AttemptNumber?,
        payload: [UInt8], previousHash: [UInt8], hash: [UInt8]
    ) {
        (self.run, self.sequence, self.timeMilliseconds, self.fence) = (run, sequence, timeMilliseconds, fence)
        (self.kind, self.step, self.attempt, self.payload) = (kind, step, attempt, payload)
        (self.previousHash, self.hash) = (previousHash, hash)
    }
}

extension JournalRecord {
    /// The record that follows `previousHash` in its run.
    package init(
        run: RunID, sequence: Int64, timeMilliseconds: Int64, fence: Fence, entry: JournalEntry, previousHash: [UInt8]
    ) {
        self.init(
            run: run, sequence: sequence, timeMilliseconds: timeMilliseconds, fence: fence, kind: entry.kind, step: entry.step,
            attempt: entry.attempt, payload: entry.payload, previousHash: previousHash,
            hash: JournalChain.hash(
                run: run, sequence: sequence, timeMilliseconds: timeMilliseconds, fence: fence, entry: entry,
                previousHash: previousHash))
    }

    package var entry: JournalEntry { JournalEntry(kind: kind, step: step, attempt: attempt, payload: payload) }

    /// True if `hash` is the hash of the other fields. Says nothing of the record's place in the chain.
    package var isIntact: Bool {
        hash
            == JournalChain.hash(
                run: run, sequence: sequence, timeMilliseconds: timeMilliseconds, fence: fence, entry: entry,
                previousHash: previousHash)
    }
}

/// How records are chained. Part of the format: it never changes for journals of version 1.
///
/// A hash is SHA-256 over a sequence of fields. A text or byte field is its length in bytes as 8 bytes big-endian, then the
/// bytes; an integer is 8 bytes big-endian, two's complement; an optional field is one byte 0, or one byte 1 and the field.
/// So no two different records have the same encoding.
///
///     record = "reprise.record.1" run sequence time fence kind step? attempt? payload previousHash
///     origin = "reprise.origin.1" run
package enum JournalChain {
    /// What the first record of `run` names as its previous hash.
    package static func origin(of run: RunID) -> [UInt8] {
        var encoder = CanonicalEncoder(domain: "reprise.origin.1")
        encoder.append(run.rawValue)
        return encoder.sha256
    }

    static func hash(
        run: RunID, sequence: Int64, timeMilliseconds: Int64, fence: Fence, entry: JournalEntry, previousHash: [UInt8]
    ) -> [UInt8] {
        var encoder = CanonicalEncoder(domain: "reprise.record.1", reserving: entry.payload.count + 320)
        encoder.append(run.rawValue)
        encoder.append(sequence)
        encoder.append(timeMilliseconds)
        encoder.append(fence)
        encoder.append(entry.kind)
        encoder.append(optional: entry.step) { $0.append($1.rawValue) }
        encoder.append(optional: entry.attempt) { $0.append(Int64($1)) }
        encoder.append(entry.payload)
        encoder.append(previousHash)
        return encoder.sha256
    }
}

/// Builds the bytes that a hash is taken of; see `JournalChain` for the format.
struct CanonicalEncoder {
    private var bytes: [UInt8] = []

    init(domain: String, reserving capacity: Int = 256) {
        bytes.reserveCapacity(capacity)
        append(domain)
    }

    mutating func append(_ integer: Int64) {
        withUnsafeBytes(of: integer.bigEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ text: String) {
        append(Int64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func append(_ field: [UInt8]) {
        append(Int64(field.count))
        bytes.append(contentsOf: field)
    }

    mutating func append<Value>(optional value: Value?, _ append: (inout CanonicalEncoder, Value) -> Void) {
        guard let value else {
            bytes.append(0)
            return
        }
        bytes.append(1)
        append(&self, value)
    }

    var sha256: [UInt8] {
        bytes.withUnsafeBytes { buffer in
            var hasher = SHA256()
            hasher.update(bufferPointer: buffer)
            return Array(hasher.finalize())
        }
    }
}
