internal import Glibc

/// Which of the files that rows name are there, and which files no row names.
///
/// Paths are compared byte by byte, as the file system does: a name whose `ü` is written in another Unicode form is another file.
struct FileComparison: Sendable {
    /// Paths that rows name, each once.
    let rows: Int
    /// Files that were not left out.
    let files: Int
    /// In the order of their bytes.
    let rowsWithoutFile: [[UInt8]]
    let filesWithoutRow: [[UInt8]]

    /// - Parameters:
    ///   - rows: paths relative to the folder, as the database has them, in any order; one may be there more than once.
    ///   - files: paths relative to the folder, each once.
    ///   - ignored: patterns of files that need no row. One without a slash is held against the last part of a path, one with a slash
    ///     against all of it. A file that matches and that a row names is there all the same.
    init(rows: [[UInt8]], files: [[UInt8]], ignoring ignored: [String] = []) {
        let rows = Set(rows).sorted(by: Self.precedes), files = files.sorted(by: Self.precedes)
        var missing: [[UInt8]] = [], unknown: [[UInt8]] = []
        var row = 0, file = 0, left = 0
        while row < rows.count || file < files.count {
            if file == files.count || (row < rows.count && Self.precedes(rows[row], files[file])) {
                missing.append(rows[row])
                row += 1
            } else if row == rows.count || Self.precedes(files[file], rows[row]) {
                if Self.matches(files[file], ignored) { left += 1 } else { unknown.append(files[file]) }
                file += 1
            } else {
                row += 1
                file += 1
            }
        }
        self.rows = rows.count
        self.files = files.count - left
        rowsWithoutFile = missing
        filesWithoutRow = unknown
    }

    /// Paths of a listing, each ended by NUL, as `find . -print0` writes them.
    static func paths(inListing bytes: [UInt8]) -> [[UInt8]] {
        bytes.split(separator: 0).map { path in Array(path.starts(with: [0x2e, 0x2f]) ? path.dropFirst(2) : path) }
    }

    private static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool { left.lexicographicallyPrecedes(right) }

    private static func matches(_ path: [UInt8], _ patterns: [String]) -> Bool {
        func fits(_ pattern: String, _ text: ArraySlice<UInt8>) -> Bool {
            (Array(text) + [0]).withUnsafeBytes { fnmatch(pattern, $0.bindMemory(to: CChar.self).baseAddress!, 0) == 0 }
        }
        let name = path.suffix(from: path.lastIndex(of: 0x2f).map { $0 + 1 } ?? 0)
        return patterns.contains { fits($0, $0.contains("/") ? path[...] : name) }
    }
}
