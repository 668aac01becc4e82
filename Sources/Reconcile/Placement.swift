package import PostgreSQL

/// Tables that are made for a comparison: beside the live ones, or for this session alone.
extension QualifiedName {
    /// The schema of a session's own temporary tables: nothing of it is written for others to see, or stays.
    package static func temporary(_ name: String) throws -> QualifiedName { try QualifiedName(schema: "pg_temp", name: name) }

    /// The beginning of the statement that makes it. Not unlogged: a crash of the server would leave such a table empty, and every live
    /// row beside it would look like one that the backup does not have.
    var creation: String { "CREATE TABLE \(sql)" }
}
