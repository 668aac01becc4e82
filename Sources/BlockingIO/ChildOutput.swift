internal import CLinux
internal import Foundation
internal import Glibc
internal import RunCore

/// A program of this machine whose output is read; killed and reaped when it is let go of.
///
/// Used by one thread, which blocks: one of its own, and never one of Swift's.
package final class ChildOutput {
    private var process: pid_t = 0
    private let output: Int32
    private var isReaped = false

    /// The program could not be started.
    package struct CannotRun: Error, Sendable {
        package let program: String
        /// The system's own words.
        package let reason: String
    }

    /// - Parameters:
    ///   - program: a path, or a name that is looked for in `PATH`.
    ///   - descriptors: open files of ours, by the number under which the program finds them. Its standard input and error are
    ///     `/dev/null` where they are not among these; everything else of ours it does not get.
    ///   - environment: variables that it gets beside ours; those that we have keep their values.
    /// - Throws: `CannotRun`, `SystemCallFailed`.
    package init(_ program: String, _ arguments: [String], descriptors: [Int32: Int32], environment: [String: String] = [:]) throws {
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw SystemCallFailed("pipe", errno: errno) }
        output = ends[0]
        // Fewer, larger reads. Where the system allows no more, it stays as it is.
        _ = fcntl(output, 1031, 1 << 20)  // F_SETPIPE_SZ, which the headers hide behind _GNU_SOURCE.
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if descriptors[0] == nil { posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) }
        if descriptors[2] == nil { posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        for (number, own) in descriptors.sorted(by: { $0.key < $1.key }) { posix_spawn_file_actions_adddup2(&actions, own, number) }
        // Descriptors that some library opened without close-on-exec are none of its business.
        posix_spawn_file_actions_addclosefrom_np(&actions, max(2, descriptors.keys.max() ?? 2) + 1)
        let variables = environment.merging(ProcessInfo.processInfo.environment) { $1 }.map { "\($0)=\($1)" }
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        let result = posix_spawnp(&process, program, &actions, nil, &argv, &envp)
        close(ends[1])
        guard result == 0 else {
            close(output)
            throw CannotRun(program: program, reason: String(cString: strerror(result)).lowercased())
        }
    }

    deinit {
        if !isReaped {
            kill(process, SIGKILL)
            _ = waitForEnd()
        }
        close(output)
    }

    /// Reads to the end of the output.
    ///
    /// - Parameters:
    ///   - deadline: of each wait for more; asked anew before it.
    ///   - operation: what is waited for, in messages.
    /// - Throws: `DeadlineExceeded`, `CancellationError`, `SystemCallFailed`, and what `take` throws.
    package func read(
        _ interrupt: Interrupt, until deadline: @autoclosure () -> Deadline, operation: String, _ take: (ArraySlice<UInt8>) throws -> Void
    ) throws {
        var buffer = [UInt8](repeating: 0, count: 256 * 1024)
        while true {
            _ = try interrupt.wait(for: [(output, .read)], until: deadline(), operation: operation)
            let count = Glibc.read(output, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemCallFailed("read from a pipe", errno: errno) }
            if count == 0 { return }
            try take(buffer[..<count])
        }
    }

    /// To be called at the end of the output, when the program has nothing left to do but to end.
    ///
    /// - Returns: as waitpid(2) writes it; 0: it ended well.
    package func waitForEnd() -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        isReaped = true
        return status
    }
}
