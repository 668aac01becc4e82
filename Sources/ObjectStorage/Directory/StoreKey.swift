/// Keys of stores that are folders.
enum StoreKey {
    /// Whether `key` can be a path below a root: no empty, `.` or `..` component, and no NUL.
    static func isProper(_ key: String) -> Bool {
        let components = key.split(separator: "/", omittingEmptySubsequences: false)
        return !key.utf8.contains(0) && !components.isEmpty && components.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }
}
