import BlockingIO
import Foundation
import LoopbackSSH
import RunCore
import TestSupport
import Testing

@testable import SSH

@Suite struct KnownHostsTests {
    private let key = Array("some key".utf8)
    private let other = Array("other key".utf8)

    private func known(_ lines: String...) -> KnownHosts {
        var result = KnownHosts()
        result.add(text: lines.joined(separator: "\n"), file: "kh")
        return result
    }
    private func line(_ name: String, _ key: [UInt8], type: String = "ssh-ed25519") -> String { "\(name) \(type) \(base64(key))" }

    @Test func namesPatternsAndPortsMatchAsInOpenSSH() {
        func isKnown(_ hosts: KnownHosts, _ host: String, _ port: Int) -> Bool {
            if case .known = hosts.verdict(host: host, port: port, key: key) { true } else { false }
        }
        #expect(isKnown(known(line("db1", key)), "db1", 22))
        #expect(isKnown(known(line("db1", key)), "DB1", 22))
        #expect(!isKnown(known(line("db1", key)), "db1", 2222))
        #expect(isKnown(known(line("[db1]:2222", key)), "db1", 2222))
        #expect(isKnown(known(line("a,*.example.org,!bad.example.org", key)), "x.example.org", 22))
        #expect(!isKnown(known(line("*.example.org,!bad.example.org", key)), "bad.example.org", 22))
        #expect(isKnown(known(line("db?", key)), "db7", 22))
        #expect(!isKnown(known("# " + line("db1", key), "@unknown " + line("db1", key), "db1 ssh-ed25519"), "db1", 22))
    }

    @Test func aRevokedKeyIsRefusedAlthoughItIsAlsoListed() {
        let hosts = known(line("db1", key), "@revoked " + line("*", key))
        guard case .revoked(let entry) = hosts.verdict(host: "db1", port: 22, key: key) else {
            Issue.record("not revoked")
            return
        }
        #expect(entry.line == 2)
    }

    @Test func certificateAuthoritiesAreRefusedByName() {
        let hosts = known("@cert-authority " + line("*.example.org", other))
        guard case .certificateAuthorityOnly = hosts.verdict(host: "a.example.org", port: 22, key: key) else {
            Issue.record("not named")
            return
        }
    }

    @Test func algorithmsThatAreKnownForTheHostComeFirst() {
        let supported = ["ecdsa-sha2-nistp256", "ssh-ed25519", "rsa-sha2-256", "ssh-rsa"]
        #expect(known(line("db1", key)).preferredAlgorithms(host: "db1", port: 22, supported: supported).first == "ssh-ed25519")
        #expect(
            known(line("db1", key, type: "ssh-rsa")).preferredAlgorithms(host: "db1", port: 22, supported: supported)
                == ["rsa-sha2-256", "ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"])
    }

    @Test func identityFilesAreExaminedWithoutTheirPassphrase() throws {
        var template = Array("/tmp/reprise-keys-XXXXXX".utf8CString)
        #expect(mkdtemp(&template) != nil)
        let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try execute(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "\(folder)/plain"])
        try execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", "\(folder)/locked"])
        try execute(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "secret", "-f", "\(folder)/pem"])
        #expect(IdentityFile(path: "\(folder)/plain").problem == nil)
        #expect(IdentityFile(path: "\(folder)/plain").keyType == "ecdsa-sha2-nistp256")
        #expect(IdentityFile(path: "\(folder)/locked").problem == .encrypted)
        #expect(IdentityFile(path: "\(folder)/pem").problem == .encrypted)
        #expect(IdentityFile(path: "\(folder)/none").problem == .missing)
        chmod("\(folder)/plain.pub", 0o600)
        #expect(IdentityFile(path: "\(folder)/plain.pub").problem == .notAKey)
        chmod("\(folder)/plain", 0o644)
        #expect(IdentityFile(path: "\(folder)/plain").problem == .openToOthers(mode: 0o644))
    }
}

