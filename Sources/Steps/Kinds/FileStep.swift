package import PlanModel
package import RunCore

/// Makes a file, a folder or a link as the plan wants it, or takes it away.
///
/// A file is written beside its place, flushed, validated by the plan's own command, and renamed; where bytes, mode and owner are as wanted
/// already, nothing is touched. Killed anywhere, either the old file or the new one is there, whole. Evidence: the path.
package struct FileStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "file", summary: "makes a file, a folder or a link on hosts as it should be, or takes it away",
        fields: [
            FileFields.path,
            FieldSchema("content", .string, help: "the whole file"),
            FieldSchema("from-file", .string, help: "or a file that lies beside the plan, taken as it is; its text becomes part of the run"),
            FieldSchema("secret", .secretRef, help: "or the secret that is the whole file; `secret-file` keeps others from reading it"),
            FieldSchema("directory", .boolean, help: "true: a folder; those above it are made too"),
            FieldSchema("link-to", .string, help: "a symbolic link that leads there"),
            FieldSchema("absent", .boolean, help: "true: nothing is there; a folder is only taken away where it is empty"),
            FileFields.mode("0644, of a folder 0755, of a secret 0600"), FileFields.owner, FileFields.group, FileFields.validate,
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        var wish = try wish(context)
        if let secret = context.optionalString("secret") { wish.thing = .file(content: try await context.secretContent(secret), isSecret: true) }
        return wish.state(context)
    }

    /// Without a secret's value.
    private func wish(_ context: StepContext) throws -> FileWish {
        var things: [(field: String, thing: FileWish.Thing, mode: String)] = []
        if let content = context.optionalString("content") { things.append(("content", .file(content: Array(content.utf8), isSecret: false), "0644")) }
        if context.optionalString("secret") != nil { things.append(("secret", .file(content: [], isSecret: true), "0600")) }
        if context.boolean("directory", default: false) { things.append(("directory", .directory, "0755")) }
        if let target = context.optionalString("link-to") { things.append(("link-to", .link(target: target), "0777")) }
        if context.boolean("absent", default: false) { things.append(("absent", .absent, "0000")) }
        guard things.count == 1, let only = things.first else {
            throw StepRefused(
                "file.what", "step \(context.step): " + (things.isEmpty ? "nothing says what is wanted" : "\(things.map(\.field).joined(separator: " and ")) exclude each other"),
                hints: ["give exactly one of content, from-file, secret, directory: true, link-to and absent: true"], exitStatus: .usage)
        }
        return try context.fileWish(only.thing, mode: only.mode)
    }

    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] {
        ["path": .string(try context.string("path"))]
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let wish = try? wish(context) else { return [] }
        let place = ["# on \(context.hosts.joined(separator: ", ")):"]
        if let secret = context.optionalString("secret") { return place + wish.manualCommands("the secret \(secret)") }
        return place + wish.manualCommands(text: context.optionalString("content"))
    }
}
