internal import Foundation
internal import Glibc
package import RunCore

/// One line that a job wrote. Its fields only ever grow.
package struct LogLine: Codable, Hashable, Sendable {
    package var time: String
    package var step: String
    package var attempt: Int
    package var isUndo: Bool
    /// The host, and the part of the attempt where it has several.
    package var source: String
    package var stream: LogStore.Stream
    package var text: String
}

/// Reads what `LogStore` has written.
package struct LogReader: Sendable {
    /// A file is read up to this size; jobs keep far less.
    static let mostBytes = 256 << 20

    private let folder: String

    package init(folder: String, run: RunID) {
        self.folder = "\(folder)/\(run)"
    }

    /// The lines of all attempts, or of one step or attempt, in the order of their times; lines of equal time stay in the order of
    /// their file.
    package func lines(step: StepID? = nil, attempt: AttemptNumber? = nil) -> [LogLine] {
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
        var all: [LogLine] = []
        for name in names {
            guard let about = Self.parse(name), step == nil || about.step == step?.rawValue, attempt == nil || about.attempt == attempt
            else { continue }
            for line in Self.scan("\(folder)/\(name)", keepsLines: true).lines {
                all.append(
                    LogLine(
                        time: line.time, step: about.step, attempt: about.attempt, isUndo: about.isUndo, source: about.source,
                        stream: line.stream, text: line.text))
            }
        }
        return all.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
    }

    /// `restore.2.undo.db1.part.log`
    private static func parse(_ name: String) -> (step: String, attempt: Int, isUndo: Bool, source: String)? {
        guard name.hasSuffix(".log") else { return nil }
        var words = name.dropLast(4).split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard words.count >= 3, StepID(words[0]) != nil, let attempt = Int(words[1]) else { return nil }
        let step = words[0]
        words.removeFirst(2)
        let isUndo = words.first == "undo" && words.count > 1
        if isUndo { words.removeFirst() }
        return (step, attempt, isUndo, words.joined(separator: "."))
    }

    struct Scan {
        struct Line { let time: String, stream: LogStore.Stream, end: Int, text: String }
        var lines: [Line] = []
        var ends: [LogStore.Stream: Int] = [:]
        var wholeBytes = 0
    }

    /// - Parameter keepsLines: false: only where the streams and the last whole line end.
    static func scan(_ path: String, keepsLines: Bool = false) -> Scan {
        var scan = Scan()
        for line in bytes(of: path).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast() {
            scan.wholeBytes += line.count + 1
            let words = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
            guard words.count == 4, let stream = LogStore.Stream(rawValue: String(words[1])), let end = Int(words[2]) else { continue }
            scan.ends[stream] = max(end, scan.ends[stream, default: 0])
            if keepsLines { scan.lines.append(.init(time: String(words[0]), stream: stream, end: end, text: String(words[3]))) }
        }
        return scan
    }

    private static func bytes(of path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while result.count < mostBytes {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            result += buffer.prefix(count)
        }
        return result
    }
}
