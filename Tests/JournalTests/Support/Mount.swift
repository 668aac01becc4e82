import Glibc

/// A mount of one test, which takes it down itself. Needs root.
final class Mount: Sendable {
    struct Failed: Error { let command: String }
    let path: String

    /// - Parameter options: `bind` mounts the folder onto itself; anything else are options of a new tmpfs.
    init(_ path: String, options: String) throws {
        self.path = path
        try Self.run(
            options == "bind" ? ["mount", "--bind", path, path] : ["mount", "-t", "tmpfs", "-o", options, "none", path])
    }

    func unmount() { try? Self.run(["umount", "--lazy", path]) }

    func remount(_ options: String) throws { try Self.run(["mount", "-o", "remount,\(options)", path]) }

    private static func run(_ command: [String]) throws {
        var argv = command.map { strdup($0) } + [nil]
        defer { for pointer in argv { free(pointer) } }
        var pid: pid_t = 0
        var status: Int32 = 0
        guard posix_spawnp(&pid, command[0], nil, nil, &argv, environ) == 0, waitpid(pid, &status, 0) == pid, status == 0 else {
            throw Failed(command: command.joined(separator: " "))
        }
    }
}
