internal import BlockingIO
internal import Engine
internal import Foundation
internal import Glibc
internal import Reporting
internal import Synchronization

/// Standard output and error. Nothing else in the program writes to them.
enum Console {
    static func write(_ text: String) { write(text, to: STDOUT_FILENO) }

    static func writeError(_ text: String) { write(text, to: STDERR_FILENO) }

    /// One JSON value and a newline.
    static func writeJSON(_ value: some Encodable) throws {
        write(String(decoding: try EventCodec.json(value), as: UTF8.self) + "\n")
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = Glibc.poll(&poll, 1, 1000)
                continue
            }
            // Whoever was to read it has gone; there is nobody left to tell.
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// Many lines, written in portions: a call for each takes longer than finding what it says. What came before a failure is written too.
    static func lines(_ body: (Lines) async throws -> Void) async throws {
        let lines = Lines()
        defer { lines.flush() }
        try await body(lines)
    }

    final class Lines: Sendable {
        private let pending = Mutex("")
        private static let portion = 64 * 1024

        func write(_ line: String) {
            pending.withLock { pending in
                pending += line
                if pending.utf8.count >= Self.portion { Self.flush(&pending) }
            }
        }

        fileprivate func flush() { pending.withLock { Self.flush(&$0) } }

        private static func flush(_ pending: inout String) {
            Console.write(pending)
            pending.removeAll(keepingCapacity: pending.utf8.count < 2 * portion)
        }
    }

    /// A person sits at both ends and sees what is written.
    static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 }

    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 && environment("TERM") != "dumb" }

    /// Columns of the terminal; 160 where there is none, so that piped text is not cut short.
    static var width: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 160 }
        return Int(size.ws_col)
    }

    static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Colour on a terminal only, and not where `NO_COLOR` is set (no-color.org); characters beyond ASCII only in a UTF-8 locale.
    static func style(noColor: Bool) -> Style {
        let locale = environment("LC_ALL") ?? environment("LC_CTYPE") ?? environment("LANG") ?? ""
        let isUTF8 = locale.lowercased().replacingOccurrences(of: "-", with: "").contains("utf8")
        return Style(usesColor: !noColor && outputIsTerminal && environment("NO_COLOR") == nil, usesUnicode: isUTF8)
    }

    /// Asks on standard error and reads a line from standard input, on a thread of its own.
    /// - Returns: nil at the end of the input.
    static func ask(_ question: String) async throws -> String? {
        writeError(question)
        return try await DedicatedThread(name: "prompt").run { readLine(strippingNewline: true) }
    }
}

func now() -> Int64 { Int64(Date().timeIntervalSince1970 * 1000) }

/// Milliseconds that never run backwards.
func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
