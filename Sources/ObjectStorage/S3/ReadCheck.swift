internal import Foundation

/// Whether the head of an answer is the one that a pinned, ranged read may get; decided before any byte of it is used.
struct ReadCheck: Sendable {
    let version: ObjectVersion
    let range: Range<Int64>
    let name: String

    @Sendable func disposition(_ head: HTTPResponseHead) throws -> BodyDisposition {
        switch head.status {
        case 206:
            try checkVersion(head)
            try checkRange(head)
        case 200:
            try checkVersion(head)
            guard range.lowerBound == 0, range.upperBound == version.sizeBytes else {
                throw ObjectStorageError(.rangeIgnored, "the store sent all of \(name) where a part was asked for")
            }
            if let length = head["content-length"].flatMap({ Int64($0) }), length != version.sizeBytes {
                throw ObjectChanged(name, detail: "it has \(length) bytes instead of \(version.sizeBytes)")
            }
        case 412: throw ObjectChanged(name, detail: "its ETag is another one")
        case 416:
            if let total = head["content-range"].flatMap(ContentRange.init)?.total, total != version.sizeBytes {
                throw ObjectChanged(name, detail: "it has \(total) bytes instead of \(version.sizeBytes)")
            }
            throw ObjectStorageError(
                .rangeNotSatisfiable, "the store has no bytes \(range.lowerBound) to \(range.upperBound - 1) of \(name)")
        default: throw ObjectStorageError(.unexpected, "reading \(name) was answered with HTTP \(head.status)")
        }
        return .deliver(limitBytes: Int64(range.count))
    }

    /// Not every store honours `If-Match`: the answer itself must name the version too.
    private func checkVersion(_ head: HTTPResponseHead) throws {
        if let etag = head["etag"], !sameETag(etag, version.etag) {
            throw ObjectChanged(name, detail: "its ETag is another one")
        }
        if let wanted = version.versionID, let got = head["x-amz-version-id"], got != wanted {
            throw ObjectChanged(name, detail: "its version id is another one")
        }
    }

    private func sameETag(_ left: String, _ right: String) -> Bool { left.trimmingQuotes == right.trimmingQuotes }

    private func checkRange(_ head: HTTPResponseHead) throws {
        guard let got = head["content-range"].flatMap(ContentRange.init), let bytes = got.range else {
            throw ObjectStorageError(.wrongRange, "the store did not say which part of \(name) it sent")
        }
        if let total = got.total, total != version.sizeBytes {
            throw ObjectChanged(name, detail: "it has \(total) bytes instead of \(version.sizeBytes)")
        }
        guard bytes == range else {
            throw ObjectStorageError(
                .wrongRange,
                "the store sent bytes \(bytes.lowerBound) to \(bytes.upperBound - 1) of \(name) where "
                    + "\(range.lowerBound) to \(range.upperBound - 1) were asked for")
        }
    }
}

enum Base64 {
    /// Lowercase hex of a SHA-256 that a store keeps over the whole object; nil for one over parts (`…-N`).
    static func hex(ofSHA256 text: String) -> String? {
        guard let bytes = Data(base64Encoded: text), bytes.count == 32 else { return nil }
        return Percent.lowercaseHex(bytes)
    }
}
