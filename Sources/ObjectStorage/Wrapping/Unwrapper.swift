internal import BlockingIO
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
    package enum Kind: String, Sendable { case damaged, noRoom = "no-room", noProgram = "no-program" }
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
    /// A file that is not wrapped is hashed and left where it is. Again the same: the target is replaced. One out of which more comes
    /// than `UnwrapLimit` allows is refused.
    /// - Throws: `UnwrapFailed`, `FileFailure`, `CancellationError`; `target` is then untouched.
    package static func unwrap(_ path: String, to target: String) async throws -> UnwrappedFile {
        let interrupt = Interrupt()
        return try await withTaskCancellationHandler {
            try await DedicatedThread(name: "reprise-unwrap").run {
                let wrapper = try detect(path)
                guard let program = wrapper.program else { return try describe(path) }
                return try unwrap(path, to: target, wrapper, program, interrupt)
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
        _ path: String, to target: String, _ wrapper: Wrapper, _ program: String, _ interrupt: Interrupt
    ) throws -> UnwrappedFile {
        let scratch = target + ".reprise-unwrapping"
        let source = try File(path, O_RDONLY, followsLinks: true)
        let output = try File(scratch, O_WRONLY | O_CREAT | O_TRUNC)
        let limit = UnwrapLimit.bytes(freeBytes: File.freeBytes(at: target))
        do {
            let child = try start(program, source, wrapper)
            let (size, sha256) = try drain(child, into: output, limitBytes: limit, interrupt, name: path)
            guard child.waitForEnd() == 0 else {
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

    private static func start(_ program: String, _ source: File, _ wrapper: Wrapper) throws -> ChildOutput {
        do {
            return try ChildOutput(program, ["-dc"], descriptors: [0: source.descriptor])
        } catch let error as ChildOutput.CannotRun {
            throw UnwrapFailed(
                kind: .noProgram, message: "cannot run \(error.program): \(error.reason)", hints: ["install it: apt-get install \(wrapper.package ?? program)"])
        }
    }

    /// Copies what the program writes, and hashes it on the way.
    private static func drain(
        _ child: ChildOutput, into file: File, limitBytes: Int64, _ interrupt: Interrupt, name: String
    ) throws -> (Int64, String) {
        var hash = SHA256()
        var offset: Int64 = 0
        // A program that neither writes nor ends for minutes, reading from a local file, hangs.
        try child.read(interrupt, until: Deadline(after: .seconds(300)), operation: "\(name) to be unwrapped") { portion in
            guard offset + Int64(portion.count) <= limitBytes else {
                throw UnwrapFailed(
                    kind: .noRoom, message: "there is no room to unwrap \(name): more than \(limitBytes) bytes come out of it, half of what is free there",
                    hints: [
                        "make room on that disk, or name a folder on another one in TMPDIR",
                        "if it cannot be that large, it may be a decompression bomb: choose another one",
                    ])
            }
            try portion.withUnsafeBytes { bytes in
                hash.update(bufferPointer: bytes)
                try file.write(bytes, at: offset)
            }
            offset += Int64(portion.count)
        }
        return (offset, Percent.lowercaseHex(hash.finalize()))
    }
}
