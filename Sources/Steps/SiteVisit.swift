internal import BlockingIO
internal import Foundation
internal import ObjectStorage
internal import RunCore

/// Something that a site answered and that is not as it must be.
struct SiteMismatch: RepriseError {
    let code = "site-check.mismatch"
    let message: String
    let hints: [String]
    /// Asking again would send a refused secret once more: such tries lock accounts.
    let isFinal: Bool
    init(_ message: String, hints: [String] = [], isFinal: Bool = false) { (self.message, self.hints, self.isFinal) = (message, hints, isFinal) }
}

/// What a step asks of a site, and what it must answer.
struct SiteVisit: Sendable {
    let site: String
    private let connectTo: String?
    private let trustedCertificates: String?
    private let names: [String]
    private let validFor: Duration
    private let requests: [SiteRequest]
    /// What is made of a name service that does not lead to where this visit goes: `report`, `warn` or `require`.
    private let nameService: String

    /// What a visit has found.
    struct Found: Sendable {
        /// A sentence for each thing.
        let sentences: [String]
        /// Nil where the visit itself went where the name service leads.
        let lead: SiteLead?
        let warnings: [String]
    }

    init(_ context: StepContext) async throws {
        site = try Self.checked(try context.string("site"))
        connectTo = context.optionalString("connect-to")
        trustedCertificates = context.optionalString("ca-file")
        names = context.strings("names")
        validFor = try context.duration("valid-for") ?? .seconds(604_800)
        nameService = context.optionalString("name-service") ?? "report"
        var requests: [SiteRequest] = []
        for value in context.with["requests"]?.arrayValue ?? [] {
            requests.append(try await SiteRequest(value) { try await context.services.secret($0) })
        }
        self.requests = requests
    }

    /// Scheme, name and port without a slash behind them.
    static func checked(_ text: String) throws -> String {
        let site = text.hasSuffix("/") ? String(text.dropLast()) : text
        guard let scheme = ["https://", "http://"].first(where: { site.hasPrefix($0) }), site.count > scheme.count,
            !site.dropFirst(scheme.count).contains(where: { "/@?# ".contains($0) })
        else { throw StepRefused("site-check.bad-site", "`site` is not of the form https://NAME", exitStatus: .usage) }
        return site
    }

    /// Once, from the beginning, with no cookies.
    ///
    /// - Throws: `SiteMismatch` for the first answer that is not as it must be; `ObjectStorageError` where no answer came.
    func make(_ deadline: Deadline) async throws -> Found {
        func patience() -> Duration { min(.seconds(15), max(.seconds(1), deadline.remaining)) }
        // First: where people must be led here, waiting for that asks nothing of the site.
        var lead: SiteLead?
        if let connectTo { lead = try await SiteLead.find(site, connectTo: connectTo, deadline: Deadline(after: .seconds(5)).earlier(of: deadline)) }
        let warnings = try lead?.warnings(nameService) ?? []
        let session = HTTPSession(connectTo: connectTo, trustedCertificates: trustedCertificates)
        var found = [lead?.sentence].compactMap { $0 }
        if site.hasPrefix("https://") {
            for url in [site] + names.map({ "https://\($0)" }) {
                let end = try await session.certificateEnd(url + "/", timeout: patience())
                found.append(try Self.judged(end, of: url, validFor))
            }
        }
        var picked: [String: String] = [:]
        for request in requests {
            let answer = try await session.request(
                site + request.path, form: request.filled(picked), limitBytes: 64 << 20, timeout: patience())
            if let problem = request.problem(with: answer) {
                throw SiteMismatch(
                    "\(request.path) \(problem)", hints: request.secrets.map { "look whether the secret \($0) is right, which was sent there" },
                    isFinal: request.isRefused(by: answer))
            }
            for (name, expression) in request.pick { picked[name] = try expression.first(in: answer.body, of: request.path) }
            found.append("\(request.path) answered \(answer.status) with \(answer.body.count) bytes as expected")
        }
        return Found(sentences: found, lead: lead, warnings: warnings)
    }

