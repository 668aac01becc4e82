internal import BlockingIO
internal import CLibCurl
internal import Crypto
internal import Glibc
internal import RunCore

package struct UnwrappedFile: Hashable, Sendable, Codable {
    /// The file that was written; the given one itself where nothing had to be unwrapped.
    package let path: String
    package let wrapper: Wrapper
    package let sizeBytes: Int64
    /// Lowercase hex.
    package let sha256: String
}

/// A wrapped file could not be unwrapped.
package struct UnwrapFailed: RepriseError {
    package enum Kind: String, Sendable { case damaged, quota, noProgram = "no-program" }
    package let kind: Kind
    package let message: String
    package let hints: [String]
    package var code: String { "unwrap.\(kind.rawValue)" }
}

/// Unwraps gzip, zstd and xz files of this machine with the system's own programs.
package enum Unwrapper {
    /// - Throws: as opening and reading do.
    package static func detect(_ path: String) throws -> Wrapper {
        let file = try File(path, O_RDONLY | O_NONBLOCK, followsLinks: true)
        var head = [UInt8](repeating: 0, count: Wrapper.magicLength)
        let count = try head.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return Wrapper.detect(head.prefix(count))
    }

    /// Unwraps `path` into `target`, which appears by a rename once all of it is there; the source stays.
    ///
    /// A file that is not wrapped is hashed and left where it is. Again the same: the target is replaced.
    /// - Parameter quotaBytes: more than this comes out of no honest backup (a decompression bomb).
    /// - Throws: `UnwrapFailed`, `FileFailure`, `CancellationError`; `target` is then untouched.
    package static func unwrap(_ path: String, to target: String, quotaBytes: Int64) async throws -> UnwrappedFile {
        let interrupt = Interrupt()
        return try await withTaskCancellationHandler {
            try await DedicatedThread(name: "reprise-unwrap").run {
                let wrapper = try detect(path)
                guard let program = wrapper.program else { return try describe(path) }
                return try unwrap(path, to: target, wrapper, program, quotaBytes, interrupt)
            }
        } onCancel: {
            interrupt.fire()
        }
    }

    private static func describe(_ path: String) throws -> UnwrappedFile {
        let file = try File(path, O_RDONLY | O_NONBLOCK, followsLinks: true)
        let size = Int64(try file.status().st_size)
        return UnwrappedFile(path: path, wrapper: .none, sizeBytes: size, sha256: try FetchFiles.sha256(of: file, Flag()))
    }

    private static func unwrap(
        _ path: String, to target: String, _ wrapper: Wrapper, _ program: String, _ quotaBytes: Int64, _ interrupt: Interrupt
    ) throws -> UnwrappedFile {
        let scratch = target + ".reprise-unwrapping"
        let source = try File(path, O_RDONLY, followsLinks: true)
        let output = try File(scratch, O_WRONLY | O_CREAT | O_TRUNC)
        do {
            let child = try ChildProcess(program, ["-dc"], input: source.descriptor, wrapper)
            let (size, sha256) = try child.drain(into: output, quotaBytes: quotaBytes, interrupt, name: path)
            guard child.waitForSuccess() else {
                throw UnwrapFailed(
                    kind: .damaged, message: "\(path) is damaged: \(program) could not unwrap all of it",
                    hints: ["fetch it again, and if it stays so use an older backup"])
            }
            try output.synchronize()
            try File.rename(scratch, to: target)
            return UnwrappedFile(path: target, wrapper: wrapper, sizeBytes: size, sha256: sha256)
        } catch {
            try? File.remove(scratch)
            throw error
        }
    }
}

/// A program whose output is read; killed and reaped when it is let go of.
private final class ChildProcess {
    private var process: pid_t = 0
    private let output: Int32
    private var isReaped = false

    init(_ program: String, _ arguments: [String], input: Int32, _ wrapper: Wrapper) throws {
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw SystemCallFailed("pipe", errno: errno) }
        output = ends[0]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        // Descriptors that some library opened without close-on-exec are none of its business.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        let result = posix_spawnp(&process, program, &actions, nil, &argv, environ)
        close(ends[1])
        guard result == 0 else {
            close(output)
            throw UnwrapFailed(
                kind: .noProgram, message: "cannot run \(program): \(String(cString: strerror(result)).lowercased())",
                hints: ["install it: apt-get install \(wrapper.package ?? program)"])
        }
    }

    deinit {
        if !isReaped {
            kill(process, SIGKILL)
            reap()
        }
        close(output)
    }

    /// Copies what the program writes, and hashes it on the way.
    func drain(into file: File, quotaBytes: Int64, _ interrupt: Interrupt, name: String) throws -> (Int64, String) {
        var hash = SHA256()
        var offset: Int64 = 0
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            // A program that neither writes nor ends for minutes, reading from a local file, hangs.
            _ = try interrupt.wait(
                for: [(output, .read)], until: Deadline(after: .seconds(300)), operation: "\(name) to be unwrapped")
            let count = read(output, buffer.baseAddress, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemCallFailed("read from a pipe", errno: errno) }
            if count == 0 { return (offset, Percent.lowercaseHex(hash.finalize())) }
            guard offset + Int64(count) <= quotaBytes else {
                throw UnwrapFailed(
                    kind: .quota, message: "\(name) unwraps to more than \(quotaBytes) bytes",
                    hints: ["this may be a decompression bomb; if it is a true backup, raise the quota"])
            }
            let bytes = UnsafeRawBufferPointer(rebasing: buffer.prefix(count))
            hash.update(bufferPointer: bytes)
            try file.write(bytes, at: offset)
            offset += Int64(count)
        }
    }

    /// To be called at the end of the output, when the program has nothing left to do but to end.
    func waitForSuccess() -> Bool { reap() == 0 }

    @discardableResult private func reap() -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        isReaped = true
        return status
    }
}
