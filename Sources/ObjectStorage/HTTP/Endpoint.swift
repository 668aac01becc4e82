/// Where an S3 service answers: scheme, host, port and an optional path before the bucket.
package struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    package let isPlain: Bool
    package let host: String
    package let port: Int?
    /// Empty, or starts with a slash and does not end with one.
    package let basePath: String

    package init(host: String, port: Int? = nil, isPlain: Bool = false, basePath: String = "") {
        self.host = host
        self.port = port
        self.isPlain = isPlain
        self.basePath = basePath
    }

    /// `https://host[:port][/path]`; plain `http://` only where it is written so. A missing scheme is refused, not guessed.
    package init(_ text: String) throws {
        let (scheme, afterScheme) = Self.split(text, at: "://")
        guard let afterScheme, scheme == "https" || scheme == "http" else {
            throw Self.refused(text, "it does not start with https:// or http://")
        }
        guard !afterScheme.contains(where: { "@?#\\ ".contains($0) || $0.asciiValue.map { $0 < 33 } ?? true }) else {
            throw Self.refused("the endpoint", "it holds a user name, a query or characters that are none of an address")
        }
        let slash = afterScheme.firstIndex(of: "/") ?? afterScheme.endIndex
        let authority = afterScheme[..<slash]
        var path = String(afterScheme[slash...])
        while path.hasSuffix("/") { path.removeLast() }
        let (host, port) = try Self.parse(authority: authority, of: text)
        self.init(host: host, port: port, isPlain: scheme == "http", basePath: path)
    }

    private static func parse(authority: Substring, of text: String) throws -> (String, Int?) {
        var host = authority
        var port: Int?
        let afterBracket = authority.lastIndex(of: "]") ?? authority.startIndex
        if let colon = authority[afterBracket...].lastIndex(of: ":") {
            host = authority[..<colon]
            guard let number = Int(authority[authority.index(after: colon)...]), (1...65535).contains(number) else {
                throw refused(text, "the port is not a number from 1 to 65535")
            }
            port = number
        }
        guard !host.isEmpty else { throw refused(text, "the host is missing") }
        return (host.lowercased(), port)
    }

    private static func split(_ text: String, at separator: String) -> (String, String?) {
        guard let range = text.firstRange(of: separator) else { return (text, nil) }
        return (text[..<range.lowerBound].lowercased(), String(text[range.upperBound...]))
    }

    private static func refused(_ text: String, _ reason: String) -> ObjectStorageError {
        ObjectStorageError(
            .configuration, "cannot use \(text) as an S3 endpoint: \(reason)",
            hints: ["write it as https://host[:port], for example https://s3.eu-central-1.amazonaws.com"])
    }

    /// The `Host` header for this endpoint: a port only where it is not the scheme's own.
    func authority(hostPrefix: String = "") -> String {
        guard let port, port != (isPlain ? 80 : 443) else { return hostPrefix + host }
        return "\(hostPrefix)\(host):\(port)"
    }

    package var description: String { "\(isPlain ? "http" : "https")://\(authority())\(basePath)" }
}
