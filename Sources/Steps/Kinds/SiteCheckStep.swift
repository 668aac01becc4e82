internal import BlockingIO
internal import Foundation
internal import ObjectStorage
package import PlanModel
internal import RunCore
internal import SSH

/// Visits a web application from this machine, as a person's browser would: certificate, log-in, pages, files.
///
/// With `connect-to` it does so before the name service leads to a new server. The whole visit is made again until all of it passes or
/// the time is up, so requests must do no harm twice; a secret that the site refuses is not sent again.
package struct SiteCheckStep: StepKind {
    package static let schema = StepKindSchema(
        name: "site-check", summary: "visits a web application from outside: certificate, log-in, pages, files",
        fields: [
            FieldSchema("site", .string, isRequired: true, help: "https://NAME or http://NAME, with a port where it is another one"),
            FieldSchema("connect-to", .string, help: "ADDRESS or ADDRESS:PORT, where the name service does not lead there yet"),
            FieldSchema("ca-file", .path, help: "on this machine: certificates that are trusted instead of its own"),
            FieldSchema(
                "name-service", .choice(["report", "warn", "require"]), default: .string("report"),
                help: "with connect-to: what to do where the name service does not lead there"),
            FieldSchema("names", .list(.string), help: "further names for which the server must show a certificate"),
            FieldSchema("valid-for", .duration, default: .string("7d"), help: "a certificate that ends sooner does not pass"),
            FieldSchema("requests", .list(.record(requestFields)), help: "what is asked, in this order, with the cookies of earlier answers"),
            FieldSchema("within", .duration, default: .string("60s"), help: "how long to go on trying"),
        ])

    private static let requestFields = [
        FieldSchema("path", .string, isRequired: true, help: "begins with a slash"),
        FieldSchema("form", .map(.any), allowsSecret: true, help: "fields to send by POST; {secret: NAME} for a secret, @{NAME} for what was picked"),
        FieldSchema("status", .integer, default: .integer(200), range: 100...599),
        FieldSchema("location", .string, help: "what the answer's Location must end with; redirects are not followed"),
        FieldSchema("contains", .list(.string), help: "texts that the answer must hold"),
        FieldSchema("lacks", .list(.string), help: "texts that it must not hold"),
        FieldSchema("json", .map(.any), help: "members that the JSON object in the answer must have, with their values"),
        FieldSchema("sha256", .string, help: "SHA-256 of the answer's body, in hex"),
        FieldSchema("pick", .map(.string), help: "names and regular expressions: what the first group finds can be sent later as @{NAME}"),
    ]

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let visit = try await SiteVisit(context)
        let deadline = Deadline(after: try context.duration("within") ?? .seconds(60))
        var tries: Int64 = 0
        while true {
            tries += 1
            let problem: any RepriseError
            do {
                let found = try await visit.make(deadline)
                var evidence: [String: JSONValue] = ["found": .array(found.sentences.map { .string($0) }), "tries": .integer(tries)]
                evidence["name-service"] = found.lead.map { ["leads-here": .bool($0.isHere), "addresses": .array(($0.addresses ?? []).map { .string($0) })] }
                return StepOutcome(evidence: .object(evidence), outputs: ["summary": .string(found.sentences.joined(separator: "; "))], warnings: found.warnings)
            } catch let error as any RepriseError where !(error is StepRefused && error.exitStatus == .usage) {
                problem = error
            }
            if deadline.hasPassed || (problem as? SiteMismatch)?.isFinal == true { throw Self.failure(problem, visit.site, tries, context) }
            context.services.report(StepProgress("waiting for \(visit.site): \(problem.message)"))
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    /// An answer that is otherwise is a mismatch; no answer may be one later.
    private static func failure(_ problem: any RepriseError, _ site: String, _ tries: Int64, _ context: StepContext) -> any RepriseError {
        let message = "\(site): \(problem.message) (tried \(tries == 1 ? "once" : "\(tries) times"))"
        let hints = problem.hints + ["look at the logs of the web server and the application", "then: reprise retry \(context.run) \(context.step)"]
        if problem is SiteMismatch { return StepRefused("site-check.mismatch", message, hints: hints, exitStatus: .verificationMismatch) }
        return StepFailed("site-check.failed", message, hints: hints)
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "looking can be done again")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let site = context.optionalString("site") ?? "https://SITE"
        var curl = "curl -sSi -b cookies -c cookies"
        if let address = context.optionalString("connect-to") { curl += " --connect-to \(shellQuoted(HTTPSession.connection(address)))" }
        if let file = context.optionalString("ca-file") { curl += " --cacert \(shellQuoted(file))" }
        let requests = context.with["requests"]?.arrayValue ?? []
        let lead = context.optionalString("connect-to").map { address in
            ["# people are led to the site only where this shows \(SiteLead.host(address)):", "getent ahosts \(shellQuoted(SiteLead.name(of: site)))"]
        }
        return (lead ?? []) + ["# from this machine, each with the cookies of the earlier ones; look at the status, and at the certificate's end:", "\(curl) -v \(shellQuoted(site + "/"))"]
            + requests.map { request in
                // What is secret or was picked from a page is for the person to fill in.
                let form = (request["form"]?.objectValue ?? [:]).sorted { $0.key < $1.key }.map { name, value in
                    " --data-urlencode \(shellQuoted("\(name)=\(value["secret"] == nil ? value.plainText : "SECRET")"))"
                }
                return curl + form.joined() + " " + shellQuoted(site + (request["path"]?.stringValue ?? "/"))
            }
    }
}
