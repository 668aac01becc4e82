import BlockingIO
import Foundation
import Glibc
import TestSupport

/// Runs programs for tests, with posix_spawn. Process ids are kept, and only those are ever signalled.
enum Command {
    struct Child {
        let process: pid_t
        let outputPath: String

        /// Waits for its end: exit status, or 128 and the signal.
        @discardableResult func wait() async throws -> (status: Int32, output: String) {
            // Not on the cooperative pool, whose few threads the tests share.
            let status = try await DedicatedThread(name: "wait-for-child").run { [process] in
                var status: Int32 = 0
                while waitpid(process, &status, 0) < 0, errno == EINTR {}
                return status
            }
            let output = (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? ""
            unlink(outputPath)
            return (status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F), output)
        }

        var outputSoFar: String { (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? "" }
    }

    /// Standard output and standard error go to one file.
    static func start(
        _ program: String, _ arguments: [String], inputPath: String = "/dev/null", environment: [String: String]? = nil
    ) throws -> Child {
        let output = NSTemporaryDirectory() + "reprise-out-\(UUID().uuidString)"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, inputPath, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        let settings = environment ?? ProcessInfo.processInfo.environment
        var variables: [UnsafeMutablePointer<CChar>?] = settings.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (argv + variables).forEach { free($0) } }
        var process: pid_t = 0
        let result = withSpawnAttributes { posix_spawnp(&process, program, &actions, $0, &argv, &variables) }
        guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: result) ?? .EIO) }
        return Child(process: process, outputPath: output)
    }

    /// Status 127 where there is no such program.
    static func run(
        _ program: String, _ arguments: [String], inputPath: String = "/dev/null", environment: [String: String]? = nil
    ) async throws -> (status: Int32, output: String) {
        do {
            return try await start(program, arguments, inputPath: inputPath, environment: environment).wait()
        } catch let error as POSIXError where error.code == .ENOENT {
            return (127, "")
        }
    }
}
