import Foundation
import Glibc
import Testing

@testable import Steps

/// The programs that make a cluster and restore into it, with real servers: a server that a crash would destroy never outlives its restore,
/// and no cluster is removed that somebody may need.
@Suite(.serialized, .enabled(if: ClusterHost.isPossible, ClusterHost.missing)) struct ClusterProgramTests {
    private let host: ClusterHost

    init() async throws {
        host = try ClusterHost()
        let made = try await host.make()
        try #require(made.status == 0, "\(made.complained)")
    }

    private var unsafe: String { "SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'autovacuum') AND setting <> 'on'" }

    private func expectSafe(_ location: SourceLocation = #_sourceLocation) async throws {
        #expect(try await host.ask(unsafe) == "", sourceLocation: location)
        #expect(try await host.ask("SHOW wal_level") == "replica", sourceLocation: location)
        #expect(host.folder.text("conf/15/main/start.conf") == "auto\n" && host.folder.mode(ClusterHost.mark) == nil, sourceLocation: location)
    }

    private func expectNoUsualStart(_ location: SourceLocation = #_sourceLocation) async throws {
        let refused = try await host.startAsUsual()
        #expect(refused.status != 0 && refused.complained.contains("Cluster is disabled"), "\(refused)", sourceLocation: location)
        #expect(host.folder.text("conf/15/main/start.conf")?.contains("/var/lib/reprise-postgresql/15-main.fast") == true, sourceLocation: location)
    }

    // MARK: Settings that no crash may meet

    @Test(.enabled(if: access("/usr/bin/strace", X_OK) == 0, "SKIPPED: needs strace"))
    func aRestoreIsFastAndFlushesAllThatItWroteBeforeTheServerStartsAsUsual() async throws {
        // Notes what is so when the flush begins, and every file that is flushed. Only root can read the mark: what it says then is put there by
        // a process of root's, for as long as the flush waits for it.
        let stub = """
            #!/bin/sh
            echo >\(host.folder.file("flushing"))
            until [ -s \(host.folder.file("mark")) ]; do sleep 0.05; done
            if [ -e /var/lib/postgresql/15/main/postmaster.pid ]; then echo "a server runs"; else echo "no server runs, mark $(cut -d' ' -f1 \(host.folder.file("mark")) | cmp -s - \(host.folder.file("boot")) && echo set)"; fi >>\(host.folder.file("flush"))
            exec strace -f -y -e trace=fsync,fdatasync -o \(host.folder.file("flushed")) \(host.folder.file("initdb")) "$@"
            """
        try host.folder.write(stub, to: "stub", mode: 0o755)
        for name in ["flush", "flushed", "flushing"] { try host.folder.write("", to: name, mode: 0o666) }
        let restored = try await host.restore(
            """
            psql() { command psql -h /run/postgresql -p "$CLUSTER_PORT" -XAtq "$@"; }
            psql -d postgres -c 'SHOW fsync' -c 'SHOW wal_level' -c 'SHOW listen_addresses'
            psql -d postgres -c 'CREATE DATABASE scratch'
            psql -d scratch -c 'CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n' -c "SELECT 'file ' || pg_relation_filepath('kept')"
            """,
            before: "{ until [ -s \(host.folder.file("flushing")) ]; do sleep 0.05; done; cp /var/lib/reprise-postgresql/15-main.fast \(host.folder.file("mark")); } & cp /usr/lib/postgresql/15/bin/initdb \(host.folder.file("initdb")); mount --bind \(host.folder.file("stub")) /usr/lib/postgresql/15/bin/initdb\n")
        #expect(restored.status == 0 && restored.said.hasPrefix("evidence: fast\noff\nminimal\n\nfile base/"), "\(restored)")
        let file = try #require(restored.said.split(separator: "\n").last { $0.hasPrefix("file ") }?.dropFirst(5))
        #expect(host.folder.text("flush") == "no server runs, mark set\n")
        #expect(host.folder.text("flushed")?.contains("/15/main/\(file)>) = 0") == true, "the table's file is flushed")
        try await expectSafe()
        #expect(try await host.make().changes == [])
    }

    /// Whatever ends the shell, nobody has to come for the server to end.
    @Test func theServerOfARestoreEndsWithItsShell() async throws {
        let shell = try await host.beginRestore()
        #expect(try await host.ask("SHOW fsync") == "off")
        let server = try #require(host.server)
        #expect(host.folder.mode("cluster/15/main/postmaster.opts") == nil, "nothing can start it again with the same words")
        kill(shell, SIGKILL)
        #expect(await host.end(of: shell) == 128 + SIGKILL)
        try await waitUntil("the server's end") { host.server == nil && access("/proc/\(server)/exe", F_OK) != 0 }
        try await expectNoUsualStart()
        // Whoever starts it all the same has no unsafe server.
        try await host.startByForce()
        #expect(try await host.ask(unsafe) == "")
        #expect(try await host.make().changes == ["settings of a restore that was cut off are ended"])
        try await expectSafe()
    }

    /// A cancelled job is told to end, and killed where that takes it too long.
    @Test(arguments: [false, true]) func aCancelledRestoreLeavesASafeServerOrNone(isKilled: Bool) async throws {
        let slow = "printf '#!/bin/sh\\necho >\(host.folder.file("flush")); sleep 3\\n' >\(host.folder.file("stub")); chmod 755 \(host.folder.file("stub")); mount --bind \(host.folder.file("stub")) /usr/lib/postgresql/15/bin/initdb\n"
        try host.folder.write("", to: "flush", mode: 0o666)
        let shell = try await host.beginRestore(before: slow)
        kill(-shell, SIGTERM)
        try await waitUntil("the flush") { host.folder.text("flush") == "\n" }
        #expect(host.server == nil)
        if isKilled {
            kill(-shell, SIGKILL)
            #expect(await host.end(of: shell) == 128 + SIGKILL)
            try await expectNoUsualStart()
            #expect(try await host.make().changes == ["settings of a restore that was cut off are ended"])
        } else {
            #expect(await host.end(of: shell) == 128 + SIGTERM)
        }
        try await expectSafe()
    }

    @Test func aServerThatSomebodyUsesIsRestoredIntoAsItIs() async throws {
        #expect(try await host.ask("CREATE DATABASE production") == "")
        let server = host.server
        let shell = try await host.beginRestore()
        #expect(try await host.ask("SHOW fsync") == "on")
        kill(-shell, SIGTERM)
        #expect(await host.end(of: shell) == 143)
        #expect(host.server == server && host.folder.text("restore.out")?.contains("evidence: safe, the cluster holds other databases") == true)
    }

    // MARK: An unsafe server is refused

    @Test(arguments: ["fsync", "full_page_writes"]) func aClusterThatACrashWouldDestroyIsRefused(setting: String) async throws {
        try await host.stop()
        try host.folder.write("\(setting) = off\n", to: "conf/15/main/conf.d/theirs.conf")
        let refused = try await host.make()
        #expect(refused.status == WantedState.refusedStatus && refused.complained.contains("runs with fsync or full_page_writes off"), "\(refused)")
    }

    @Test func aRestoreDoesNotEndOnAServerThatACrashWouldDestroy() async throws {
        try host.folder.write("fsync = off\n", to: "conf/15/main/conf.d/theirs.conf")
        let refused = try await host.restore(":")
        #expect(refused.status == ClusterProgram.notSafeStatus && refused.complained.contains("came up with fsync=off"), "\(refused)")
        #expect(host.server == nil)
        try await expectNoUsualStart()
        unlink(host.folder.file("conf/15/main/conf.d/theirs.conf"))
        #expect(try await host.make().status == 0)
        try await expectSafe()
    }

    // MARK: What is removed

    private func cutOff() async throws {
        let shell = try await host.beginRestore()
        kill(shell, SIGKILL)
        _ = await host.end(of: shell)
        try await host.boot()
    }

    @Test func aClusterThatTheHostWentDownUnderIsBegunAgain() async throws {
        let before = try await host.identity
        try await cutOff()
        let made = try await host.make()
        #expect(made.status == 0 && made.changes.first?.hasSuffix("it is begun again") == true, "\(made)")
        #expect(try await host.identity != before)
        try await expectSafe()
    }

    /// Somebody lifts what forbids its start, and brings production into it. Then the host goes down once more, in whatever boot.
    @Test func aClusterThatSomebodyPutToUseIsNotRemoved() async throws {
        try await cutOff()
        try host.folder.write("auto\n", to: "conf/15/main/start.conf")
        let started = try await host.startAsUsual()
        #expect(started.status == 0, "\(started)")
        #expect(try await host.ask("CREATE DATABASE production") == "")
        for runs in [true, false] {
            if !runs { try await host.boot() }
            let refused = try await host.make()
            #expect(refused.status == WantedState.refusedStatus, "\(refused)")
            #expect(refused.complained.contains("/var/lib/reprise-postgresql/15-main.fast") && refused.complained.contains("it is left as it is"), "\(refused)")
        }
        #expect(try await host.startAsUsual().status == 0)
        #expect(try await host.ask("SELECT count(*) FROM pg_database WHERE datname = 'production'") == "1")
        // As the message says.
        unlink(host.folder.file(ClusterHost.mark))
        #expect(try await host.make().status == 0)
        #expect(try await host.ask("SELECT count(*) FROM pg_database WHERE datname = 'production'") == "1")
    }

    @Test func aClusterThatWasPutInItsPlaceIsNotRemoved() async throws {
        try await cutOff()
        let data = host.folder.file("cluster/15/main")
        try #require(try await host.run("cd /; rm -rf \(data); exec runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb -N -D /var/lib/postgresql/15/main >/dev/null").status == 0)
        let put = try await host.identity
        let refused = try await host.make()
        #expect(refused.status == WantedState.refusedStatus && refused.complained.contains("started or replaced since"), "\(refused)")
        #expect(try await host.identity == put)
    }

    @Test(arguments: [false, true]) func aHalfMadeClusterIsRemovedUnlessSomebodyStartedIt(isStarted: Bool) async throws {
        // As a power cut leaves it behind pg_createcluster: nothing has ever started it.
        let before = try await host.identity
        try await host.stop()
        if !isStarted { unlink(host.folder.file("cluster/15/main/postmaster.opts")) }
        try host.folder.write("", to: "\(ClusterHost.marks)/15-main.making")
        let made = try await host.make()
        #expect(made.status == (isStarted ? WantedState.refusedStatus : 0), "\(made)")
        #expect(try await (host.identity == before) == isStarted)
        if isStarted { #expect(made.complained.contains("/var/lib/reprise-postgresql/15-main.making"), "\(made)") }
    }
}
