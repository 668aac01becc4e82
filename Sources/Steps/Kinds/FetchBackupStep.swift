internal import BlockingIO
internal import Foundation
internal import ObjectStorage
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH

/// Chooses a backup, fetches it to a host, and reads it whole, so that what is restored later is known to be complete.
///
/// A choice is journaled before anything is fetched. Where `choose: latest` meets a damaged backup, the next older one is taken;
/// where a backup is replaced while it is fetched, the selection starts again unless the plan names that very one. The outcome
/// warns of either. Everything here can be repeated: a fetch goes on where it stopped, a decode changes nothing.
package struct FetchBackupStep: StepKind {
    package static let schema = StepKindSchema(
        name: "fetch-backup", summary: "fetches a backup to a host, and decodes it to know exactly what is in it",
        fields: [
            FieldSchema("store", .storeRef, isRequired: true, help: "a store of the inventory"),
            FieldSchema("kind", .choice(["database", "files"]), default: .string("database")),
            FieldSchema(
                "choose", .string, default: .string("latest"),
                help: "latest (the newest usable one), name:KEY, or before:TIME such as before:2026-11-23T02:00:00Z"),
            FieldSchema("to", .path, help: "where on the host; a folder of the run's own without it"),
            FieldSchema("via", .choice(["host", "orchestrator"]), default: .string("host"), help: "who talks to the store"),
            FieldSchema("minimum-size", .bytes, default: .string("1kB"), help: "a smaller backup is not plausible"),
            FieldSchema("most-bytes", .bytes, help: "one that unwraps to more is refused; without it more than half of what is free there"),
            FieldSchema(
                "revision", .string,
                help: "also say which revision of the application belongs to the backup: from the file beside it, or this where there is none"),
            FieldSchema("verify-archive", .boolean, default: .boolean(true), help: "decode the whole archive and count its rows"),
        ], needsHost: true, worksOnOneHost: true)

    package init() {}

    package func perform(_ context: StepContext) async throws -> StepOutcome {
        let wanted = try BackupChoice(try context.string("choose"))
        var warnings: [String] = []
        for selection in 0..<Self.mostSelections {
            let replaced = "replaced-\(selection)"
            if let known = await context.services.observed(replaced)?.arrayValue {
                warnings = known.compactMap(\.stringValue)
                continue
            }
            do {
                return try await fetchUsable(wanted, selection, &warnings, context)
            } catch let error as ObjectChanged where wanted.isOpen && selection + 1 < Self.mostSelections {
                warnings.append("a backup was replaced while it was fetched, and the selection started again: \(error.message)")
                // Journaled, so that a resumed attempt does not ask for what is gone.
                try await context.services.observe(replaced, .array(warnings.map { .string($0) }))
                context.services.report(StepProgress("the backup was replaced while it was fetched, choosing again"))
            }
        }
        preconditionFailure("the last selection returns or throws")
    }

    /// Whoever replaces backups faster than they can be fetched has to be asked about it.
    private static let mostSelections = 3

    /// The newest backup that is usable, of those that are there when it is asked for.
    private func fetchUsable(
        _ wanted: BackupChoice, _ selection: Int, _ warnings: inout [String], _ context: StepContext
    ) async throws -> StepOutcome {
        let host = context.hosts[0]
        var rejected: [String] = []
        for index in 0..<Self.mostTries {
            // In the names of choices and jobs, so that each selection has its own and a resumed attempt finds all of them again.
            let turn = selection == 0 ? "\(index)" : "\(index)-again-\(selection)"
            let choice = try await choose(context, wanted, index, turn)
            let target = Self.target(choice, context)
            do {
                let file = try await fetch(choice, to: target, host, turn, context)
                let content = try await decode(file, choice, host, turn, context)
                return outcome(choice, file, content, warnings, context)
            } catch let error as any RepriseError where isDamage(error) && wanted == .latest {
                rejected.append("backup \(choice.key) is not usable and was passed over: \(error.message)")
                warnings.append(rejected[index])
                context.services.report(StepProgress("backup \(choice.key) is not usable, trying the next older one"))
            }
        }
        throw StepRefused(
            "fetch-backup.none-usable", "none of the newest \(Self.mostTries) backups is usable: \(rejected.joined(separator: "; "))",
            hints: ["see all backups with: reprise backup list", "name one: --param backup=name:KEY"])
    }

    private static let mostTries = 5

    private func isDamage(_ error: any RepriseError) -> Bool {
        [
            "postgresql.content-truncated", "postgresql.content-archive-damaged", "postgresql.content-not-an-archive", "host-fetch.damaged",
            "host-fetch.content-mismatch", "fetch.content-mismatch", "fetch-backup.too-small",
        ].contains(error.code)
    }

    /// A folder of the run's own, on the host's disk: others can pass through it and read nothing in it.
    private static func folder(_ context: StepContext) -> String { "\(allFolders)/\(context.run)" }
    private static let allFolders = "/var/backups/reprise"

    /// Where it will lie, before there is a run: the field `to` says so where it is there and filled in.
    package static func folder(to path: String?) -> String {
        guard let path, path.hasPrefix("/") else { return allFolders }
        return "/" + path.split(separator: "/").dropLast().joined(separator: "/")
    }

    /// For sh: makes the folder of a backup, which others can pass through and not read. One that is there is not this step's own.
    static func making(_ folder: String) -> String {
        let folder = shellQuoted(folder)
        return "{ [ -d \(folder) ] || install -d -m 0711 -- \(folder); }"
    }

    /// The operating-system user who restores on this host, and to whom the file is given.
    private static func owner(_ context: StepContext) -> String {
        context.inventory.databases.first { $0.host == context.hosts[0] }?.superuser ?? "postgres"
    }

    private static func target(_ choice: Choice, _ context: StepContext) -> String {
        context.optionalString("to") ?? folder(context) + "/" + fileName(choice.key)
    }

    private static func fileName(_ key: String) -> String {
        let base = key.split(separator: "/").last.map(String.init) ?? "backup"
        let safe = String(base.unicodeScalars.map { $0.isASCII && ($0.properties.isAlphabetic || "0123456789._-".unicodeScalars.contains($0)) ? Character($0) : "_" })
        let plain = safe.hasPrefix(".") || safe.hasPrefix("-") ? "_" + safe : safe
        for wrapping in [".gz", ".zst", ".xz"] where plain.hasSuffix(wrapping) { return String(plain.dropLast(wrapping.count)) }
        return plain
    }

    // MARK: Choosing

    struct Choice: Codable {
        var key: String
        var time: Date
        var version: ObjectVersion
        var store: String
        var revision: BackupRevision?
    }

    /// The `index`-th newest backup that fits, chosen once for ever.
    private func choose(_ context: StepContext, _ wanted: BackupChoice, _ index: Int, _ turn: String) async throws -> Choice {
        let value = try await context.decided("choice-\(turn)") {
            context.services.report(StepProgress("choosing a backup"))
            let choice = try await select(context, wanted, index)
            return try decodeJSON(JSONValue.self, encodeJSON(choice))
        }
        return try decodeJSON(Choice.self, encodeJSON(value))
    }

    private func select(_ context: StepContext, _ wanted: BackupChoice, _ index: Int) async throws -> Choice {
        let name = try context.string("store")
        let store = try await context.services.store(name)
        guard let reference = context.inventory.store(name) else {
            throw StepRefused("steps.unknown-store", "the inventory has no store \(name)")
        }
        let isDatabase = context.optionalString("kind") != "files"
        let found = try await wanted.select(index, isDatabase: isDatabase, in: store, reference)
        var choice = Choice(key: found.key, time: found.time, version: found.version, store: store.displayName)
        // Before anything is fetched: without it nobody could go on after the restore.
        if context.with["revision"] != nil { choice.revision = try await BackupRevision(of: found.key, in: store, orElse: context.optionalString("revision")) }
        return choice
    }

    // MARK: Fetching

    private func fetch(
        _ choice: Choice, to target: String, _ host: String, _ turn: String, _ context: StepContext
    ) async throws -> HostFetchResult {
        let least = try context.bytes("minimum-size") ?? 0
        let most = try context.bytes("most-bytes") ?? HostFetchScript.unlimitedBytes
        guard choice.version.sizeBytes >= least else {
            throw StepRefused("fetch-backup.too-small", "\(choice.key) has \(choice.version.sizeBytes) bytes: that is no backup")
        }
        let store = try await context.services.store(try context.string("store"))
        // Some stores write ETags that look like an MD5 and are none. A backup that is decoded to its end needs no such witness, and a
        // false one must not cost it.
        let version = decodes(context) ? choice.version.withoutMD5 : choice.version
        if try await needsCarrying(choice, store, context) {
            let carrying = CarryOver(context: context, host: host, store: store, version: version, target: target, mostBytes: most)
            return try await carrying.run(part: "carry-\(turn)") { Self.wrapped($0, target, context) }
        }
        var options = HostFetchScript.Options(quotaBytes: most)
        for round in 0..<50 {
            let part = "fetch-\(turn)-\(round)"
            let job = try await HostFetchScript.make(version, from: store, to: target, options: options)
            var durable = DurableJob(host: host, part: part, script: .shell(Self.wrapped(job.script, target, context)))
            durable.stdin = Array(job.standardInput.reveal().utf8)
            durable.onLine = { line in
                guard let progress = HostFetchScript.progress(line) else { return }
                context.services.report(StepProgress("fetching \(choice.key)", done: progress.doneBytes, total: progress.totalBytes, unit: .bytes))
            }
            let outcome = try await context.run(durable)
            switch try HostFetchScript.outcome(exitStatus: Int32(outcome.result.exitStatus ?? -1), output: outcome.stdoutText, name: choice.key) {
            case .fetched(let result): return result
            // The addresses ran out before the ranges did: what is there stays, the rest is signed anew.
            case .expired: continue
            case .rangesIgnored:
                context.services.report(StepProgress("the store sends no parts of \(choice.key), fetching all of it at once"))
                options = options.inOnePiece(choice.version)
            }
        }
        throw StepFailed("fetch-backup.never-ends", "fetching \(choice.key) ran out of signed addresses again and again")
    }

    /// Whether this machine has to read the store: because the plan says so, or because the store signs no addresses for others.
    private func needsCarrying(_ choice: Choice, _ store: any ObjectStore, _ context: StepContext) async throws -> Bool {
        if context.optionalString("via") == "orchestrator" { return true }
        return try await store.presign(choice.version, range: nil, expires: .seconds(60)) == nil
    }

    /// The fetch's script, between making the folder and giving the file to the one who restores. Nobody but root unpacks files, and a
    /// bare host has no PostgreSQL to give them to.
    private static func wrapped(_ script: String, _ target: String, _ context: StepContext) -> String {
        let folder = folder(to: target)
        let owner = context.optionalString("kind") == "files" ? "root" : owner(context)
        return """
            \(making(folder)) || exit 73
            (
            \(script)
            ) || exit $?
            chown -- \(shellQuoted(owner)) \(shellQuoted(target)) && chmod 0400 -- \(shellQuoted(target)) || exit 73
            """
    }

    // MARK: Reading it whole

    private func decodes(_ context: StepContext) -> Bool {
        context.boolean("verify-archive", default: true) && context.optionalString("kind") != "files"
    }

    private func decode(
        _ file: HostFetchResult, _ choice: Choice, _ host: String, _ turn: String, _ context: StepContext
    ) async throws -> ContentSummary? {
        guard decodes(context) else { return nil }
        // What a hostile dump does to pg_restore, it does as the database's own user, who could do it anyway.
        let path = Self.target(choice, context), owner = Self.owner(context)
        // Without a readable table of contents the decode is merely less evenly spread; what is wrong with it, the decode says.
        let contents = try? await context.contents(ofArchive: path, host: host, part: "contents-\(turn)", runAs: owner)
        let hashing = ContentHashJob.archive(at: path, contents: contents, digest: .stream)
        return try await context.hashContent(hashing, host: host, part: "decode-\(turn)", runAs: owner, "decoding and counting \(choice.key)")
    }

    private func outcome(
        _ choice: Choice, _ file: HostFetchResult, _ content: ContentSummary?, _ warnings: [String], _ context: StepContext
    ) -> StepOutcome {
        let path = Self.target(choice, context)
        var outputs: [String: JSONValue] = [
            "key": .string(choice.key), "path": .string(path), "bytes": .integer(file.bytes), "sha256": .string(file.sha256),
            "unwrapped-bytes": .integer(file.unwrappedBytes), "unwrapped-sha256": .string(file.unwrappedSHA256),
            "kind": .string(context.optionalString("kind") ?? "database"), "time": .string(choice.time.ISO8601Format()), "store": .string(choice.store), "host": .string(context.hosts[0]),
        ]
        let age = Date().timeIntervalSince(choice.time)
        outputs["age-seconds"] = .integer(Int64(age))
        var summary = "Backup \(choice.key) of \(choice.time.ISO8601Format()), \(file.bytes) bytes: what was written in the \(ageText(age)) since then is not in it."
        if let content, let value = try? decodeJSON(JSONValue.self, encodeJSON(content)) {
            outputs["content"] = value
            outputs["tables"] = .integer(Int64(content.tables.count))
            outputs["rows"] = .integer(Int64(content.rows))
            summary += " It holds \(counted(content.rows, "row")) in \(counted(content.tables.count, "table"))."
        }
        if let revision = choice.revision {
            outputs["revision"] = .string(revision.name)
            outputs["revision-from"] = .string(revision.source.rawValue)
            summary += " The application belongs at \(revision.name)."
        }
        outputs["summary"] = .string(summary)
        let proof = Self.proof(choice.version, file.wrapper, isDecoded: content != nil)
        let unproven = "\(choice.key) was not verified against the store: it keeps no checksum of it, and the file has none of its own"
        return StepOutcome(
            evidence: [
                "sha256": .string(file.sha256), "etag": .string(choice.version.etag), "decoded": .bool(content != nil),
                "verified-by": proof.map { .string($0) } ?? .null,
            ],
            outputs: outputs, warnings: warnings + (proof == nil ? [unproven] : []))
    }

    /// What would have shown a byte that is not as it was uploaded; nil where nothing would.
    static func proof(_ version: ObjectVersion, _ wrapper: Wrapper, isDecoded: Bool) -> String? {
        if version.sha256 != nil { return "SHA-256 of the store" }
        if version.md5 != nil, !isDecoded { return "MD5 of the store" }
        if wrapper != .none { return "checksum of \(wrapper.rawValue)" }
        return isDecoded ? "decode" : nil
    }

    /// A fetch that lost its result is looked at, not guessed: the script itself takes up whatever ranges are whole.
    package func resolveDoubt(_ context: StepContext, _ doubt: StepInDoubt) async throws -> DoubtResolution? {
        DoubtResolution(.notDone, reason: "a fetch keeps whole ranges and can be begun again; a decode changes nothing")
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        [
            "# on \(context.hosts.first ?? "the database host"): fetch the newest backup, unwrap it, and read it whole",
            "aws s3 ls s3://BUCKET/database/ | sort | tail -n 5", "aws s3 cp s3://BUCKET/database/NAME.dump.gz . && gunzip NAME.dump.gz",
            "pg_restore -f /dev/null NAME.dump && echo complete",
        ]
    }
}

func ageText(_ seconds: Double) -> String {
    switch seconds {
    case ..<120: "\(Int(seconds)) seconds"
    case ..<7200: "\(Int(seconds / 60)) minutes"
    case ..<172_800: "\(Int(seconds / 3600)) hours"
    default: "\(Int(seconds / 86_400)) days"
    }
}

func encodeJSON(_ value: some Encodable) throws -> Data { try JSONEncoder().encode(value) }
func decodeJSON<Value: Decodable>(_ type: Value.Type, _ data: Data) throws -> Value { try JSONDecoder().decode(type, from: data) }
