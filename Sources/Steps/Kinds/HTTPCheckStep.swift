internal import BlockingIO
internal import Foundation
internal import ObjectStorage
package import PlanModel
internal import RunCore

/// Asks the application itself whether it is well, again and again until it is or the time is up.
package struct HTTPCheckStep: StepKind {
    package static let schema = StepKindSchema(
        name: "http-check", summary: "asks a URL until it answers as it should",
        fields: [
            FieldSchema("url", .string, isRequired: true, help: "http:// or https://; certificates are checked"),
            FieldSchema("status", .integer, default: .integer(200), range: 100...599),
            FieldSchema("body-contains", .string, help: "text that the answer must hold"),
            FieldSchema("json", .map(.any), help: "members that the JSON object in the answer must have, with their values"),
            FieldSchema("within", .duration, default: .string("60s"), help: "how long to go on asking"),
        ])

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let url = try context.string("url")
        let deadline = Deadline(after: try context.duration("within") ?? .seconds(60))
        var tries = 0
        while true {
            tries += 1
            let problem: String
            do {
                let answer = try await HTTPProbe.get(url, limitBytes: 1 << 20, timeout: min(.seconds(15), max(.seconds(1), deadline.remaining)))
                guard let found = Self.problem(answer.status, answer.body, context.with) else {
                    return StepOutcome(
                        evidence: ["url": .string(url), "status": .integer(Int64(answer.status)), "tries": .integer(Int64(tries))])
                }
                problem = found
            } catch let error as any RepriseError {
                problem = error.message
            }
            if deadline.hasPassed {
                throw StepFailed(
                    "http-check.failed", "\(url): \(problem) (asked \(tries) times)",
                    hints: ["look at the application's own log", "then: reprise retry \(context.run) \(context.step)"])
            }
            context.services.report(StepProgress("waiting for \(url): \(problem)"))
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    /// Why the answer does not pass, or nil.
    static func problem(_ status: Int, _ body: [UInt8], _ with: [String: JSONValue]) -> String? {
        if let expected = with["status"]?.integerValue, Int64(status) != expected { return "answered \(status), expected \(expected)" }
        let text = String(decoding: body, as: UTF8.self)
        if let part = with["body-contains"]?.stringValue, !text.contains(part) { return "the answer does not hold \"\(part)\"" }
        guard let members = with["json"]?.objectValue, !members.isEmpty else { return nil }
        guard let object = try? JSONDecoder().decode(JSONValue.self, from: Data(body)) else { return "the answer is not JSON" }
        for (key, expected) in members.sorted(by: { $0.key < $1.key }) where object[key] != expected {
            return "\(key) is \(object[key]?.plainText ?? "missing"), expected \(expected.plainText)"
        }
        return nil
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["curl -sS -i \(shellQuoted(context.optionalString("url") ?? ""))"]
    }
}
