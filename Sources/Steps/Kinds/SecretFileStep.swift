package import PlanModel
package import RunCore

/// Writes a secret into a file that only its owner can read. Its value travels by standard input and reaches no argument, log or journal.
///
/// Written as by `file`: beside its place, flushed, validated, renamed; unchanged where all is as wanted. Evidence: the path.
package struct SecretFileStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "secret-file", summary: "writes a secret into a file on hosts that only its owner can read",
        fields: [
            FileFields.path,
            FieldSchema("secret", .secretRef, isRequired: true, help: "the secret that is the whole file"),
            FieldSchema(
                "final-newline", .boolean, default: .boolean(true), help: "end the file with a newline, which secrets are handed out without"),
            FileFields.mode("0600"), FileFields.owner, FileFields.group, FileFields.validate,
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        var wish = try context.fileWish(.file(content: [], isSecret: true), mode: "0600")
        wish.thing = .file(content: try await context.secretContent(context.string("secret")), isSecret: true)
        return wish.state(context)
    }

    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] {
        ["path": .string(try context.string("path"))]
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let wish = try? context.fileWish(.file(content: [], isSecret: true), mode: "0600") else { return [] }
        return ["# on \(context.hosts.joined(separator: ", ")), with umask 077:"]
            + wish.manualCommands("the secret \(context.optionalString("secret") ?? "")")
    }
}
