internal import Foundation
internal import Glibc

/// A file system in memory of a given size, for tests of full disks.
package final class SmallDisk {
    package let path: String

    /// Mounting takes root, and some containers refuse it even to root. What cannot be tested is skipped by name:
    /// `.enabled(if: SmallDisk.isPossible, "SKIPPED: …")`.
    package static let isPossible = geteuid() == 0 && (try? SmallDisk(bytes: 65_536)) != nil

    package init(bytes: Int) throws {
        path = NSTemporaryDirectory() + "reprise-disk-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else {
            let number = errno
            rmdir(path)
            throw POSIXError(POSIXErrorCode(rawValue: number) ?? .EIO)
        }
    }

    package func grow(toBytes bytes: Int) throws {
        guard mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT), "size=\(bytes)") == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
    }

    package func file(_ name: String) -> String { "\(path)/\(name)" }
    package var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        try? FileManager.default.removeItem(atPath: path)
    }
}
