package import PlanModel
internal import RunCore
internal import SSH

/// Brings a folder on hosts to one exact revision of a git repository.
///
/// Files that git does not know (uploads, `.env`) stay. Changes that somebody made are named and left alone, unless the plan discards
/// them. A checkout that was cut off leaves a mark, and is finished by the next attempt.
package struct GitCheckoutStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "git-checkout", summary: "brings a folder to one exact revision of a git repository",
        fields: [
            FieldSchema("repository", .string, isRequired: true, help: "its address: ssh, https, http, git or a path; without a password in it"),
            FieldSchema("revision", .string, isRequired: true, help: "the full hash of a commit, or the name of a tag; branches move, and are refused"),
            FieldSchema("into", .path, isRequired: true, help: "the folder; it is made where it is missing"),
            FieldSchema("as", .account, help: "to whom the folder belongs and who runs git; without it the one who logs in (root where the host says become)"),
            FieldSchema("deploy-key", .secretRef, help: "the private key for ssh; it is in the memory of an agent only, while git runs"),
            FieldSchema("known-hosts", .list(.string), help: "host keys of the repository's host, lines as in known_hosts; without it those that the account knows"),
            FieldSchema("ca-file", .path, help: "for https: certificates on the host that are trusted instead of the system's"),
            FieldSchema("depth", .integer, range: 1...1_000_000, help: "how many commits back the history is fetched; all of it without it"),
            FieldSchema("discard", .boolean, default: .boolean(false), help: "throw away what differs from the revision, instead of stopping"),
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        let repository = try context.string("repository"), revision = try context.string("revision")
        if let problem = Self.problem(repository: repository, revision: revision) {
            throw StepRefused("git-checkout.bad-field", problem, exitStatus: .usage)
        }
        let key = try await key(context)
        return WantedState(
            script: GitCheckoutScript.text,
            environment: [
                "REPOSITORY": repository, "REVISION": revision, "KIND": Self.isHash(revision) ? "hash" : "tag", "INTO": try context.string("into"),
                "AS": context.optionalString("as") ?? "", "KNOWN_HOSTS": context.strings("known-hosts").joined(separator: "\n"),
                "CA_FILE": context.optionalString("ca-file") ?? "", "DEPTH": "\(context.optionalInteger("depth") ?? 0)",
                "DISCARD": context.boolean("discard", default: false) ? "1" : "0", "HAS_KEY": key == nil ? "0" : "1",
                "KEY_NAME": context.optionalString("deploy-key") ?? "",
            ],
            stdin: key)
    }

    /// Secret stores often drop the last line's end, without which ssh does not read a key.
    private func key(_ context: StepContext) async throws -> [UInt8]? {
        guard let name = context.optionalString("deploy-key") else { return nil }
        let text = try await context.services.secret(name)
        return Array((text.hasSuffix("\n") ? text : text + "\n").utf8)
    }

    static func isHash(_ text: String) -> Bool {
        [40, 64].contains(text.utf8.count) && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// Why these cannot be given to git; nil where they can.
    static func problem(repository: String, revision: String) -> String? {
        if repository.isEmpty || repository.hasPrefix("-") || repository.contains(where: \.isNewline) {
            return "`repository` is no address of a repository"
        }
        if let range = repository.firstRange(of: "://"), !repository.hasPrefix("ssh://") {
            let authority = repository[range.upperBound...].prefix { $0 != "/" }
            if authority.contains("@") { return "`repository` holds a login, which would be seen in process lists: use ssh with `deploy-key`" }
        }
        if revision.isEmpty || revision.hasPrefix("-") || revision.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f }) {
            return "`revision` is neither a full hash nor the name of a tag"
        }
        return nil
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let into = shellQuoted(context.optionalString("into") ?? "FOLDER"), revision = context.optionalString("revision") ?? "REVISION"
        return [
            "# on \(context.hosts.joined(separator: ", "))\(context.optionalString("as").map { " as \($0)" } ?? ""):",
            "[ -d \(into)/.git ] || git clone --no-checkout -- \(shellQuoted(context.optionalString("repository") ?? "REPOSITORY")) \(into)",
            "git -C \(into) status --short        # what differs would be lost",
            "git -C \(into) fetch --tags origin && git -C \(into) checkout --detach \(shellQuoted(revision)) && git -C \(into) rev-parse HEAD",
        ]
    }
}
