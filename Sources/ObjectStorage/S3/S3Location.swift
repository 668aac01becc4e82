/// Which objects of which service a store is about. Holds no secret.
package struct S3Location: Hashable, Sendable {
    package enum Addressing: String, Hashable, Sendable, Codable {
        /// Virtual-hosted at AWS where the bucket's name allows it, path style at every other endpoint.
        case automatic = "auto"
        case path
        case virtual
    }

    package let bucket: String
    /// What every key starts with; empty, or ending in a slash.
    package let prefix: String
    package let region: String
    package let endpoint: Endpoint
    package let addressing: Addressing
    let isAmazon: Bool

    /// - Parameters:
    ///   - prefix: with or without a slash at its end.
    ///   - endpoint: nil for Amazon's own of that region.
    package init(
        bucket: String, prefix: String = "", region: String = "us-east-1", endpoint: Endpoint? = nil,
        addressing: Addressing = .automatic
    ) throws {
        let length = bucket.utf8.count
        guard (3...255).contains(length), bucket.utf8.allSatisfy({ $0 > 32 && $0 < 127 }),
            !bucket.contains(where: { "/\\?#%:@\"'<>&".contains($0) }), bucket != "...", !bucket.hasPrefix(".")
        else {
            throw ObjectStorageError(
                .configuration, "\(quoted(bucket)) cannot be the name of a bucket",
                hints: ["a name has 3 to 63 characters of a–z, 0–9, - and ."])
        }
        guard !region.isEmpty, region.utf8.allSatisfy({ $0 == 0x2D || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) })
        else { throw ObjectStorageError(.configuration, "\(quoted(region)) cannot be the name of a region") }
        self.bucket = bucket
        self.prefix = prefix.isEmpty || prefix.hasSuffix("/") ? prefix : prefix + "/"
        self.region = region
        self.addressing = addressing
        isAmazon = endpoint == nil
        let domain = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        self.endpoint = endpoint ?? Endpoint(host: "s3.\(region).\(domain)")
    }

    package var displayName: String { "s3://\(bucket)\(prefix.isEmpty ? "" : "/" + prefix.dropLast())" }

    private var isVirtual: Bool {
        switch addressing {
        case .path: false
        case .virtual: true
        // A dot in the name would not match Amazon's wildcard certificate.
        case .automatic: isAmazon && bucket.utf8.allSatisfy { $0 == 0x2D || ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) }
        }
    }

    /// The `Host` header, and the unencoded path of an object (nil: of the bucket itself).
    func address(of key: String?) -> (authority: String, path: String) {
        let object = key.map { "/" + prefix + $0 } ?? ""
        if isVirtual {
            return (endpoint.authority(hostPrefix: bucket + "."), endpoint.basePath + (object.isEmpty ? "/" : object))
        }
        return (endpoint.authority(), "\(endpoint.basePath)/\(bucket)\(object)")
    }

    func url(authority: String, path: String, encodedQuery: String) -> Secret {
        let query = encodedQuery.isEmpty ? "" : "?" + encodedQuery
        return Secret("\(endpoint.isPlain ? "http" : "https")://\(authority)\(Percent.encode(path, keepingSlashes: true))\(query)")
    }
}

/// A name for a message: control characters escaped, bounded.
func quoted(_ name: String) -> String {
    let shown = name.unicodeScalars.prefix(200).map { scalar in
        scalar.value < 32 || scalar.value == 127 ? "\\u{\(String(scalar.value, radix: 16))}" : String(Character(scalar))
    }
    return "\"\(shown.joined())\(name.unicodeScalars.count > 200 ? "…" : "")\""
}
