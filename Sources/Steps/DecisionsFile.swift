internal import Foundation
package import Reconcile
internal import RunCore

/// A file on this machine with what people decided, a line of JSON for each row.
package enum DecisionsFile {
    private static let mostBytes = 64 << 20

    /// - Throws: `StepRefused`, and `ReconcileRefused` with the line that cannot be read.
    package static func read(_ path: String) throws -> [Decision] {
        guard let handle = FileHandle(forReadingAtPath: path), let bytes = try? handle.read(upToCount: mostBytes + 1) ?? Data() else {
            throw StepRefused(
                "table-diff.no-decisions", "the decisions \(path) cannot be read on this machine",
                hints: ["see that the file is there, and readable"],
                exitStatus: .usage, needsNewRun: false)
        }
        guard bytes.count <= mostBytes, let text = String(bytes: bytes, encoding: .utf8) else {
            throw StepRefused(
                "table-diff.bad-decisions", "the decisions \(path) are no UTF-8 text of at most \(mostBytes) bytes", exitStatus: .usage, needsNewRun: false)
        }
        return try Decision.read(text, from: path)
    }
}
