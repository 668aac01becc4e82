internal import Foundation
internal import Glibc
package import RunCore
internal import Synchronization

/// Keeps the output of jobs in files, one for each attempt, host and part:
/// `<folder>/<run>/<step>.<attempt>[.undo][.<host>][.<part>].log`, mode 0600 in folders of mode 0700.
///
/// A line of a file is `<time> out|err <offset> <text>`; the offset is that of the first byte after the line in the job's stream.
/// So a file itself says how much of each stream it holds: what a resumed job sends again is dropped, in whatever process, and a line
/// that a kill cut off is written anew. Whole lines are redacted before they are written. Nothing is thrown at jobs: a log that cannot
/// be written is reported by `failure` and left alone.
package final class LogStore: Sendable {
    /// Longer lines are broken, so that output without line ends is seen and stored too.
    package static let longestLineBytes = 16_384

    package struct Key: Hashable, Sendable {
        package var step: StepID
        package var attempt: AttemptNumber
        package var isUndo: Bool
        package var host: String
        package var part: String?

        package init(step: StepID, attempt: AttemptNumber, isUndo: Bool, host: String, part: String?) {
            self.step = step
            self.attempt = attempt
            self.isUndo = isUndo
            self.host = host
            self.part = part
        }

        /// Names of hosts hold no slash, by the inventory's rules; whatever else is there is made plain all the same.
        var fileName: String {
            let words = [step.rawValue, "\(attempt)", isUndo ? "undo" : nil, host, part].compactMap { $0 }
            return String(words.joined(separator: ".").map { $0 == "/" || $0 == "\0" ? "_" : $0 }) + ".log"
        }
    }

    package enum Stream: String, Hashable, Sendable, Codable { case out, err }

    private let folder: String
    private let redact: @Sendable (String) -> String
    private let now: @Sendable () -> Int64
    private let files = Mutex<[Key: LogFile]>([:])
    private let firstFailure = Mutex<String?>(nil)

    /// - Parameters:
    ///   - folder: of the runs' logs; made at the first line.
    ///   - now: wall clock, milliseconds since 1970.
    package init(
        folder: String, run: RunID, redact: @escaping @Sendable (String) -> String, now: @escaping @Sendable () -> Int64
    ) {
        self.folder = "\(folder)/\(run)"
        self.redact = redact
        self.now = now
    }

    /// Why a log could not be written, once.
    package var failure: String? { firstFailure.withLock { $0 } }

    /// Takes a piece of a stream in, and returns the lines that are whole now and were not before, redacted.
    ///
    /// Pieces may repeat; one that begins after a hole is taken as it is.
    @discardableResult
    package func append(_ key: Key, _ stream: Stream, offset: Int, bytes: [UInt8]) -> [String] {
        files.withLock { files in
            let file = files[key] ?? LogFile(path: "\(folder)/\(key.fileName)")
            files[key] = file
            let lines = file.take(stream, offset: offset, bytes: bytes).map { (text: redact($0.text), end: $0.end) }
            write(lines, of: stream, to: file)
            return lines.map(\.text)
        }
    }

    /// Writes what is left of unfinished lines, and closes the files of one attempt, or of all.
    package func close(step: StepID? = nil) {
        files.withLock { files in
            for (key, file) in files where step == nil || key.step == step {
                for stream in [Stream.out, .err] {
                    if let rest = file.takeRest(stream) { write([(redact(rest.text), rest.end)], of: stream, to: file) }
                }
                file.close()
                files[key] = nil
            }
        }
    }

    private func write(_ lines: [(text: String, end: Int)], of stream: Stream, to file: LogFile) {
        guard !lines.isEmpty else { return }
        let time = timestamp(now())
        let text = lines.map { "\(time) \(stream.rawValue) \($0.end) \(terminalSafe($0.text, keepsNewlines: false))\n" }.joined()
        do {
            try file.write(text, creating: folder)
        } catch {
            firstFailure.withLock { $0 = $0 ?? "cannot write \(file.path): \(error.reason)" }
        }
    }
}

struct LogFailed: Error {
    let reason: String
    init() { reason = String(cString: strerror(errno)).lowercased() }
}

/// One log file. Used under its store's lock only.
private final class LogFile {
    let path: String
    private var descriptor: Int32 = -1
    private var isBroken = false
    /// Bytes of each stream that were taken in, and the last of them that do not make a whole line yet.
    private var taken: [LogStore.Stream: Int]
    private var partial: [LogStore.Stream: [UInt8]] = [:]
    /// Where the file's last whole line ends; what stands behind it was cut off by a kill.
    private var wholeBytes: Int

    init(path: String) {
        self.path = path
        let lines = LogReader.scan(path)
        taken = lines.ends
        wholeBytes = lines.wholeBytes
    }

    func take(_ stream: LogStore.Stream, offset: Int, bytes: [UInt8]) -> [(text: String, end: Int)] {
        let reached = taken[stream, default: 0]
        let known = max(0, reached - offset)
        guard known < bytes.count else { return [] }
        let start = max(offset, reached)
        if start > reached { partial[stream] = [] }
        var line = partial[stream] ?? []
        var lines: [(String, Int)] = []
        for (index, byte) in bytes[known...].enumerated() {
            if byte != UInt8(ascii: "\n") { line.append(byte) }
            guard byte == UInt8(ascii: "\n") || line.count >= LogStore.longestLineBytes else { continue }
            lines.append((String(decoding: line, as: UTF8.self), start + index + 1))
            line = []
        }
        taken[stream] = offset + bytes.count
        partial[stream] = line
        return lines
    }

    func takeRest(_ stream: LogStore.Stream) -> (text: String, end: Int)? {
        guard let rest = partial[stream], !rest.isEmpty else { return nil }
        partial[stream] = []
        return (String(decoding: rest, as: UTF8.self), taken[stream, default: 0])
    }

    func write(_ text: String, creating folder: String) throws(LogFailed) {
        guard !isBroken else { return }
        // Until all is written the file counts as broken: nothing is appended behind a half line.
        isBroken = true
        if descriptor < 0 { try open(folder) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw LogFailed() }
            rest = rest.dropFirst(count)
        }
        isBroken = false
    }

    private func open(_ folder: String) throws(LogFailed) {
        try makeFolders(folder)
        descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0, ftruncate(descriptor, off_t(wholeBytes)) == 0, lseek(descriptor, 0, SEEK_END) >= 0 else { throw LogFailed() }
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }

    deinit { close() }
}

/// Makes `path` and the folders above it, 0700 each; those that are there stay as they are.
private func makeFolders(_ path: String) throws(LogFailed) {
    var made = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
        made += "/\(part)"
        guard mkdir(made, 0o700) == 0 || errno == EEXIST else { throw LogFailed() }
    }
}
