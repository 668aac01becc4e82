internal import BlockingIO
internal import Engine
internal import Foundation
internal import ObjectStorage
internal import PlanModel
internal import PostgreSQL
internal import Reporting
internal import RunCore
internal import SSH
internal import Steps
internal import Subprocess
internal import Synchronization
internal import SystemPackage

/// What a backup needs of a server, found out before anything is restored: from the first bytes of the archive alone.
enum BackupNeeds {
    /// An archive's table of contents stands at its beginning; this much of the stored object is read for it.
    private static let storedBytes: Int64 = 4 << 20

    /// The table of contents of a backup, or nil where its beginning does not hold all of it.
    static func contents(of version: ObjectVersion, in store: any ObjectStore) async throws -> ArchiveTOC? {
        let beginning = Beginning()
        try await store.read(version, range: 0..<min(version.sizeBytes, storedBytes), limits: ReadLimits()) { beginning.add($0) }
        return try table(try await unwrapped(beginning.bytes))
    }

    private static func table(_ bytes: [UInt8]) throws -> ArchiveTOC? {
        do {
            return try ArchiveTOC(bytes: bytes)
        } catch {
            guard error.code == "postgresql.archive-incomplete" else { throw error }
            return nil
        }
    }

    /// As much as comes out of a stream that is cut off on purpose: the program's complaint about its end is expected.
    private static func unwrapped(_ bytes: [UInt8]) async throws -> [UInt8] {
        guard let program = Wrapper.detect(bytes.prefix(Wrapper.magicLength)).program else { return bytes }
        let result = try await Subprocess.run(
            .path("/bin/sh"), arguments: ["-c", "\(program) -dc 2>/dev/null | head -c 33554432; exit 0"], input: .array(bytes),
            output: .bytes(limit: 34 << 20), error: .discarded)
        return result.standardOutput
    }

    /// What the server and its host lack of what the backup needs.
    ///
    /// - Parameters:
    ///   - key: names the backup in what is said.
    ///   - isWhole: false where only tables of it are loaded into a database that is there: then who owns what does not matter.
    static func check(
        _ contents: ArchiveTOC, of key: String, _ database: DatabaseRef, on remote: any RemoteHost, subject: String, isWhole: Bool
    ) async throws -> [Finding] {
        let have = try await facts(database, remote)
        var findings = versions(contents, key, have, database, subject)
        func lacks(_ names: [String], _ what: String, hint: String) {
            guard !names.isEmpty else { return }
            let text = "\(key) needs \(what) that \(database.host) does not have: \(names.joined(separator: ", "))"
            findings.append(Finding(.missing, subject, text, hints: [hint]))
        }
        lacks(
            isWhole ? contents.roles.filter { !have.roles.contains($0) } : [], "roles",
            hint: "create them first; pg_dumpall --globals-only on the old server writes them down")
        lacks(
            contents.extensions.filter { !have.extensions.contains($0) }, "extensions", hint: "install their packages on \(database.host)")
        if isWhole, let locale = contents.locale {
            if let known = have.locales {
                lacks(
                    Set([locale.collate, locale.ctype].compactMap { $0 }).filter { !known.contains(normalised($0)) }.sorted(), "locales",
                    hint: "on \(database.host): add it to /etc/locale.gen, run locale-gen, and restart PostgreSQL")
            } else {
                findings.append(Finding(.warning, subject, "\(database.host) does not tell which locales it has: `locale -a` fails there"))
            }
            if locale.provider == "icu", let name = locale.icuLocale, !have.hasICU(name) {
                lacks([name], "the ICU locale", hint: "the server must be built with ICU, and its ICU must know that language")
            }
        }
        guard findings.allSatisfy({ $0.verdict == .warning }) else { return findings }
        return findings + [
            Finding(
                .ok, subject,
                "the version, \(isWhole ? counted(contents.roles.count, "role") : "the format") and \(counted(contents.extensions.count, "extension")) that "
                    + "\(key) needs are all there")
        ]
    }

