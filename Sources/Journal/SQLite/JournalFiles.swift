internal import BlockingIO
internal import Glibc
internal import RunCore

/// The files of one journal, and the checks that they must pass before SQLite sees them.
struct JournalFiles: Sendable {
    let database: String
    var wal: String { database + "-wal" }
    var sharedMemory: String { database + "-shm" }
    var lock: String { database + "-lock" }
    var holders: String { database + "-holders" }
    var head: String { database + "-head" }
    var directory: String {
        let parts = database.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let joined = parts.joined(separator: "/")
        return joined.isEmpty ? (database.hasPrefix("/") ? "/" : ".") : joined
    }

    /// "Rpjl", so that `file` and other programs can tell a journal from other SQLite databases.
    static let applicationID: Int32 = 0x5270_6a6c
    static let formatVersion: Int32 = 1

    /// What a file is, as far as access to it goes.
    private struct Status {
        let type: mode_t
        let permissions: mode_t
        let owner: uid_t
        let bytes: Int64
        let identity: FileIdentity
    }

    /// Tells a file from another one that was put in its place.
    struct FileIdentity: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64

        init(_ info: stat) { (device, inode) = (UInt64(info.st_dev), UInt64(info.st_ino)) }
    }

    static func identity(of path: String) -> FileIdentity? { look(at: path)?.identity }

    /// What the path names now, without following a link; nil where that is nothing.
    static func look(at path: String) -> (identity: FileIdentity, bytes: Int64)? {
        var info = stat()
        return lstat(path, &info) == 0 ? (FileIdentity(info), Int64(info.st_size)) : nil
    }

    private static func status(_ path: String, followLinks: Bool = false) throws -> Status? {
        var info = stat()
        let result = followLinks ? stat(path, &info) : lstat(path, &info)
        if result != 0 {
            if errno == ENOENT { return nil }
            throw JournalUnusable("unreachable", "cannot look at \(path): \(String(cString: strerror(errno)))")
        }
        return Status(
            type: info.st_mode & S_IFMT, permissions: info.st_mode & 0o7777, owner: info.st_uid, bytes: Int64(info.st_size),
            identity: FileIdentity(info))
    }

    // MARK: Checks

    /// - Returns: true if the journal is there, false if none of its files is.
    /// - Throws: `JournalUnusable`, with nothing changed.
    func check() throws -> Bool {
        guard let folder = try Self.status(directory, followLinks: true) else { return false }
        try checkDirectory(folder)
        for side in [wal, sharedMemory, lock, holders, head] { try Self.checkFile(side, allowMissing: true) }
        guard try Self.checkFile(database, allowMissing: true) else {
            try checkNothingIsLeft()
            return false
        }
        return true
    }

    private func checkDirectory(_ folder: Status) throws {
        guard folder.type == S_IFDIR else { throw JournalUnusable("not-a-directory", "\(directory) is not a folder") }
        guard folder.owner == geteuid() else {
            throw JournalUnusable(
                "wrong-owner", "the journal's folder \(directory) belongs to uid \(folder.owner), not to uid \(geteuid())",
                "run as that user, or name another journal with --journal")
        }
        guard folder.permissions & 0o777 == 0o700 else {
            throw JournalUnusable(
                "wrong-mode", "the journal's folder \(directory) has mode \(octal(folder.permissions)), not 0700",
                "chmod 700 \(directory)")
        }
    }

    @discardableResult
    private static func checkFile(_ path: String, allowMissing: Bool) throws -> Bool {
        guard let file = try status(path) else { return false }
        guard file.type == S_IFREG else { throw JournalUnusable("not-a-file", "\(path) is not a regular file") }
        guard file.owner == geteuid() else {
            throw JournalUnusable(
                "wrong-owner", "\(path) belongs to uid \(file.owner), not to uid \(geteuid())",
                "run as that user, or name another journal with --journal")
        }
        guard file.permissions == 0o600 else {
            throw JournalUnusable(
                "wrong-mode", "\(path) has mode \(octal(file.permissions)), not 0600", "chmod 600 \(path)")
        }
        return true
    }

    /// The journal's main file is missing: that is a new journal only if nothing remembers an old one.
    private func checkNothingIsLeft() throws {
        if let left = try Self.status(wal), left.bytes > 0 {
            throw JournalUnusable(
                "missing", "journal \(database) is missing, but \(wal) is there",
                "put the journal's file back; for a new journal move what is left of the old one away")
        }
        guard try Self.status(head) != nil else { return }
        if let content = try HeadFile(file: SideFile(head, flags: O_RDONLY))?.content, content.last.position > 0 {
            throw JournalUnusable(
                "missing", "journal \(database) is missing, but \(head) remembers \(counted(content.last.position, "record")) in it",
                "put the journal's file back; for a new journal move what is left of the old one away")
        }
    }

    /// Reads the database's first 100 bytes; only for `OpenJournal`.
    func checkHeader() throws {
        let header: [UInt8]
        do {
            header = try SideFile(database, flags: O_RDONLY).read(at: 0, count: 100)
        } catch let error as SystemCallFailed {
            throw JournalUnusable("unreachable", error.message)
        }
        func integer(_ offset: Int) -> Int32 {
            Int32(bitPattern: header[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        }
        // SQLite's file format, section 1.3: user version at 60, application id at 68.
        guard header.count == 100, header.starts(with: Array("SQLite format 3\0".utf8)), integer(68) == Self.applicationID else {
            throw JournalUnusable(
                "not-a-journal", "\(database) is not a journal of reprise", "name another file with --journal")
        }
        guard integer(60) <= Self.formatVersion else {
            throw JournalUnusable(
                "newer-version",
                "journal \(database) has format \(integer(60)); this program knows formats up to \(Self.formatVersion)",
                "use the newer reprise that wrote it")
        }
        guard integer(60) == Self.formatVersion else {
            throw JournalUnusable("not-a-journal", "journal \(database) has no known format (\(integer(60)))")
        }
    }

    private func octal(_ mode: mode_t) -> String { "0" + String(mode & 0o7777, radix: 8) }
    private static func octal(_ mode: mode_t) -> String { "0" + String(mode & 0o7777, radix: 8) }

    // MARK: Changes

    /// Creates the folder, with those above it, mode 0700. Those that are there are left as they are.
    func createDirectory() throws {
        guard try Self.status(directory, followLinks: true) == nil else { return }
        let parent = JournalFiles(database: directory).directory
        if parent != directory { try JournalFiles(database: directory).createDirectory() }
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw JournalUnusable(
                "unreachable", "cannot create the journal's folder \(directory): \(String(cString: strerror(errno)))")
        }
        try Self.synchronizeDirectory(parent)
    }

    /// Renames over what is there, and makes the new name durable.
    static func rename(_ old: String, to new: String) throws {
        guard Glibc.rename(old, new) == 0 else { throw SystemCallFailed("rename \(old) to \(new)", errno: errno) }
        try synchronizeDirectory(JournalFiles(database: new).directory)
    }

    /// Renames, unless something has the new name already, and makes the new name durable.
    static func renameWithoutReplacing(_ old: String, to new: String) throws {
        guard link(old, new) == 0, unlink(old) == 0 else {
            throw SystemCallFailed("rename \(old) to \(new)", errno: errno)
        }
        try synchronizeDirectory(JournalFiles(database: new).directory)
    }

    static func synchronizeDirectory(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemCallFailed("open \(path)", errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SystemCallFailed("fsync \(path)", errno: errno) }
    }
}