/// What a person reads when a host or a key is not what it should be.
@Suite(.serialized, .enabled(if: LoopbackServer.isAvailable)) struct ConnectionRefusalTests {
    private func failure(_ target: SSHTarget, seconds: Int = 20) async -> SSHError? {
        do {
            let session = try await SSHSession.connect(to: target, deadline: Deadline(after: .seconds(seconds)))
            await session.close()
            return nil
        } catch {
            if !(error is SSHError) { Issue.record("\(error)") }
            return error as? SSHError
        }
    }
    private func works(_ target: SSHTarget) async -> Bool { await failure(target) == nil }

    @Test func aChangedHostKeyStopsHardWithBothFingerprints() async throws {
        let server = try LoopbackServer()
        let impostor = try LoopbackServer()
        let now = HostKey.fingerprint(of: Array(Data(base64Encoded: String(try server.publicKey("ed25519").split(separator: " ")[1]))!))
        let known = HostKey.fingerprint(of: Array(Data(base64Encoded: String(try impostor.publicKey("ed25519").split(separator: " ")[1]))!))
        try impostor.writeKnownHosts(["ed25519"], port: server.port)
        var target = server.target()
        target.knownHostsFiles = [impostor.knownHosts]
        let error = try #require(await failure(target))
        #expect(error.code == "ssh.host-key-changed" && !error.isTransient)
        #expect(error.message.contains(now) && error.message.contains(known))
        #expect(!server.log.contains("Accepted"))
    }

    /// Whoever made the host has told its keys: then no file says anything of it, neither for nor against.
    @Test func theKeysThatAHostWasMadeWithAreTheOnlyOnesKnown() async throws {
        let server = try LoopbackServer()
        let impostor = try LoopbackServer()
        var target = server.target()
        target.knownHostsFiles = [impostor.knownHosts]
        target.hostKeys = [try server.publicKey("ed25519")]
        #expect(await works(target))
        target.knownHostsFiles = [server.knownHosts]
        target.hostKeys = [try impostor.publicKey("ed25519")]
        let error = try #require(await failure(target))
        #expect(error.code == "ssh.host-key-changed" && error.message.contains("the keys that loopback was made with"))
        #expect(error.hints.contains { $0.contains("start a new run") } && !error.hints.contains { $0.contains("ssh-keygen -R") })
    }

    @Test func anUnknownHostKeyStopsWithTheCommandThatAddsIt() async throws {
        let server = try LoopbackServer()
        try "".write(toFile: server.knownHosts, atomically: true, encoding: .utf8)
        let error = try #require(await failure(server.target()))
        #expect(error.code == "ssh.host-key-unknown")
        let command = try #require(error.hints.compactMap { $0.range(of: "echo ").map { range in String(error.hints[1][range.lowerBound...]) } }.last)
        try execute(["sh", "-c", command])
        #expect(await works(server.target()))
    }

    @Test func revokedHashedAndSeveralFilesAreHonoured() async throws {
        let server = try LoopbackServer()
        let error: SSHError?
        try server.writeKnownHosts(["ed25519"], prefix: "@revoked ")
        error = await failure(server.target())
        #expect(error?.code == "ssh.host-key-revoked")
        try server.writeKnownHosts(["ed25519"], prefix: "@cert-authority ")
        #expect(await failure(server.target())?.code == "ssh.host-certificate-unsupported")
        try server.writeKnownHosts(["ed25519"])
        try execute(["ssh-keygen", "-q", "-H", "-f", server.knownHosts])
        #expect(try String(contentsOfFile: server.knownHosts, encoding: .utf8).hasPrefix("|1|"))
        #expect(await works(server.target()))
        var target = server.target()
        target.knownHostsFiles = ["\(server.folder)/missing", "/dev/null", server.knownHosts]
        #expect(await works(target))
    }

    @Test(arguments: ["ed25519", "ecdsa"]) func theKeyTypeThatIsKnownIsNegotiated(_ type: String) async throws {
        let server = try LoopbackServer(hostKeys: ["ecdsa", "ed25519", "rsa"])
        try server.writeKnownHosts([type])
        let session = try await SSHSession.connect(to: server.target(), deadline: Deadline(after: .seconds(120)))
        #expect(session.hostKeyType == (type == "ed25519" ? "ssh-ed25519" : "ecdsa-sha2-nistp256"))
        await session.close()
    }

    @Test func anRSAOnlyHostIsNamedWithTheRemedyWhereTheLibraryCannot() async throws {
        let server = try LoopbackServer(hostKeys: ["rsa"])
        let error = await failure(server.target())
        if librarySignsRSAWithSHA2 {
            #expect(error == nil)
        } else {
            #expect(error?.code == "ssh.no-common-algorithm")
            #expect(error?.hints.joined().contains("ed25519") == true, "\(error?.description ?? "")")
        }
    }

    @Test func unusableKeysAreNamedEachWithItsReason() async throws {
        let server = try LoopbackServer()
        let folder = server.folder
        try execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", "\(folder)/locked"])
        try execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "\(folder)/stranger"])
        try execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "\(folder)/open"])
        chmod("\(folder)/open", 0o644)
        func tried(_ files: String...) async -> SSHError? { await failure(server.target(identityFiles: files.map { "\(folder)/\($0)" })) }
        #expect(await tried("locked")?.code == "ssh.key-encrypted")
        #expect(await tried("locked")?.hints.contains { $0.contains("ssh-add") } == true)
        #expect(await tried("open")?.code == "ssh.key-permissions")
        #expect(await tried("missing")?.code == "ssh.key-missing")
        let refused = await tried("stranger")
        #expect(refused?.code == "ssh.auth-refused")
        #expect(refused?.message.contains("\(folder)/stranger (ssh-ed25519): not accepted") == true)
        #expect(await tried("locked", "stranger", "user") == nil, "a key that works is found after ones that do not")
        let wrong = await failure(server.target(user: "no-such-user"))
        #expect(wrong?.code == "ssh.auth-refused" && wrong?.message.contains("no-such-user") == true)
    }

    @Test func aKeyWithAPassphraseWorksThroughTheAgent() async throws {
        let server = try LoopbackServer()
        let (folder, agent) = (server.folder, server.folder + "/agent")
        try execute(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", "\(folder)/user"])
        let process = try spawn(["ssh-agent", "-D", "-a", agent])
        defer {
            kill(process, SIGTERM)
            var status: Int32 = 0
            waitpid(process, &status, 0)
        }
        try await eventually("the agent") { FileManager.default.fileExists(atPath: agent) }
        var target = server.target()
        target.useAgent = true
        target.agentSocket = agent
        #expect(await failure(target)?.message.contains("the agent holds no keys") == true)
        try writeProgram("#!/bin/sh\necho secret\n", to: "\(folder)/askpass", mode: 0o700)
        let environment = ["SSH_AUTH_SOCK": agent, "SSH_ASKPASS": "\(folder)/askpass", "SSH_ASKPASS_REQUIRE": "force"]
        try execute(["ssh-add", "-q", "\(folder)/user"], environment: environment)
        #expect(await works(target))
        target.agentSocket = "\(folder)/nowhere"
        #expect(await failure(target)?.message.contains("does not answer") == true)
    }

    @Test func anRSAKeyIsNamedWithTheRemedyWhereTheLibraryCannotUseIt() async throws {
        let server = try LoopbackServer()
        try execute(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", "\(server.folder)/rsa"])
        try execute(["sh", "-c", "cat \(server.folder)/rsa.pub >> \(server.folder)/authorized_keys"])
        let error = await failure(server.target(identityFiles: ["\(server.folder)/rsa"]))
        if librarySignsRSAWithSHA2 {
            #expect(error == nil)
        } else {
            #expect(error?.code == "ssh.key-rsa-unusable")
            #expect(error?.hints.contains { $0.contains("ed25519") } == true)
        }
    }

    @Test func aRefusedPortAndASilentOneAreNamed() async throws {
        let server = try LoopbackServer()
        var refused = server.target(port: try freePort())
        refused.connectTimeout = .seconds(5)
        let error = await failure(refused)
        #expect(error?.code == "ssh.connection-refused" && error?.isTransient == true && error?.exitStatus == .unreachable)
        let (listener, port) = try listenOnLoopback()
        defer { close(listener) }
        var silent = server.target(port: port)
        silent.connectTimeout = .milliseconds(300)
        #expect(await failure(silent)?.code == "ssh.handshake-timeout")
    }

    @Test func aServerThatIsNotSSHIsNamed() async throws {
        let server = try LoopbackServer()
        let (listener, port) = try listenOnLoopback()
        Thread.detachNewThread {
            let connection = accept(listener, nil, nil)
            _ = "HTTP/1.1 400 Bad Request\r\n\r\n".withCString { write(connection, $0, 28) }
            close(connection)
            close(listener)
        }
        let error = await failure(server.target(port: port))
        #expect(error?.code == "ssh.connection-closed" || error?.code == "ssh.handshake-failed", "\(error?.description ?? "")")
    }
}
