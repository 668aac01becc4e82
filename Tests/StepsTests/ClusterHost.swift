import Foundation
import Glibc
import PlanModel
import RunCore
import TestSupport
import Testing

@testable import Steps

/// A host for PostgreSQL clusters on this machine: Debian's own programs, in a mount namespace where the folders of clusters, and the id of
/// the boot, are this test's.
final class ClusterHost {
    static let isPossible = SmallDisk.isPossible && access("/usr/bin/pg_createcluster", X_OK) == 0 && access("/usr/lib/postgresql/15/bin/postgres", X_OK) == 0
    static let missing: Comment = "SKIPPED: needs root and PostgreSQL 15 (Debian: apt-get install postgresql-15)"

    let folder: TestFolder
    /// What a real disk takes to make a cluster is not what is tested.
    private let disk: SmallDisk
    private var environment: [String: String]
    static let marks = "lib/reprise-postgresql"
    static let mark = "\(marks)/15-main.fast"
    private static let folders = ["lib": "/var/lib", "conf": "/etc/postgresql", "log": "/var/log/postgresql", "run": "/run/postgresql"]

    /// - Parameter version: a directory of programs that is called so, whatever they are.
    init(version: String = "15") throws {
        folder = try TestFolder()
        disk = try SmallDisk(bytes: 512 << 20)
        environment = try PostgresClusterStep.environment(["version": .string(version), "locale": "C.UTF-8", "port": .integer(Int64.random(in: 20_000..<30_000))])
        try FileManager.default.createSymbolicLink(atPath: folder.file("lib"), withDestinationPath: disk.path)
        try FileManager.default.createSymbolicLink(atPath: folder.file("cluster"), withDestinationPath: disk.file("postgresql"))
        chmod(disk.path, 0o755)
        try FileManager.default.createDirectory(atPath: disk.file("postgresql"), withIntermediateDirectories: true)
        // As Debian's packages make them.
        for name in Self.folders.keys.filter({ $0 != "lib" }) + ["cluster"] {
            if name != "cluster" { try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true) }
            let account = try #require(getpwnam("postgres"))
            try #require(chown(folder.file(name), account.pointee.pw_uid, account.pointee.pw_gid) == 0)
        }
        try newBoot()
    }

    /// Ends what still runs in its clusters: what a killed restore left of its program, and the server.
    deinit {
        for name in ["program.pid", "cluster/15/main/postmaster.pid"] {
            if let pid = folder.text(name).flatMap({ $0.split(separator: "\n").first }).flatMap({ pid_t($0) }) { kill(pid, SIGQUIT) }
        }
    }

    /// The host comes up anew: what ran does not, and the boot has another id.
    func boot() async throws {
        if let server { kill(server, SIGKILL) }
        try await waitUntil("the server's end") { server == nil }
        unlink(folder.file("cluster/15/main/postmaster.pid"))
        // /run is empty then. The lock of a socket names a process, of which something may be left until it is reaped.
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.file("run")) { unlink(folder.file("run/\(name)")) }
        try newBoot()
    }

    private func newBoot() throws { try folder.write("\(UUID().uuidString.lowercased())\n", to: "boot") }

    /// Starts a script for `sh` on this host, as the leader of a group of its own. It lets go of this process's files: what it leaves
    /// running would hold them open.
    private func spawn(_ script: String, _ more: [String: String], saying name: String) throws -> pid_t {
        try folder.write(script, to: name)
        for stream in ["out", "err"] { try folder.write("", to: "\(name).\(stream)") }
        let mounts = Self.folders.map { "mount --bind \(folder.file($0.key)) \($0.value)" } + ["mount --bind \(folder.file("boot")) /proc/sys/kernel/random/boot_id"]
        let words = [
            "perl", "-MPOSIX", "-e", "POSIX::close($_) for 3 .. 255; exec @ARGV",
            "unshare", "-m", "--propagation", "private", "sh", "-euc", "\(mounts.joined(separator: "; ")); exec sh -eu \(folder.file(name))",
        ]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, folder.file("\(name).out"), O_WRONLY | O_APPEND, 0)
        posix_spawn_file_actions_addopen(&actions, 2, folder.file("\(name).err"), O_WRONLY | O_APPEND, 0)
        let all = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": folder.path].merging(environment) { $1 }.merging(more) { $1 }
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] = all.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var pid: pid_t = 0
        let result = withSpawnAttributes(flags: Int32(POSIX_SPAWN_SETPGROUP)) { posix_spawn(&pid, "/usr/bin/perl", &actions, $0, arguments, variables) }
        try #require(result == 0)
        return pid
    }

    @discardableResult func run(_ script: String, _ more: [String: String] = [:]) async throws -> ScriptOutcome {
        let name = "script-\(UUID().uuidString)"
        let pid = try spawn(script, more, saying: name)
        let status = await end(of: pid)
        return ScriptOutcome(status: status, said: folder.text("\(name).out") ?? "", complained: folder.text("\(name).err") ?? "")
    }

    /// Waits on a thread of its own.
    func end(of pid: pid_t) async -> Int32 {
        await withCheckedContinuation { continuation in Thread { continuation.resume(returning: waitForEnd(of: pid)) }.start() }
    }

    func make(before: String = "") async throws -> ScriptOutcome { try await run(before + ClusterProgram.make) }

    /// As what a restored dump can have run on the server: by the server's own account.
    func asPostgres(_ script: String) async throws {
        let done = try await run("cd /; exec runuser -u postgres -- sh -euc \"$ARRANGED\"", ["ARRANGED": script])
        try #require(done.status == 0, "\(done.complained)")
    }

    /// Another wish than before, so that settings and access are written again.
    func wish(_ fields: [String: JSONValue]) throws {
        let port = environment["CLUSTER_PORT"].flatMap { Int64($0) } ?? 0
        environment = try PostgresClusterStep.environment(["version": "15", "locale": "C.UTF-8", "port": .integer(port)].merging(fields) { $1 })
    }

    private func restoring(_ program: String) -> [String: String] {
        ["RESTORE_PROGRAM": "echo $$ >\(folder.file("program.pid")); cd /; \(program)", "RESTORE_AS": "postgres", "RESTORE_FAST": "1"]
    }

    /// A restore to its end. What it says of its program comes with it.
    func restore(_ program: String, before: String = "") async throws -> ScriptOutcome {
        try prepareProgram()
        return try await run(before + ClusterProgram.restore, restoring(program))
    }

    /// A restore whose program goes on until it is told to end: its shell, which leads a process group as a job's does.
    func beginRestore(before: String = "") async throws -> pid_t {
        try prepareProgram()
        let program = "echo >\(folder.file("program.began")); exec sleep 600"
        let pid = try spawn(before + ClusterProgram.restore, restoring(program), saying: "restore")
        try await waitUntil("the restoring program") { folder.text("program.began") == "\n" }
        return pid
    }

    private func prepareProgram() throws {
        for name in ["program.pid", "program.began"] {
            try folder.write("", to: name, mode: 0o666)
        }
    }

    func ask(_ sql: String) async throws -> String {
        let asked = try await run("cd /; exec runuser -u postgres -- psql -h /run/postgresql -p \"$CLUSTER_PORT\" -w -XAtqc \"$ASKED\"", ["ASKED": sql])
        return asked.status == 0 ? asked.said.trimmingCharacters(in: .newlines) : asked.complained
    }

    /// The process that the cluster's folder names, where it is there.
    var server: pid_t? {
        guard let line = folder.text("cluster/15/main/postmaster.pid")?.split(separator: "\n").first, let pid = pid_t(line) else { return nil }
        return access("/proc/\(pid)/exe", F_OK) == 0 ? pid : nil
    }

    /// What a start by Debian's own program says.
    func startAsUsual() async throws -> ScriptOutcome { try await run("exec pg_ctlcluster --skip-systemctl-redirect 15 main start") }

    /// By PostgreSQL's own program, which asks nobody.
    func startByForce() async throws {
        let started = try await run(
            "cd /; exec runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_ctl start -s -w -D /var/lib/postgresql/15/main -l /var/log/postgresql/by-hand.log -o '-c config_file=/etc/postgresql/15/main/postgresql.conf' >/dev/null")
        try #require(started.status == 0, "\(started.complained)")
    }

    func stop() async throws { try await run("exec pg_ctlcluster 15 main stop -m fast") }

    var identity: String {
        get async throws { try await run("LC_ALL=C exec /usr/lib/postgresql/15/bin/pg_controldata -D /var/lib/postgresql/15/main | sed -n 's/^Database system identifier: *//p'").said }
    }
}

/// Looks until it is so, for a minute.
func waitUntil(_ what: String, _ isSo: () throws -> Bool, _ location: SourceLocation = #_sourceLocation) async throws {
    for _ in 0..<1200 {
        if try isSo() { return }
        try await Task.sleep(for: .milliseconds(50))
    }
    try #require(Bool(false), "never seen: \(what)", sourceLocation: location)
}
