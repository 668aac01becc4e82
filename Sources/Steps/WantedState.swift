internal import PlanModel
package import RunCore
internal import SSH

/// A kind of step that brings something on its hosts into a wanted state.
///
/// It looks first, changes what is otherwise, and looks again. So it does no harm to run it again after any crash, and over a host where
/// everything is as wanted it changes nothing and says so.
package protocol WantedStateKind: StepKind {
    /// What is wanted on one of the step's hosts.
    func wantedState(on host: String, _ context: StepContext) async throws -> WantedState

    /// What steps that build on this one may know besides `summary` and `changed`.
    func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue]
}

/// The script that looks, changes, and looks again.
///
/// What it says on standard output, by the line: `changed: …` names one thing that it changed, `warning: …` what a person should know,
/// `evidence: …` what it found at the end. Anything else is for the log alone. Exit status 0: all is as wanted, seen by looking again.
/// Exit status 65: it cannot become so by trying again, and the last line of standard error says why. Any other: another try may help.
package struct WantedState: Sendable {
    /// For `sh -eu`. Constant text: what the plan says comes in by the environment or standard input.
    package var script: String
    package var environment: [String: String]
    package var stdin: [UInt8]?

    package init(script: String, environment: [String: String] = [:], stdin: [UInt8]? = nil) {
        (self.script, self.environment, self.stdin) = (script, environment, stdin)
    }

    static let refusedStatus = 65

    /// What such a script begins with: how it speaks. `refuse` ends it with `refusedStatus`; `only_root` does, where it is somebody else's,
    /// with the sentence that says what root does here. `gist FILE` is what a program's output tells of its failure, on one line.
    static let words = #"""
        say() { printf '%s\n' "$*" >&2; }
        refuse() { say "$*"; exit 65; }
        changed() { printf 'changed: %s\n' "$*"; }
        only_root() { [ "$(id -u)" = 0 ] || refuse "$* by root, and the login of this host is $(id -un): set ansible_become for the host, or log in as root"; }

        """# + Gist.function
}

extension WantedStateKind {
    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let reports = try await context.onEachHost { host, part in
            let state = try await wantedState(on: host, context)
            var job = DurableJob(host: host, part: part, script: .shell(state.script))
            (job.environment, job.stdin) = (state.environment, state.stdin)
            return try WantedStateReport(of: try await context.run(job), on: host, context, kind: Self.schema.name)
        }
        return WantedStateReport.outcome(
            of: reports, attempt: context.attempt, outputs: try outputs(of: reports.flatMap(\.value.evidence), context))
    }

    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] { [:] }

    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "it looks before it changes anything, and can be done again")
    }
}

/// What such a script said.
struct WantedStateReport: Sendable {
    let changes: [String]
    let warnings: [String]
    let evidence: [String]

    init(of outcome: DurableJobOutcome, on host: String, _ context: StepContext, kind: String) throws {
        guard outcome.succeeded else { throw Self.failure(outcome, host, context, kind) }
        let lines = outcome.stdoutText.split(separator: "\n").map(String.init)
        func said(_ prefix: String) -> [String] { lines.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) } }
        (changes, warnings, evidence) = (said("changed: "), said("warning: "), said("evidence: "))
    }

    private static func failure(_ outcome: DurableJobOutcome, _ host: String, _ context: StepContext, _ kind: String) -> any RepriseError {
        let hints = ["see all it said with: reprise logs \(context.run) \(context.step)", "mend the cause, then: reprise retry \(context.run) \(context.step)"]
        if outcome.result.exitStatus == WantedState.refusedStatus {
            let why = outcome.tail(lines: 1)
            return StepRefused("\(kind).refused", "\(host): \(why.isEmpty ? "refused" : why)", hints: hints, evidence: outcome.evidence)
        }
        return StepFailed("\(kind).failed", "\(host): the step ended with \(outcome.ending)", hints: hints, evidence: outcome.evidence)
    }

    /// - Parameter attempt: what a later attempt finds as wanted may be the work of an earlier one, so it counts as changed.
    static func outcome(
        of reports: [(host: String, value: WantedStateReport)], attempt: AttemptNumber = 1, outputs: [String: JSONValue] = [:]
    ) -> StepOutcome {
        let changed = attempt > 1 || reports.contains { !$0.value.changes.isEmpty }
        let evidence = reports.map { host, report in
            (host, JSONValue.object(["changed": list(report.changes), "found": list(report.evidence)]))
        }
        let summary = reports.map { host, report in
            "\(host): \(report.changes.isEmpty ? "unchanged" : report.changes.joined(separator: ", "))"
        }.joined(separator: "; ")
        return StepOutcome(
            evidence: .object(Dictionary(uniqueKeysWithValues: evidence)),
            outputs: outputs.merging(["summary": .string(String(summary.prefix(4000))), "changed": .bool(changed)]) { own, _ in own },
            warnings: reports.flatMap { host, report in report.warnings.map { "\(host): \($0)" } }, changed: changed)
    }

    private static func list(_ lines: [String]) -> JSONValue { .array(lines.prefix(100).map { .string($0) }) }
}
