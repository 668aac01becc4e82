package import struct Foundation.Date

/// One entry of a listing.
package struct ObjectSummary: Hashable, Sendable, Codable {
    /// Relative to the store's root.
    package let key: String
    package let sizeBytes: Int64
    package let lastModified: Date
    /// As the store writes it, quotes included. Opaque: an ETag of a multipart upload is no MD5.
    package let etag: String

    package init(key: String, sizeBytes: Int64, lastModified: Date, etag: String) {
        self.key = key
        self.sizeBytes = sizeBytes
        self.lastModified = lastModified
        self.etag = etag
    }
}

/// One version of an object, pinned: reads of it give these bytes or fail with `ObjectChanged`.
///
/// Holds no secret; may be journaled.
package struct ObjectVersion: Hashable, Sendable, Codable {
    /// Relative to the store's root.
    package let key: String
    package let sizeBytes: Int64
    /// As the store writes it, quotes included.
    package let etag: String
    /// Where the bucket keeps versions.
    package let versionID: String?
    package let lastModified: Date
    /// Lowercase hex, where the store itself keeps a SHA-256 over the whole object.
    package let sha256: String?
    /// Lowercase hex, where the store keeps no SHA-256 and its ETag is an MD5 over the whole object.
    package let md5: String?

    package init(
        key: String, sizeBytes: Int64, etag: String, versionID: String? = nil, lastModified: Date, sha256: String? = nil, md5: String? = nil
    ) {
        self.key = key
        self.sizeBytes = sizeBytes
        self.etag = etag
        self.versionID = versionID
        self.lastModified = lastModified
        self.sha256 = sha256
        self.md5 = md5
    }

    /// The same version, of which the store is not believed that its ETag is an MD5.
    package var withoutMD5: ObjectVersion {
        ObjectVersion(key: key, sizeBytes: sizeBytes, etag: etag, versionID: versionID, lastModified: lastModified, sha256: sha256)
    }
}

/// Bounds on one read.
package struct ReadLimits: Hashable, Sendable {
    /// A transfer slower than this for `stallSeconds` is given up.
    package var minimumBytesPerSecond: Int
    package var stallSeconds: Int

    package init(minimumBytesPerSecond: Int = 16_384, stallSeconds: Int = 20) {
        self.minimumBytesPerSecond = max(1, minimumBytesPerSecond)
        self.stallSeconds = max(1, stallSeconds)
    }
}

/// What the client on another machine must send to read one range without credentials of its own.
package struct PresignedRequest: Sendable {
    /// Good for whoever holds it until it expires.
    package let url: Secret
    /// Must be sent exactly so: they are part of the signature.
    package let headers: [HTTPHeader]
    package let expires: Date
}

/// Takes the bytes of a read in order, on a thread of the store. May block; what it throws ends the read.
package typealias ByteSink = @Sendable (UnsafeRawBufferPointer) throws -> Void

/// A place that keeps backups. Read-only: recovery needs no right to write.
///
/// Contract, held by one conformance suite for all implementations:
/// keys are relative to the store's root; nothing outside of the root is ever reached;
/// every wait is bounded and ends at once when the task is cancelled; errors are `RepriseError`s or `CancellationError`.
package protocol ObjectStore: Sendable {
    /// For people: `s3://bucket/prefix` or `/path`.
    var displayName: String { get }

    /// All objects whose key starts with `prefix`, all pages, sorted by key in byte order.
    func list(prefix: String) async throws -> [ObjectSummary]

    /// The current version of `key`.
    /// - Throws: `ObjectStorageError` of kind `.noSuchKey` where there is none.
    func head(_ key: String) async throws -> ObjectVersion

    /// Gives exactly the bytes of `range` to `sink`, in order, or throws after a prefix of them.
    ///
    /// One attempt: whoever calls decides about another one, by `isTransient`.
    /// - Throws: `ObjectChanged` where the version is gone or was replaced; `ObjectStorageError` of kind `.rangeIgnored`,
    ///   before any byte was given, where the store answered with the whole object instead.
    func read(_ version: ObjectVersion, range: Range<Int64>, limits: ReadLimits, into sink: @escaping ByteSink) async throws

    /// A request for the bytes of `range` (nil: the whole object) of exactly this version that works without credentials.
    ///
    /// - Parameter expires: at most seven days; less where the credentials end earlier.
    /// - Returns: nil where the store has no such thing (a directory).
    func presign(_ version: ObjectVersion, range: Range<Int64>?, expires: Duration) async throws -> PresignedRequest?
}
