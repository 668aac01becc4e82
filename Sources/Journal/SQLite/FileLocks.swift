internal import BlockingIO
internal import Foundation
internal import Glibc

/// From Linux's asm-generic/fcntl.h, the same on every architecture; glibc only shows them to C with `_GNU_SOURCE`.
private let getLockOfDescription: Int32 = 36
private let setLockOfDescription: Int32 = 37

/// A file of our own beside the journal, opened once. Closed with the last reference.
final class SideFile: Sendable {
    let descriptor: Int32
    let path: String

    /// - Throws: `SystemCallFailed`.
    init(_ path: String, flags: Int32) throws {
        descriptor = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
        self.path = path
        if descriptor < 0 { throw SystemCallFailed("open \(path)", errno: errno) }
    }

    deinit { close(descriptor) }

    /// Takes the lock on one byte without waiting; false if another open file description has it.
    ///
    /// These are open file description locks (fcntl(2)): they end with the last descriptor, so the kernel drops them when the
    /// process dies however it dies, and keeps them while it is stopped. Unlike the older kind, they are not lost when
    /// another part of the process closes the same file, and they exclude two stores in one process too.
    func tryLock(byte: Int64) throws -> Bool {
        var request = Self.request(Int32(F_WRLCK), byte)
        while fcntl(descriptor, setLockOfDescription, &request) != 0 {
            if errno == EAGAIN || errno == EACCES { return false }
            if errno != EINTR { throw SystemCallFailed("lock \(path)", errno: errno) }
        }
        return true
    }

    func unlock(byte: Int64) {
        var request = Self.request(Int32(F_UNLCK), byte)
        _ = fcntl(descriptor, setLockOfDescription, &request)
    }

    /// True if another open file description has the lock on this byte.
    func isLockedElsewhere(byte: Int64) throws -> Bool {
        var request = Self.request(Int32(F_WRLCK), byte)
        guard fcntl(descriptor, getLockOfDescription, &request) == 0 else {
            throw SystemCallFailed("look at the locks of \(path)", errno: errno)
        }
        return Int32(request.l_type) != Int32(F_UNLCK)
    }

    /// At most `count` bytes from `offset`; fewer at the end of the file.
    func read(at offset: Int64, count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let got = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress! + filled, count - filled, off_t(offset) + filled)
            }
            if got < 0 && errno == EINTR { continue }
            if got < 0 { throw SystemCallFailed("read \(path)", errno: errno) }
            if got == 0 { break }
            filled += got
        }
        return Array(bytes.prefix(filled))
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, off_t(offset) + done)
            }
            if put < 0 && errno == EINTR { continue }
            if put < 0 { throw SystemCallFailed("write \(path)", errno: errno) }
            done += put
        }
    }

    func synchronize() throws {
        if fsync(descriptor) != 0 { throw SystemCallFailed("fsync \(path)", errno: errno) }
    }

    private static func request(_ type: Int32, _ byte: Int64) -> flock {
        var request = flock()
        request.l_type = Int16(type)
        request.l_whence = Int16(SEEK_SET)
        request.l_start = off_t(byte)
        request.l_len = 1
        return request
    }
}

/// The lock under which a journal is written, checkpointed and opened for writing: one process, one connection at a time.
///
/// Not `Sendable`: it belongs to the journal's thread.
final class WriterLock {
    private let file: SideFile
    private let journalPath: String
    private let note: [UInt8]
    private static let noteBytes = 2048
    private static let nonceBytes = 32

    init(file: SideFile, journalPath: String, owner: OperatorIdentity) {
        self.file = file
        self.journalPath = journalPath
        // The nonce comes first, so that a short look tells whether the note is ours.
        let nonce = Array(owner.processNonce.utf8.prefix(Self.nonceBytes))
        let start = nonce + [UInt8](repeating: UInt8(ascii: " "), count: Self.nonceBytes - nonce.count)
        let text = (try? JSONEncoder().encode(owner)).map(Array.init) ?? []
        let note = start + (start.count + text.count > Self.noteBytes ? [] : text)
        self.note = note + [UInt8](repeating: UInt8(ascii: " "), count: Self.noteBytes - note.count)
    }

    /// - Throws: `WriterBlocked` at the deadline, naming who has the lock.
    func lock(timeout: Duration) throws {
        if try file.tryLock(byte: 0) { return leaveNote() }
        let deadline = Deadline(after: timeout)
        var pauseMicroseconds: UInt32 = 100
        while !deadline.hasPassed {
            // Whoever writes lets go within milliseconds. There is no timed wait for such a lock, and a blocking one could
            // not be given up, so it is polled; the jitter keeps two waiters out of step.
            usleep(pauseMicroseconds + UInt32.random(in: 0...100))
            if try file.tryLock(byte: 0) { return leaveNote() }
            pauseMicroseconds = min(pauseMicroseconds * 2, 3_000)
        }
        let parts = timeout.components
        throw WriterBlocked(
            path: journalPath, writer: readNote(),
            waitedSeconds: Double(parts.seconds) + Double(parts.attoseconds) / 1e18)
    }

    func unlock() { file.unlock(byte: 0) }

    /// Who took the lock last, for the message of whoever waits in vain. Only a courtesy, so its failure is no error.
    private func leaveNote() {
        if (try? file.read(at: 0, count: Self.nonceBytes)) != Array(note.prefix(Self.nonceBytes)) { try? file.write(note, at: 0) }
    }

    func readNote() -> OperatorIdentity? {
        guard let bytes = try? file.read(at: 0, count: Self.noteBytes) else { return nil }
        return try? JSONDecoder().decode(OperatorIdentity.self, from: Data(bytes.dropFirst(Self.nonceBytes)))
    }
}

/// Proof of life of the holds: the process that has hold number N keeps byte N of this file locked.
///
/// Not `Sendable`: it belongs to the journal's thread.
final class HolderLocks {
    private let file: SideFile
    private var own: Set<Int64> = []

    init(file: SideFile) { self.file = file }

    /// - Returns: false if another process has it, which only a damaged or copied journal can bring about.
    func lock(_ hold: Int64) throws -> Bool {
        guard try file.tryLock(byte: hold) else { return false }
        own.insert(hold)
        return true
    }

    func unlock(_ hold: Int64) {
        own.remove(hold)
        file.unlock(byte: hold)
    }

    func isAlive(_ hold: Int64) throws -> Bool {
        if own.contains(hold) { return true }
        return try file.isLockedElsewhere(byte: hold)
    }
}
