/// How `Fetch` goes about one object.
package struct FetchOptions: Hashable, Sendable {
    /// What survives what.
    package enum Durability: String, Hashable, Sendable, Codable {
        /// Parts are on the disk before they are counted, the file before it gets its name.
        case powerLoss
        /// Survives a kill of the process. After a power cut what was finished does not count, and a file that has its name
        /// already must be checked by its hash again. Faster where the disk is slower than the network.
        case processCrash
    }

    /// Parts that are read at once, 1 to 32.
    package var concurrency: Int
    /// The least, itself at least 64 KiB; grown to a hundredth of the object, to 64 MiB at most, and then so that no object
    /// has more than 10,000 parts.
    package var partSizeBytes: Int64
    /// Further attempts for a part that makes no progress.
    package var retry: RetryPolicy
    package var limits: ReadLimits
    package var durability: Durability
    /// Lowercase hex; from a manifest. Nil: the one that the store keeps, if it keeps one.
    package var expectedSHA256: String?
    /// Reserve the room before the first byte. Off only for tests of a disk that fills in the middle.
    package var reservesRoom: Bool
    /// The sidecar stays beside the finished file, so that a later fetch of the same version finds it whole. The caller removes
    /// both.
    package var keepsRecord: Bool

    package init(
        concurrency: Int = 6, partSizeBytes: Int64 = 8 << 20, retry: RetryPolicy = RetryPolicy(),
        limits: ReadLimits = ReadLimits(), durability: Durability = .powerLoss, expectedSHA256: String? = nil,
        reservesRoom: Bool = true, keepsRecord: Bool = false
    ) {
        self.concurrency = min(max(concurrency, 1), 32)
        self.partSizeBytes = max(partSizeBytes, 65_536)
        self.retry = retry
        self.limits = limits
        self.durability = durability
        self.expectedSHA256 = expectedSHA256?.lowercased()
        self.reservesRoom = reservesRoom
        self.keepsRecord = keepsRecord
    }
}

package struct FetchProgress: Hashable, Sendable {
    package let doneBytes: Int64
    package let totalBytes: Int64
    /// Over the last few seconds; what an earlier attempt left does not count.
    package let bytesPerSecond: Double
    /// Nil while the rate is unknown.
    package let remainingSeconds: Double?
    /// Failed attempts so far, of all parts.
    package let retries: Int
}

package struct FetchedFile: Hashable, Sendable, Codable {
    package let path: String
    package let sizeBytes: Int64
    /// Lowercase hex, over the bytes that are in the file.
    package let sha256: String
    package let etag: String
    /// What an earlier attempt had left and this one did not fetch again.
    package let reusedBytes: Int64
    package let retries: Int
}
