internal import Foundation
internal import Reporting
internal import RunCore

/// Asks the person at the terminal for the approvals that a run waits for.
struct Approvals {
    let options: GlobalOptions
    let run: RunID

    /// - Returns: the person's word on the first open question; nil where they decide later or may not decide.
    func ask(_ machine: RunMachine) async throws -> RunEvent? {
        guard let record = machine.steps.first(where: { $0.state == .waiting }) else { return nil }
        let step = record.spec.id
        if let refusal = machine.refusesApproval(of: step, by: operatorName) {
            Console.writeError("\n\(oneLine(refusal.message))\n")
            return nil
        }
        let style = options.style
        Console.writeError("\n\(style.paint("step \(step) waits for your approval:", .attention))\n")
        Console.writeError(terminalSafe(record.approval?.message ?? "").split(separator: "\n", omittingEmptySubsequences: false)
            .map { "  \($0)\n" }.joined())
        let question = "\nType \"approve\" or the step's name to agree, \"deny\" to refuse, anything else to decide later: "
        guard let answer = try await Console.ask(question)?.trimmingCharacters(in: .whitespaces) else { return nil }
        switch answer {
        case "approve", step.rawValue:
            return .approvalDecided(
                ApprovalDecided(step: step, approved: true, by: operatorName, comment: "at the terminal", question: record.questions))
        case "deny":
            let reason = try await Console.ask("Why? ")?.trimmingCharacters(in: .whitespaces)
            return .approvalDecided(
                ApprovalDecided(step: step, approved: false, by: operatorName, comment: reason ?? "", question: record.questions))
        default: return nil
        }
    }
}

/// Has the person type what will be destroyed.
enum Confirmation {
    /// - Parameters:
    ///   - targets: the names of what is overwritten or removed; nothing is asked where there are none.
    ///   - isGiven: `--yes` was said.
    ///   - does: what it does, after `what`.
    ///   - hints: how to look before.
    /// - Throws: where the word was not given, or not typed right.
    static func require(
        _ targets: [String], isGiven: Bool, what: String, does: String = "overwrites or removes what only a backup brings back",
        hints: [String] = ["look first: --dry-run"]
    ) async throws {
        guard !targets.isEmpty, !isGiven else { return }
        let names = targets.map(oneLine).joined(separator: " ")
        guard Console.isInteractive else {
            throw Refusal(
                "needs-yes", "\(what) \(does): \(names)",
                hints: hints + ["then say so: --yes (approvals are asked for all the same)"])
        }
        Console.writeError("\(what) \(does): \(names)\n")
        let typed = try await Console.ask("Type \(targets.count == 1 ? "its name" : "these names") to go on: ")
        guard typed?.trimmingCharacters(in: .whitespaces) == names else {
            throw Refusal("not-confirmed", "that is not \(names); nothing was started", exitStatus: .usage)
        }
    }
}
