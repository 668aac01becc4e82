import Foundation
import Glibc
import PlanModel
import RunCore
import Testing

@testable import Steps

/// What the programs of root's meet in folders that the server's account owns, where a restored dump may have arranged something; and what
/// becomes of marks and settings that find no room.
@Suite(.serialized, .enabled(if: ClusterHost.isPossible, ClusterHost.missing)) struct ClusterTrustTests {
    private let host: ClusterHost

    init() async throws {
        host = try ClusterHost()
        let made = try await host.make()
        try #require(made.status == 0, "\(made.complained)")
    }

    /// Path, type and mode, owner, and content.
    private func state(_ name: String) -> [String] {
        var status = stat()
        lstat(host.folder.file(name), &status)
        return ["\(String(status.st_mode, radix: 8)) \(status.st_uid)", host.folder.text(name) ?? ""] + host.folder.tree(name)
    }

    // MARK: Links

    @Test(arguments: ["start.conf", "conf.d/reprise.conf", "pg_hba.conf"]) func aLinkUnderTheNameOfANewFileIsNotFollowed(name: String) async throws {
        try host.folder.write("root's own\n", to: "victim", mode: 0o600)
        let before = state("victim")
        try await host.asPostgres("ln -s \(host.folder.file("victim")) /etc/postgresql/15/main/\(name).reprise; echo manual >/etc/postgresql/15/main/start.conf")
        try host.wish(["settings": ["work_mem": "8MB"], "access": [["user": "all"]]])
        let made = try await host.make()
        #expect(state("victim") == before)
        #expect(made.status == 0 && made.changes == ["settings", "access", "it starts with the host"], "\(made)")
        #expect(host.folder.text("conf/15/main/start.conf") == "auto\n")
        #expect(try await host.ask("SHOW work_mem") == "8MB")
    }

    @Test(arguments: ["start.conf", "conf.d", "postgresql.conf", "pg_hba.conf", "conf.d/reprise.conf"]) func aLinkInPlaceOfASettingsFileIsNotFollowed(name: String) async throws {
        let isFolder = name == "conf.d"
        try host.folder.write("root's own\n", to: isFolder ? "victim/own" : "victim", mode: 0o600)
        if isFolder { chmod(host.folder.file("victim"), 0o700) }
        let before = state("victim")
        try await host.asPostgres("cd /etc/postgresql/15/main; rm -rf \(name); ln -s \(host.folder.file("victim")) \(name)")
        try host.wish(["settings": ["work_mem": "8MB"], "access": [["user": "all"]]])
        let made = try await host.make()
        #expect(state("victim") == before, "\(made)")
        #expect(!FileManager.default.fileExists(atPath: host.folder.file("conf/15/main/conf.d/reprise.conf.reprise")))
        // Nothing of it has come to where the server's account can read.
        let copies = try await host.run("grep -rlF \"root's own\" /etc/postgresql /var/lib/postgresql /var/lib/reprise-postgresql 2>/dev/null || true")
        #expect(copies.said.split(separator: "\n").allSatisfy { $0.hasSuffix("/\(name)") || $0.contains("/\(name)/") }, "\(copies)")
    }

    @Test func whatALinkLeadsToIsNotRemovedWithTheCluster() async throws {
        let shell = try await host.beginRestore()
        kill(shell, SIGKILL)
        _ = await host.end(of: shell)
        try await host.boot()
        try host.folder.write("root's own\n", to: "victim/main/own")
        try await host.asPostgres("mv /etc/postgresql/15 /etc/postgresql/other; ln -s \(host.folder.file("victim")) /etc/postgresql/15")
        let refused = try await host.make()
        #expect(host.folder.text("victim/main/own") == "root's own\n")
        #expect(refused.status == WantedState.refusedStatus && refused.complained.contains("/etc/postgresql/15"), "\(refused)")
    }

    // MARK: Marks

    @Test func theMarksAreInAFolderOfRootsAlone() async throws {
        #expect(host.folder.mode(ClusterHost.marks) == S_IFDIR | 0o700)
        let tried = try await host.run("cd /; exec runuser -u postgres -- sh -c 'echo flushed >/var/lib/reprise-postgresql/15-main.fast'")
        #expect(tried.status != 0 && host.folder.mode(ClusterHost.mark) == nil)
    }

    @Test(arguments: ["chown postgres", "rm -rf"]) func aFolderOfMarksThatIsNotRootsIsRefused(how: String) async throws {
        try await host.run("cd /var/lib; \(how) reprise-postgresql; [ -e reprise-postgresql ] || ln -s /var/lib/postgresql reprise-postgresql")
        let refused = try await host.make()
        #expect(refused.status == WantedState.refusedStatus && refused.complained.contains("/var/lib/reprise-postgresql"), "\(refused)")
    }

    /// Their owner is the server's account, so nothing is concluded from what they say; but that they are there.
    @Test(arguments: ["fast", "making"]) func whatAnEarlierVersionLeftInTheMiddleIsLeftAsItIs(mark: String) async throws {
        try await host.asPostgres("mkdir -p /var/lib/postgresql/reprise; echo flushed >/var/lib/postgresql/reprise/15-main.\(mark)")
        let before = try await host.identity
        let refused = try await host.make()
        #expect(refused.status == WantedState.refusedStatus && refused.complained.contains("/var/lib/postgresql/reprise/15-main.\(mark)"), "\(refused)")
        #expect(try await host.identity == before)
        try await host.asPostgres("rm -r /var/lib/postgresql/reprise")
        #expect(try await host.make().changes == [])
    }

    @Test func aMarkThatSaysNothingRemovesNothing() async throws {
        let before = try await host.identity
        try host.folder.write("", to: ClusterHost.mark)
        let refused = try await host.make()
        #expect(refused.status == WantedState.refusedStatus, "\(refused)")
        #expect(refused.complained.contains("\(ClusterHost.mark.dropFirst(3)) is empty") && !refused.complained.contains("started or replaced since"), "\(refused)")
        #expect(try await host.identity == before)
    }

    // MARK: A full disk

    @Test func aMarkThatFindsNoRoomStaysAsItIs() async throws {
        // The disk is full when the flush is over.
        let stub = "#!/bin/sh\ncat /dev/zero >/var/lib/postgresql/fill 2>/dev/null\nexec \(host.folder.file("initdb")) \"$@\"\n"
        try host.folder.write(stub, to: "stub", mode: 0o755)
        let full = "cp /usr/lib/postgresql/15/bin/initdb \(host.folder.file("initdb")); mount --bind \(host.folder.file("stub")) /usr/lib/postgresql/15/bin/initdb\n"
        let restored = try await host.restore("true", before: full)
        #expect(restored.said.contains("evidence: fast") && restored.status == ClusterProgram.notSafeStatus && restored.complained.contains("No space left"), "\(restored)")
        #expect(host.folder.text(ClusterHost.mark)?.hasPrefix(host.folder.text("boot")?.trimmingCharacters(in: .newlines) ?? "?") == true)
        #expect(!FileManager.default.fileExists(atPath: host.folder.file("\(ClusterHost.mark).reprise")))
        let again = try await host.make(before: full)
        #expect(again.status != 0 && again.status != WantedState.refusedStatus && again.complained.contains("No space left"), "\(again)")
        unlink(host.folder.file("cluster/fill"))
        let made = try await host.make()
        #expect(made.status == 0 && made.changes == ["settings of a restore that was cut off are ended"], "\(made)")
        #expect(host.folder.text("conf/15/main/start.conf") == "auto\n" && host.folder.mode(ClusterHost.mark) == nil)
    }

    /// What PostgreSQL's packages read as a cluster that starts with the host.
    @Test func aServerIsNotMadeFastWhereWhatForbidsItsStartFindsNoRoom() async throws {
        let full = "mkdir /run/postgresql/small; mount -t tmpfs -o size=256k none /run/postgresql/small; cp -a /etc/postgresql/. /run/postgresql/small; chown postgres: /run/postgresql/small; "
            + "mount --bind /run/postgresql/small /etc/postgresql; cat /dev/zero >/etc/postgresql/fill 2>/dev/null || true\n"
        let look = "trap 'cat /etc/postgresql/15/main/start.conf >\(host.folder.file("start"))' EXIT\n"
        let restored = try await host.restore("true", before: full + look)
        #expect(!restored.said.contains("evidence: fast") && restored.status != 0 && restored.complained.contains("No space left"), "\(restored)")
        #expect(host.folder.text("start") == "auto\n")
        #expect(try await host.make().status == 0)
        #expect(try await host.ask("SHOW fsync") == "on")
    }

    // MARK: systemd

    @Test(arguments: [true, false]) func systemdReadsAnewWhatStartsWithTheHost(works: Bool) async throws {
        try host.folder.write("#!/bin/sh\necho \"$*\" >>\(host.folder.file("asked"))\nexit \(works ? 0 : 1)\n", to: "bin/systemctl", mode: 0o755)
        try await host.asPostgres("echo manual >/etc/postgresql/15/main/start.conf")
        let systemd = "mkdir -p \(host.folder.file("new/systemd/system")) \(host.folder.file("new/postgresql")); mount --bind \(host.folder.file("new")) /run; "
            + "mount --bind \(host.folder.file("run")) /run/postgresql; PATH=\(host.folder.file("bin")):$PATH\n"
        let made = try await host.make(before: systemd)
        #expect(made.status == 0 && made.changes == ["it starts with the host"], "\(made)")
        #expect(host.folder.text("asked") == "daemon-reload\n")
        #expect(made.said.contains("warning: systemd") == !works, "\(made)")
    }
}

/// Settings that a restore needs by the server's version. The programs are PostgreSQL 15's under another version's name.
@Suite(.enabled(if: ClusterHost.isPossible, ClusterHost.missing)) struct ClusterVersionTests {
    @Test func aServerThatSummarizesItsLogDoesNotWhileItIsFast() async throws {
        let host = try ClusterHost(version: "17")
        let programs = "mkdir -p \(host.folder.file("programs/17")); mount --bind /usr/lib/postgresql/15 \(host.folder.file("programs/17")); mount --rbind \(host.folder.file("programs")) /usr/lib/postgresql\n"
        let made = try await host.make(before: programs)
        try #require(made.status == 0, "\(made)")
        let restored = try await host.restore("true", before: programs)
        #expect(restored.status == 1 && restored.complained.contains("\"summarize_wal\""), "15 does not know the setting: \(restored)")
        try await host.run(programs + "exec pg_ctlcluster 17 main stop -m immediate")
    }
}
