package import PlanModel
internal import RunCore
internal import SSH

/// Unpacks a tar archive on hosts, without trusting it.
///
/// The whole archive is read and judged before anything is written. What is there already, with the same content, owner and mode, is
/// left alone, so that an attempt that was cut off is finished by the next one, and a second run changes nothing.
package struct ArchiveStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "archive", summary: "unpacks a tar archive, of which nothing can leave its folder",
        fields: [
            FieldSchema("from", .stepRef, help: "the fetch-backup step that fetched it, to the same host"),
            FieldSchema("path", .path, help: "or where it lies on the host; tar, plain or in gzip, zstd, xz or bzip2"),
            FieldSchema("into", .path, isRequired: true, help: "the folder; it is made where it is missing"),
            FieldSchema("owner", .account, help: "whose everything becomes; without it as the archive says by name"),
            FieldSchema("group", .account, help: "without it the owner's own, or as the archive says"),
            FieldSchema("strip", .integer, default: .integer(0), range: 0...100, help: "leading folders to leave out of the names"),
            FieldSchema("only", .list(.string), help: "patterns of the names that are unpacked, each with all that lies under it"),
            FieldSchema(
                "existing", .choice(["refuse", "replace", "keep"]), default: .string("refuse"),
                help: "files that are there already with other content: stop and name them, replace them, or keep them"),
            FieldSchema("links", .choice(["inside", "refuse"]), default: .string("inside"), help: "symbolic links: those that stay inside of the folder, or none"),
            FieldSchema("most-bytes", .bytes, default: .string("64GB"), help: "an archive that unpacks to more is refused"),
            FieldSchema("most-entries", .integer, default: .integer(500_000), range: 1...10_000_000, help: "one with more entries is refused"),
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        let archive = try Self.archive(context, on: host)
        let only = context.strings("only")
        guard let mostBytes = Quantity.bytes(try context.string("most-bytes")) else {
            throw StepRefused("archive.bad-size", "most-bytes is no size such as 512MB or 64GB", exitStatus: .usage)
        }
        return WantedState(
            script: Self.script,
            environment: [
                "ARCHIVE": archive.path, "SHA256": archive.sha256 ?? "", "INTO": try context.string("into"),
                "OWNER": context.optionalString("owner") ?? "", "GROUP": context.optionalString("group") ?? "",
                "STRIP": "\(try context.integer("strip"))", "EXISTING": try context.string("existing"), "LINKS": try context.string("links"),
                "MOST_BYTES": "\(mostBytes)", "MOST_ENTRIES": "\(try context.integer("most-entries"))",
            ],
            stdin: only.flatMap { Array($0.utf8) + [0] })
    }

    /// For `sh`: the program is too long for a comfortable argument and still far from the limit of one.
    static let script = "program=$(cat <<'REPRISE_PROGRAM'\n" + program + "\nREPRISE_PROGRAM\n)\nexec perl -e \"$program\""
    static let program = [tarReadingSource, tarPlacingSource, tarMainSource].joined(separator: "\n")

    private static func archive(_ context: StepContext, on host: String) throws -> (path: String, sha256: String?) {
        switch (context.with["from"] != nil, context.optionalString("path")) {
        case (false, let path?): return (path, nil)
        case (true, nil): return try fetched(context, on: host)
        case (true, .some), (false, nil):
            throw StepRefused("archive.no-source", "step \(context.step) names its archive by `from` or by `path`, and by one of them", exitStatus: .usage)
        }
    }

    private static func fetched(_ context: StepContext, on host: String) throws -> (path: String, sha256: String?) {
        let outputs = try context.outputs(ofStepIn: "from")
        guard let path = outputs["path"]?.stringValue else {
            throw StepRefused("archive.no-path", "the step that `from` names has fetched nothing: it left no path", exitStatus: .usage)
        }
        if let place = outputs["host"]?.stringValue, place != host {
            throw StepRefused(
                "archive.elsewhere", "the archive was fetched to \(place), and is to be unpacked on \(host)", hints: ["fetch it on \(host)"], exitStatus: .usage)
        }
        return (path, outputs["unwrapped-sha256"]?.stringValue)
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let archive = (try? Self.archive(context, on: context.hosts.first ?? "").path) ?? "ARCHIVE.tar"
        let into = context.optionalString("into") ?? "FOLDER"
        return [
            "# on \(context.hosts.joined(separator: ", ")): look for absolute paths, .., links and devices first",
            "tar -tvf \(shellQuoted(archive)) | less",
            "tar -xf \(shellQuoted(archive)) -C \(shellQuoted(into)) --keep-old-files --no-same-permissions"
                + ((try? context.integer("strip")).map { $0 > 0 ? " --strip-components=\($0)" : "" } ?? ""),
        ]
    }
}
