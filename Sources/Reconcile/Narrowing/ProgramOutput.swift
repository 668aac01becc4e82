internal import BlockingIO
internal import Glibc
internal import RunCore

/// A program of this machine whose output is read; killed and reaped when it is let go of.
final class ProgramOutput {
    private var process: pid_t = 0
    private let output: Int32
    private var isReaped = false
    /// Where the program finds the file that it was given.
    static let inputDescriptor = 3

    /// - Throws: `ReconcileRefused` (`reconcile.no-program`) where it cannot be started.
    init(_ program: String, _ arguments: [String], input: SpoolFile, errors: SpoolFile) throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemCallFailed("pipe", errno: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        output = ends[0]
        // Fewer, larger reads. Where the system allows no more, it stays as it is.
        _ = fcntl(output, 1031, 1 << 20)  // F_SETPIPE_SZ, which the headers hide behind _GNU_SOURCE.
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, try errors.open(), 2)
        posix_spawn_file_actions_adddup2(&actions, try input.open(), Int32(Self.inputDescriptor))
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        let result = posix_spawnp(&process, program, &actions, nil, &argv, environ)
        close(ends[1])
        guard result == 0 else {
            close(output)
            throw ReconcileRefused(
                "reconcile.no-program", "cannot run \(program): \(String(cString: strerror(result)).lowercased())",
                hints: ["install PostgreSQL's client programs on this machine: apt-get install postgresql-client"], exitStatus: .failed)
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
    func read(_ interrupt: Interrupt, _ deadline: Deadline, _ take: (ArraySlice<UInt8>) throws -> Void) throws {
        var buffer = [UInt8](repeating: 0, count: 256 * 1024)
        while true {
            _ = try interrupt.wait(for: [(output, .read)], until: deadline, operation: "rows out of the archive")
            let count = Glibc.read(output, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemCallFailed("read from a pipe", errno: errno) }
            if count == 0 { return }
            try take(buffer[..<count])
        }
    }

    /// To be called at the end of the output, when the program has nothing left to do but to end.
    func waitForEnd() -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        isReaped = true
        return status
    }
}