    private static func versions(
        _ contents: ArchiveTOC, _ key: String, _ have: Facts, _ database: DatabaseRef, _ subject: String
    ) -> [Finding] {
        var findings: [Finding] = []
        if let needed = contents.serverMajorVersion, let major = have.major, major < needed {
            findings.append(
                Finding(
                    .missing, subject, "\(key) comes from PostgreSQL \(needed), and the server is \(major)",
                    hints: ["install PostgreSQL \(needed) or newer on \(database.host)"]))
        }
        // Without the program there is a finding of its own.
        guard let dumper = contents.dumpMajorVersion, let reader = have.pgRestore, reader < dumper else { return findings }
        let hints = ["on \(database.host): install postgresql-client-\(dumper) or newer"]
        if contents.isReadable(byPgRestore: reader) {
            findings.append(
                Finding(
                    .warning, subject, "\(key) was written by pg_dump \(dumper), and pg_restore on \(database.host) is the older \(reader)",
                    hints: hints))
        } else {
            let format = contents.formatVersion?.description ?? ""
            findings.append(
                Finding(
                    .missing, subject,
                    "\(key) was written by pg_dump \(dumper) in format \(format), which pg_restore \(reader) on \(database.host) cannot read",
                    hints: hints))
        }
        return findings
    }

    private struct Facts {
        var major: Int?
        /// The major version of the host's pg_restore; nil where there is none.
        var pgRestore: Int?
        var roles = Set<String>()
        var extensions = Set<String>()
        /// Nil where the host does not tell.
        var locales: Set<String>? = ["c", "posix"]
        /// Names of the server's ICU collations, `de-AT-x-icu`; none where it was built without ICU.
        var icu = Set<String>()

        /// The server names one collation for each language that its ICU knows.
        func hasICU(_ locale: String) -> Bool {
            let language = locale.prefix { $0.isLetter }.lowercased()
            let name = ["", "root"].contains(language) ? "und" : language
            return icu.contains { $0.lowercased().hasPrefix(name + "-") }
        }
    }

    private static func facts(_ database: DatabaseRef, _ remote: any RemoteHost) async throws -> Facts {
        let query = """
            select 'v|' || current_setting('server_version_num') union all select 'r|' || rolname from pg_roles \
            union all select 'e|' || name from pg_available_extensions union all select 'i|' || collname from pg_collation where collprovider = 'i'
            """
        // Debian chooses among several pg_restore by where the server is.
        let command = """
            if l=$(locale -a 2>/dev/null); then printf '%s\\n' "$l" | sed 's/^/l|/'; else echo 'n|locale'; fi
            PGHOST=\(shellQuoted(database.socketDirectory)) PGPORT=\(database.port) pg_restore --version 2>/dev/null | sed 's/^/p|/'
            \(database.psql(query))
            """
        let result = try await remote.run(command, stdin: [], outputLimit: 4 << 20, deadline: Deadline(after: .seconds(30)))
        guard result.status == 0 else {
            throw Refusal(
                "not-asked",
                "the server of database \(database.name) on \(database.host) did not say what it has: "
                    + (oneLine(result.stderrText).isEmpty ? "psql ended with \(result.status)" : oneLine(result.stderrText)),
                hints: ["on \(database.host), as \(database.superuser): psql -d postgres -c 'select rolname from pg_roles'"], exitStatus: .failed)
        }
        var facts = Facts()
        for line in result.stdoutText.split(separator: "\n") where line.count > 2 {
            let value = String(line.dropFirst(2))
            switch line.prefix(2) {
            case "v|": facts.major = Int(value).map { $0 / 10_000 }
            case "p|": facts.pgRestore = value.firstMatch(of: #/\(PostgreSQL\) (\d+)/#).flatMap { Int($0.1) }
            case "r|": facts.roles.insert(value)
            case "e|": facts.extensions.insert(value)
            case "l|": facts.locales?.insert(normalised(value))
            case "n|": facts.locales = nil
            case "i|": facts.icu.insert(value)
            default: break
            }
        }
        return facts
    }

    /// `en_US.UTF-8` and `en_US.utf8` are one locale.
    private static func normalised(_ locale: String) -> String {
        locale.lowercased().replacingOccurrences(of: "-", with: "")
    }
}

/// The first bytes of an object, as they come.
private final class Beginning: Sendable {
    private let collected = Mutex<[UInt8]>([])

    var bytes: [UInt8] { collected.withLock { $0 } }

    func add(_ bytes: UnsafeRawBufferPointer) {
        collected.withLock { $0.append(contentsOf: bytes) }
    }
}
