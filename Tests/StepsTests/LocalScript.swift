import Foundation
import Glibc
import TestSupport

/// What a script said and how it ended.
struct ScriptOutcome {
    let status: Int32
    let said: String
    let complained: String

    var changes: [String] { said.split(separator: "\n").filter { $0.hasPrefix("changed: ") }.map { String($0.dropFirst(9)) } }
}

/// The script of a wanted state, run on this machine as it is on a host: by `sh -eu`, with a clean environment.
///
/// - Parameters:
///   - folder: for its files of input and output.
///   - place: where it works; as this process without it.
func runLocally(
    _ script: String, _ environment: [String: String], stdin: [UInt8] = [], in folder: String, at place: String? = nil
) throws -> ScriptOutcome {
    let name = "\(folder)/script-\(UUID().uuidString)"
    for (suffix, content) in [("", Data(script.utf8)), (".in", Data(stdin)), (".out", Data()), (".err", Data())] {
        try content.write(to: URL(fileURLWithPath: name + suffix))
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-eu", name]
    process.environment = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": folder, "LANG": "C.UTF-8"].merging(environment) { $1 }
    if let place { process.currentDirectoryURL = URL(fileURLWithPath: place) }
    process.standardInput = FileHandle(forReadingAtPath: name + ".in")
    process.standardOutput = FileHandle(forWritingAtPath: name + ".out")
    process.standardError = FileHandle(forWritingAtPath: name + ".err")
    try process.run()
    process.waitUntilExit()
    func text(_ suffix: String) -> String { String(decoding: FileManager.default.contents(atPath: name + suffix) ?? Data(), as: UTF8.self) }
    return ScriptOutcome(status: process.terminationStatus, said: text(".out"), complained: text(".err"))
}

/// A folder of one test's own, gone with it.
final class TestFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "reprise-steps-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }
    func text(_ name: String) -> String? { FileManager.default.contents(atPath: file(name)).map { String(decoding: $0, as: UTF8.self) } }

    func write(_ text: String, to name: String, mode: mode_t = 0o644) throws {
        let path = file(name)
        try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try writeProgram(text, to: path, mode: mode)
    }

    /// Type and mode of what is there, without following a link; nil where nothing is.
    func mode(_ name: String) -> mode_t? {
        var status = stat()
        return lstat(file(name), &status) == 0 ? status.st_mode : nil
    }

    /// Everything under a folder: names with types, modes, sizes and contents of links, in order.
    func tree(_ name: String) -> [String] {
        (FileManager.default.enumerator(atPath: file(name))?.allObjects as? [String] ?? []).sorted().map { entry in
            var status = stat()
            lstat(file("\(name)/\(entry)"), &status)
            let target = (try? FileManager.default.destinationOfSymbolicLink(atPath: file("\(name)/\(entry)"))) ?? ""
            return "\(entry) \(String(status.st_mode, radix: 8)) \(status.st_size) \(status.st_uid) \(target)"
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
