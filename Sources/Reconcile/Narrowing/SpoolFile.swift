internal import BlockingIO
internal import Foundation
internal import Glibc
internal import RunCore

/// A temporary file of rows. It has no name as soon as it is open, so that people's data does not outlive this process.
final class SpoolFile {
    private let descriptor: Int32
    private var pending: [UInt8] = []
    private(set) var size = 0
    /// Bytes that are gathered before they are written.
    private let bufferBytes: Int
    /// What lines were last read out of, and where it begins: whoever asks for lines asks for most in their order.
    private var window: (place: Int, bytes: [UInt8]) = (0, [])

    /// - Throws: `SystemCallFailed`.
    init(bufferBytes: Int = 64 * 1024) throws {
        self.bufferBytes = bufferBytes
        let folder = ProcessInfo.processInfo.environment["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
        var template = Array("\(folder)/reprise-rows-XXXXXX".utf8CString)
        descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw SystemCallFailed("making a temporary file in \(folder)", errno: errno) }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        unlink(template)
    }

    deinit { close(descriptor) }

    /// - Returns: where the bytes begin.
    @discardableResult
    func append(_ bytes: some Collection<UInt8>) throws -> Int {
        let place = size
        pending.append(contentsOf: bytes)
        size += bytes.count
        if pending.count >= bufferBytes { try flush() }
        return place
    }

    private func flush() throws {
        var written = 0
        while written < pending.count {
            let count = pending.withUnsafeBytes { pwrite(descriptor, $0.baseAddress! + written, $0.count - written, off_t(size - $0.count + written)) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemCallFailed("writing differences to a temporary file (TMPDIR says where)", errno: errno) }
            written += count
        }
        pending.removeAll(keepingCapacity: true)
    }

    /// The file itself, for a program to read from its beginning or to write into.
    func open() throws -> Int32 {
        try flush()
        return descriptor
    }

    /// The bytes from `place` on, at most `count`; fewer at the end.
    func read(at place: Int, count: Int) throws -> [UInt8] {
        try flush()
        let wanted = min(count, max(0, try length() - place))
        var result = [UInt8](repeating: 0, count: wanted), done = 0
        while done < wanted {
            let got = result.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress! + done, wanted - done, off_t(place + done)) }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { throw SystemCallFailed("reading a temporary file", errno: errno) }
            done += got
        }
        return result
    }

    /// Its length, also where a program wrote into it.
    private func length() throws -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SystemCallFailed("looking at a temporary file", errno: errno) }
        return Int(status.st_size)
    }

    /// The line that begins at `place`, with its newline.
    func line(at place: Int) throws -> [UInt8] {
        if let line = lineOfWindow(at: place) { return line }
        var wanted = 16 * 1024
        while true {
            window = (place, try read(at: place, count: wanted))
            if let line = lineOfWindow(at: place) { return line }
            guard window.bytes.count == wanted else {
                throw ReconcileRefused("reconcile.odd-row", "a temporary file of differences is not what was written into it", exitStatus: .failed)
            }
            wanted *= 8
        }
    }

    private func lineOfWindow(at place: Int) -> [UInt8]? {
        let start = place - window.place
        guard start >= 0, start < window.bytes.count else { return nil }
        return window.bytes.withUnsafeBytes { bytes in bytes.endOfLine(start).map { Array(bytes[start..<$0]) } }
    }

    /// Hands all bytes on, in portions.
    func forEachPortion(_ body: ([UInt8]) throws -> Void) throws {
        var at = 0
        while at < size {
            let bytes = try read(at: at, count: 256 * 1024)
            at += bytes.count
            try body(bytes)
        }
    }
}
