internal import Foundation
internal import PlanModel
internal import PostgreSQL
internal import RunCore

/// An archive on this machine.
enum LocalArchive {
    private static let firstBytes = 1 << 20
    private static let mostBytes = 64 << 20

    /// The table of contents of a file, or of a folder in directory format. Reads no more of it than is needed.
    ///
    /// - Parameter name: what it is called in messages; nil: by its path.
    static func contents(at path: String, called name: String? = nil) throws -> ArchiveTOC {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw Refusal("no-archive", "there is no archive \(printable(path))", hints: ["look for it: ls -l"], exitStatus: .failed)
        }
        let file = isFolder.boolValue ? path + "/toc.dat" : path
        guard let handle = FileHandle(forReadingAtPath: file) else {
            throw Refusal("no-archive", "\(printable(file)) cannot be read", hints: ["look at its rights: ls -l"], exitStatus: .failed)
        }
        defer { try? handle.close() }
        let size = Int(try handle.seekToEnd())
        var wanted = firstBytes
        while true {
            try handle.seek(toOffset: 0)
            let bytes = Array(try handle.read(upToCount: wanted) ?? Data())
            do {
                return try ArchiveTOC(bytes: bytes, fileBytes: size)
            } catch {
                guard error.code == "postgresql.archive-incomplete", wanted < min(size, mostBytes) else { throw error.named(printable(name ?? path)) }
                wanted *= 8
            }
        }
    }
}
