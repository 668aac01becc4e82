internal import Crypto
package import Foundation
internal import Synchronization

/// A visitor of one web application: cookies are kept from request to request, certificates are checked, redirects are not followed.
///
/// One request at a time. Nothing of it is kept beyond the value's own life.
package final class HTTPSession: Sendable {
    private let worker = HTTPWorker()
    private let visit: Visit

    /// - Parameters:
    ///   - connectTo: `address` or `address:port` to which every connection is made, whatever name the URL has: as if the name
    ///     service said so. The certificate must still be for that name.
    ///   - trustedCertificates: a file with the certificates that are trusted, instead of this machine's own.
    package init(connectTo: String? = nil, trustedCertificates: String? = nil) {
        visit = Visit(connectTo: connectTo.map(Self.connection), trustedCertificates: trustedCertificates, keepsCookies: true)
    }

    package struct Answer: Sendable {
        package let status: Int
        /// Names in lowercase.
        package let headers: [HTTPHeader]
        package let body: [UInt8]

        package init(status: Int, headers: [HTTPHeader], body: [UInt8]) { (self.status, self.headers, self.body) = (status, headers, body) }

        package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
        /// Of the body, in hex.
        package var sha256: String { Percent.lowercaseHex(SHA256.hash(data: body)) }
    }

    /// - Parameter form: sent as a POST, as `application/x-www-form-urlencoded`; values may be secrets, and reach neither a log nor an error.
    /// - Throws: `ObjectStorageError` where no answer came; any status is an answer.
    package func request(
        _ url: String, form: [(name: String, value: String)]? = nil, headers: [HTTPHeader] = [], limitBytes: Int, timeout: Duration
    ) async throws -> Answer {
        var request = HTTPRequest(method: form == nil ? .get : .post, url: Secret(url), headers: headers + [HTTPHeader("Accept", "*/*")])
        request.visit = visit
        if let form { request.body = Secret(form.map { "\(Percent.encode($0.name))=\(Percent.encode($0.value))" }.joined(separator: "&")) }
        let (head, body, _) = try await worker.perform(
            request, limits: TransferLimits(deadline: timeout), decide: { _ in .collect(limitBytes: limitBytes) }, sink: { _ in })
        return Answer(status: head.status, headers: head.headers, body: body)
    }

    /// When the certificate ends that the server shows for the URL's name, by a handshake without a request. That it is for this name,
    /// valid now and signed by somebody who is trusted has been checked then.
    ///
    /// - Throws: `ObjectStorageError` where there is no such certificate.
    package func certificateEnd(_ url: String, timeout: Duration) async throws -> Date {
        let found = Found()
        var request = HTTPRequest(method: .get, url: Secret(url), headers: [])
        request.visit = Visit(connectTo: visit.connectTo, trustedCertificates: visit.trustedCertificates, keepsCookies: false) { found.set($0) }
        _ = try await worker.perform(request, limits: TransferLimits(deadline: timeout), decide: { _ in .collect(limitBytes: 1 << 20) }, sink: { _ in })
        let prefix = "Expire date:"
        guard let line = found.lines.first(where: { $0.hasPrefix(prefix) }), let end = Self.date(line.dropFirst(prefix.count)) else {
            throw ObjectStorageError(.untrustedCertificate, "the server shows no certificate whose end could be read")
        }
        return end
    }

    /// As OpenSSL writes it: `Feb 25 00:55:34 2027 GMT`.
    static func date(_ text: Substring) -> Date? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let words = text.split(separator: " "), clock = words.count > 2 ? words[2].split(separator: ":").compactMap { Int($0) } : []
        guard words.count == 5, words[4] == "GMT", let month = months.firstIndex(of: String(words[0])), let day = Int(words[1]), let year = Int(words[3]),
            clock.count == 3
        else { return nil }
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar.date(from: DateComponents(year: year, month: month + 1, day: day, hour: clock[0], minute: clock[1], second: clock[2]))
    }

    /// As libcurl and curl's `--connect-to` want it: for any host and port.
    package static func connection(_ address: String) -> String {
        let colons = address.utf8.filter { $0 == UInt8(ascii: ":") }.count
        // An IPv6 address without brackets; with them, a port may follow.
        if colons > 1, !address.hasPrefix("[") { return "::[\(address)]:" }
        return colons == 1 || address.contains("]:") ? "::\(address)" : "::\(address):"
    }
}

/// How a request of a visitor differs from one to a store.
struct Visit: Sendable {
    var connectTo: String?
    var trustedCertificates: String?
    var keepsCookies: Bool
    /// Wants no request but a handshake, and what libcurl then says of the server's certificate, by the line.
    var onCertificate: (@Sendable ([String]) -> Void)?
}

private final class Found: Sendable {
    private let text = Mutex<[String]>([])
    func set(_ lines: [String]) { text.withLock { $0 = lines } }
    var lines: [String] { text.withLock { $0 } }
}
