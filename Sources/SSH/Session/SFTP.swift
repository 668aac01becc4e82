internal import BlockingIO
internal import CLibSSH2
internal import Glibc
internal import RunCore

/// SFTP over a session. Each call is an exclusive operation: libssh2 keeps their progress in the session.
///
/// `@unchecked Sendable`: `sftp` is set and used only on the session's thread.
final class SFTP: @unchecked Sendable {
    private let engine: SessionEngine
    private var sftp: OpaquePointer?

    init(engine: SessionEngine) { self.engine = engine }

    /// An open remote file. `@unchecked Sendable`: used only on the session's thread.
    final class File: @unchecked Sendable {
        fileprivate let handle: OpaquePointer
        fileprivate var isClosed = false
        fileprivate init(_ handle: OpaquePointer) { self.handle = handle }
    }

    private func subsystem(_ engine: SessionEngine) throws -> OpaquePointer? {
        if let sftp { return sftp }
        if let started = libssh2_sftp_init(engine.session) {
            sftp = started
            return started
        }
        let code = libssh2_session_last_errno(engine.session)
        if code == LIBSSH2_ERROR_EAGAIN { return nil }
        let error = engine.failure(code, "starting SFTP")
        if let error = error as? SSHError, error.isTransient { throw error }
        throw SSHError(
            "sftp-unavailable", "\(engine.target.name) offers no SFTP: \(engine.lastError())",
            hints: ["enable the sftp subsystem in the host's sshd_config"], exitStatus: .failed)
    }

    func open(_ path: String, write: Bool, mode: Int, deadline: Deadline) async throws -> File {
        try await engine.perform(
            "opening \(path)", deadline: deadline, exclusive: true, dispose: { _, file in _ = libssh2_sftp_close_handle(file.handle) }
        ) { [self] engine in
            guard let sftp = try subsystem(engine) else { return nil }
            let flags = write ? UInt(LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_EXCL) : UInt(LIBSSH2_FXF_READ)
            if let handle = libssh2_sftp_open_ex(sftp, path, UInt32(path.utf8.count), flags, mode, LIBSSH2_SFTP_OPENFILE) {
                return File(handle)
            }
            let code = libssh2_session_last_errno(engine.session)
            if code == LIBSSH2_ERROR_EAGAIN { return nil }
            throw failure(code, "opening \(path)", engine)
        }
    }

    func write(_ bytes: [UInt8], to file: File, _ path: String, deadline: Deadline) async throws {
        let progress = Progress()
        _ = try await engine.perform("writing \(path)", deadline: deadline, exclusive: true) { [self] engine -> Bool? in
            while progress.offset < bytes.count {
                let count = bytes.withUnsafeBytes {
                    libssh2_sftp_write(
                        file.handle, $0.baseAddress!.assumingMemoryBound(to: CChar.self).advanced(by: progress.offset),
                        $0.count - progress.offset)
                }
                if count == Int(LIBSSH2_ERROR_EAGAIN) { return nil }
                if count < 0 { throw failure(Int32(count), "writing \(path)", engine) }
                progress.offset += count
                if engine.socket.unsentBytes > 1 << 20 { engine.socket.flush() }
            }
            return true
        }
    }

    /// - Returns: the file's bytes, one more than `limit` at most.
    func read(_ file: File, _ path: String, limit: Int, deadline: Deadline) async throws -> [UInt8] {
        let progress = Progress()
        return try await engine.perform("reading \(path)", deadline: deadline, exclusive: true) { [self] engine in
            while progress.bytes.count <= limit {
                let count = progress.chunk.withUnsafeMutableBytes {
                    libssh2_sftp_read(file.handle, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
                }
                if count == Int(LIBSSH2_ERROR_EAGAIN) { return nil }
                if count < 0 { throw failure(Int32(count), "reading \(path)", engine) }
                if count == 0 { break }
                progress.bytes.append(contentsOf: progress.chunk[..<count])
            }
            return progress.bytes
        }
    }

    func sync(_ file: File, _ path: String, deadline: Deadline) async throws {
        try await complete("flushing \(path) to disk", deadline) { _ in libssh2_sftp_fsync(file.handle) }
    }

    /// Idempotent: closing twice would free the handle twice.
    func close(_ file: File, deadline: Deadline) async throws {
        try await complete("closing a file", deadline) { _ in
            if file.isClosed { return 0 }
            let code = libssh2_sftp_close_handle(file.handle)
            if code != LIBSSH2_ERROR_EAGAIN { file.isClosed = true }
            return code
        }
    }

    func remove(_ path: String, deadline: Deadline) async throws {
        try await complete("removing \(path)", deadline) { libssh2_sftp_unlink_ex($0, path, UInt32(path.utf8.count)) }
    }

    private func complete(_ what: String, _ deadline: Deadline, _ call: @escaping @Sendable (OpaquePointer) -> Int32) async throws {
        _ = try await engine.perform(what, deadline: deadline, exclusive: true) { [self] engine -> Bool? in
            guard let sftp = try subsystem(engine) else { return nil }
            let code = call(sftp)
            if code == LIBSSH2_ERROR_EAGAIN { return nil }
            if code != 0 { throw failure(code, what, engine) }
            return true
        }
    }

    private func failure(_ code: Int32, _ what: String, _ engine: SessionEngine) -> any Error {
        guard code == LIBSSH2_ERROR_SFTP_PROTOCOL, let sftp else { return engine.failure(code, what) }
        let reason =
            switch libssh2_sftp_last_error(sftp) {
            case UInt(LIBSSH2_FX_NO_SUCH_FILE): ("file-missing", "no such file or folder")
            case UInt(LIBSSH2_FX_PERMISSION_DENIED): ("file-permission", "permission denied")
            case UInt(LIBSSH2_FX_FILE_ALREADY_EXISTS): ("file-exists", "it exists already")
            case UInt(LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM): ("no-space", "no space left")
            case UInt(LIBSSH2_FX_OP_UNSUPPORTED): ("file-unsupported", "the server does not support it")
            default: ("file-failed", "the server refused (a full disk and a path that exists as something else read alike)")
            }
        return SSHError(reason.0, "\(what) on \(engine.target.name) failed: \(reason.1)", exitStatus: .failed)
    }
}

/// `@unchecked Sendable`: touched only on the session's thread.
private final class Progress: @unchecked Sendable {
    var offset = 0
    var bytes: [UInt8] = []
    lazy var chunk = [UInt8](repeating: 0, count: 256 * 1024)
}
