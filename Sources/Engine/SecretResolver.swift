internal import Foundation
package import PlanModel
package import RunCore
internal import Subprocess
internal import SystemPackage

/// Reads secrets from where the inventory says they are. Their values go to the redactor and to those who need them, nowhere else.
package enum SecretResolver {
    /// What a password store may take, a question to a person included that somebody answers.
    private static let patience = Duration.seconds(60)

    /// - Throws: `SecretUnavailable`, which never says anything of the value.
    package static func resolve(_ name: String, _ reference: SecretReference) async throws -> String {
        switch reference {
        case .environment(let variable):
            guard let value = ProcessInfo.processInfo.environment[variable], !value.isEmpty else {
                throw SecretUnavailable(name, "the environment variable \(variable) is not set", ["export \(variable) and try again"])
            }
            return value
        case .file(let path):
            return try file(name, path)
        case .command(let command):
            return try await output(name, command)
        }
    }

    /// A file's content without the newline at its end. A file that others can read is refused: it is no secret.
    private static func file(_ name: String, _ path: String) throws -> String {
        let expanded = path.hasPrefix("~/") ? NSHomeDirectory() + path.dropFirst(1) : path
        let attributes: [FileAttributeKey: Any]
        do {
            attributes = try FileManager.default.attributesOfItem(atPath: expanded)
        } catch let error as CocoaError where error.code == .fileReadNoSuchFile {
            throw SecretUnavailable(name, "there is no file \(path)", ["put it there, readable by you alone", "or name another one in the inventory's secrets"])
        } catch {
            throw SecretUnavailable(name, "the file \(path) cannot be reached", ["look at the rights of its folders: namei -l \(path)"])
        }
        guard let data = FileManager.default.contents(atPath: expanded) else {
            throw SecretUnavailable(name, "the file \(path) cannot be read", ["it must be a file that is yours: ls -l \(path)"])
        }
        if let mode = attributes[.posixPermissions] as? Int, mode & 0o077 != 0 {
            throw SecretUnavailable(name, "the file \(path) can be read by others", ["chmod 600 \(path)"])
        }
        let value = trimmed(String(decoding: data, as: UTF8.self))
        guard !value.isEmpty, data.count <= 1 << 20 else {
            throw SecretUnavailable(name, "the file \(path) \(value.isEmpty ? "is empty" : "has more than 1 MiB")", ["write the secret into it, and nothing else"])
        }
        return value
    }

    private static func output(_ name: String, _ command: String) async throws -> String {
        let result = try await withThrowingTaskGroup { group in
            group.addTask {
                try await Subprocess.run(.path("/bin/sh"), arguments: ["-c", command], output: .string(limit: 1 << 20), error: .discarded)
            }
            group.addTask {
                try await Task.sleep(for: patience)
                throw SecretUnavailable(
                    name, "its command did not end within \(patience.components.seconds) seconds", ["run the command by hand, it may ask for something: \(command)"])
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
        let value = trimmed(result.standardOutput)
        guard result.terminationStatus.isSuccess, !value.isEmpty else {
            let end = if case .exited(let code) = result.terminationStatus { "ended with \(code)" } else { "was killed" }
            throw SecretUnavailable(name, "its command \(result.terminationStatus.isSuccess ? "printed nothing" : end)", ["run the command by hand: \(command)"])
        }
        return value
    }

    private static func trimmed(_ text: String) -> String {
        text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}

/// A secret is not where the inventory says that it is.
package struct SecretUnavailable: RepriseError {
    package let code = "secret.unavailable"
    package let message: String
    package let hints: [String]
    package var exitStatus: ExitStatus { .usage }

    init(_ name: String, _ why: String, _ hints: [String]) {
        message = "the secret \(name) is not to be had: \(why)"
        self.hints = hints
    }
}
