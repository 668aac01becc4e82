import Foundation
import Glibc

/// The probe under `strace(1)`, doing a create and three appends.
struct Strace {
    private let arguments: [String]
    private let output: String

    init(_ arguments: [String], output: String) {
        (self.arguments, self.output) = (arguments, output)
    }

    static let isUsable: Bool = {
        // Some containers have the program and forbid what it does.
        guard let command = try? Child("strace", ["-o", "/dev/null", "true"]) else { return false }
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var status: Int32 = -1
        Task.detached {
            status = await command.wait()
            done.signal()
        }
        done.wait()
        return status == 0
    }()

    /// - Returns: what the probe said.
    func run(_ journal: String, environment: [String: String] = [:]) async throws -> [String] {
        let child = try Child(
            "strace", ["-f", "-qq", "-y", "-o", output] + arguments + [probePath(), "serve", journal], environment: environment)
        for command in ["create r", "append 3", "exit 0"] { await child.say(command) }
        let lines = try await child.rest()
        _ = await child.wait()
        return lines
    }

    /// Runs and returns the lines of the trace, one for each call in the order of their beginning; `inject` counts so too.
    func calls(_ journal: String) async throws -> [String] {
        _ = try await run(journal)
        // A call during which another thread made one has a second line; signals have lines too.
        return try lines().filter { !$0.contains(" resumed>") && !$0.contains("--- SIG") }
    }

    /// The trace of the last run as it is.
    func lines() throws -> [String] {
        try String(contentsOfFile: output, encoding: .utf8).split(separator: "\n").map(String.init)
    }
}
