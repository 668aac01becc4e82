internal import Glibc

/// A local file that is read piece by piece, each in one system call and into memory of its own.
package struct FileBytes: Sendable {
    private let file: File

    /// - Throws: `FileFailure`.
    package init(of path: String) throws { file = try File(path, O_RDONLY, followsLinks: true) }

    /// - Throws: `FileFailure`.
    package func size() throws -> Int64 { Int64(try file.status().st_size) }

    /// At most `count` bytes from `offset`; fewer only at the end of the file, none behind it.
    ///
    /// - Throws: `FileFailure`.
    package func bytes(at offset: Int64, upTo count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = try file.read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
        }
    }
}
