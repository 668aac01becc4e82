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

    /// The table of contents of the newest backup, or nil where its beginning does not hold all of it.
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

    /// What the server lacks of what the archive needs.
    static func check(_ contents: ArchiveTOC, _ database: DatabaseRef, on remote: any RemoteHost, subject: String) async throws -> [Finding] {
        let have = try await facts(database, remote)
        var findings: [Finding] = []
        if let needed = contents.serverMajorVersion, let major = have.major, major < needed {
            findings.append(
                Finding(
                    .missing, subject, "the newest backup comes from PostgreSQL \(needed), and the server is \(major)",
                    hints: ["install PostgreSQL \(needed) or newer on \(database.host)"]))
        }
        let roles = contents.roles.filter { !have.roles.contains($0) }
        if !roles.isEmpty {
            findings.append(
                Finding(
                    .missing, subject, "the newest backup needs roles that the server does not have: \(roles.joined(separator: ", "))",
                    hints: ["create them first; pg_dumpall --globals-only on the old server writes them down"]))
        }
        let extensions = contents.extensions.filter { !have.extensions.contains($0) }
        if !extensions.isEmpty {
            findings.append(
                Finding(
                    .missing, subject,
                    "the newest backup needs extensions that \(database.host) does not have: \(extensions.joined(separator: ", "))",
                    hints: ["install their packages on \(database.host)"]))
        }
        if let locale = contents.locale?.collate, !have.locales.contains(normalised(locale)) {
            findings.append(
                Finding(
                    .missing, subject, "the newest backup needs the locale \(locale), which \(database.host) does not have",
                    hints: ["on \(database.host): add it to /etc/locale.gen, run locale-gen, and restart PostgreSQL"]))
        }
        guard findings.isEmpty else { return findings }
        return [
            Finding(
                .ok, subject,
                "the newest backup's version, \(counted(contents.roles.count, "role")) and "
                    + "\(counted(contents.extensions.count, "extension")) are all there")
        ]
    }

    private struct Facts {
        var major: Int?
        var roles = Set<String>()
        var extensions = Set<String>()
        var locales: Set<String> = ["c", "posix"]
    }

    private static func facts(_ database: DatabaseRef, _ remote: any RemoteHost) async throws -> Facts {
        let query = """
            select 'v|' || current_setting('server_version_num') union all select 'r|' || rolname from pg_roles \
            union all select 'e|' || name from pg_available_extensions
            """
        let command = """
            locale -a 2>/dev/null | sed 's/^/l|/'
            \(database.psql(query))
            """
        let result = try await remote.run(command, stdin: [], outputLimit: 1 << 20, deadline: Deadline(after: .seconds(30)))
        var facts = Facts()
        for line in result.stdoutText.split(separator: "\n") where line.count > 2 {
            let value = String(line.dropFirst(2))
            switch line.prefix(2) {
            case "v|": facts.major = Int(value).map { $0 / 10_000 }
            case "r|": facts.roles.insert(value)
            case "e|": facts.extensions.insert(value)
            case "l|": facts.locales.insert(normalised(value))
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
