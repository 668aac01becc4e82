internal import BlockingIO
internal import Foundation
package import PlanModel
package import RunCore
internal import SSH

/// Makes a host by a command on the orchestrator, such as `terraform apply` or a provider's own program, and tells the run where it is.
///
/// The command is a durable job of the orchestrator's own ledger: cut off, its end is waited for, and it is not begun a second time. What
/// it says last becomes part of the run's inventory, which is how later steps reach the host and know its keys.
package struct ProvisionStep: StepKind {
    package static let schema = StepKindSchema(
        name: "provision", summary: "makes a host by a command on this machine, and takes its address and host keys into the run's inventory",
        fields: [
            FieldSchema("host", .hostRef, isRequired: true, help: "its name in the inventory"),
            FieldSchema(
                "run", .text, isRequired: true,
                help: "the script, for sh -eu; the last line of its output is JSON: {\"address\": …, \"host-keys\": [\"ssh-ed25519 AAAA…\"]}"),
            FieldSchema("environment", .map(.any), allowsSecret: true, help: "more environment variables; {secret: NAME} for a secret"),
            FieldSchema("directory", .path, help: "where the script starts"),
            FieldSchema(
                "in-doubt", .choice(["ask", "rerun"]), default: .string("ask"),
                help: "where this machine cannot tell whether the script ran: ask a person, or run it again because it finds what it made before"),
        ], needsHost: true, makesHostIn: "host")

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        guard context.hosts == [StepContext.orchestrator] else {
            throw StepRefused("provision.elsewhere", "step \(context.step): a host is made by a command on this machine", hints: ["write `on: orchestrator`"], exitStatus: .usage)
        }
        let name = try context.string("host")
        let outcome = try await context.run(
            try await context.scriptJob(StepContext.orchestrator, part: nil, script: try context.string("run")))
        guard outcome.succeeded else { throw context.failure(of: outcome, on: "this machine") }
        let host = try Self.read(outcome.stdoutText, of: name, logs: "reprise logs \(context.run) \(context.step)")
        let keys = host.hostKeys.map { String($0.prefix { $0 != " " }) }.joined(separator: ", ")
        return StepOutcome(
            evidence: outcome.evidence,
            outputs: [
                "provisioned": try decodeJSON(JSONValue.self, encodeJSON(host)), "address": .string(host.address),
                "summary": .string("\(name) is at \(host.address), and its host keys (\(keys)) are known."),
            ])
    }

    /// - Parameter outputs: of a step of this kind.
    package static func host(_ outputs: [String: JSONValue]) -> ProvisionedHost? {
        outputs["provisioned"].flatMap { try? decodeJSON(ProvisionedHost.self, encodeJSON($0)) }
    }

    // MARK: What the script says

    private struct Said: Decodable {
        let address: String
        let port: Int?
        let user: String?
        let hostKeys: [String]
        private enum CodingKeys: String, CodingKey { case address, port, user, hostKeys = "host-keys" }
    }

    /// - Parameter logs: the command by which a person sees all that the script said.
    static func read(_ output: String, of name: String, logs: String) throws -> ProvisionedHost {
        let line = output.split(separator: "\n").last(where: { !$0.allSatisfy(\.isWhitespace) }) ?? ""
        guard let said = try? JSONDecoder().decode(Said.self, from: Data(line.utf8)) else {
            throw refused("the last line of its output is not what is expected: \(line.isEmpty ? "there is none" : String(line.prefix(120)))", name, logs)
        }
        guard Name.isAddress(said.address) else { throw refused("\(said.address.debugDescription) is no address", name, logs) }
        guard said.port.map((1...65535).contains) ?? true else { throw refused("\(said.port!) is no port", name, logs) }
        guard said.user.map(Name.isAccount) ?? true else { throw refused("\(said.user!.debugDescription) is no login", name, logs) }
        let keys = said.hostKeys.filter { $0.wholeMatch(of: #/(ssh-[a-z0-9@.-]+|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+\/]+={0,2}( .*)?/#) != nil }
        guard !keys.isEmpty, keys.count == said.hostKeys.count else {
            throw refused("`host-keys` are not the lines of its public host keys, each as `ssh-ed25519 AAAA…`", name, logs)
        }
        // Without a comment.
        let plain = keys.map { $0.split(separator: " ").prefix(2).joined(separator: " ") }
        return ProvisionedHost(host: name, address: said.address, port: said.port, user: said.user, hostKeys: plain)
    }

    private static func refused(_ what: String, _ name: String, _ logs: String) -> StepRefused {
        StepRefused(
            "provision.unreadable", "the command ended well, and where \(name) is cannot be read from it: \(what)",
            hints: [
                "let it print last: {\"address\": \"203.0.113.7\", \"host-keys\": [\"ssh-ed25519 AAAA…\"]}, with the keys from the provider's console or the machine's own metadata",
                "it is not known here whether a machine was made: see \(logs)",
            ])
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        guard context.optionalString("in-doubt") == "rerun" else { return nil }
        return DoubtResolution(.notDone, reason: "the plan says that it finds what it made before, and can run again without harm")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        ["# on this machine; write the address and host keys of \(context.optionalString("host") ?? "the host") that it tells into the inventory and known_hosts:"]
            + (context.optionalString("run") ?? "").split(separator: "\n").map(String.init)
    }
}
