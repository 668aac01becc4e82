internal import BlockingIO
package import struct Foundation.Date
internal import RunCore

/// A bucket, or the part of it under a prefix, of any service that speaks S3.
///
/// Safe to use from any number of tasks; each request under way has a thread and a connection of its own.
package final class S3Store: ObjectStore {
    package let location: S3Location
    private let credentials: CredentialCache
    private let client = HTTPClient()
    private let now: @Sendable () -> Date
    private let retry: RetryPolicy

    /// - Parameters:
    ///   - retry: for listings and heads; reads are retried by `Fetch`.
    ///   - now: the clock that requests are signed with.
    package init(
        _ location: S3Location, credentials: any CredentialSource, retry: RetryPolicy = RetryPolicy(),
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.location = location
        self.credentials = CredentialCache(credentials)
        self.retry = retry
        self.now = now
    }

    package var displayName: String { location.displayName }

    // MARK: Listing and heads

    package func list(prefix: String) async throws -> [ObjectSummary] {
        var found: [ObjectSummary] = []
        var continuation: String?
        var seen: Set<String> = []
        repeat {
            let token = continuation
            let page = try await retry.run { try await self.page(prefix: prefix, continuation: token) }
            found += page.objects
            continuation = page.continuation
            if let next = continuation, !seen.insert(next).inserted {
                throw ObjectStorageError(.malformedAnswer, "\(displayName) lists the same page again and again")
            }
        } while continuation != nil
        return found.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }

    private func page(prefix: String, continuation: String?) async throws -> ListPage {
        var query = [("encoding-type", "url"), ("list-type", "2"), ("max-keys", "1000")]
        query.append(("prefix", location.prefix + prefix))
        if let continuation { query.append(("continuation-token", continuation)) }
        let answer = try await send(
            .get, key: nil, query: query.map { (name: $0.0, value: $0.1) }, action: "listing \(displayName)")
        return try ListPage(xml: answer.body, root: location.prefix, store: displayName)
    }

    package func head(_ key: String) async throws -> ObjectVersion {
        try await retry.run { try await self.headOnce(key) }
    }

    private func headOnce(_ key: String) async throws -> ObjectVersion {
        let action = "looking at \(name(of: key))"
        do {
            let answer = try await send(
                .head, key: key, headers: [HTTPHeader("x-amz-checksum-mode", "ENABLED")], action: action)
            guard let size = answer.head["content-length"].flatMap({ Int64($0) }), size >= 0 else {
                throw ObjectStorageError(.malformedAnswer, "\(action) failed: the store did not tell its size")
            }
            return try version(key, size, answer.head)
        } catch let error as ObjectStorageError where !error.isTransient && error.kind != .malformedAnswer {
            // An answer to HEAD has no body, so it cannot say which refusal it is; the same question as GET can.
            let answer = try await send(.get, key: key, headers: [HTTPHeader("Range", "bytes=0-0")], action: action)
            guard let total = answer.head["content-range"].flatMap(ContentRange.init)?.total else { throw error }
            return try version(key, total, answer.head)
        }
    }

    private func version(_ key: String, _ size: Int64, _ head: HTTPResponseHead) throws -> ObjectVersion {
        guard let etag = head["etag"], !etag.isEmpty else {
            throw ObjectStorageError(.malformedAnswer, "\(name(of: key)) has no ETag, so it cannot be pinned")
        }
        let sha256 = head["x-amz-checksum-sha256"].flatMap(Base64.hex(ofSHA256:))
        return ObjectVersion(
            key: key, sizeBytes: size, etag: etag, versionID: head["x-amz-version-id"].flatMap { $0 == "null" ? nil : $0 },
            lastModified: head["last-modified"].flatMap(CivilTime.init(httpDate:))?.date ?? Date(timeIntervalSince1970: 0),
            sha256: sha256, md5: sha256 == nil ? Self.md5(etag, head) : nil)
    }

    /// The ETag of an object that was uploaded in one part is its MD5, unless it is encrypted with a key that is not the store's own
    /// (Amazon S3 API Reference, "Object"); that of several parts has a dash in it.
    private static func md5(_ etag: String, _ head: HTTPResponseHead) -> String? {
        let text = etag.trimmingQuotes.lowercased()
        guard text.utf8.count == 32, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
            [nil, "AES256"].contains(head["x-amz-server-side-encryption"]), head["x-amz-server-side-encryption-customer-algorithm"] == nil
        else { return nil }
        return text
    }

    // MARK: Reading

    package func read(
        _ version: ObjectVersion, range: Range<Int64>, limits: ReadLimits, into sink: @escaping ByteSink
    ) async throws {
        precondition(range.lowerBound >= 0 && range.upperBound <= version.sizeBytes)
        if range.isEmpty { return }
        let check = ReadCheck(version: version, range: range, name: name(of: version.key))
        var bounds = TransferLimits()
        bounds.minimumBytesPerSecond = limits.minimumBytesPerSecond
        bounds.stallSeconds = limits.stallSeconds
        bounds.deadline = .seconds(60 + Int64(range.count) / Int64(limits.minimumBytesPerSecond))
        let answer: (head: HTTPResponseHead, body: [UInt8], deliveredBytes: Int64)
        do {
            answer = try await send(
                .get, key: version.key, query: pin(version), headers: pinHeaders(version, range),
                action: "reading \(check.name)", limits: bounds, disposition: check.disposition, sink: sink)
        } catch let error as ObjectStorageError where error.kind == .noSuchKey {
            throw ObjectChanged(check.name, detail: "the store no longer has it")
        }
        guard answer.deliveredBytes == Int64(range.count) else {
            throw ObjectStorageError(
                .truncated, "reading \(check.name) ended after \(answer.deliveredBytes) of \(range.count) bytes")
        }
    }

    private func pin(_ version: ObjectVersion) -> [(name: String, value: String)] {
        version.versionID.map { [(name: "versionId", value: $0)] } ?? []
    }

    private func pinHeaders(_ version: ObjectVersion, _ range: Range<Int64>?) -> [HTTPHeader] {
        var headers = [HTTPHeader("If-Match", version.etag)]
        if let range { headers.append(HTTPHeader("Range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")) }
        return headers
    }

    package func presign(_ version: ObjectVersion, range: Range<Int64>?, expires: Duration) async throws -> PresignedRequest? {
        let keys = try await credentials.credentials()
        let start = now()
        var seconds = Int(min(max(expires.components.seconds, 1), 604_800))
        if let end = keys.expires { seconds = min(seconds, max(1, Int(end.timeIntervalSince(start)))) }
        let address = location.address(of: version.key)
        let headers = pinHeaders(version, range)
        let request = SignatureV4.Request(
            path: address.path, query: pin(version), headers: [HTTPHeader("host", address.authority)] + headers)
        let query = SignatureV4(credentials: keys, region: location.region)
            .presign(request, at: start, expiresSeconds: seconds)
        return PresignedRequest(
            url: location.url(authority: address.authority, path: address.path, encodedQuery: query), headers: headers,
            expires: start.addingTimeInterval(Double(seconds)))
    }

    // MARK: Requests

    private func name(of key: String) -> String { "s3://\(location.bucket)/\(location.prefix)\(key)" }

    /// Sends a signed request; a token that ran out is read anew from its source, once.
    private func send(
        _ method: HTTPRequest.Method, key: String?, query: [(name: String, value: String)] = [],
        headers: [HTTPHeader] = [], action: String, limits: TransferLimits = TransferLimits(),
        disposition: @escaping @Sendable (HTTPResponseHead) throws -> BodyDisposition = { _ in .collect(limitBytes: 16 << 20) },
        sink: @escaping ByteSink = { _ in }
    ) async throws -> (head: HTTPResponseHead, body: [UInt8], deliveredBytes: Int64) {
        let keys = try await credentials.credentials()
        func attempt(_ keys: Credentials) async throws -> (head: HTTPResponseHead, body: [UInt8], deliveredBytes: Int64) {
            let request = request(method, key: key, query: query, headers: headers, keys)
            let answer = try await client.perform(request, limits: limits) { head in
                (200...299).contains(head.status) || head.status == 412 || head.status == 416
                    ? try disposition(head) : .collect(limitBytes: 1 << 20)
            } sink: { try sink($0) }
            guard (200...299).contains(answer.head.status) else {
                throw S3Failure.error(answer.head, body: answer.body, doing: action, context: context(keys))
            }
            return answer
        }
        do {
            return try await attempt(keys)
        } catch let error as ObjectStorageError where error.kind == .expiredToken {
            let fresh = try await credentials.refresh()
            guard fresh != keys else { throw error }
            return try await attempt(fresh)
        }
    }

    private func request(
        _ method: HTTPRequest.Method, key: String?, query: [(name: String, value: String)], headers: [HTTPHeader],
        _ keys: Credentials
    ) -> HTTPRequest {
        let address = location.address(of: key)
        let unsigned = SignatureV4.Request(
            method: method.rawValue, path: address.path, query: query,
            headers: [HTTPHeader("host", address.authority)] + headers)
        let signed = SignatureV4(credentials: keys, region: location.region).sign(unsigned, at: now())
        return HTTPRequest(
            method: method,
            url: location.url(
                authority: address.authority, path: address.path, encodedQuery: SignatureV4.canonicalQuery(query)),
            headers: signed)
    }

    private func context(_ keys: Credentials) -> S3Failure.Context {
        S3Failure.Context(
            bucket: location.bucket, region: location.region, endpoint: location.endpoint.description,
            accessKeyID: keys.accessKeyID, hasToken: keys.sessionToken != nil, now: now())
    }
}
