package import Foundation
internal import Glibc
package import SSH
internal import TestSupport

/// An sshd of the test's own: private folder, private host keys, a free loopback port, ended by its recorded process id.
package final class LoopbackServer: Sendable {
    package let folder: String
    package let port: Int
    package let user: String
    package let process: pid_t
    package static let sshd = "/usr/sbin/sshd"

    /// Tests that need it are skipped, and say so, where there is none.
    package static let isAvailable: Bool = {
        let found = access(sshd, X_OK) == 0 && access("/usr/bin/ssh-keygen", X_OK) == 0
        if !found { print("SKIPPED: \(sshd) is missing (apt-get install openssh-server); no test against a real server runs") }
        return found
    }()

    /// - Parameter lines: put into sshd_config before everything else; the first value of a keyword counts there.
    package init(hostKeys: [String] = ["ed25519"], lines: [String] = []) throws {
        var template = Array("/tmp/reprise-sshd-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("no folder of its own") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        user = String(cString: getpwuid(geteuid()).pointee.pw_name)
        if geteuid() == 0 { mkdir("/run/sshd", 0o755) }
        for type in hostKeys { try execute(["ssh-keygen", "-q", "-t", type, "-N", "", "-f", "\(folder)/host_\(type)"]) }
        try execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "\(folder)/user"])
        try FileManager.default.copyItem(atPath: "\(folder)/user.pub", toPath: "\(folder)/authorized_keys")
        port = try freePort()
        let fixed = [
            "Port \(port)", "ListenAddress 127.0.0.1", "PidFile none", "StrictModes no", "UsePAM no", "PermitRootLogin yes",
            "AuthorizedKeysFile \(folder)/authorized_keys", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            "Subsystem sftp internal-sftp", "MaxStartups 100", "MaxSessions 200", "LogLevel VERBOSE", "PrintMotd no",
        ]
        let all = lines + hostKeys.map { [folder] in "HostKey \(folder)/host_\($0)" } + fixed
        try (all.joined(separator: "\n") + "\n").write(toFile: "\(folder)/config", atomically: true, encoding: .utf8)
        process = try spawn([Self.sshd, "-D", "-f", "\(folder)/config", "-E", "\(folder)/log"])
        try writeKnownHosts(hostKeys)
        let limit = Date(timeIntervalSinceNow: 10)
        while !canConnect(port) {
            guard Date() < limit else { throw TestFailure("sshd did not start: \(log)") }
            usleep(2000)
        }
    }

    deinit {
        kill(process, SIGTERM)
        var status: Int32 = 0
        waitpid(process, &status, 0)
        try? FileManager.default.removeItem(atPath: folder)
    }

    package var log: String { (try? String(contentsOfFile: "\(folder)/log", encoding: .utf8)) ?? "" }
    package var knownHosts: String { "\(folder)/known_hosts" }

    package func publicKey(_ type: String) throws -> String {
        let line = try String(contentsOfFile: "\(folder)/host_\(type).pub", encoding: .utf8)
        return line.split(separator: " ").prefix(2).joined(separator: " ")
    }

    package func writeKnownHosts(_ types: [String], port other: Int? = nil, prefix: String = "") throws {
        let text = try types.map { "\(prefix)[127.0.0.1]:\(other ?? port) \(try publicKey($0))\n" }.joined()
        try text.write(toFile: knownHosts, atomically: true, encoding: .utf8)
    }

    package func target(port other: Int? = nil, user name: String? = nil, identityFiles: [String]? = nil) -> SSHTarget {
        SSHTarget(
            name: "loopback", host: "127.0.0.1", port: other ?? port, user: name ?? user, identityFiles: identityFiles ?? ["\(folder)/user"],
            useAgent: false, knownHostsFiles: [knownHosts])
    }
}

package struct TestFailure: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

package func spawn(_ words: [String], environment: [String: String] = [:]) throws -> pid_t {
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { (word: String) in strdup(word) } + [nil]
    let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    var block: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in arguments + block { free(pointer) } }
    var child: pid_t = 0
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    let result = withSpawnAttributes { posix_spawnp(&child, words[0], &actions, $0, &arguments, &block) }
    guard result == 0 else { throw TestFailure("cannot start \(words): \(String(cString: strerror(result)))") }
    return child
}

/// Runs a program to its end.
package func execute(_ words: [String], environment: [String: String] = [:]) throws {
    var status: Int32 = 0
    let child = try spawn(words, environment: environment)
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    guard status == 0 else { throw TestFailure("\(words) ended with \(status)") }
}

private func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return address
}

package func withLoopback<Result>(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var address = loopback(port)
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}

/// A listening socket on a port that the kernel picks.
package func listenOnLoopback() throws -> (descriptor: Int32, port: Int) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard withLoopback(0, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, 64) == 0 else { throw TestFailure("cannot listen") }
    var address = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    return (descriptor, Int(in_port_t(bigEndian: address.sin_port)))
}

package func freePort() throws -> Int {
    let (descriptor, port) = try listenOnLoopback()
    close(descriptor)
    return port
}

package func canConnect(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(descriptor) }
    return withLoopback(port) { connect(descriptor, $0, $1) } == 0
}

/// Waits for a condition; the limit is only there so that a broken test ends.
package func eventually(_ what: String, seconds: Double = 120, _ condition: () async throws -> Bool) async throws {
    let limit = ContinuousClock.now.advanced(by: .seconds(seconds))
    while try await !condition() {
        guard ContinuousClock.now < limit else { throw TestFailure("never came true: \(what)") }
        try await Task.sleep(for: .milliseconds(5))
    }
}