    static func judged(_ end: Date, of url: String, _ validFor: Duration, now: Date = Date()) throws -> String {
        let left = end.timeIntervalSince(now)
        guard left >= Double(validFor.components.seconds) else {
            throw SiteMismatch("the certificate of \(url) ends on \(end.ISO8601Format()), in \(Int(left / 86_400)) days")
        }
        return "the certificate of \(url) is valid until \(end.ISO8601Format())"
    }
}

/// One request of a visit.
struct SiteRequest: Sendable {
    let path: String
    /// With secrets already in it; never shown.
    private let form: [(name: String, value: String)]?
    /// Names of secrets in it.
    let secrets: [String]
    private let wish: [String: JSONValue]
    let pick: [(String, Pick)]

    /// A regular expression whose first group is what is looked for.
    struct Pick: Sendable {
        let pattern: String

        init(_ pattern: String) throws {
            self.pattern = pattern
            guard (try? Regex(pattern)) != nil else {
                throw StepRefused("site-check.bad-pattern", "`pick`: this is no regular expression: \(pattern)", exitStatus: .usage)
            }
        }

        func first(in body: [UInt8], of path: String) throws -> String {
            let text = String(decoding: body, as: UTF8.self)
            guard let match = try Regex(pattern).firstMatch(in: text) else { throw SiteMismatch("\(path) holds nothing that fits \(pattern)") }
            let group = match.output.count > 1 ? match.output[1].substring : match.output[0].substring
            guard let group else { throw SiteMismatch("\(path) holds nothing that fits the first group of \(pattern)") }
            return String(group)
        }
    }

    init(_ value: JSONValue, secret: (String) async throws -> String) async throws {
        guard let path = value["path"]?.stringValue, path.hasPrefix("/") else {
            throw StepRefused("site-check.bad-path", "each of `requests` has a `path` that begins with a slash", exitStatus: .usage)
        }
        self.path = path
        wish = value.objectValue ?? [:]
        pick = try (value["pick"]?.objectValue ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, try Pick($0.value.plainText)) }
        let fields = (value["form"]?.objectValue ?? [:]).sorted { $0.key < $1.key }
        secrets = fields.compactMap { $0.value["secret"]?.stringValue }
        guard value["form"]?.objectValue != nil else { form = nil; return }
        var form: [(name: String, value: String)] = []
        for (name, field) in fields {
            if let reference = field["secret"]?.stringValue { form.append((name, try await secret(reference))) } else { form.append((name, field.plainText)) }
        }
        self.form = form
    }

    /// The form with what earlier answers gave in the place of `@{NAME}`. A secret is sent as it is.
    func filled(_ picked: [String: String]) -> [(name: String, value: String)]? {
        form?.map { name, value in
            guard wish["form"]?[name]?["secret"] == nil else { return (name, value) }
            return (name, picked.reduce(value) { $0.replacingOccurrences(of: "@{\($1.key)}", with: $1.value) })
        }
    }

    /// Why the answer does not pass, or nil.
    func problem(with answer: HTTPSession.Answer) -> String? {
        if let expected = wish["status"]?.integerValue, Int64(answer.status) != expected { return "answered \(answer.status), expected \(expected)" }
        if let end = wish["location"]?.stringValue, answer.header("location")?.hasSuffix(end) != true {
            return "leads to \(answer.header("location") ?? "no other page"), expected \(end)"
        }
        if let hash = wish["sha256"]?.stringValue {
            let seen = answer.sha256
            if seen != hash.lowercased() { return "has SHA-256 \(seen) over \(answer.body.count) bytes, expected \(hash)" }
        }
        let text = String(decoding: answer.body, as: UTF8.self)
        for part in texts("contains") where !text.contains(part) { return "does not hold \"\(part)\"" }
        for part in texts("lacks") where text.contains(part) { return "holds \"\(part)\"" }
        return HTTPCheckStep.problem(answer.status, answer.body, ["json": wish["json"] ?? .null])
    }

    /// Whether an answer that does not pass says that the secret is not taken: by its status, or by leading elsewhere.
    func isRefused(by answer: HTTPSession.Answer) -> Bool { !secrets.isEmpty && [302, 303, 401, 403, 422, 429].contains(answer.status) }

    private func texts(_ field: String) -> [String] { wish[field]?.arrayValue?.compactMap(\.stringValue) ?? [] }
}
