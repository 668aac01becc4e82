package import BlockingIO

/// From which backup a database came, noted on the database itself, so that whoever comes later knows it: another run, on another
/// machine, years after the journal of this one is gone.
///
/// Kept as settings of the database (`ALTER DATABASE … SET reprise.backup`), which follow it when its name changes, go away with it, and
/// do nothing: `SHOW reprise.backup` in it tells a person.
package struct DatabaseOrigin: Sendable, Hashable, Codable {
    /// The backup's name in its store.
    package var backup: String
    /// When it was made, ISO 8601.
    package var time: String?
    /// Of the stored object, in hex.
    package var sha256: String?
    /// The application's revision that belongs to it.
    package var revision: String?

    package init(backup: String, time: String? = nil, sha256: String? = nil, revision: String? = nil) {
        (self.backup, self.time, self.sha256, self.revision) = (backup, time, sha256, revision)
    }

    private static let prefix = "reprise."

    /// Whether a setting of that name is such a note.
    static func owns(_ setting: String) -> Bool { setting.lowercased().hasPrefix(prefix) }

    private var notes: [(name: String, value: String?)] {
        [("backup", backup), ("backup_time", time), ("backup_sha256", sha256), ("revision", revision)]
    }

    /// Notes it on the database; what was noted there before is replaced. Idempotent, and one transaction.
    package func note(onDatabase name: String, _ connection: PostgresConnection, deadline: Deadline) async throws {
        let database = try SQLIdentifier(name).sql
        let statements = try notes.map { note in
            let setting = "ALTER DATABASE \(database) \(note.value == nil ? "RESET" : "SET") \(Self.prefix)\(note.name)"
            return try note.value.map { "\(setting) TO \(try SQLLiteral($0).sql)" } ?? setting
        }
        try await connection.transaction(deadline: deadline) { connection in
            for statement in statements { try await connection.execute(statement, deadline: deadline) }
        }
    }
}

extension DatabaseFacts {
    /// From which backup it came; nil where nobody noted it.
    package var origin: DatabaseOrigin? {
        let notes = Dictionary(
            settings.compactMap(DatabaseSetting.init(entry:)).filter { DatabaseOrigin.owns($0.name) }.map { ($0.name.lowercased(), $0.values.joined()) },
            uniquingKeysWith: { first, _ in first })
        guard let backup = notes["reprise.backup"], !backup.isEmpty else { return nil }
        return DatabaseOrigin(backup: backup, time: notes["reprise.backup_time"], sha256: notes["reprise.backup_sha256"], revision: notes["reprise.revision"])
    }
}
