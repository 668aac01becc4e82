import Crypto
import Foundation

/// What a server does to check a signature, from the request as it came.
enum SignatureCheck {
    /// Nil where the signature is right.
    static func problem(_ request: FaultServer.Request, accessKey: String, secretKey: String) -> String? {
        let query = request.query
        let isPresigned = query["X-Amz-Signature"] != nil
        let credential: [String], signedHeaders: String, signature: String, date: String, payload: String
        if isPresigned {
            credential = (query["X-Amz-Credential"] ?? "").components(separatedBy: "/")
            signedHeaders = query["X-Amz-SignedHeaders"] ?? ""
            signature = query["X-Amz-Signature"] ?? ""
            date = query["X-Amz-Date"] ?? ""
            payload = "UNSIGNED-PAYLOAD"
        } else {
            guard let authorization = request.headers["authorization"] else { return "no authorization" }
            func field(_ name: String) -> String {
                authorization.components(separatedBy: "\(name)=").dropFirst().first?.components(separatedBy: ",").first ?? ""
            }
            credential = field("Credential").components(separatedBy: "/")
            signedHeaders = field("SignedHeaders")
            signature = field("Signature")
            date = request.headers["x-amz-date"] ?? ""
            payload = request.headers["x-amz-content-sha256"] ?? ""
        }
        guard credential.count == 5, credential[0] == accessKey else { return "credential \(credential)" }
        let names = signedHeaders.components(separatedBy: ";")
        guard names.contains("host") else { return "host is not signed" }
        let sortedQuery = request.rawQuery.components(separatedBy: "&")
            .filter { !$0.isEmpty && !$0.hasPrefix("X-Amz-Signature=") }.sorted().joined(separator: "&")
        let block = names.map { "\($0):\(request.headers[$0] ?? "<missing>")\n" }.joined()
        let canonical = "\(request.method)\n\(request.rawPath)\n\(sortedQuery)\n\(block)\n\(signedHeaders)\n\(payload)"
        let scope = credential.dropFirst().joined(separator: "/")
        let digest = hex(SHA256.hash(data: Data(canonical.utf8)))
        var key = Data("AWS4\(secretKey)".utf8)
        for part in credential[1...] { key = mac(part, key) }
        let expected = hex(mac("AWS4-HMAC-SHA256\n\(date)\n\(scope)\n\(digest)", key))
        return expected == signature ? nil : "signature differs for \(canonical)"
    }

    private static func mac(_ text: String, _ key: Data) -> Data {
        Data(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: SymmetricKey(data: key)))
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
}
