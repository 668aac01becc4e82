internal import BlockingIO
package import PlanModel
internal import RunCore
internal import SSH

/// Runs a script on one or more hosts as a durable job.
///
/// In doubt, the plan's `in-doubt` says what to do; without one a person decides.
package struct CommandStep: StepKind {
    package static let schema = StepKindSchema(
        name: "command", summary: "runs a shell script on hosts, as a job that survives a lost connection",
        fields: [
            FieldSchema("run", .text, isRequired: true, help: "the script, for sh -eu; parameters come as PARAM_NAME in its environment"),
            FieldSchema("as", .account, help: "the operating-system user; without it the one who logs in (root where the host says become)"),
            FieldSchema("environment", .map(.any), allowsSecret: true, help: "more environment variables; {secret: NAME} for a secret"),
            FieldSchema("directory", .path, help: "where the script starts"),
            FieldSchema("expect-exit", .list(.integer), help: "exit statuses that count as success, [0] without it"),
            FieldSchema(
                "in-doubt", .choice(["ask", "rerun", "verify"]), default: .string("ask"),
                help: "where a host cannot tell whether the script ran: ask a person, run it again (it does no harm twice), or verify"),
            FieldSchema("verify", .text, help: "for `in-doubt: verify`: exits 0 if the effect is there, 1 if it is not"),
        ], needsHost: true)

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let expected = context.with["expect-exit"]?.arrayValue?.compactMap(\.integerValue) ?? [0]
        let outcomes = try await context.onEachHost { host, part in
            let outcome = try await context.run(try await context.scriptJob(host, part: part, script: try context.string("run")))
            guard let status = outcome.result.exitStatus, expected.contains(Int64(status)) else {
                throw context.failure(of: outcome, on: host)
            }
            return outcome
        }
        return context.outcome(of: outcomes)
    }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        switch context.optionalString("in-doubt") {
        case "rerun": return DoubtResolution(.notDone, reason: "the plan says that it can run again without harm")
        case "verify": return try await verify(context)
        default: return nil
        }
    }

    /// Asks every host; a doubt is resolved only where all of them say the same.
    private func verify(_ context: StepContext) async throws -> DoubtResolution? {
        guard let script = context.optionalString("verify") else { return nil }
        var statuses = Set<Int>()
        for host in context.hosts {
            let result = try await context.services.remote(host).run(
                script, stdin: [], outputLimit: 4096, deadline: Deadline(after: .seconds(60)))
            statuses.insert(result.status)
        }
        switch statuses {
        case [0]: return DoubtResolution(.done, reason: "the plan's verify script found the effect")
        case [1]: return DoubtResolution(.notDone, reason: "the plan's verify script found no effect")
        default: return nil
        }
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        context.hosts.flatMap { host in
            ["# on \(host)\(context.optionalString("as").map { " as \($0)" } ?? ""):"]
                + (context.optionalString("run") ?? "").split(separator: "\n").map(String.init)
        }
    }
}

extension StepContext {
    /// Runs `body` on every host of the step side by side. Once all have ended a doubt is thrown, or else the first failure: what may be
    /// alive on one host must not be run again because another host's failed.
    ///
    /// `body` is given the host and the part by which its job is told from those of the other hosts.
    func onEachHost<Value: Sendable>(
        _ body: @escaping @Sendable (_ host: String, _ part: String?) async throws -> Value
    ) async throws -> [(host: String, value: Value)] {
        if hosts.count == 1 { return [(hosts[0], try await body(hosts[0], nil))] }
        let results = await withTaskGroup(of: (Int, Result<Value, any Error>).self) { group in
            for (index, host) in hosts.enumerated() {
                group.addTask {
                    do {
                        return (index, .success(try await body(host, "host\(index)")))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            return await group.reduce(into: [(Int, Result<Value, any Error>)]()) { $0.append($1) }
        }
        for case (_, .failure(let doubt as StepInDoubt)) in results { throw doubt }
        return try results.sorted { $0.0 < $1.0 }.map { (hosts[$0.0], try $0.1.get()) }
    }

    func failure(of outcome: DurableJobOutcome, on host: String) -> StepFailed {
        StepFailed(
            "command.failed", "the command on \(host) ended with \(outcome.ending)",
            hints: ["see all it said with: reprise logs \(run) \(step)", "mend the cause, then: reprise retry \(run) \(step)"],
            evidence: outcome.evidence)
    }

    func outcome(of outcomes: [(host: String, value: DurableJobOutcome)]) -> StepOutcome {
        let warnings = outcomes.flatMap { host, outcome in
            outcome.result.leftBehind.map { "the command on \(host) left a process behind: \($0)" }
        }
        let text = outcomes.first?.value.stdoutText ?? ""
        return StepOutcome(
            evidence: .object(Dictionary(uniqueKeysWithValues: outcomes.map { ($0.host, $0.value.evidence) })),
            outputs: ["stdout": .string(String(text.prefix(4096)).trimmed), "changed": true], warnings: warnings)
    }
}

extension String {
    var trimmed: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
