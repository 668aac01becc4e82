internal import struct Foundation.Date

/// One page of ListObjectsV2.
struct ListPage: Sendable {
    let objects: [ObjectSummary]
    /// Nil on the last page.
    let continuation: String?

    /// - Parameter root: the store's prefix in the bucket, taken off each key.
    /// - Throws: `ObjectStorageError` of kind `.malformedAnswer`; half a listing is never taken for a whole one.
    init(xml bytes: [UInt8], root: String, store: String) throws {
        let answer = try Self.parse(bytes, store)
        guard answer.name == "ListBucketResult" else {
            throw ObjectStorageError(.malformedAnswer, "\(store) answered a listing with something else")
        }
        let isEncoded = answer["EncodingType"] == "url"
        objects = try answer.all("Contents").compactMap { entry in
            guard let rawKey = entry["Key"], let size = entry["Size"].flatMap({ Int64($0) }), size >= 0,
                let time = entry["LastModified"].flatMap(CivilTime.init(iso8601:))?.date,
                let key = isEncoded ? Percent.decode(rawKey, plusIsSpace: true) : rawKey
            else { throw ObjectStorageError(.malformedAnswer, "\(store) listed an entry without key, size or time") }
            // Consoles make folders as empty objects whose key ends in a slash.
            guard key.hasPrefix(root), key.utf8.count > root.utf8.count, !(size == 0 && key.hasSuffix("/")) else { return nil }
            return ObjectSummary(
                key: String(key.dropFirst(root.count)), sizeBytes: size, lastModified: time, etag: entry["ETag"] ?? "")
        }
        switch answer["IsTruncated"] {
        case "true":
            guard let token = answer["NextContinuationToken"], !token.isEmpty else {
                throw ObjectStorageError(.malformedAnswer, "\(store) said that its listing goes on, but not where")
            }
            continuation = token
        case "false", nil: continuation = nil
        default: throw ObjectStorageError(.malformedAnswer, "\(store) did not say whether its listing goes on")
        }
    }

    private static func parse(_ bytes: [UInt8], _ store: String) throws -> XMLElement {
        do { return try XMLElement.parse(bytes) } catch {
            throw ObjectStorageError(
                .malformedAnswer, "\(store) answered a listing that is not XML: \(error.reason) at byte \(error.offset)",
                hints: ["check that the endpoint is an S3 service and not a web page or a proxy"])
        }
    }
}

/// `bytes 0-99/1234` or `bytes */1234` (RFC 9110, 14.4).
struct ContentRange: Equatable, Sendable {
    let range: Range<Int64>?
    /// Nil where the server does not know.
    let total: Int64?

    init?(_ text: String) {
        let words = text.split(separator: " ")
        guard words.count == 2, words[0] == "bytes" else { return nil }
        let halves = words[1].split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        total = Int64(halves[1])
        guard total.map({ $0 >= 0 }) ?? (halves[1] == "*") else { return nil }
        if halves[0] == "*" {
            range = nil
            return
        }
        let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = Int64(ends[0]), let last = Int64(ends[1]), first >= 0, last >= first, last < .max
        else { return nil }
        range = first..<last + 1
    }
}
