internal import Crypto
internal import Foundation

/// What PostgreSQL keeps of a password: enough to recognise it, too little to log in with (RFC 5802, SCRAM-SHA-256).
///
/// Made here, so that a password never reaches the server, its log or its statistics.
package struct ScramVerifier: Sendable, Hashable {
    /// As `pg_authid.rolpassword` holds it: `SCRAM-SHA-256$4096:salt$storedkey:serverkey`.
    package let text: String

    /// - Parameter salt: 16 random bytes without it.
    package init(password: String, salt: [UInt8]? = nil, iterations: Int = 4096) {
        let salt = salt ?? (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        let keys = Self.keys(password, salt, iterations)
        text = "SCRAM-SHA-256$\(iterations):\(Self.base64(salt))$\(Self.base64(keys.stored)):\(Self.base64(keys.server))"
    }

    /// Whether `stored`, as `pg_authid` holds it, is of this password. False for anything that is no such verifier.
    package static func matches(_ stored: String, password: String) -> Bool {
        guard let parts = stored.wholeMatch(of: #/SCRAM-SHA-256\$(\d{1,7}):([A-Za-z0-9+\/=]+)\$([A-Za-z0-9+\/=]+):([A-Za-z0-9+\/=]+)/#),
            let iterations = Int(parts.1), iterations > 0, let salt = Data(base64Encoded: String(parts.2))
        else { return false }
        return ScramVerifier(password: password, salt: Array(salt), iterations: iterations).text == stored
    }

    private static func keys(_ password: String, _ salt: [UInt8], _ iterations: Int) -> (stored: [UInt8], server: [UInt8]) {
        // SASLprep, as far as it matters for what people type: compatibility composition.
        let key = SymmetricKey(data: Data(password.precomposedStringWithCompatibilityMapping.utf8))
        var block = Array(HMAC<SHA256>.authenticationCode(for: salt + [0, 0, 0, 1], using: key))
        var salted = block
        for _ in 1..<iterations {
            block = Array(HMAC<SHA256>.authenticationCode(for: block, using: key))
            for index in salted.indices { salted[index] ^= block[index] }
        }
        func derived(_ name: String) -> [UInt8] { Array(HMAC<SHA256>.authenticationCode(for: Data(name.utf8), using: SymmetricKey(data: salted))) }
        return (Array(SHA256.hash(data: derived("Client Key"))), derived("Server Key"))
    }

    private static func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
}
