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
        if record.spec.approverIsNotStarter, Person(operatorName) == Person(machine.startedBy) {
            Console.writeError("\nstep \(step) must be approved by another person than \(oneLine(machine.startedBy)), who started the run\n")
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
            return .approvalDecided(ApprovalDecided(step: step, approved: true, by: operatorName, comment: "at the terminal"))
        case "deny":
            let reason = try await Console.ask("Why? ")?.trimmingCharacters(in: .whitespaces)
            return .approvalDecided(ApprovalDecided(step: step, approved: false, by: operatorName, comment: reason ?? ""))
        default: return nil
        }
    }
}

/// Who somebody is, apart from the process that they use: account, machine, and the address that they came from.
///
/// Two processes of one person are one person; two people who share an account are told apart by where they come from.
struct Person: Hashable {
    let account: String
    let address: String?

    /// - Parameter summary: as `OperatorIdentity.summary` makes it: `anna@bastion (process 4711, from 192.0.2.7 50022 22)`.
    init(_ summary: String) {
        let parts = summary.split(separator: " (", maxSplits: 1).map(String.init)
        account = parts.first ?? summary
        guard parts.count == 2, let from = parts[1].range(of: ", from ") else {
            address = nil
            return
        }
        address = parts[1][from.upperBound...].split(whereSeparator: { $0 == " " || $0 == ")" }).first.map(String.init)
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
