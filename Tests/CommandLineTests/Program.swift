import Foundation
import Glibc
import Synchronization

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
    private let process: Process
    private let output = Collected()
    private let errors = Collected()

    private final class Collected: Sendable {
        let data = Mutex(Data())
        let ended = DispatchSemaphore(value: 0)
        var text: String { String(decoding: data.withLock { $0 }, as: UTF8.self) }

        func read(_ handle: FileHandle) {
            let descriptor = handle.fileDescriptor
            Thread.detachNewThread {
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = Glibc.read(descriptor, &buffer, buffer.count)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { break }
                    self.data.withLock { $0.append(contentsOf: buffer.prefix(count)) }
                }
                self.ended.signal()
            }
        }
    }

    private let pipes: [Pipe]

    /// - Parameter executable: nil for the program itself, which then has no standard input.
    init(executable: String? = nil, arguments: [String], place: String, environment: [String: String]) throws {
        process = Process()
        process.executableURL = URL(fileURLWithPath: executable ?? Program.path)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: place)
        process.environment = environment
        let input = Pipe()
        if executable == nil { process.standardInput = FileHandle.nullDevice } else { process.standardInput = input }
        let out = Pipe(), err = Pipe()
        process.standardOutput = out
        process.standardError = err
        pipes = [out, err, input]
        try process.run()
        output.read(out.fileHandleForReading)
        errors.read(err.fileHandleForReading)
    }

    /// Types on the terminal that the process was started on.
    func type(_ text: String) { pipes[2].fileHandleForWriting.write(Data(text.utf8)) }

    var outputSoFar: String { output.text }

    var id: Int32 { process.processIdentifier }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func result() async throws -> Program.Result {
        let process = process
        try await Program.wait(for: "the end of reprise \((process.arguments ?? []).joined(separator: " "))", seconds: 120) { !process.isRunning }
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                self.output.ended.wait()
                self.errors.ended.wait()
                continuation.resume()
            }
        }
        let status = process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus
        return Program.Result(status: status, output: output.text, errors: errors.text)
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
}
