import CLinux
import Foundation
import Glibc
import Synchronization
import TestSupport

/// The built program, run as a process of its own in a folder of its own.
final class Program: Sendable {
    struct Result {
        let status: Int32
        let output: String
        let errors: String

        /// The output as JSON: one value, or one for each line.
        func json() throws -> Any { try JSONSerialization.jsonObject(with: Data(output.utf8), options: [.fragmentsAllowed]) }
        func jsonLines() throws -> [[String: Any]] {
            try output.split(separator: "\n").map {
                guard let object = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] else {
                    throw Missing(what: "a JSON object in: \($0)")
                }
                return object
            }
        }
    }

    struct Missing: Error, CustomStringConvertible {
        let what: String
        var description: String { "missing: \(what)" }
    }

    /// Where the program works; removed with this value.
    let folder: String

    init() throws {
        var template = Array("/tmp/reprise-cli-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Missing(what: "a folder of its own") }
        folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// The program lies beside the bundle of the tests.
    static let path: String = {
        let bundle = Bundle.allBundles.map(\.bundlePath).first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        let beside = URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("reprise").path
        if FileManager.default.isExecutableFile(atPath: beside) { return beside }
        return FileManager.default.currentDirectoryPath + "/.build/debug/reprise"
    }()

    /// The checkout that the tests were built from.
    static let checkout = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    func write(_ text: String, to name: String) throws {
        let url = URL(fileURLWithPath: folder).appendingPathComponent(name)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try text.write(to: url, atomically: true, encoding: .utf8)
    }

    func read(_ name: String) -> String { (try? String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)) ?? "" }

    /// Starts the program; `in` is where it works, this value's folder without it.
    func start(_ arguments: [String], in place: String? = nil, environment: [String: String] = [:]) throws -> Running {
        try Running(arguments: arguments, place: place ?? folder, environment: ownEnvironment.merging(environment) { $1 })
    }

    /// Starts the program on a terminal of its own, by util-linux's `script`.
    func startOnTerminal(_ arguments: [String], environment: [String: String] = [:]) throws -> Running {
        let words = ([Self.path] + arguments).map { "'" + $0.replacingOccurrences(of: "'", with: #"'\''"#) + "'" }
        return try Running(
            executable: "/usr/bin/script", arguments: ["-qefc", words.joined(separator: " "), "/dev/null"], place: folder,
            environment: ownEnvironment.merging(["TERM": "xterm"]) { $1 }.merging(environment) { $1 })
    }

    var ownEnvironment: [String: String] {
        [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": folder, "XDG_STATE_HOME": "\(folder)/state",
            "REPRISE_LOCAL_STATE": "\(folder)/ledger", "LANG": "C.UTF-8", "USER": "tester",
        ]
    }

    @discardableResult
    func run(_ arguments: String..., in place: String? = nil, environment: [String: String] = [:]) async throws -> Result {
        try await start(arguments, in: place, environment: environment).result()
    }

    /// Waits for `condition`, and fails loudly where it never comes true.
    static func wait(for what: String, seconds: Double = 60, _ condition: () throws -> Bool) async throws {
        let end = Date().addingTimeInterval(seconds)
        while try !condition() {
            guard Date() < end else { throw Missing(what: what) }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

/// A process of the program; killed by its id where it is still there at the end.
final class Running: Sendable {
    let id: Int32
    private let words: [String]
    private let output = Collected()
    private let errors = Collected()
    private let end = End()
    /// Where a terminal's process is typed to.
    private let input: Int32?

    private final class Collected: Sendable {
        let data = Mutex(Data())
        let ended = DispatchSemaphore(value: 0)
        var text: String { String(decoding: data.withLock { $0 }, as: UTF8.self) }

        func read(_ descriptor: Int32) {
            Thread.detachNewThread {
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = Glibc.read(descriptor, &buffer, buffer.count)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { break }
                    self.data.withLock { $0.append(contentsOf: buffer.prefix(count)) }
                }
                close(descriptor)
                self.ended.signal()
            }
        }
    }

    /// How it ended, as a shell says it; nil while it runs.
    private final class End: Sendable {
        let status = Mutex<Int32?>(nil)

        func await(_ process: pid_t) {
            Thread.detachNewThread {
                let status = waitForEnd(of: process)
                self.status.withLock { $0 = status }
            }
        }
    }

    private struct Pipe {
        let reading: Int32
        let writing: Int32

        init() throws {
            var ends: [Int32] = [-1, -1]
            guard pipe2(&ends, O_CLOEXEC) == 0 else { throw Program.Missing(what: "a pipe") }
            (reading, writing) = (ends[0], ends[1])
        }
    }

    /// - Parameter executable: nil for the program itself, which then has no standard input.
    init(executable: String? = nil, arguments: [String], place: String, environment: [String: String]) throws {
        let program = executable ?? Program.path, out = try Pipe(), err = try Pipe(), typed = try executable.map { _ in try Pipe() }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addchdir_np(&actions, place)
        if let typed {
            posix_spawn_file_actions_adddup2(&actions, typed.reading, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, out.writing, 1)
        posix_spawn_file_actions_adddup2(&actions, err.writing, 2)
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        let argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { (argv + variables).forEach { free($0) } }
        var process: pid_t = 0
        let result = withSpawnAttributes { posix_spawn(&process, program, &actions, $0, argv, variables) }
        for ours in [out.writing, err.writing, typed?.reading] { ours.map { _ = close($0) } }
        // Before anything is initialised: there is no process that could be killed at the end.
        guard result == 0 else {
            for ours in [out.reading, err.reading, typed?.writing] { ours.map { _ = close($0) } }
            throw Program.Missing(what: "\(program): \(String(cString: strerror(result)))")
        }
        (id, words, input) = (process, arguments, typed?.writing)
        output.read(out.reading)
        errors.read(err.reading)
        end.await(process)
    }

    /// Types on the terminal that the process was started on.
    func type(_ text: String) {
        guard let input else { return }
        _ = write(input, text, text.utf8.count)
    }

    var outputSoFar: String { output.text }
    var errorsSoFar: String { errors.text }

    private var isRunning: Bool { end.status.withLock { $0 == nil } }

    func signal(_ number: Int32) { kill(id, number) }

    func result() async throws -> Program.Result {
        do {
            try await Program.wait(for: "the end of reprise \(words.joined(separator: " "))", seconds: 120) { !isRunning }
        } catch let missing as Program.Missing {
            throw Program.Missing(what: "\(missing.what), which is in this state: \(state); it said: \(output.text)\(errors.text)")
        }
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                self.output.ended.wait()
                self.errors.ended.wait()
                continuation.resume()
            }
        }
        return Program.Result(status: end.status.withLock { $0 ?? -1 }, output: output.text, errors: errors.text)
    }

    /// Of its threads: what the kernel says they are in.
    private var state: String {
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/task")) ?? []
        func line(_ thread: String, _ file: String) -> String { (try? String(contentsOfFile: "/proc/\(id)/task/\(thread)/\(file)", encoding: .utf8)) ?? "?" }
        return threads.map { "\(line($0, "stat").prefix(40))… in \(line($0, "wchan"))" }.joined(separator: ", ")
    }

    deinit {
        if isRunning { kill(id, SIGKILL) }
        input.map { _ = close($0) }
    }
}
