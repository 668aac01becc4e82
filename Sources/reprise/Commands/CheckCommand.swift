import ArgumentParser
internal import Engine
internal import Foundation
internal import ObjectStorage
internal import PlanModel
internal import Reporting
internal import RunCore

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Whether a plan could start now: hosts, keys, tools, disk, versions, age of the backups.",
        discussion: help("Changes nothing, but makes Reprise's own folder on each host where it is missing. Exit status 4 where a host or a store is out of reach, 1 where something else is missing."))
    @OptionGroup var plan: PlanArgument
    @OptionGroup var parameters: ParameterOptions
    @OptionGroup var options: GlobalOptions

    func run() async throws {
        let prepared = try PreparedRun(plan.plan, parameters, options)
        let findings = try await Readiness(prepared.frozen, preview: try prepared.preview()).check()
        let rows = findings.map {
            Document.Table.Row([$0.verdict.rawValue, $0.subject, $0.text], $0.verdict == .ok ? .good : $0.verdict == .warning ? .attention : .bad)
        }
        let table = Document.Table([.init(""), .init("WHAT"), .init("FINDING")], rows)
        try options.show(findings, tableText(table, style: options.style) + findings.map(Self.remedy).joined())
        if findings.contains(where: { $0.verdict == .unreachable }) { throw Ended(status: .unreachable) }
        try Ended.check(findings.contains { $0.verdict == .missing } ? .failed : .done)
    }

    /// What is not as it should be, uncut, with what to do about it: a table's cell may have been too narrow for it.
    private static func remedy(_ finding: Finding) -> String {
        guard finding.verdict != .ok || !finding.hints.isEmpty else { return "" }
        return "\n\(finding.subject): \(oneLine(finding.text))\n"
            + finding.hints.map { "HINT: \(oneLine($0))\n" }.joined()
    }
}
