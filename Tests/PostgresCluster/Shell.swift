internal import Foundation
internal import Glibc
internal import TestSupport

/// What a program left behind.
package struct Outcome: Sendable {
    package let status: Int32
    package let output: [UInt8]
    package let errors: String
    package var text: String { String(decoding: output, as: UTF8.self) }
}

package struct ShellFailed: Error, CustomStringConvertible {
    package let description: String
}

/// Runs `script` in bash on a thread of its own, with files for its output so that no pipe can fill up.
package func shell(_ script: String, environment: [String: String] = [:], input: String = "") async throws -> Outcome {
    try await withCheckedThrowingContinuation { continuation in
        Thread { continuation.resume(with: Result { try shellSync(script, environment, input) }) }.start()
    }
}

private func shellSync(_ script: String, _ environment: [String: String], _ input: String) throws -> Outcome {
    let folder = try temporaryFolder("shell")
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Data(input.utf8).write(to: URL(fileURLWithPath: folder + "/in"))
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, folder + "/in", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, folder + "/out", O_WRONLY | O_CREAT, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, folder + "/err", O_WRONLY | O_CREAT, 0o600)
    let merged = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("PG") }.merging(environment) { $1 }
    let arguments: [UnsafeMutablePointer<CChar>?] = (["bash", "-c", "set -euo pipefail\n" + script] as [String]).map { strdup($0) } + [nil]
    let variables: [UnsafeMutablePointer<CChar>?] = merged.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { (arguments + variables).forEach { free($0) } }
    var pid: pid_t = 0
    let result = withSpawnAttributes { posix_spawn(&pid, "/bin/bash", &actions, $0, arguments, variables) }
    guard result == 0 else { throw ShellFailed(description: "no bash") }
    let status = waitForEnd(of: pid)
    return Outcome(
        status: status, output: [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/out"))),
        errors: String(decoding: try Data(contentsOf: URL(fileURLWithPath: folder + "/err")), as: UTF8.self))
}

package func temporaryFolder(_ name: String) throws -> String {
    var template = Array("\(NSTemporaryDirectory())/reprise-\(name)-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw ShellFailed(description: "no temporary folder") }
    return String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
