internal import BlockingIO
internal import PostgreSQL
internal import RunCore

/// A merge does what was agreed to, and nothing else.
extension MergePlan {
    func requireAgreed(_ preview: String, _ connection: isolated PostgresConnection, _ deadline: Deadline) async throws {
        let now = try await MergePreview.hash(self, connection, deadline: deadline)
        guard now == preview else {
            throw Self.outdated("other-preview", "the differences are not those that were agreed to (preview \(preview.prefix(12)), now \(now.prefix(12)))")
        }
    }

    /// What a table was when its differences were shown, it still is, and stays until the end: who writes rows goes on, who changes a table
    /// waits. With another column or foreign key a row could go of which nobody has seen all, or take others along.
    func requireSameShapes(_ connection: isolated PostgresConnection, _ deadline: Deadline) async throws {
        let isDisabling = triggersToDisable
        for live in diffs.map(\.pair.live).sorted(by: { $0.name < $1.name }) {
            // What will be needed is taken at once: two merges that wanted more of what both have would wait for each other.
            let mode = isDisabling[live.name] == nil ? "ROW EXCLUSIVE" : "SHARE ROW EXCLUSIVE"
            try await connection.execute("LOCK TABLE \(live.from) IN \(mode) MODE", deadline: deadline)
            guard try await TableShape.read(live.name, connection, deadline: deadline) != live else { continue }
            throw Self.outdated(
                "reshaped", "table \(live.name) is not what it was when its differences were shown: its columns, keys, constraints or triggers have changed since")
        }
    }

    private static func outdated(_ code: String, _ message: String) -> ReconcileRefused {
        ReconcileRefused("reconcile.\(code)", message, hints: ["compare again, and let the new preview be approved"], exitStatus: .verificationMismatch)
    }
}
