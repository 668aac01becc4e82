import ArgumentParser
internal import Engine
internal import Foundation
internal import PlanModel
internal import PlanYAML
internal import Reporting
internal import RunCore

/// How errors reach a person or a program.
enum Failures {
    private struct Report: Encodable {
        struct Failure: Encodable {
            let code: String
            let message: String
            let hints: [String]
            let diagnostics: [Diagnostic]?
        }
        let error: Failure
    }

    /// Says what went wrong and returns the status to exit with.
    static func report(_ error: any Error, arguments: [String]) -> ExitStatus {
        let isJSON = arguments.prefix { $0 != "--" }.contains("--json")
        switch error {
        case let ended as Ended: return ended.status
        case let error as any RepriseError:
            report(error, isJSON: isJSON)
            return error.exitStatus
        case is CancellationError:
            report(Refusal("interrupted", "the command was interrupted", exitStatus: .interrupted), isJSON: isJSON)
            return .interrupted
        default: return reportUsage(error, arguments, isJSON: isJSON)
        }
    }

    private static func report(_ error: any RepriseError, isJSON: Bool) {
        let refused = error as? DocumentRefused
        if isJSON {
            return writeJSON(error.code, error.message, error.hints, refused?.diagnostics)
        }
        // The findings of a refused document have places and excerpts of their own.
        let lead = refused.map { $0.diagnostics.prefix(DocumentRefused.mostShown).map { terminalSafe($0.description) + "\n" }.joined() } ?? ""
        let hints = error.hints.map { "HINT: \(terminalSafe($0))\n" }.joined()
        Console.writeError("\(lead)reprise: \(terminalSafe(error.message))\n\(hints)")
    }

    /// What ArgumentParser throws: help and versions, which are no errors, and bad usage.
    private static func reportUsage(_ error: any Error, _ arguments: [String], isJSON: Bool) -> ExitStatus {
        let text = Reprise.fullMessage(for: error)
        if Reprise.exitCode(for: error) == .success {
            Console.write(text.hasSuffix("\n") || text.isEmpty ? text : text + "\n")
            return .done
        }
        let isParserError = Reprise.exitCode(for: error) == .validationFailure
        guard isParserError else {
            // Not one of ours: a defect, or a system error that nobody has named.
            report(Refusal("unexpected", "unexpected failure: \(oneLine(String(describing: error)))", exitStatus: .failed), isJSON: isJSON)
            return .failed
        }
        if isJSON {
            writeJSON("usage", Reprise.message(for: error), misspelt(arguments) + ["see: reprise help"], nil)
        } else {
            let usage = text.hasPrefix("Error: ") ? "reprise: " + text.dropFirst(7) : text
            let hints = misspelt(arguments).map { "HINT: \(terminalSafe($0))\n" }.joined()
            Console.writeError(usage + "\n" + hints)
        }
        return .usage
    }

    /// What was probably meant by a command that there is not.
    private static func misspelt(_ arguments: [String]) -> [String] {
        var command: any ParsableCommand.Type = Reprise.self
        for word in arguments {
            let known = command.configuration.subcommands
            guard !known.isEmpty, !word.hasPrefix("-"), word != "help" else { return [] }
            guard let next = known.first(where: { $0.configuration.commandName == word }) else {
                var speller = Speller()
                let place = command.configuration.commandName == Reprise.configuration.commandName ? "commands" : "commands of \(command.configuration.commandName ?? "")"
                return speller.hints(for: word, among: known.compactMap { $0.configuration.commandName }, what: place)
            }
            command = next
        }
        return []
    }

    private static func writeJSON(_ code: String, _ message: String, _ hints: [String], _ diagnostics: [Diagnostic]?) {
        let report = Report(error: .init(code: code, message: message, hints: hints, diagnostics: diagnostics))
        let bytes = (try? EventCodec.json(report)) ?? Array(#"{"error":{"code":"unexpected"}}"#.utf8)
        Console.writeError(String(decoding: bytes, as: UTF8.self) + "\n")
    }
}

/// Something that the command line itself refuses.
struct Refusal: RepriseError {
    let code: String
    let message: String
    let hints: [String]
    let exitStatus: ExitStatus

    init(_ code: String, _ message: String, hints: [String] = [], exitStatus: ExitStatus = .usage) {
        self.code = "cli.\(code)"
        self.message = message
        self.hints = hints
        self.exitStatus = exitStatus
    }
}
