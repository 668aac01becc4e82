internal import Foundation
internal import Glibc
internal import RunCore

/// A folder on this machine for what one step has under way; a later process finds it again by its name.
///
/// That name can be guessed, and where it lies others may write too: what is not ours is neither used nor removed.
struct PrivateFolder: Sendable {
    let path: String

    /// Makes it where it is not there yet.
    func make() throws {
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            let why = String(cString: strerror(errno)).lowercased()
            throw StepRefused("fetch-backup.no-folder", "cannot make \(path) on this machine: \(why)", hints: ["TMPDIR names another place"])
        }
        guard isOurs else {
            throw StepRefused(
                "fetch-backup.foreign-folder", "\(path) on this machine is somebody else's, or can be entered by others",
                hints: ["remove it after a look at who made it, or name another place by TMPDIR"])
        }
    }

    /// With all that is in it.
    func remove() {
        if isOurs { try? FileManager.default.removeItem(atPath: path) }
    }

    /// A folder, and no link to one: whoever made a link chose where it leads.
    private var isOurs: Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid() && status.st_mode & 0o077 == 0
    }
}
