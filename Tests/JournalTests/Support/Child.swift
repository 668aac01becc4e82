import BlockingIO
import Foundation
import Glibc
import TestSupport
import Synchronization

/// A process of this test's own, spoken to line by line. It is killed, by its recorded id, with the last reference.
actor Child {
    struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }

    nonisolated let pid: pid_t
    private let thread = DedicatedThread(name: "child")
    private let input: Int32
    private let output: Int32
    private var buffered: [UInt8] = []
    private var status: Int32?
    private static let spawning = Mutex(())

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// - Parameter environment: added to this process's own.
    init(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        // Under a lock, so that no child inherits the pipes of another one.
        (pid, input, output) = try Self.spawning.withLock { _ in try Self.spawn(executable, arguments, environment) }
    }

    deinit {
        close(input)
        close(output)
        if status == nil {
            kill(pid, SIGKILL)
            var ignored: Int32 = 0
            waitpid(pid, &ignored, 0)
        }
    }

    private static func spawn(
        _ executable: String, _ arguments: [String], _ environment: [String: String]
    ) throws -> (pid_t, Int32, Int32) {
        // A child that was killed must not end the test when it is spoken to.
        Glibc.signal(SIGPIPE, SIG_IGN)
        var toChild: [Int32] = [0, 0]
        var fromChild: [Int32] = [0, 0]
        guard pipe(&toChild) == 0, pipe(&fromChild) == 0 else { throw Unexpected(description: "no pipe") }
        for end in toChild + fromChild { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, toChild[0], STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDOUT_FILENO)
        let all = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        var argv = ([executable] + arguments).map { strdup($0) } + [nil]
        var envp = all.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let result = withSpawnAttributes { posix_spawnp(&pid, executable, &actions, $0, &argv, &envp) }
        close(toChild[0])
        close(fromChild[1])
        guard result == 0 else {
            throw Unexpected(description: "cannot start \(executable): \(String(cString: strerror(result)))")
        }
        return (pid, toChild[1], fromChild[0])
    }

    func say(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        _ = write(input, bytes, bytes.count)
    }

    /// The next line, or nil at the end of the output.
    func line(within timeout: Duration = .seconds(30)) throws -> String? {
        let deadline = Deadline(after: timeout)
        while true {
            if let end = buffered.firstIndex(of: UInt8(ascii: "\n")) {
                defer { buffered.removeFirst(end + 1) }
                return String(decoding: buffered[..<end], as: UTF8.self)
            }
            _ = try Interrupt().wait(for: [(output, .read)], until: deadline, operation: "a line of process \(pid)")
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = read(output, &chunk, chunk.count)
            if count <= 0 { return nil }
            buffered += chunk.prefix(count)
        }
    }

    /// Says `command` and returns the answer.
    func ask(_ command: String) throws -> String {
        say(command)
        guard let answer = try line() else { throw Unexpected(description: "no answer to \(command)") }
        return answer
    }

    /// All that is still to come.
    func rest() throws -> [String] {
        var lines: [String] = []
        while let line = try line(within: .seconds(60)) { lines.append(line) }
        return lines
    }

    nonisolated func signal(_ number: Int32) { kill(pid, number) }

    /// Waits until the process is stopped, as SIGSTOP leaves it.
    func waitUntilStopped() throws {
        var status: Int32 = 0
        guard waitpid(pid, &status, WUNTRACED) == pid, status & 0xff == 0x7f else {
            throw Unexpected(description: "process \(pid) ended instead of stopping")
        }
    }

    /// Waits for the end. - Returns: the exit status, or minus the signal that ended it.
    func wait() -> Int32 {
        var raw: Int32 = 0
        if let status { return status }
        while waitpid(pid, &raw, 0) < 0 && errno == EINTR {}
        let ended = raw & 0x7f == 0 ? (raw >> 8) & 0xff : -(raw & 0x7f)
        status = ended
        return ended
    }

    func end() -> Int32 {
        kill(pid, SIGKILL)
        return wait()
    }
}

/// The program beside this test's own executable.
func probePath() -> String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &path, path.count - 1)
    let own = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/JournalProbe"
}

extension Child {
    /// A probe that has opened the journal at `path`.
    static func probe(_ path: String, environment: [String: String] = [:]) async throws -> Child {
        let child = try Child(probePath(), ["serve", path], environment: environment)
        guard let ready = try await child.line(), ready.hasPrefix("ready") else {
            throw Unexpected(description: "the probe did not start")
        }
        return child
    }
}
