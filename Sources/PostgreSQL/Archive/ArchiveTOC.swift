internal import RunCore

/// One object of an archive.
package struct ArchiveEntry: Sendable, Hashable {
    package enum Section: Int, Sendable, Hashable { case none = 1, preData, data, postData }

    /// What the archive's file says about where an entry's data is.
    package enum DataState: Sendable, Hashable {
        case none
        /// Offset in the file, bytes.
        case at(offset: Int64)
        /// The dump went to a pipe, or never ended: the data is found by reading on.
        case unknownPosition
        /// The file within the folder or tar.
        case file(String)
    }

    package var dumpID = 0
    package var hasData = false
    package var tableOID: UInt32 = 0
    package var objectOID: UInt32 = 0
    /// The object's name, with its table before it where it has one (`members members_pkey`).
    package var tag = ""
    /// The kind, for example `TABLE DATA`.
    package var kind = ""
    package var section = Section.none
    package var definition = ""
    package var dropStatement = ""
    package var copyStatement = ""
    package var schema: String?
    package var tablespace: String?
    package var accessMethod: String?
    /// PostgreSQL 18's archives only.
    package var relationKind: UnicodeScalar?
    package var owner: String?
    package var dependencies: [Int] = []
    package var dataState = DataState.none
}

/// The table of contents of a pg_dump archive, read from its bytes without any program of PostgreSQL's.
///
/// Format: as pg_dump 9.0 to 18 write it (header versions 1.12 to 1.16), and plain SQL. Nothing in the bytes is trusted:
/// lengths are checked before memory is asked for.
package struct ArchiveTOC: Sendable, Hashable {
    package enum Format: String, Sendable, Hashable, Codable { case custom, directory, tar, plain }
    package enum Compression: String, Sendable, Hashable, Codable { case none, gzip, lz4, zstd }

    package let format: Format
    /// The header's version, for example (1, 14); nil for plain SQL, which has none.
    package let formatVersion: FormatVersion?
    package let compression: Compression
    /// As the server called itself, for example `15.20 (Debian 15.20-0+deb12u1)`.
    package let serverVersion: String?
    package let dumpVersion: String?
    package let databaseName: String?
    /// `YYYY-MM-DD HH:MM:SS` in the local time of the host that dumped; which zone that was is recorded nowhere.
    package let createdLocalTime: String?
    package let entries: [ArchiveEntry]
    /// Size of each entry's stored data, bytes, where the file tells: by dump id.
    package let storedBytes: [Int: Int]

    package struct FormatVersion: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
        package let major: Int
        package let minor: Int
        package var description: String { "\(major).\(minor)" }
        package static func < (left: Self, right: Self) -> Bool { (left.major, left.minor) < (right.major, right.minor) }
    }

    /// Most entries that are read; a database of a million objects does not exist, a hostile header does.
    static let entryLimit = 5_000_000

    /// Reads a custom-format archive, the `toc.dat` of a directory-format one, or a tar-format one.
    ///
    /// A beginning of the file suffices where it holds the table of contents (in tar format `toc.dat` is the first member).
    /// - Parameter fileBytes: the whole file's size, where `bytes` is only its beginning; for the size of the last entry.
    /// - Throws: `ArchiveUnreadable`; its code is `postgresql.archive-incomplete` where more bytes are needed.
    package init(bytes: [UInt8], fileBytes: Int? = nil) throws(ArchiveUnreadable) {
        if bytes.starts(with: ArchiveReader.magic) {
            self = try ArchiveReader.read(bytes[...], fileBytes: fileBytes ?? bytes.count, isTar: false)
        } else if let member = try TarIndex.contentsMember(of: bytes) {
            self = try ArchiveReader.read(member, fileBytes: fileBytes ?? bytes.count, isTar: true)
        } else if PlainDump.looksLikeOne(bytes) {
            self = try PlainDump.read(bytes)
        } else {
            throw .notAnArchive()
        }
    }

    init(
        format: Format, formatVersion: FormatVersion?, compression: Compression, serverVersion: String?, dumpVersion: String?,
        databaseName: String?, createdLocalTime: String?, entries: [ArchiveEntry], storedBytes: [Int: Int]
    ) {
        self.format = format
        self.formatVersion = formatVersion
        self.compression = compression
        self.serverVersion = serverVersion
        self.dumpVersion = dumpVersion
        self.databaseName = databaseName
        self.createdLocalTime = createdLocalTime
        self.entries = entries
        self.storedBytes = storedBytes
    }
}

/// The bytes are no archive that can be read.
package struct ArchiveUnreadable: RepriseError, Equatable {
    package let code: String
    package let message: String
    package let hints: [String]

    /// The same, said of the archive that people know by this name.
    package func named(_ name: String) -> Self { .init(code: code, message: "\(name): \(message)", hints: hints) }

    static func notAnArchive() -> Self {
        .init(
            code: "postgresql.not-an-archive", message: "this is no archive of pg_dump, neither custom, directory or tar format nor plain SQL",
            hints: ["look at its first bytes: a compressed file must be unwrapped first"])
    }
    static func incomplete(_ what: String) -> Self {
        .init(
            code: "postgresql.archive-incomplete", message: "the archive ends in the middle of \(what)",
            hints: ["if these are all of its bytes, the file is cut off: choose an older backup"])
    }
    static func damaged(_ what: String) -> Self {
        .init(
            code: "postgresql.archive-damaged", message: "the archive's table of contents is damaged: \(what)",
            hints: ["choose an older backup"])
    }
    static func unsupported(_ what: String) -> Self {
        .init(
            code: "postgresql.archive-unsupported", message: "the archive cannot be read: \(what)",
            hints: ["supported are archives of pg_dump 9.0 to 18"])
    }
}
