internal import Foundation
internal import RunCore
internal import SSH

/// What is run on a host to look into a folder there: POSIX sh, coreutils and find, as Debian's essential packages have them.
enum HostFolderScript {
    /// The exit statuses by which the scripts say why they gave up.
    enum Failure: Int {
        case noFile = 65
        case noFolder = 66
        case changed = 67
        case notAllowed = 77
    }

    /// What identifies a version, as `stat` prints it.
    static let identity = "%d-%i-%s-%.9Y"
    /// One entry, for stat's --printf: identity, size, time, and the name at the end, which may hold anything but NUL.
    private static let entry = identity + "/%s/%Y/"

    /// Puts the real path of the root into `r`, and works there.
    private static func enter(_ root: String) -> String {
        """
        set -u; LC_ALL=C; export LC_ALL
        [ -d \(shellQuoted(root)) ] || exit \(Failure.noFolder.rawValue)
        cd -P -- \(shellQuoted(root)) 2>/dev/null || exit \(Failure.notAllowed.rawValue)
        r=$(pwd -P); [ "$r" = / ] && r=
        """
    }

    /// Links are followed only while they stay below the root; what is neither a file nor a folder is not listed.
    static func list(root: String, folder: String) -> String {
        let start = folder.isEmpty ? "." : "./\(folder)"
        return """
            \(enter(root))
            [ -e \(shellQuoted(start)) ] || exit 0
            [ -r \(shellQuoted(start)) ] || exit \(Failure.notAllowed.rawValue)
            find \(shellQuoted(start)) -maxdepth 64 -type f -exec stat --printf '\(entry)%n\\0' -- {} + 2>/dev/null
            find \(shellQuoted(start)) -maxdepth 64 -type l -exec sh -c '
              r=$1; shift
              for l do
                t=$(readlink -f -- "$l") || continue
                case $t in "$r"/*) ;; *) continue ;; esac
                [ -f "$t" ] && stat -L --printf "\(entry)" -- "$l" && printf "%s\\0" "$l"
              done' sh "$r" {} + 2>/dev/null
            exit 0
            """
    }

    /// Puts the real path of the key into `t`, or gives up.
    static func locate(root: String, key: String) -> String {
        """
        \(enter(root))
        t=$(readlink -f -- \(shellQuoted("./\(key)"))) || exit \(Failure.noFile.rawValue)
        case $t in "$r"/*) ;; *) exit \(Failure.noFile.rawValue) ;; esac
        [ -f "$t" ] || exit \(Failure.noFile.rawValue)
        [ -r "$t" ] || exit \(Failure.notAllowed.rawValue)
        """
    }

    static func head(root: String, key: String) -> String {
        """
        \(locate(root: root, key: key))
        stat -L --printf '\(entry)./x\\0' -- "$t"
        """
    }

    /// - Throws: where the host answered with something else than entries.
    static func entries(_ output: [UInt8], _ store: String) throws -> [ObjectSummary] {
        try output.split(separator: 0).map { record in
            let parts = record.split(separator: UInt8(ascii: "/"), maxSplits: 3, omittingEmptySubsequences: false)
            guard parts.count == 4, let size = Int64(String(decoding: parts[1], as: UTF8.self)),
                let time = Double(String(decoding: parts[2], as: UTF8.self)), parts[3].starts(with: Array("./".utf8))
            else { throw ObjectStorageError(.malformedAnswer, "\(store) answered with something else than a listing") }
            return ObjectSummary(
                key: String(decoding: parts[3].dropFirst(2), as: UTF8.self), sizeBytes: size, lastModified: Date(timeIntervalSince1970: time),
                etag: "\"\(String(decoding: parts[0], as: UTF8.self))\"")
        }
    }
}
