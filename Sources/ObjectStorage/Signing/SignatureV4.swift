internal import Crypto
package import Foundation

/// AWS Signature Version 4 with HMAC-SHA256, for requests without a body.
///
/// Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference. Pure: the time is an argument.
package struct SignatureV4: Sendable {
    package let credentials: Credentials
    package let region: String
    package let service: String

    package init(credentials: Credentials, region: String, service: String = "s3") {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    /// SHA-256 of nothing: the payload of every request that reads.
    package static let emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    package static let unsignedPayload = "UNSIGNED-PAYLOAD"

    /// A request before it is signed.
    package struct Request: Sendable {
        package var method: String
        /// Unencoded, starts with a slash. S3 signs it as it is: neither `//` nor `..` is folded.
        package var path: String
        /// Unencoded, in any order; names may repeat.
        package var query: [(name: String, value: String)]
        /// Every field here is signed. Needs `host`.
        package var headers: [HTTPHeader]

        package init(
            method: String = "GET", path: String, query: [(name: String, value: String)] = [], headers: [HTTPHeader]
        ) {
            self.method = method
            self.path = path
            self.query = query
            self.headers = headers
        }
    }

    /// The headers to send, the signed ones and `Authorization` included.
    ///
    /// - Parameter payloadHeader: whether `x-amz-content-sha256` is sent and signed, as S3 demands.
    package func sign(
        _ request: Request, at time: Date, payload: String = emptyPayload, payloadHeader: Bool = true
    ) -> [HTTPHeader] {
        let stamp = Timestamp(time)
        var headers = request.headers
        headers.append(HTTPHeader("x-amz-date", stamp.full))
        if payloadHeader { headers.append(HTTPHeader("x-amz-content-sha256", payload)) }
        if let token = credentials.sessionToken { headers.append(HTTPHeader("x-amz-security-token", token.reveal())) }
        var signed = request
        signed.headers = headers
        let canonical = Self.canonicalRequest(signed, payload: payload)
        let signature = signature(of: canonical.text, stamp)
        headers.append(
            HTTPHeader(
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope(stamp)), "
                    + "SignedHeaders=\(canonical.signedHeaders), Signature=\(signature)"))
        return headers
    }

    /// The whole query, encoded and signed, of a request that works without an `Authorization` header.
    ///
    /// - Parameter expiresSeconds: 1 to 604,800 (seven days); the service refuses more.
    package func presign(_ request: Request, at time: Date, expiresSeconds: Int) -> String {
        let stamp = Timestamp(time)
        var signed = request
        signed.query += [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "\(credentials.accessKeyID)/\(scope(stamp))"),
            ("X-Amz-Date", stamp.full),
            ("X-Amz-Expires", "\(expiresSeconds)"),
            ("X-Amz-SignedHeaders", Self.signedHeaders(request.headers)),
        ]
        if let token = credentials.sessionToken { signed.query.append(("X-Amz-Security-Token", token.reveal())) }
        let canonical = Self.canonicalRequest(signed, payload: Self.unsignedPayload)
        return "\(Self.canonicalQuery(signed.query))&X-Amz-Signature=\(signature(of: canonical.text, stamp))"
    }

    // MARK: The parts of a signature

    static func canonicalRequest(_ request: Request, payload: String) -> (text: String, signedHeaders: String) {
        var fields: [String: [String]] = [:]
        for header in request.headers { fields[header.name.lowercased(), default: []].append(folded(header.value)) }
        let names = fields.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let block = names.map { "\($0):\(fields[$0, default: []].joined(separator: ","))\n" }.joined()
        let signedHeaders = names.joined(separator: ";")
        let text = [
            request.method, Percent.encode(request.path, keepingSlashes: true), canonicalQuery(request.query), block,
            signedHeaders, payload,
        ].joined(separator: "\n")
        return (text, signedHeaders)
    }

    /// Also the query that is sent: what is signed and what is sent cannot differ.
    static func canonicalQuery(_ query: [(name: String, value: String)]) -> String {
        let encoded = query.map { (name: Percent.encode($0.name), value: Percent.encode($0.value)) }
        let ordered = encoded.sorted { left, right in
            left.name == right.name ? left.value < right.value : left.name < right.name
        }
        return ordered.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
    }

    private static func signedHeaders(_ headers: [HTTPHeader]) -> String {
        Set(headers.map { $0.name.lowercased() }).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            .joined(separator: ";")
    }

    /// Without white space at its ends, and with one space for each run of it inside.
    private static func folded(_ value: String) -> String {
        value.split(whereSeparator: { $0 == " " || $0 == "\t" || $0.isNewline }).joined(separator: " ")
    }

    private func scope(_ stamp: Timestamp) -> String { "\(stamp.day)/\(region)/\(service)/aws4_request" }

    private func signature(of canonicalRequest: String, _ stamp: Timestamp) -> String {
        let digest = Percent.lowercaseHex(SHA256.hash(data: Array(canonicalRequest.utf8)))
        let stringToSign = "AWS4-HMAC-SHA256\n\(stamp.full)\n\(scope(stamp))\n\(digest)"
        var key = SymmetricKey(data: Array("AWS4\(credentials.secretKey.reveal())".utf8))
        for part in [stamp.day, region, service, "aws4_request"] { key = SymmetricKey(data: mac(part, key)) }
        return Percent.lowercaseHex(mac(stringToSign, key))
    }

    private func mac(_ text: String, _ key: SymmetricKey) -> HMAC<SHA256>.MAC {
        HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
    }
}

/// `20150830T123600Z` and its day.
struct Timestamp: Sendable {
    let full: String
    var day: String { String(full.prefix(8)) }

    init(_ time: Date) {
        let clock = CivilTime(secondsSinceEpoch: Int64(time.timeIntervalSince1970.rounded(.down)))
        func pad(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        full = pad(clock.year, 4) + pad(clock.month, 2) + pad(clock.day, 2) + "T"
            + pad(clock.hour, 2) + pad(clock.minute, 2) + pad(clock.second, 2) + "Z"
    }
}
