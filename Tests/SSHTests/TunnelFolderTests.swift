import BlockingIO
import Foundation
import Glibc
import LoopbackSSH
import Testing

@testable import SSH

/// Folders for tunnels' sockets in /tmp. No process may remove another's that lives, or anything that is not of this kind.
@Suite(.serialized) struct TunnelFolderTests {
    private func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    /// As a killed process leaves it: nobody holds a lock on it.
    private func left(_ name: String = ".s.PGSQL.5432") throws -> String {
        var template = Array("\(TunnelFolder.parent)/\(TunnelFolder.prefix)XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "\(path)/\(name)".utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        try #require(bound == 0)
        return path
    }

    /// In a minute and a second.
    private var later: time_t { time(nil) + 61 }

    @Test func whatAKilledProcessLeftIsRemovedOnceItIsAMinuteOld() throws {
        let path = try left()
        TunnelFolder.removeLeftOvers()
        #expect(isThere(path), "it may be between its making and its lock")
        TunnelFolder.removeLeftOvers(now: later)
        #expect(!isThere(path))
    }

    @Test func whatIsInUseStays() throws {
        let folder = try TunnelFolder()
        TunnelFolder.removeLeftOvers(now: later)
        #expect(isThere(folder.path))
        folder.remove()
        #expect(!isThere(folder.path))
    }

    @Test func whatHoldsAnythingElseStays() throws {
        let path = try left()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data("mine".utf8).write(to: URL(fileURLWithPath: path + "/note"))
        TunnelFolder.removeLeftOvers(now: later)
        #expect(isThere(path + "/note"))
    }

    @Test func aLinkIsNotFollowed() throws {
        let path = try left(), link = "\(TunnelFolder.parent)/\(TunnelFolder.prefix)link-\(UUID().uuidString)"
        let elsewhere = "\(TunnelFolder.parent)/reprise-elsewhere-\(UUID().uuidString)"
        try FileManager.default.moveItem(atPath: path, toPath: elsewhere)
        defer { try? FileManager.default.removeItem(atPath: elsewhere) }
        try #require(symlink(elsewhere, link) == 0)
        defer { unlink(link) }
        TunnelFolder.removeLeftOvers(now: later)
        #expect(isThere(elsewhere + "/.s.PGSQL.5432"))
    }

    @Test(.enabled(if: geteuid() == 0)) func somebodyElsesStays() throws {
        let path = try left()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try #require(chown(path, 65534, 65534) == 0)
        TunnelFolder.removeLeftOvers(now: later)
        #expect(isThere(path))
    }

    @Test(.enabled(if: LoopbackServer.isAvailable)) func itGoesWithItsTunnel() async throws {
        let server = try LoopbackServer()
        let session = try await SSHSession.connect(to: server.target(), deadline: Deadline(after: .seconds(120)))
        let tunnel = try await session.tunnel(to: .command("cat"), postgresPort: 5432)
        #expect(isThere(tunnel.directory))
        await tunnel.close()
        #expect(!isThere(tunnel.directory))
        await session.close()
    }
}
